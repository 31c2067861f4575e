//! What this cluster has, asked now and then: what an old one lacks is done without, never guessed from its version.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_engine::EngineError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::client::engine_error;
use crate::state::Core;

/// API groups and their versions.
pub(crate) type Groups = BTreeMap<String, Vec<String>>;

/// For so long what a cluster had is what it has: it may be upgraded, or get a metrics server, while we live.
const FRESH: Duration = Duration::from_mins(10);

/// The API groups when they were asked for last.
#[derive(Default)]
pub(crate) struct Known(Mutex<Option<(Instant, Arc<Groups>)>>);

/// The API groups, asked for when they are needed and not more often than every [`FRESH`].
pub(crate) async fn groups(core: &Core) -> Result<Arc<Groups>, EngineError> {
    let mut known = core.groups.0.lock().await;
    if let Some((at, groups)) = &*known
        && at.elapsed() < FRESH
    {
        return Ok(Arc::clone(groups));
    }
    let list = core.client.list_api_groups().await.map_err(engine_error)?;
    let versions = |group: &APIGroup| group.versions.iter().map(|v| v.version.clone()).collect();
    let groups = list.groups.iter();
    let groups: Groups = groups
        .map(|group| (group.name.clone(), versions(group)))
        .collect();
    let groups = Arc::new(groups);
    *known = Some((Instant::now(), Arc::clone(&groups)));
    Ok(groups)
}

/// The version of group `policy` that has disruption budgets.
pub(crate) async fn policy(core: &Core) -> Result<Option<&'static str>, EngineError> {
    let groups = groups(core).await?;
    let Some(versions) = groups.get("policy") else {
        return Ok(None);
    };
    let has = |version: &str| versions.iter().any(|v| v == version);
    Ok(["v1", "v1beta1"].into_iter().find(|version| has(version)))
}

/// Is there the metrics API?
pub(crate) async fn metrics(core: &Core) -> Result<bool, EngineError> {
    Ok(groups(core).await?.contains_key("metrics.k8s.io"))
}

/// Disruption budgets in the version that this cluster has.
pub(crate) fn budgets(core: &Core, namespace: &str, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("policy", version, "PodDisruptionBudget");
    let resource = ApiResource::from_gvk_with_plural(&kind, "poddisruptionbudgets");
    Api::namespaced_with(core.client.clone(), namespace, &resource)
}
