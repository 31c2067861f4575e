//! What this cluster has, asked once: what an old one lacks is done without, never guessed from its version.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_engine::EngineError;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};

use crate::client::engine_error;
use crate::state::Core;

/// API groups and their versions.
pub(crate) type Groups = BTreeMap<String, Vec<String>>;

/// The API groups, asked once in this process's life.
pub(crate) async fn groups(core: &Arc<Core>) -> Result<&Groups, EngineError> {
    core.groups
        .get_or_try_init(|| async {
            let list = core.client.list_api_groups().await.map_err(engine_error)?;
            let versions = |group: &k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup| {
                group.versions.iter().map(|v| v.version.clone()).collect()
            };
            Ok(list
                .groups
                .iter()
                .map(|group| (group.name.clone(), versions(group)))
                .collect())
        })
        .await
}

/// The version of group `policy` that has disruption budgets.
pub(crate) async fn policy(core: &Arc<Core>) -> Result<Option<&'static str>, EngineError> {
    let groups = groups(core).await?;
    let Some(versions) = groups.get("policy") else {
        return Ok(None);
    };
    let has = |version: &str| versions.iter().any(|v| v == version);
    Ok(["v1", "v1beta1"].into_iter().find(|version| has(version)))
}

/// Is there the metrics API?
pub(crate) async fn metrics(core: &Arc<Core>) -> Result<bool, EngineError> {
    Ok(groups(core).await?.contains_key("metrics.k8s.io"))
}

/// Disruption budgets in the version that this cluster has.
pub(crate) fn budgets(core: &Core, namespace: &str, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("policy", version, "PodDisruptionBudget");
    let resource = ApiResource::from_gvk_with_plural(&kind, "poddisruptionbudgets");
    Api::namespaced_with(core.client.clone(), namespace, &resource)
}
