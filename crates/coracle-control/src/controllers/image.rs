//! Which image exactly a release runs, and what a pod said last.
//!
//! Theory of operation: fetching an image may take minutes, so it is a task beside the runs, at most one for
//! each release. Its result is one write to the release's status. When the process ends meanwhile, the release
//! still has no image, and the next plan asks for it again. What may pass (an engine that does not answer) is
//! tried again for a bounded time; what will not pass fails the release.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_engine::stream::{Follow, LogRequest};
use coracle_engine::{Engine, EngineError, ImageInfo};
use coracle_model::build::Build;
use coracle_model::name::ImageRef;
use coracle_model::plan::rollout::ReleaseChange;
use coracle_model::release::{PinnedImage, Release, ReleaseNumber, ReleasePhase, ReleaseSpec};
use coracle_model::workload::PodId;
use coracle_task::Backoff;
use futures::StreamExt as _;

use crate::controllers::key::AppKey;
use crate::controllers::release_status::set_release;
use crate::controllers::runner::Kick;
use crate::controllers::scene::Scene;
use crate::error::OperationError;
use crate::keys;

/// Lines of a pod at fault that go into a release's status, and the most bytes of each.
const LOG_LINES: u32 = 20;
const LINE_BYTES: usize = 1000;

/// The most time to read them: a failure is told with or without its log.
const LOG_TIME: Duration = Duration::from_secs(5);

type Fetching = Arc<Mutex<BTreeSet<(AppKey, ReleaseNumber)>>>;

/// Fetches images of releases.
pub struct Images {
    scene: Arc<Scene>,
    kick: Kick<AppKey>,
    fetching: Fetching,
}

/// A release whose image is being fetched; the end of this is the end of that.
struct Fetch {
    fetching: Fetching,
    kick: Kick<AppKey>,
    what: (AppKey, ReleaseNumber),
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.remove(&self.what);
        drop(fetching);
        self.kick.kick(self.what.0.clone());
    }
}

impl Images {
    pub(super) fn new(scene: Arc<Scene>, kick: Kick<AppKey>) -> Self {
        Self {
            scene,
            kick,
            fetching: Fetching::default(),
        }
    }

    /// Begins to find out, unless that is going on.
    pub(super) fn resolve(&self, key: &AppKey, release: ReleaseNumber) {
        let what = (key.clone(), release);
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        if !fetching.insert(what.clone()) {
            return;
        }
        drop(fetching);
        let fetch = Fetch {
            fetching: Arc::clone(&self.fetching),
            kick: self.kick.clone(),
            what,
        };
        let scene = Arc::clone(&self.scene);
        self.scene.supervisor.spawn("fetch image", async move {
            let (key, release) = &fetch.what;
            if let Err(error) = resolve(&scene, key, *release).await {
                tracing::warn!(app = %key, %release, %error, "the image could not be pinned; it is tried again");
                // The rescan tries again; at once would be a storm when the store fails.
                tokio::time::sleep(FAILED_PAUSE).await;
            }
        });
    }

    /// Takes the images of releases that are about to go out of the engine's cache, as far as they are the
    /// platform's own. What cannot be removed now is no reason to keep an app.
    pub(super) async fn forget(&self, key: &AppKey, releases: &[Release], builds: &[Build]) {
        let pinned = releases
            .iter()
            .filter_map(|release| release.status.image.as_ref());
        let mut images: BTreeSet<_> = pinned.map(|image| image.reference.clone()).collect();
        for build in builds {
            images.extend(build.status.image.clone());
            // What was built but never released, or not even noted, has no more than the name it was pushed by.
            let settings = &self.scene.control.settings;
            images.extend(settings.build_image(&key.project, build));
        }
        for image in &images {
            if !is_own(&self.scene, image) {
                continue;
            }
            if let Err(error) = self.scene.control.engine.remove_image(image).await {
                tracing::warn!(app = %key, %image, %error, "an image stays in the engine's cache");
            }
        }
    }
}

/// The pause after a failure of the store.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// Is an image one that the platform built? Others may be somebody else's too, and are left alone.
pub(super) fn is_own(scene: &Scene, image: &ImageRef) -> bool {
    let registry = image
        .as_str()
        .strip_prefix(scene.control.settings.registry_host.as_str());
    registry.is_some_and(|rest| rest.starts_with('/'))
}

async fn resolve(scene: &Scene, key: &AppKey, number: ReleaseNumber) -> Result<(), OperationError> {
    let at = keys::release(&key.project, &key.app, number);
    let until = tokio::time::Instant::now() + scene.options.image;
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        let release = scene
            .control
            .objects
            .need::<ReleaseSpec>(&at, number)
            .await?;
        if release.status.phase != ReleasePhase::Deploying || release.status.image.is_some() {
            return Ok(());
        }
        let image = &release.spec.image;
        let login = if is_own(scene, image) {
            Some(scene.control.registry_login(&key.project).await?)
        } else {
            scene.control.login_for(image).await?
        };
        let fetch = scene.control.engine.resolve_image(image, login.as_ref());
        let outcome = tokio::time::timeout_at(until, fetch).await;
        let error = match outcome {
            Ok(Ok(info)) => return pin(scene, &at, number, info).await,
            Ok(Err(error)) => error,
            Err(_elapsed) => {
                let reason = format!(
                    "it was not there within {} s",
                    scene.options.image.as_secs()
                );
                let image = image.to_string();
                EngineError::ImageUnavailable { image, reason }
            }
        };
        let pause = backoff.next_delay();
        if error.is_passing() && tokio::time::Instant::now() + pause < until {
            tracing::info!(app = %key, release = %number, %error, "fetching the image is tried again");
            wait_for(scene, &at, number, &error).await?;
            tokio::time::sleep(pause).await;
            continue;
        }
        let change = ReleaseChange::Failed {
            reason: error.to_string(),
            log_from: None,
        };
        return set_release(scene, key, number, &change, Vec::new()).await;
    }
}

/// Says on the release what it waits for.
async fn wait_for(
    scene: &Scene,
    at: &str,
    number: ReleaseNumber,
    error: &EngineError,
) -> Result<(), OperationError> {
    let reason = error.to_string();
    let change = |release: &mut Release| {
        let status = &mut release.status;
        if status.phase == ReleasePhase::Deploying && status.image.is_none() {
            status.reason = Some(reason.clone());
        }
        Ok(())
    };
    let objects = &scene.control.objects;
    let changed = objects.modify::<ReleaseSpec>(at, number, change).await;
    changed.map(drop)
}

async fn pin(
    scene: &Scene,
    at: &str,
    number: ReleaseNumber,
    info: ImageInfo,
) -> Result<(), OperationError> {
    let now = scene.now();
    let change = |release: &mut Release| {
        let status = &mut release.status;
        if status.phase == ReleasePhase::Deploying && status.image.is_none() {
            // What it waited for.
            status.reason = None;
            status.image = Some(PinnedImage {
                reference: info.pinned.clone(),
                ports: info.ports.clone(),
            });
            if release.spec.config.release_command.is_none() {
                ReleaseChange::Prepared.apply(status, Vec::new(), now);
            }
        }
        Ok(())
    };
    scene
        .control
        .objects
        .modify::<ReleaseSpec>(at, number, change)
        .await
        .map(drop)
}

/// The last lines of a pod's log, as far as they can be had in a short time.
pub(super) async fn tail(engine: &dyn Engine, pod: &PodId) -> Vec<String> {
    let request = LogRequest {
        tail: Some(LOG_LINES),
        since: None,
        follow: Follow::No,
    };
    let mut lines = Vec::new();
    let read = async {
        let mut stream = engine.logs(pod, request).await?;
        while let Some(line) = stream.next().await {
            let mut text = line?.text;
            let mut end = text.len().min(LINE_BYTES);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            lines.push(text);
        }
        Ok::<_, EngineError>(())
    };
    match tokio::time::timeout(LOG_TIME, read).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%pod, %error, "the log of a pod at fault cannot be read"),
        Err(_elapsed) => tracing::warn!(%pod, "the log of a pod at fault is not read in time"),
    }
    let most = LOG_LINES as usize;
    lines.split_off(lines.len().saturating_sub(most))
}
