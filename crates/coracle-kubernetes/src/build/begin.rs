//! From the wish for a build to its Job and the Secret that belongs to it: as they are, or made.
//!
//! Theory of operation: what goes wrong for a moment (an API server that is away or busy, a Job that is still on its way out)
//! is tried again for a bounded time, or a control plane that takes over in a bad moment would end a build that goes well. No
//! Job is made of a build whose image is in the registry already. The Secret is made before the Job and goes with it. What belonged to a Job before is never used again: the cluster
//! removes it whenever it gets to that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coracle_engine::build::BuildRequest;
use coracle_engine::{EngineError, ImageInfo};
use coracle_model::env::Secret as Hidden;
use coracle_task::Backoff;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::config::BuildConfig;
use super::end::{delete, is_of_build};
use super::{Held, failed, object};
use crate::client::{apply, apply_own, engine_error, foreign, own, within};
use crate::facts::{MANAGER, annotation, is_ours};
use crate::image;
use crate::state::Core;

/// For a Job to be made or found, with all tries. An API server that is replaced is back before.
const BEGIN: Duration = Duration::from_mins(3);
/// Between two tries, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Bytes of a ticket before they are written as text.
const TICKET_BYTES: usize = 32;

/// What a build goes on with.
pub(super) enum Begun {
    /// Its Job, and the ticket for its source.
    Job(Box<Job>, Hidden),
    /// Nothing is left to do: the registry has its image.
    Pushed(ImageInfo),
}

/// What a try brought.
enum Try {
    Begun(Begun),
    /// What is in the way is going.
    Going,
}

/// Finds or makes a build's Job.
pub(super) struct Begin<'a> {
    core: &'a Arc<Core>,
    config: &'a BuildConfig,
    request: &'a BuildRequest,
    name: String,
    jobs: Api<Job>,
    secrets: Api<Secret>,
    held: Held,
}

impl<'a> Begin<'a> {
    pub(super) fn new(
        core: &'a Arc<Core>,
        config: &'a BuildConfig,
        request: &'a BuildRequest,
    ) -> Self {
        Self {
            core,
            config,
            request,
            name: object::name(&request.id),
            jobs: within(&core.client, &config.namespace),
            secrets: within(&core.client, &config.namespace),
            held: Held::Nothing,
        }
    }

    pub(super) fn held(self) -> Held {
        self.held
    }

    /// The Job and its ticket: as they are, unless it is the one that is `over`, or made, unless the image is there.
    pub(super) async fn job(&mut self, over: Option<&str>) -> Result<Begun, EngineError> {
        let deadline = Instant::now() + BEGIN;
        let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let tried = tokio::time::timeout_at(deadline, Box::pin(self.once(over))).await;
            let error = match tried {
                Ok(Ok(Try::Begun(begun))) => return Ok(begun),
                Ok(Ok(Try::Going)) => failed("the job of a build before does not go"),
                Ok(Err(error)) => error,
                Err(_elapsed) => failed("the cluster does not answer"),
            };
            // Perhaps because somebody removed the namespace.
            self.core.builds_made.store(false, Ordering::Relaxed);
            if !(error.is_passing() || is_namespace_ending(&error)) {
                return Err(error);
            }
            let pause = pauses.next_delay();
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::info!(job = self.name, %error, "the job of a build cannot be had just now");
            tokio::time::sleep(pause).await;
        }
    }

    async fn once(&mut self, over: Option<&str>) -> Result<Try, EngineError> {
        ensure_namespace(self.core, self.config).await?;
        if let Some(job) = self.jobs.get_opt(&self.name).await.map_err(engine_error)? {
            return self.found(job, over).await;
        }
        // Nobody else pushes under this name: a life before came that far, and only its word got lost.
        let request = self.request;
        match image::ask_registry(self.core, &request.push, request.credentials.as_ref()).await {
            Ok(image) => {
                tracing::info!(job = self.name, "the image of a build is pushed already");
                return Ok(Try::Begun(Begun::Pushed(image)));
            }
            Err(EngineError::ImageUnavailable { .. }) => {}
            Err(error) => return Err(error),
        }
        let Some((ticket, secret)) = self.secret().await? else {
            return Ok(Try::Going);
        };
        self.held = Held::Asked;
        let wish = object::job(&self.core.config, self.config, self.request);
        let job = create(&self.jobs, wish).await?;
        self.held = Held::Job(job.uid().unwrap_or_default());
        self.give(&secret, &job).await?;
        Ok(Try::Begun(Begun::Job(Box::new(job), ticket)))
    }

    /// There is a Job.
    async fn found(&mut self, job: Job, over: Option<&str>) -> Result<Try, EngineError> {
        if !is_of_build(&job.metadata, self.core, &self.request.id) {
            return Err(foreign::<Job>(Some(&self.config.namespace), &self.name));
        }
        let uid = job.uid().unwrap_or_default();
        self.held = Held::Job(uid.clone());
        // A release before may have had it push elsewhere, where nobody looks.
        let pushes = annotation(&job.metadata, object::IMAGE) == Some(self.request.push.as_str());
        let goes_on = job.metadata.deletion_timestamp.is_none() && over != Some(uid.as_str());
        if goes_on && pushes {
            let secret = self.secrets.get_opt(&self.name).await;
            let secret = secret.map_err(engine_error)?;
            let mine = |secret: &Secret| {
                let owners = secret.owner_references();
                owners.is_empty() || owners.iter().any(|owner| owner.uid == uid)
            };
            if let Some(secret) = secret.filter(mine)
                && let Some(ticket) = ticket(&secret)
            {
                self.give(&secret, &job).await?;
                tracing::info!(job = self.name, "a build goes on");
                return Ok(Try::Begun(Begun::Job(Box::new(job), ticket)));
            }
        }
        // Over, on its way out, for another name, or without what it needs.
        delete(&self.jobs, &job.metadata).await?;
        Ok(Try::Going)
    }

    /// A Secret that belongs to no Job yet, and its ticket. Nothing while one of a Job before is there.
    async fn secret(&self) -> Result<Option<(Hidden, Secret)>, EngineError> {
        let found = self.secrets.get_opt(&self.name).await;
        if let Some(secret) = found.map_err(engine_error)? {
            if !is_of_build(&secret.metadata, self.core, &self.request.id) {
                return Err(foreign::<Secret>(Some(&self.config.namespace), &self.name));
            }
            let free = secret.metadata.deletion_timestamp.is_none()
                && secret.owner_references().is_empty();
            // Of a try whose Job was not made, or will yet be: that one has this very ticket.
            if let Some(ticket) = ticket(&secret).filter(|_| free) {
                return Ok(Some((ticket, secret)));
            }
            delete(&self.secrets, &secret.metadata).await?;
            return Ok(None);
        }
        let mut random = [0_u8; TICKET_BYTES];
        getrandom::fill(&mut random)
            .map_err(|error| failed(format!("no random numbers: {error}")))?;
        let ticket = Hidden::new(hex::encode(random));
        let wish = object::secret(&self.core.config, self.config, self.request, &ticket);
        let secret = create(&self.secrets, wish).await?;
        Ok(Some((ticket, secret)))
    }

    /// The Secret goes with the Job.
    async fn give(&self, secret: &Secret, job: &Job) -> Result<(), EngineError> {
        if !secret.owner_references().is_empty() {
            return Ok(());
        }
        own(&self.secrets, &self.name, job).await
    }
}

/// Does an answer say that the namespace is on its way out? It is made again when it is gone.
fn is_namespace_ending(error: &EngineError) -> bool {
    matches!(error, EngineError::Refused(words) if words.contains("being terminated"))
}

fn ticket(secret: &Secret) -> Option<Hidden> {
    let bytes = secret.data.as_ref()?.get(object::TICKET)?;
    String::from_utf8(bytes.0.clone()).ok().map(Hidden::new)
}

/// Makes an object. Not by server-side apply: fields that an old cluster does not know would be an error there.
async fn create<K>(api: &Api<K>, wish: Value) -> Result<K, EngineError>
where
    K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let object = serde_json::from_value(wish)
        .map_err(|error| failed(format!("an object of a build cannot be written: {error}")))?;
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let created = api.create(&parameters, &object).await;
    created.map_err(engine_error)
}

/// Makes sure that there is a namespace for builds, and that its pods reach no more than they may.
async fn ensure_namespace(core: &Arc<Core>, config: &BuildConfig) -> Result<(), EngineError> {
    if core.builds_made.load(Ordering::Relaxed) {
        return Ok(());
    }
    let platform = &core.config.platform;
    let namespaces: Api<Namespace> = Api::all(core.client.clone());
    let name = &config.namespace;
    match namespaces.get_opt(name).await.map_err(engine_error)? {
        Some(found) if !is_ours(&found.metadata, platform) => {
            return Err(foreign::<Namespace>(None, name));
        }
        Some(found) if found.metadata.deletion_timestamp.is_some() => {
            return Err(failed(format!(
                "namespace {name} is being deleted, and is made again when it is gone: see its conditions"
            )));
        }
        Some(_) => {}
        None => {
            let wish = object::namespace(&core.config, config);
            match apply::<Namespace>(&namespaces, name, &wish).await {
                Ok(_) | Err(EngineError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let policies: Api<NetworkPolicy> = within(&core.client, name);
    let wish = object::network_policy(&core.config);
    apply_own(&policies, platform, object::NETWORK_POLICY, &wish).await?;
    core.builds_made.store(true, Ordering::Relaxed);
    Ok(())
}
