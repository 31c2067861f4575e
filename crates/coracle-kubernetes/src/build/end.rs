//! What a build leaves behind goes: its Job, and the Secret that belongs to it.
//!
//! Theory of operation: an object is deleted as it was seen, by its uid, and only when it is this build's; what somebody else
//! has under its name is told and left alone. What cannot be done at once is done behind the caller's back. A request
//! whose answer never came may yet be carried out: where one for a Job was sent, the name is looked at until that cannot
//! be any more. Whoever asks for the build meanwhile has it, with all that there is of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coracle_engine::EngineError;
use coracle_task::Backoff;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::config::BuildConfig;
use super::{Asked, Held, asked, configured, object};
use crate::client::{engine_error, ignore_missing, is_conflict, within};
use crate::facts::{PLATFORM, is_ours, label};
use crate::state::Core;

/// For the removal of a Job, before it goes on behind the caller's back.
const REMOVAL: Duration = Duration::from_secs(5);
/// Tries to remove a Job; what is left then goes with the next start, or by the cluster's own clock.
const REMOVALS: u32 = 30;
/// API servers carry a request out within a minute or not at all.
const IN_FLIGHT: Duration = Duration::from_secs(70);
/// Between two looks for what a request in flight may have made.
const LOOK: Duration = Duration::from_secs(10);

/// Does an object belong to this build of ours?
pub(super) fn is_of_build(meta: &ObjectMeta, core: &Core, build: &str) -> bool {
    is_ours(meta, &core.config.platform) && label(meta, object::BUILD) == Some(&object::id(build))
}

/// Deletes an object as it was seen. That it is gone, or another one by now, is well.
pub(super) async fn delete<K>(api: &Api<K>, seen: &ObjectMeta) -> Result<(), EngineError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let name = seen.name.as_deref().unwrap_or_default();
    let as_seen = DeleteParams::background().preconditions(Preconditions {
        uid: seen.uid.clone(),
        resource_version: None,
    });
    match api.delete(name, &as_seen).await {
        Err(error) if is_conflict(&error) => Ok(()),
        answer => ignore_missing(answer),
    }
}

/// What there is of a build that has ended.
struct Rest {
    core: Arc<Core>,
    id: String,
    jobs: Api<Job>,
    secrets: Api<Secret>,
    /// Another Job than this is not this build's.
    job: Option<String>,
}

impl Rest {
    /// Takes all of it away.
    async fn remove(&self) -> Result<(), EngineError> {
        self.remove_one(&self.jobs, self.job.as_deref()).await?;
        // It goes with the Job; one that was never the Job's own goes here.
        self.remove_one(&self.secrets, None).await
    }

    async fn remove_one<K>(&self, api: &Api<K>, uid: Option<&str>) -> Result<(), EngineError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let name = object::name(&self.id);
        let found = api.get_metadata_opt(&name).await.map_err(engine_error)?;
        let Some(found) = found.map(|found| found.metadata) else {
            return Ok(());
        };
        if !is_of_build(&found, &self.core, &self.id) {
            let kind = K::kind(&());
            tracing::warn!(%kind, name, "something that is not the platform's has the name of a build's: it is left alone");
            return Ok(());
        }
        if found.deletion_timestamp.is_some()
            || uid.is_some_and(|uid| found.uid.as_deref() != Some(uid))
        {
            return Ok(());
        }
        delete(api, &found).await
    }
}

/// Takes the Job and all that belongs to it away. What cannot be done at once is done behind the caller's back.
pub(super) async fn end(core: &Arc<Core>, config: &BuildConfig, held: Held, build: Asked<'_>) {
    let unknown = held == Held::Asked;
    let rest = Rest {
        core: Arc::clone(core),
        id: build.id.clone(),
        jobs: within(&core.client, &config.namespace),
        secrets: within(&core.client, &config.namespace),
        job: match held {
            Held::Job(uid) => Some(uid),
            Held::Nothing | Held::Asked => None,
        },
    };
    let removed = tokio::time::timeout(REMOVAL, rest.remove()).await;
    // From here on somebody may ask for it again.
    drop(build);
    if matches!(removed, Ok(Ok(()))) && !unknown {
        return;
    }
    let known = unknown.then(|| Instant::now() + IN_FLIGHT);
    let supervisor = &core.config.supervisor;
    supervisor.spawn("kubernetes-build-end", remove_later(rest, known));
}

/// Removes it until that was done, and goes on until `known`, from when on nothing is in flight.
async fn remove_later(rest: Rest, known: Option<Instant>) {
    let mut pauses = Backoff::default();
    for _ in 0..REMOVALS {
        tokio::time::sleep(pauses.next_delay()).await;
        if asked(&rest.core).contains(&rest.id) {
            return;
        }
        match rest.remove().await {
            Ok(()) => match known.filter(|known| Instant::now() < *known) {
                None => return,
                Some(known) => tokio::time::sleep_until(known.min(Instant::now() + LOOK)).await,
            },
            Err(error) => {
                tracing::warn!(build = rest.id, %error, "the job of a build that has ended is not removed yet");
            }
        }
    }
}

/// Removes the Jobs and Secrets of builds that nobody will ask for again.
pub(crate) async fn end_except(
    core: &Arc<Core>,
    going_on: &BTreeSet<String>,
) -> Result<(), EngineError> {
    let Ok(config) = configured(core) else {
        return Ok(());
    };
    let going_on: BTreeSet<String> = going_on.iter().map(|build| object::id(build)).collect();
    end_kind(
        core,
        within::<Job>(&core.client, &config.namespace),
        &going_on,
    )
    .await?;
    end_kind(
        core,
        within::<Secret>(&core.client, &config.namespace),
        &going_on,
    )
    .await
}

async fn end_kind<K>(
    core: &Core,
    api: Api<K>,
    going_on: &BTreeSet<String>,
) -> Result<(), EngineError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let ours = format!("{PLATFORM}={},{}", core.config.platform, object::BUILD);
    let ours = ListParams::default().labels(&ours);
    for found in api.list_metadata(&ours).await.map_err(engine_error)?.items {
        let meta = found.metadata;
        let Some(id) = label(&meta, object::BUILD) else {
            continue;
        };
        // What was asked for meanwhile goes on too: its Job may have come before the caller's list.
        let stays = going_on.contains(id) || asked(core).contains(id);
        if stays || meta.deletion_timestamp.is_some() {
            continue;
        }
        let kind = K::kind(&());
        tracing::info!(%kind, name = meta.name, "a build that nobody asks for any more ends");
        delete(&api, &meta).await?;
    }
    Ok(())
}
