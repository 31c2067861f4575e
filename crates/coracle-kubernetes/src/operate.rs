//! The steps: one request each, or few.
//!
//! Theory of operation: each may be ended at any line by a crash; what it did is read back from the cluster and the
//! planner goes on from there. What comes after a Deployment (its Services, the owner of its Secret) is *furniture*: done
//! once per process and object, after the pods are on their way, so that nobody waits for it.

use std::sync::Arc;

use chrono::Utc;
use coracle_engine::EngineError;
use coracle_engine::wish::Wish;
use coracle_model::workload::{Workload, WorkloadId, WorkloadKind};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Resource};
use serde_json::{Value, json};

use crate::client::{self, apply, apply_own, engine_error, is_conflict, is_missing, within};
use crate::discovery;
use crate::facts::{NAME_PREFIX, REMINDED, SET, stopping_now, written};
use crate::group::{Group, Kept};
use crate::intake::From;
use crate::naming;
use crate::object;
use crate::project;
use crate::state::Core;
use crate::volume;

/// What must be there before a pod can start.
async fn ground(core: &Arc<Core>, workload: &Workload) -> Result<String, EngineError> {
    let project = &workload.id.project;
    let namespace = project::ensure(core, project).await?;
    for mount in &workload.template.volumes {
        volume::ensure_in(core, project, &namespace, &mount.volume, None).await?;
    }
    let set = naming::set(&workload.id.name, workload.generation);
    if let Some(secret) = object::environment(&core.config, workload, &set) {
        let api: Api<Secret> = within(&core.client, &namespace);
        let name = naming::environment(&set);
        apply_own(&api, &core.config.platform, &name, &secret).await?;
    }
    Ok(namespace)
}

/// The namespace may have gone since we looked.
fn forget_ground(core: &Core, workload: &Workload, error: &EngineError) {
    let text = error.to_string();
    if text.contains("not found") || text.contains("being terminated") {
        core.projects.doubt(&workload.id.project);
    }
}

pub(crate) async fn make_set(
    core: &Arc<Core>,
    workload: &Arc<Workload>,
) -> Result<(), EngineError> {
    let WorkloadKind::Replicated { replicas } = workload.kind else {
        return Ok(());
    };
    let wish = object::deployment(&core.config, workload, replicas);
    let set: Deployment = make(core, workload, &wish).await?;
    core.take(set, From::Answer);
    Ok(())
}

pub(crate) async fn make_job(
    core: &Arc<Core>,
    workload: &Arc<Workload>,
) -> Result<(), EngineError> {
    let wish = object::job(&core.config, workload);
    let job: Job = make(core, workload, &wish).await?;
    core.take(job, From::Answer);
    Ok(())
}

pub(crate) async fn make_pod(
    core: &Arc<Core>,
    workload: &Arc<Workload>,
) -> Result<(), EngineError> {
    let wish = object::bare_pod(&core.config, workload);
    let pod: Pod = make(core, workload, &wish).await?;
    core.take(pod, From::Answer);
    Ok(())
}

async fn make<K>(core: &Arc<Core>, workload: &Workload, wish: &Value) -> Result<K, EngineError>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let result = async {
        let namespace = ground(core, workload).await?;
        let api: Api<K> = within(&core.client, &namespace);
        let name = wish["metadata"]["name"].as_str().unwrap_or_default();
        apply_own(&api, &core.config.platform, name, wish).await
    }
    .await;
    if let Err(error) = &result {
        forget_ground(core, workload, error);
    }
    result
}

fn live<K: Kept>(core: &Core, id: &WorkloadId, name: &str) -> Option<Arc<K>> {
    core.with(|state| {
        Some(Arc::clone(
            &K::of(state.groups.get_mut(id)?).get(name)?.live,
        ))
    })
}

pub(crate) async fn resize(
    core: &Arc<Core>,
    id: &WorkloadId,
    name: &str,
    replicas: u32,
) -> Result<(), EngineError> {
    let Some(live) = live::<Deployment>(core, id, name) else {
        return Ok(());
    };
    let api: Api<Deployment> = within(&core.client, &core.namespace(&id.project)?);
    if crate::facts::stopping_since(&live.metadata).is_some() {
        // The mark was merged, so leaving it out of what is applied would not take it away.
        let change = json!({ "metadata": { "annotations": { crate::facts::STOPPING: null } } });
        let set = client::merge(&api, name, &change)
            .await
            .map_err(engine_error)?;
        core.take(set, From::Answer);
    }
    let set = apply(&api, name, &object::resubmit(&live, replicas)).await?;
    core.take(set, From::Answer);
    Ok(())
}

pub(crate) async fn stop_set(
    core: &Arc<Core>,
    id: &WorkloadId,
    name: &str,
) -> Result<(), EngineError> {
    let Some(live) = live::<Deployment>(core, id, name) else {
        return Ok(());
    };
    // Only the mark: a number that somebody else has set would be a conflict that keeps it from leaving.
    let (mark, since) = stopping_now();
    let change =
        json!({ "metadata": { "uid": live.metadata.uid, "annotations": { mark: since } } });
    change_seen::<Deployment>(core, id, name, &change).await
}

/// Changes some metadata of an object, among it the uid that it was seen with: one that is gone, or another one by now, is
/// left alone.
async fn change_seen<K: Kept>(
    core: &Arc<Core>,
    id: &WorkloadId,
    name: &str,
    change: &Value,
) -> Result<(), EngineError> {
    let api: Api<K> = within(&core.client, &core.namespace(&id.project)?);
    match client::merge(&api, name, change).await {
        Ok(object) => {
            core.take(object, From::Answer);
            Ok(())
        }
        Err(error) if is_missing(&error) || is_conflict(&error) => Ok(()),
        Err(error) => Err(engine_error(error)),
    }
}

/// How something is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is told to end, has its grace, and is gone when its node says so.
    Graceful,
    /// It is struck off at once: its node does not answer.
    Unheard,
}

/// Deletes an object as it was seen, with all that belongs to it.
pub(crate) async fn delete<K: Kept>(
    core: &Arc<Core>,
    id: &WorkloadId,
    name: &str,
    end: End,
) -> Result<(), EngineError> {
    let Some(live) = live::<K>(core, id, name) else {
        return Ok(());
    };
    let uid = live.meta().uid.clone();
    let mut parameters = DeleteParams::background().preconditions(Preconditions {
        uid: uid.clone(),
        resource_version: None,
    });
    if end == End::Unheard {
        parameters.grace_period_seconds = Some(0);
    }
    let api: Api<K> = within(&core.client, &core.namespace(&id.project)?);
    match api.delete(name, &parameters).await {
        Ok(_) => {}
        // Gone, or another one by now.
        Err(error) if is_missing(&error) || is_conflict(&error) => {}
        Err(error) => return Err(engine_error(error)),
    }
    core.with(|state| {
        let group = state.groups.get_mut(id);
        if let Some(held) = group.and_then(|group| K::of(group).get_mut(name)) {
            let same = held.live.meta().uid == uid;
            held.deleting |= same;
            // Once is enough: a finalizer that holds it is not loosened by asking again.
            held.struck |= same && end == End::Unheard;
        }
        state.publish(id);
    });
    Ok(())
}

/// Marks a pod as on its way out, and takes it out of its set and out of the names that lead to it.
pub(crate) async fn leave(
    core: &Arc<Core>,
    id: &WorkloadId,
    name: &str,
) -> Result<(), EngineError> {
    let Some(live) = live::<Pod>(core, id, name) else {
        return Ok(());
    };
    if crate::facts::stopping_since(&live.metadata).is_some() {
        return Ok(());
    }
    let mut labels = json!({ SET: null });
    for label in live.metadata.labels.iter().flatten().map(|(name, _)| name) {
        if label.starts_with(NAME_PREFIX) {
            labels[label] = Value::Null;
        }
    }
    let (mark, since) = stopping_now();
    let change = json!({ "metadata": {
        "uid": live.metadata.uid,
        "labels": labels,
        "annotations": { mark: since },
    }});
    change_seen::<Pod>(core, id, name, &change).await
}

/// Changes something on a pod that is being deleted, so that its kubelet looks at it. It was tried, whatever comes of it.
pub(crate) async fn remind(core: &Arc<Core>, id: &WorkloadId, name: &str) {
    let now = Utc::now();
    let tried = core.with(|state| {
        let pod = state.groups.get_mut(id)?.pods.get_mut(name)?;
        pod.reminded = Some(now);
        Some(Arc::clone(&pod.live))
    });
    let Some(live) = tried else { return };
    let change = json!({ "metadata": {
        "uid": live.metadata.uid,
        "annotations": { REMINDED: written(now) },
    }});
    match change_seen::<Pod>(core, id, name, &change).await {
        Ok(()) => tracing::info!(pod = name, "its kubelet is reminded that it is to end"),
        Err(error) => {
            tracing::warn!(pod = name, %error, "its kubelet cannot be reminded that it is to end");
        }
    }
}

/// The uid of the wished generation's object, while it is without its furniture.
pub(crate) fn bare(group: &Group) -> Option<String> {
    let Some(Wish::Run(workload)) = &group.wish else {
        return None;
    };
    let name = naming::set(&workload.id.name, workload.generation);
    let uid = match workload.kind {
        WorkloadKind::Replicated { .. } => group.sets.get(&name)?.live.metadata.uid.clone(),
        WorkloadKind::Task { .. } => group.jobs.get(&name)?.live.metadata.uid.clone(),
        WorkloadKind::Single => {
            let pod = group.pods.get(workload.id.name.as_str())?;
            (pod.facts.generation == workload.generation)
                .then(|| pod.live.metadata.uid.clone())
                .flatten()
        }
    }?;
    (!group.furnished.contains(&uid)).then_some(uid)
}

/// Whoever owns the furniture.
enum Owner {
    Set(Arc<Deployment>),
    Job(Arc<Job>),
    Pod(Arc<Pod>),
}

/// Services, disruption budget, and owners, for the wished generation's object once it is there.
pub(crate) async fn furnish(core: &Arc<Core>, workload: &Arc<Workload>) -> Result<(), EngineError> {
    let set = naming::set(&workload.id.name, workload.generation);
    let found = core.with(|state| {
        let group = state.groups.get(&workload.id)?;
        let uid = bare(group)?;
        let owner = match workload.kind {
            WorkloadKind::Replicated { .. } => Owner::Set(Arc::clone(&group.sets.get(&set)?.live)),
            WorkloadKind::Task { .. } => Owner::Job(Arc::clone(&group.jobs.get(&set)?.live)),
            WorkloadKind::Single => {
                Owner::Pod(Arc::clone(&group.pods.get(workload.id.name.as_str())?.live))
            }
        };
        Some((uid, owner))
    });
    let Some((uid, owner)) = found else {
        return Ok(());
    };
    let namespace = project::ensure(core, &workload.id.project).await?;
    match &owner {
        Owner::Set(owner) => furnish_for(core, workload, &namespace, &set, &**owner).await?,
        Owner::Job(owner) => furnish_for(core, workload, &namespace, &set, &**owner).await?,
        Owner::Pod(owner) => furnish_for(core, workload, &namespace, &set, &**owner).await?,
    }
    core.with(|state| {
        if let Some(group) = state.groups.get_mut(&workload.id) {
            group.furnished.clear();
            group.furnished.insert(uid);
        }
    });
    Ok(())
}

async fn furnish_for<O: Resource<DynamicType = ()>>(
    core: &Arc<Core>,
    workload: &Workload,
    namespace: &str,
    set: &str,
    owner: &O,
) -> Result<(), EngineError> {
    let platform = &core.config.platform;
    let services: Api<Service> = within(&core.client, namespace);
    for name in workload
        .template
        .names
        .iter()
        .filter_map(|n| naming::service(n))
    {
        let wish = object::service(&core.config, workload, name);
        apply_own(&services, platform, name, &wish).await?;
        client::own(&services, name, owner).await?;
    }
    if !workload.template.env.is_empty() {
        let secrets: Api<Secret> = within(&core.client, namespace);
        let name = naming::environment(set);
        match client::own(&secrets, &name, owner).await {
            Ok(()) => {}
            // Lost between its making and now, or before this process's life: made again, or the pods cannot start.
            Err(_) => {
                if let Some(secret) = object::environment(&core.config, workload, set) {
                    apply_own(&secrets, platform, &name, &secret).await?;
                    client::own(&secrets, &name, owner).await?;
                }
            }
        }
    }
    let several = matches!(workload.kind, WorkloadKind::Replicated { .. });
    if several && let Some(version) = discovery::policy(core).await? {
        let budgets = discovery::budgets(core, namespace, version);
        let wish = object::disruption_budget(&core.config, workload, version);
        // No guard by a look before: the name is a generation's, and a conflict is told.
        apply(&budgets, set, &wish).await?;
        client::own(&budgets, set, owner).await?;
    }
    Ok(())
}
