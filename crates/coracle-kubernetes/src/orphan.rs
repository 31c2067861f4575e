//! What a former life of the platform left half made.
//!
//! Theory of operation: what belongs to a workload (the Secret with its environment, its Services, its disruption budget)
//! has the Deployment, Job or pod as its owner, and the cluster removes it with that. But a Secret is made before its
//! owner, and everything is given its owner after it was made: a process that is killed in between leaves an object
//! that nothing would ever remove. Before this life makes anything in a project, such objects are looked for once, so
//! that none of them can be one that is just being made.

use coracle_engine::EngineError;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::client::{engine_error, ignore_missing, is_conflict, within};
use crate::discovery;
use crate::facts::{PLATFORM, WORKLOAD, label};
use crate::state::Core;

/// Deletes what belonged to workloads of a project that are gone.
pub(crate) async fn sweep(core: &std::sync::Arc<Core>, namespace: &str) -> Result<(), EngineError> {
    sweep_kind(core, namespace, within::<Secret>(&core.client, namespace)).await?;
    sweep_kind(core, namespace, within::<Service>(&core.client, namespace)).await?;
    if let Some(version) = discovery::policy(core).await? {
        let budgets = discovery::budgets(core, namespace, version);
        sweep_kind(core, namespace, budgets).await?;
    }
    Ok(())
}

async fn sweep_kind<K>(core: &Core, namespace: &str, api: Api<K>) -> Result<(), EngineError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let platform = &core.config.platform;
    let of_workloads = ListParams::default().labels(&format!("{PLATFORM}={platform},{WORKLOAD}"));
    let found = api
        .list_metadata(&of_workloads)
        .await
        .map_err(engine_error)?;
    for object in found.items {
        let meta = object.meta();
        let owned = meta
            .owner_references
            .as_ref()
            .is_some_and(|o| !o.is_empty());
        let Some(workload) = label(meta, WORKLOAD).filter(|_| !owned) else {
            continue;
        };
        if has_workload(core, namespace, workload).await? {
            // It is given its owner when that is looked at.
            continue;
        }
        let name = object.name_any();
        tracing::info!(
            namespace,
            name,
            "what is left of a workload that is gone is deleted"
        );
        // As it was read: whoever has written it since has a use for it.
        let as_read = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: meta.resource_version.clone(),
                uid: meta.uid.clone(),
            }),
            ..DeleteParams::background()
        };
        match api.delete(&name, &as_read).await {
            Err(error) if is_conflict(&error) => {}
            answer => ignore_missing(answer)?,
        }
    }
    Ok(())
}

/// Is there anything that may own what belongs to a workload?
async fn has_workload(core: &Core, namespace: &str, workload: &str) -> Result<bool, EngineError> {
    let platform = &core.config.platform;
    let labels = format!("{PLATFORM}={platform},{WORKLOAD}={workload}");
    let one = ListParams::default().labels(&labels).limit(1);
    macro_rules! is_there {
        ($kind:ty) => {{
            let api: Api<$kind> = within(&core.client, namespace);
            let found = api.list_metadata(&one).await.map_err(engine_error)?;
            if !found.items.is_empty() {
                return Ok(true);
            }
        }};
    }
    is_there!(Deployment);
    is_there!(Job);
    is_there!(Pod);
    Ok(false)
}
