//! Builds: from a folder to an image in a registry, by a Job on the cluster.
//!
//! Theory of operation: a build is one Job under the build's own name, so that whoever asks for the build again (a
//! control plane that was killed meanwhile) finds it and goes on with it: its log is told from the start, its source laid
//! out under the same ticket. A pod that is lost is replaced by the Job, and its source laid out again. The Job goes
//! when the build has ended, whatever its end is; only a caller that vanishes leaves it. The digest of what came out is
//! asked of the registry, never read from a log.

pub mod config;
mod follow;
mod object;
mod progress;
mod status;
#[cfg(test)]
mod tests;
mod tool;

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_engine::EngineError;
use coracle_engine::build::{BuildProgress, BuildRequest, BuiltImage};
use coracle_engine::desk::LaidSource;
use coracle_model::env::Secret as Hidden;
use coracle_task::Backoff;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, ResourceExt as _};

use crate::client::{apply, apply_own, engine_error, foreign, ignore_missing, own, within};
use crate::facts::{MANAGER, PLATFORM, is_ours, label};
use crate::image;
use crate::state::Core;
use config::BuildConfig;

/// For a Job that is being removed to be gone.
const GONE: Duration = Duration::from_mins(1);
/// For a Job to be made, a Job that is in its way to be gone before.
const BEGIN: Duration = Duration::from_secs(90);
/// For the removal of a Job, before it goes on behind the caller's back.
const REMOVAL: Duration = Duration::from_secs(5);
/// Tries to remove a Job; what is left then goes with the next start, or by the cluster's own clock.
const REMOVALS: u32 = 30;
/// Bytes of a ticket before they are written as text.
const TICKET_BYTES: usize = 32;

fn configured(core: &Core) -> Result<&BuildConfig, EngineError> {
    let build = core.config.build.as_ref();
    build.ok_or(EngineError::Unsupported(
        "builds on the cluster are not set up: --build-source-image, --build-control and --build-registry do that",
    ))
}

fn asked(core: &Core) -> MutexGuard<'_, BTreeSet<String>> {
    core.builds_asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn failed(message: impl Into<String>) -> EngineError {
    EngineError::Failed {
        message: message.into(),
        source: None,
    }
}

/// One build that is asked for.
struct Build<'a> {
    core: &'a Arc<Core>,
    config: &'a BuildConfig,
    request: &'a BuildRequest,
    name: String,
    jobs: Api<Job>,
    secrets: Api<Secret>,
}

/// Builds, or goes on with a build of a life before.
pub(crate) async fn build(
    core: &Arc<Core>,
    request: BuildRequest,
    progress: BuildProgress,
) -> Result<BuiltImage, EngineError> {
    let config = configured(core)?;
    asked(core).insert(object::id(&request.id));
    let build = Build {
        core,
        config,
        request: &request,
        name: object::name(&request.id),
        jobs: within(&core.client, &config.namespace),
        secrets: within(&core.client, &config.namespace),
    };
    let result = Box::pin(build.run(&progress)).await;
    build.end().await;
    asked(core).remove(&object::id(&request.id));
    result
}

impl Build<'_> {
    /// From the Job to the image.
    async fn run(&self, progress: &BuildProgress) -> Result<BuiltImage, EngineError> {
        let (core, config, request) = (self.core, self.config, self.request);
        // Not cut short by a cancellation: what the API server was asked for may be made after its removal then.
        let begun = tokio::time::timeout(BEGIN, Box::pin(self.begin())).await;
        let begun = begun.unwrap_or_else(|_elapsed| {
            let message = format!("the cluster did not take the build's job within {BEGIN:?}");
            Err(failed(message))
        });
        if begun.is_err() {
            // Perhaps because somebody removed the namespace.
            *core.builds_made.lock().await = false;
        }
        let (job, ticket) = begun?;
        let source = LaidSource {
            context: request.context.clone(),
            dockerfile: request.dockerfile.clone(),
        };
        let laid = config.desk.lay_out(&ticket, source);
        let work = async {
            Box::pin(follow::follow(core, config, request, &job, &laid, progress)).await?;
            image::ask_registry(core, &request.push, request.credentials.as_ref()).await
        };
        let found = tokio::select! {
            found = tokio::time::timeout(request.limits.time, work) => {
                found.unwrap_or(Err(EngineError::BuildEnded("its time is over")))?
            }
            () = request.cancel.cancelled() => {
                return Err(EngineError::BuildEnded("it was cancelled"));
            }
        };
        Ok(BuiltImage {
            reference: found.pinned,
            ports: found.ports,
        })
    }

    /// The Job and its ticket: as they are, or made.
    async fn begin(&self) -> Result<(Job, Hidden), EngineError> {
        ensure_namespace(self.core, self.config).await?;
        if let Some(found) = self.jobs.get_opt(&self.name).await.map_err(engine_error)? {
            if !is_ours(&found.metadata, &self.core.config.platform) {
                return Err(foreign::<Job>(Some(&self.config.namespace), &self.name));
            }
            if found.metadata.deletion_timestamp.is_none()
                && let Some(ticket) = self.ticket().await?
            {
                tracing::info!(job = self.name, "a build goes on");
                return Ok((found, ticket));
            }
            // On its way out, or without what it needs.
            remove(&self.jobs, &self.name).await?;
            self.until_gone(&found).await?;
        }
        let mut random = [0_u8; TICKET_BYTES];
        getrandom::fill(&mut random)
            .map_err(|error| failed(format!("no random numbers: {error}")))?;
        let ticket = Hidden::new(hex::encode(random));
        let core = &self.core.config;
        let secret = object::secret(core, self.config, self.request, &ticket);
        apply_own(&self.secrets, &core.platform, &self.name, &secret).await?;
        let job = object::job(core, self.config, self.request);
        let job: Job = serde_json::from_value(job)
            .map_err(|error| failed(format!("a Job cannot be written: {error}")))?;
        // Not by server-side apply: fields that an old cluster does not know would be an error there.
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let job = self
            .jobs
            .create(&parameters, &job)
            .await
            .map_err(engine_error)?;
        own(&self.secrets, &self.name, &job).await?;
        Ok((job, ticket))
    }

    async fn ticket(&self) -> Result<Option<Hidden>, EngineError> {
        let secret = self
            .secrets
            .get_opt(&self.name)
            .await
            .map_err(engine_error)?;
        let data = secret.and_then(|secret| secret.data);
        let ticket = data.and_then(|mut data| data.remove(object::TICKET));
        Ok(ticket
            .and_then(|bytes| String::from_utf8(bytes.0).ok())
            .map(Hidden::new))
    }

    async fn until_gone(&self, job: &Job) -> Result<(), EngineError> {
        let uid = job.uid().unwrap_or_default();
        let gone = await_condition(self.jobs.clone(), &self.name, conditions::is_deleted(&uid));
        match tokio::time::timeout(GONE, gone).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failed(format!(
                "the job of a build before is not gone: {error}"
            ))),
            Err(_elapsed) => Err(failed("the job of a build before does not go")),
        }
    }

    /// Takes the Job and all that belongs to it away. What cannot be done at once is done behind the caller's back.
    async fn end(&self) {
        if let Ok(Ok(())) = tokio::time::timeout(REMOVAL, self.remove_all()).await {
            return;
        }
        let (jobs, secrets) = (self.jobs.clone(), self.secrets.clone());
        let name = self.name.clone();
        self.core.config.supervisor.spawn("kubernetes-build-end", async move {
            let mut pauses = Backoff::default();
            for _ in 0..REMOVALS {
                tokio::time::sleep(pauses.next_delay()).await;
                let both = async {
                    remove(&jobs, &name).await?;
                    remove_secret(&secrets, &name).await
                };
                match both.await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(job = name, %error, "the job of a build that has ended is not removed yet"),
                }
            }
        });
    }

    async fn remove_all(&self) -> Result<(), EngineError> {
        remove(&self.jobs, &self.name).await?;
        // It goes with the Job; one that was never the Job's own goes here.
        remove_secret(&self.secrets, &self.name).await
    }
}

async fn remove(jobs: &Api<Job>, name: &str) -> Result<(), EngineError> {
    ignore_missing(jobs.delete(name, &DeleteParams::background()).await)
}

async fn remove_secret(secrets: &Api<Secret>, name: &str) -> Result<(), EngineError> {
    ignore_missing(secrets.delete(name, &DeleteParams::default()).await)
}

/// Makes sure that there is a namespace for builds.
async fn ensure_namespace(core: &Arc<Core>, config: &BuildConfig) -> Result<(), EngineError> {
    let mut made = core.builds_made.lock().await;
    if *made {
        return Ok(());
    }
    let platform = &core.config.platform;
    let namespaces: Api<Namespace> = Api::all(core.client.clone());
    let name = &config.namespace;
    match namespaces.get_opt(name).await.map_err(engine_error)? {
        Some(found) if !is_ours(&found.metadata, platform) => {
            return Err(foreign::<Namespace>(None, name));
        }
        Some(_) => {}
        None => {
            let wish = object::namespace(&core.config, config);
            match apply::<Namespace>(&namespaces, name, &wish).await {
                Ok(_) => {}
                Err(EngineError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let policies: Api<NetworkPolicy> = within(&core.client, name);
    let wish = object::network_policy(&core.config);
    apply_own(&policies, platform, object::NETWORK_POLICY, &wish).await?;
    *made = true;
    Ok(())
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
    let ours = format!("{PLATFORM}={},{}", core.config.platform, object::BUILD);
    let ours = ListParams::default().labels(&ours);
    // What was asked for meanwhile goes on too: its Job may have come before the caller's list.
    let asked = |id: &str| asked(core).contains(id);
    let over = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        let id = label(meta, object::BUILD);
        meta.deletion_timestamp.is_none()
            && id.is_some_and(|id| !going_on.contains(id) && !asked(id))
    };
    let jobs: Api<Job> = within(&core.client, &config.namespace);
    for job in jobs.list_metadata(&ours).await.map_err(engine_error)?.items {
        if over(&job.metadata) {
            tracing::info!(
                job = job.name_any(),
                "a build that nobody asks for any more ends"
            );
            remove(&jobs, &job.name_any()).await?;
        }
    }
    let secrets: Api<Secret> = within(&core.client, &config.namespace);
    for secret in secrets
        .list_metadata(&ours)
        .await
        .map_err(engine_error)?
        .items
    {
        if over(&secret.metadata) {
            remove_secret(&secrets, &secret.name_any()).await?;
        }
    }
    Ok(())
}
