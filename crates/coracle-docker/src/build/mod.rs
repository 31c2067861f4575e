//! Builds: from a folder to an image in a registry, by BuildKit in the daemon.
//!
//! Theory of operation: the folder goes up as a stream of tar, so its size costs no memory here. BuildKit's own
//! progress comes back and is told on. Dropping the answer ends the build: that is how it is cancelled and how
//! its time is bounded. The image keeps its tag here after the push, because Docker forgets the digest of a
//! repository along with its last tag, and a deploy of what was just built must not pull it again; whoever sweeps
//! images removes it with [`coracle_engine::Engine::remove_image`]. Every other build on this daemon could name it by that
//! tag, which is why the tag must be one that nobody can foresee.

pub(crate) mod cache;
mod context;
mod memory;
mod progress;
mod push;

use std::collections::HashMap;

use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use bollard::{Docker, body_try_stream};
use coracle_engine::EngineError;
use coracle_engine::build::{BuildEvent, BuildProgress, BuildRequest, BuiltImage};
use coracle_model::quantity::ByteSize;
use futures::StreamExt as _;

use crate::client::{engine_error, status_of, words_of};
use crate::facts::{BUILD, PLATFORM};
use crate::image;
use crate::reference::Reference;
use crate::state::Core;
use progress::Progress;

/// What BuildKit puts before the names of caches that a Dockerfile mounts: it takes this as an argument of a build.
const CACHE_NAMES: &str = "BUILDKIT_CACHE_MOUNT_NS";

pub(crate) async fn build(
    core: &Core,
    request: BuildRequest,
    progress: BuildProgress,
) -> Result<BuiltImage, EngineError> {
    let target = Reference::parse(request.push.as_str());
    if target.host.is_empty() || target.tag.is_none() || target.digest.is_some() {
        return Err(EngineError::Refused(format!(
            "push: {} does not name a registry, a path and a tag",
            request.push
        )));
    }
    let work = async {
        image::former::hidden(core).await?;
        let docker = core.client.docker().await?;
        solve(core, &docker, &request, &progress).await?;
        let reference = push::push(&docker, &request, &progress).await?;
        let found = docker
            .inspect_image(request.push.as_str())
            .await
            .map_err(engine_error)?;
        let ports = image::info(&request.push, &found)?.ports;
        Ok(BuiltImage { reference, ports })
    };
    tokio::select! {
        result = tokio::time::timeout(request.limits.time, work) => {
            result.unwrap_or(Err(EngineError::BuildEnded("its time is over")))
        }
        () = request.cancel.cancelled() => Err(EngineError::BuildEnded("it was cancelled")),
    }
}

/// Has BuildKit make the image and gives it its tag.
async fn solve(
    core: &Core,
    docker: &Docker,
    request: &BuildRequest,
    events: &BuildProgress,
) -> Result<(), EngineError> {
    let mut arguments: HashMap<_, _> = request.arguments.iter().cloned().collect();
    // Without a name before theirs such caches are one for all builds on this daemon that give them the same name.
    arguments.insert(CACHE_NAMES.to_owned(), request.cache.clone());
    let options = BuildImageOptions {
        dockerfile: request.dockerfile.to_string_lossy().into_owned(),
        t: Some(request.push.to_string()),
        buildargs: Some(arguments),
        labels: Some(HashMap::from([
            (PLATFORM.to_owned(), core.config.platform.clone()),
            (BUILD.to_owned(), request.id.clone()),
        ])),
        version: BuilderVersion::BuilderBuildKit,
        session: Some(session_id(&request.id)?),
        ..BuildImageOptions::default()
    };
    let body = body_try_stream(context::stream(
        &core.config.supervisor,
        request.context.clone(),
    ));
    let credentials = request.credentials.as_ref().map(|credentials| {
        let host = Reference::parse(request.push.as_str()).host.to_owned();
        HashMap::from([(host, image::login(credentials))])
    });
    let mut progress = Progress::default();
    let mut memory = memory::Limit::new(docker, request.limits.memory_bytes).await;
    if let Some(words) = memory.words() {
        tell(
            events,
            BuildEvent::Output {
                id: "memory".to_owned(),
                text: words,
            },
        )
        .await;
    }
    let mut answer = docker.build_image(options, credentials, Some(body));
    loop {
        let next = tokio::select! {
            next = answer.next() => next,
            () = memory.watch(progress.commands_running()) => continue,
        };
        match next {
            Some(Ok(BuildInfo {
                aux: Some(BuildInfoAux::BuildKit(status)),
                ..
            })) => {
                for event in progress.take(status) {
                    tell(events, event).await;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                for event in progress.rest() {
                    tell(events, event).await;
                }
                return Err(failure(request, &progress, error).await);
            }
            None => break,
        }
    }
    for event in progress.rest() {
        tell(events, event).await;
    }
    Ok(())
}

/// Nobody who reads is no reason not to build.
async fn tell(events: &BuildProgress, event: BuildEvent) {
    if events.send(event).await.is_err() {
        tracing::trace!("nobody reads the build's progress");
    }
}

/// Two builds must not have the same session, even if they are tries of the same build.
fn session_id(build: &str) -> Result<String, EngineError> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| EngineError::Failed {
        message: format!("no random numbers: {error}"),
        source: None,
    })?;
    let plain: String = build
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(32)
        .collect();
    Ok(format!("coracle{plain}{}", hex::encode(random)))
}

async fn failure(
    request: &BuildRequest,
    progress: &Progress,
    error: bollard::errors::Error,
) -> EngineError {
    let said = status_of(&error).is_some()
        || matches!(error, bollard::errors::Error::DockerStreamError { .. });
    let words = words_of(&error);
    if !said || words.contains("no space left on device") {
        return engine_error(error);
    }
    let mut message = progress::plain(&words);
    if message.contains("exit code: 137") {
        message.push_str(&format!(
            "\nThe command was killed: it probably used more than the {} of memory that a build may use.",
            ByteSize(request.limits.memory_bytes)
        ));
    }
    if let Some(number) = progress::line_number(&message)
        && let Some(line) = dockerfile_line(request, number).await
    {
        message.push_str(&format!("\n{number:>4} | {line}"));
    } else {
        for line in progress.last_lines() {
            message.push('\n');
            message.push_str(line);
        }
    }
    EngineError::BuildFailed(message)
}

async fn dockerfile_line(request: &BuildRequest, number: usize) -> Option<String> {
    /// A Dockerfile that is larger shows no line.
    const MOST: u64 = 1 << 20;
    let path = request.context.join(&request.dockerfile);
    let size = tokio::fs::metadata(&path).await.ok()?.len();
    if size > MOST {
        return None;
    }
    let text = tokio::fs::read_to_string(&path).await.ok()?;
    let line = text.lines().nth(number.checked_sub(1)?)?;
    Some(line.chars().take(200).collect())
}
