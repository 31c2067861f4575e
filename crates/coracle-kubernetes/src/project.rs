//! Projects: namespaces with what stands in them from the start.
//!
//! Theory of operation: a namespace is made or checked once in this process's life, and again when the watch on namespaces
//! tells that it is gone or not ours any more, or a request finds it so. One that exists without this platform's label is
//! somebody else's: nothing is put into it. A project is removed by removing its own objects; the namespace itself
//! goes only when neither volumes nor other people's objects are left.

mod known;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use coracle_engine::EngineError;
use coracle_engine::build::PullCredentials;
use coracle_model::name::ProjectName;
use coracle_model::workload::WorkloadId;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Namespace, PersistentVolumeClaim, Pod, ResourceQuota, Secret, Service,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Resource, ResourceExt as _};
use serde_json::json;

use crate::client::{
    apply, apply_own, engine_error, foreign, ignore_missing, is_conflict, merge, within,
};
use crate::facts::{PLATFORM, REMOVED, annotation, is_ours};
use crate::object::{self, NETWORK_POLICY, PULL_SECRET, QUOTA};
use crate::orphan;
use crate::state::Core;

pub(crate) use known::Projects;

/// For a namespace to be gone.
const GONE: Duration = Duration::from_mins(2);

/// Makes sure that a project has its namespace, and says its name.
pub(crate) async fn ensure(core: &Arc<Core>, project: &ProjectName) -> Result<String, EngineError> {
    let name = core.namespace(project)?;
    let turn = core.projects.turn(project).await;
    if turn.is_made() {
        return Ok(name);
    }
    let namespaces: Api<Namespace> = Api::all(core.client.clone());
    let found = namespaces.get_opt(&name).await.map_err(engine_error)?;
    if let Some(found) = &found {
        if !is_ours(&found.metadata, &core.config.platform) {
            return Err(foreign::<Namespace>(None, &name));
        }
        if found.metadata.deletion_timestamp.is_some() {
            // Not waited for: whoever asks holds a turn that other projects need.
            return Err(EngineError::Failed {
                message: format!(
                    "namespace {name} is being deleted, and is made again when it is gone: see its conditions"
                ),
                source: None,
            });
        }
    }
    let wish = object::namespace(&core.config, project, &name);
    let there = apply(&namespaces, &name, &wish).await?;
    if annotation(&there.metadata, REMOVED).is_some() {
        let change = json!({ "metadata": { "annotations": { REMOVED: null } } });
        merge(&namespaces, &name, &change)
            .await
            .map_err(engine_error)?;
    }
    let policies: Api<NetworkPolicy> = within(&core.client, &name);
    let platform = &core.config.platform;
    let wish = object::network_policy(&core.config, project);
    apply_own(&policies, platform, NETWORK_POLICY, &wish).await?;
    if let Some(hard) = &core.config.quota {
        let quotas: Api<ResourceQuota> = within(&core.client, &name);
        let wish = object::quota(&core.config, project, hard);
        apply_own(&quotas, platform, QUOTA, &wish).await?;
    }
    // Without credentials what stands there from a life before is left.
    let pull = core.projects.pulls().get(project).cloned();
    if let Some(pull) = pull {
        put_pull_secret(core, project, &name, &pull).await?;
    }
    if !turn.with(|known| known.swept) {
        orphan::sweep(core, &name).await?;
    }
    turn.with(|known| (known.made, known.swept) = (true, true));
    Ok(name)
}

async fn put_pull_secret(
    core: &Core,
    project: &ProjectName,
    namespace: &str,
    pull: &PullCredentials,
) -> Result<(), EngineError> {
    let secrets: Api<Secret> = within(&core.client, namespace);
    let wish = object::pull_secret(&core.config, project, pull);
    apply_own(&secrets, &core.config.platform, PULL_SECRET, &wish)
        .await
        .map(drop)
}

/// Tells with what the nodes pull the project's images.
pub(crate) async fn set_pull_credentials(
    core: &Arc<Core>,
    project: &ProjectName,
    pull: &PullCredentials,
) -> Result<(), EngineError> {
    let name = core.namespace(project)?;
    let turn = core.projects.turn(project).await;
    core.projects.pulls().insert(project.clone(), pull.clone());
    if !turn.is_made() {
        // It comes with the namespace.
        return Ok(());
    }
    let put = put_pull_secret(core, project, &name, pull).await;
    if put.is_err() {
        // Whoever makes sure of the project next must not take it for done.
        turn.with(|known| known.made = false);
    }
    put
}

async fn until_gone(namespaces: &Api<Namespace>, found: &Namespace) -> Result<(), EngineError> {
    let (name, uid) = (found.name_any(), found.uid().unwrap_or_default());
    let gone = await_condition(namespaces.clone(), &name, conditions::is_deleted(&uid));
    let failed = |message: String| EngineError::Failed {
        message,
        source: None,
    };
    match tokio::time::timeout(GONE, gone).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failed(format!("namespace {name} is not gone yet: {error}"))),
        Err(_elapsed) => Err(failed(format!(
            "namespace {name} is being deleted and still there after {GONE:?}: see its conditions"
        ))),
    }
}

/// Removes a project: its objects, and its namespace when nothing of worth is left in it.
pub(crate) async fn remove(core: &Arc<Core>, project: &ProjectName) -> Result<(), EngineError> {
    let name = core.namespace(project)?;
    core.with(|state| {
        let ids: Vec<WorkloadId> = state
            .groups
            .keys()
            .filter(|id| id.project == *project)
            .cloned()
            .collect();
        for id in ids {
            if let Some(group) = state.groups.get_mut(&id) {
                group.wish = None;
                group.trouble = None;
            }
            state.publish(&id);
        }
    });
    let turn = core.projects.turn(project).await;
    core.projects.pulls().remove(project);
    let namespaces: Api<Namespace> = Api::all(core.client.clone());
    let Some(found) = namespaces.get_opt(&name).await.map_err(engine_error)? else {
        turn.with(|known| (known.made, known.swept) = (false, false));
        return Ok(());
    };
    if !is_ours(&found.metadata, &core.config.platform) {
        // Nothing of ours was ever put there.
        return Ok(());
    }
    turn.with(|known| known.made = false);
    if found.metadata.deletion_timestamp.is_some() {
        return until_gone(&namespaces, &found).await;
    }
    let stranger = stranger(core, &name).await?;
    let volumes = list::<PersistentVolumeClaim>(core, &name).await?;
    if stranger.is_none() && volumes.is_empty() {
        ignore_missing(namespaces.delete(&name, &as_seen(&found)).await)?;
        return until_gone(&namespaces, &found).await;
    }
    tracing::info!(
        namespace = name,
        volumes = volumes.len(),
        ?stranger,
        "the namespace stays"
    );
    let change = json!({ "metadata": { "annotations": { REMOVED: Utc::now().to_rfc3339() } } });
    merge(&namespaces, &name, &change)
        .await
        .map_err(engine_error)?;
    remove_own::<Deployment>(core, &name).await?;
    remove_own::<Job>(core, &name).await?;
    remove_own::<Pod>(core, &name).await?;
    remove_each::<Service>(core, &name).await?;
    remove_own::<Secret>(core, &name).await?;
    remove_each::<NetworkPolicy>(core, &name).await?;
    remove_each::<ResourceQuota>(core, &name).await
}

/// Removes the namespace of a project that was removed, once the last of its volumes is gone.
pub(crate) async fn sweep(core: &Arc<Core>, project: &ProjectName) -> Result<(), EngineError> {
    let name = core.namespace(project)?;
    let _turn = core.projects.turn(project).await;
    let namespaces: Api<Namespace> = Api::all(core.client.clone());
    let Some(found) = namespaces.get_opt(&name).await.map_err(engine_error)? else {
        return Ok(());
    };
    let removed = annotation(&found.metadata, REMOVED).is_some();
    if !removed || !is_ours(&found.metadata, &core.config.platform) {
        return Ok(());
    }
    let left = list::<PersistentVolumeClaim>(core, &name).await?;
    let stays = |claim: &PersistentVolumeClaim| claim.metadata.deletion_timestamp.is_none();
    if left.iter().any(stays) || stranger(core, &name).await?.is_some() {
        return Ok(());
    }
    match namespaces.delete(&name, &as_seen(&found)).await {
        // Another process has made the project again meanwhile, and taken the mark off.
        Err(error) if is_conflict(&error) => Ok(()),
        answer => ignore_missing(answer),
    }
}

/// Deletes a namespace only if nobody has changed it since it was read.
fn as_seen(found: &Namespace) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            resource_version: found.resource_version(),
            uid: found.uid(),
        }),
        ..DeleteParams::background()
    }
}

fn ours(core: &Core) -> String {
    format!("{PLATFORM}={}", core.config.platform)
}

async fn list<K>(core: &Core, namespace: &str) -> Result<Vec<K>, EngineError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = within(&core.client, namespace);
    let found = api.list(&ListParams::default().labels(&ours(core))).await;
    Ok(found.map_err(engine_error)?.items)
}

async fn remove_own<K>(core: &Core, namespace: &str) -> Result<(), EngineError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = within(&core.client, namespace);
    let own = ListParams::default().labels(&ours(core));
    let removed = api
        .delete_collection(&DeleteParams::background(), &own)
        .await;
    ignore_missing(removed)
}

/// For kinds that cannot be deleted as a collection in every version.
async fn remove_each<K>(core: &Core, namespace: &str) -> Result<(), EngineError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = within(&core.client, namespace);
    for object in list::<K>(core, namespace).await? {
        ignore_missing(
            api.delete(&object.name_any(), &DeleteParams::background())
                .await,
        )?;
    }
    Ok(())
}

/// Something in a project's namespace that is not ours and would go with it.
async fn stranger(core: &Core, namespace: &str) -> Result<Option<String>, EngineError> {
    let others = ListParams::default().labels(&format!("{PLATFORM}!={}", core.config.platform));
    macro_rules! first_of {
        ($kind:ty) => {{
            let api: Api<$kind> = within(&core.client, namespace);
            let found = api.list_metadata(&others).await.map_err(engine_error)?;
            let worth = |name: &str| name != "kubernetes";
            if let Some(object) = found.items.iter().find(|o| worth(&o.name_any())) {
                let kind = <$kind as Resource>::kind(&()).to_lowercase();
                return Ok(Some(format!("{kind} {namespace}/{}", object.name_any())));
            }
        }};
    }
    first_of!(Pod);
    first_of!(Deployment);
    first_of!(Job);
    first_of!(Service);
    first_of!(PersistentVolumeClaim);
    // Every namespace has secrets of its own, the tokens of its service accounts.
    let secrets: Api<Secret> = within(&core.client, namespace);
    let fields = others.fields("type!=kubernetes.io/service-account-token");
    let found = secrets.list_metadata(&fields).await.map_err(engine_error)?;
    Ok(found
        .items
        .first()
        .map(|secret| format!("secret {namespace}/{}", secret.name_any())))
}

#[cfg(test)]
mod tests;
