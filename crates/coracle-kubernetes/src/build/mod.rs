//! Builds: from a folder to an image in a registry, by a Job on the cluster.
//!
//! Theory of operation: a build is one Job under the build's own name, so that whoever asks for the build again (a
//! control plane that was killed meanwhile) finds it and goes on with it: its log is told from the start, its source laid
//! out under the same ticket. A pod that is lost is replaced, by the Job or by another Job, and its source laid out again. The
//! Job goes when the build has ended, whatever its end is; only a caller that vanishes leaves it. The digest of what came
//! out is asked of the registry, never read from a log.

mod begin;
pub mod config;
mod end;
mod follow;
mod lines;
mod object;
mod progress;
#[cfg(test)]
mod simulation;
mod status;
#[cfg(test)]
mod tests;
mod tool;
mod view;

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_engine::build::{BuildProgress, BuildRequest, BuiltImage};
use coracle_engine::desk::LaidSource;
use coracle_engine::{EngineError, ImageInfo};
use kube::ResourceExt as _;
use tokio::time::Instant;

use crate::image;
use crate::state::Core;
use begin::{Begin, Begun};
use config::BuildConfig;
use follow::{Followed, Follower, Restarts};

pub(crate) use end::end_except;

/// So often a registry is asked that says it has nothing of what a build pushed, …
const ASKED: u32 = 5;
/// … for so long one that says nothing, …
const SILENT: Duration = Duration::from_mins(3);
/// … with this pause.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

fn configured(core: &Core) -> Result<&BuildConfig, EngineError> {
    let build = core.config.build.as_ref();
    build.ok_or(EngineError::Unsupported(
        "builds on the cluster are not set up: --build-source-image, --build-control and --build-registry do that",
    ))
}

/// What is known of the Job of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    /// Nothing: none was found, none was asked for.
    Nothing,
    /// One was asked for, and what came of that is not known.
    Asked,
    /// The one with this uid.
    Job(String),
}

fn failed(message: impl Into<String>) -> EngineError {
    EngineError::Failed {
        message: message.into(),
        source: None,
    }
}

/// Builds that are asked for just now.
fn asked(core: &Core) -> MutexGuard<'_, BTreeSet<String>> {
    core.builds_asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Remembers that a build is asked for, until this is dropped.
struct Asked<'a> {
    core: &'a Core,
    id: String,
}

impl<'a> Asked<'a> {
    fn now(core: &'a Core, id: String) -> Self {
        asked(core).insert(id.clone());
        Self { core, id }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        asked(self.core).remove(&self.id);
    }
}

/// Builds, or goes on with a build of a life before.
pub(crate) async fn build(
    core: &Arc<Core>,
    request: BuildRequest,
    progress: BuildProgress,
) -> Result<BuiltImage, EngineError> {
    let config = configured(core)?;
    let asked = Asked::now(core, object::id(&request.id));
    let mut begin = Begin::new(core, config, &request);
    let work = Box::pin(work(core, config, &request, &mut begin, &progress));
    let result = tokio::select! {
        result = tokio::time::timeout(request.limits.time, work) => {
            result.unwrap_or(Err(EngineError::BuildEnded("its time is over")))
        }
        () = request.cancel.cancelled() => Err(EngineError::BuildEnded("it was cancelled")),
    };
    end::end(core, config, begin.held(), asked).await;
    result
}

/// From the Job to the image.
async fn work(
    core: &Arc<Core>,
    config: &BuildConfig,
    request: &BuildRequest,
    begin: &mut Begin<'_>,
    events: &BuildProgress,
) -> Result<BuiltImage, EngineError> {
    let source = LaidSource {
        context: request.context.clone(),
        dockerfile: request.dockerfile.clone(),
    };
    let mut restarts = Restarts::default();
    let mut over = None;
    loop {
        let (job, ticket) = match begin.job(over.as_deref()).await? {
            Begun::Job(job, ticket) => (job, ticket),
            Begun::Pushed(image) => return Ok(built(image)),
        };
        let laid = config.desk.lay_out(&ticket, source.clone());
        let follower = Follower {
            core,
            config,
            request,
            job: &job,
            laid: &laid,
            events,
        };
        match Box::pin(follower.follow(&mut restarts)).await? {
            Followed::Done => break,
            Followed::Lost(why) => restarts.one_more(&why, events).await?,
        }
        over = job.uid();
    }
    pushed(core, request).await
}

/// What the registry has by now. It may be just about to begin, like the control plane that asks.
async fn pushed(core: &Core, request: &BuildRequest) -> Result<BuiltImage, EngineError> {
    let patience = Instant::now() + SILENT;
    let mut tries = 1;
    loop {
        let found = image::ask_registry(core, &request.push, request.credentials.as_ref()).await;
        let error = match found {
            Ok(found) => return Ok(built(found)),
            Err(error) => error,
        };
        if !error.is_passing() {
            tries += 1;
        }
        if tries > ASKED || Instant::now() >= patience {
            return Err(error);
        }
        tracing::debug!(%error, "the registry has no image of a build yet");
        tokio::time::sleep(ASKED_AGAIN).await;
    }
}

fn built(image: ImageInfo) -> BuiltImage {
    BuiltImage {
        reference: image.pinned,
        ports: image.ports,
    }
}
