//! One run of a build: from an upload to a release.
//!
//! Theory of operation: unpack, look what is to be built, build and push, then one write that makes the build
//! succeeded and its image a release. Everything before that write may be lost and done again; everything
//! after it (removing the source, and the tag that was pushed) may be done again or by the sweep. A store that fails ends the
//! run and not the build, which is queued again; a registry that fails is asked again for a bounded time. Whatever ends a
//! run, the folder that the source was unpacked into goes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_builder::{BuildPlan, SourceError};
use coracle_engine::EngineError;
use coracle_engine::build::{BuildEvent, BuildLimits, BuildRequest, BuiltImage, StepState};
use coracle_model::app::AppSpec;
use coracle_model::build::{Build, BuildPhase, BuildSpec, Source};
use coracle_model::name::ImageRef;
use coracle_model::object::Kind;
use coracle_model::plan::builds::BuildId;
use coracle_model::project::ProjectSpec;
use coracle_model::release::{Origin, RunConfig};
use coracle_task::Backoff;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::build_log::{BuildKey, BuildLogWriter};
use crate::controllers::build::{ACTOR, Worker, finish};
use crate::controllers::scene::Scene;
use crate::error::OperationError;
use crate::image::{PushedImage, TagError, pushed_at, pushed_tag};
use crate::keys;
use crate::objects::{Batch, check_not_deleting};
use crate::release::{Draft, number};

/// The pause before a build is queued again for which the store failed.
pub(super) const FAILED_PAUSE: Duration = Duration::from_secs(5);

/// Events of a build that may wait for its log.
const PROGRESS_BUFFER: usize = 256;

/// For the registry to give an image its name, with all tries.
const NAMING: Duration = Duration::from_mins(5);

/// Why a build has no image.
enum Trouble {
    /// In the words of the person who asked.
    Failed(String),
    /// It was ended.
    Ended(String),
    /// The store failed, in which a failure could not be written either: the build is done again.
    Store(OperationError),
}

impl From<OperationError> for Trouble {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Store(_) => Self::Store(error),
            lasting => Self::Failed(lasting.to_string()),
        }
    }
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        let problem = error.to_problem();
        let detail = problem.detail;
        Self::Failed(match problem.hint {
            Some(hint) => format!("{detail}; {hint}"),
            None => detail,
        })
    }
}

/// A folder that goes with its last user.
pub(super) struct WorkDir(pub(super) PathBuf);

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %self.0.display(), %error, "a folder stays until the next start");
        }
    }
}

/// Runs a build that is written down as running, and writes how it ended.
pub(super) async fn run(
    scene: &Scene,
    id: &BuildId,
    build: &Build,
    worker: &Worker,
) -> Result<(), OperationError> {
    let log_key = BuildKey {
        project: id.project.clone(),
        app: id.app.clone(),
        number: id.number,
    };
    let mut log = match scene.control.build_logs.begin(log_key).await {
        Ok(log) => log,
        Err(error) => {
            let reason = format!("its log cannot be written: {error}");
            return finish(scene, id, BuildPhase::Failed, &reason)
                .await
                .map(drop);
        }
    };
    let made = make(scene, id, build, worker, &mut log).await;
    match made {
        Ok((image, config)) => {
            let release = succeed(scene, id, build, &image, config).await?;
            withdraw(scene, id, build, &image).await;
            note(&mut log, Some("done"), &release).await;
        }
        Err(Trouble::Failed(reason)) => {
            note(&mut log, Some("failed"), &reason).await;
            finish(scene, id, BuildPhase::Failed, &reason).await?;
        }
        Err(Trouble::Ended(reason)) => {
            note(&mut log, Some("cancelled"), &reason).await;
            finish(scene, id, BuildPhase::Cancelled, &reason).await?;
        }
        Err(Trouble::Store(error)) => return Err(error),
    }
    remove_upload(scene, build).await;
    Ok(())
}

/// From the upload to the pushed image, and what its manifest says about running it.
async fn make(
    scene: &Scene,
    id: &BuildId,
    build: &Build,
    worker: &Worker,
    log: &mut BuildLogWriter,
) -> Result<(BuiltImage, RunConfig), Trouble> {
    let work = WorkDir(scene.control.settings.work_dir().join(&build.metadata.uid));
    let work_parent = scene.control.settings.work_dir();
    let prepared = async {
        tokio::fs::create_dir_all(&work_parent)
            .await
            .map_err(SourceError::Io)?;
        note(log, None, &unpacking(build)).await;
        unpack(scene, build, &work.0).await
    };
    let plan = match worker.cancel.run_until_cancelled(prepared).await {
        None => return Err(Trouble::Ended(ended(worker))),
        Some(plan) => plan?,
    };
    let config = run_config(build, &plan)?;
    let home = keys::project(&id.project);
    let project = scene
        .control
        .objects
        .need::<ProjectSpec>(&home, &id.project);
    // Told to nobody: the project's id is, also to those who may not see the project any more.
    let cache = scene
        .control
        .vault
        .name("build cache", &project.await?.metadata.uid);
    let request = request(scene, id, build, plan, cache, worker)?;
    let (progress, events) = mpsc::channel(PROGRESS_BUFFER);
    let building = scene.control.engine.build(request, progress);
    let (built, ()) = tokio::join!(building, write_log(log, events));
    // The worker's reason wins: an engine says of a build that was ended only that it was.
    match built {
        _ if worker.cancel.is_cancelled() => Err(Trouble::Ended(ended(worker))),
        Ok(image) => {
            publish(scene, id, build, &image, worker).await?;
            Ok((image, config))
        }
        Err(EngineError::BuildEnded(why)) => {
            Err(Trouble::Failed(format!("the build was ended: {why}")))
        }
        Err(error) => Err(Trouble::Failed(error.to_string())),
    }
}

/// How the image is to be run: as its source says, but for what whoever asked for the build wants otherwise.
fn run_config(build: &Build, plan: &BuildPlan) -> Result<RunConfig, Trouble> {
    let mut config = plan.manifest.run.clone();
    build.spec.config.apply(&mut config);
    let Err(wrong) = config.check() else {
        return Ok(config);
    };
    let all: Vec<_> = wrong
        .iter()
        .map(|value| format!("{}: {}", value.field, value.message))
        .collect();
    Err(Trouble::Failed(all.join("; ")))
}

/// The digest of an image that is named by one.
fn digest(image: &ImageRef) -> Option<&str> {
    image.as_str().split_once('@').map(|(_, digest)| digest)
}

/// Gives the image the build's own name in the registry.
async fn publish(
    scene: &Scene,
    id: &BuildId,
    build: &Build,
    image: &BuiltImage,
    worker: &Worker,
) -> Result<(), Trouble> {
    let (Some(tags), Some(digest)) = (&scene.control.image_tags, digest(&image.reference)) else {
        return Ok(());
    };
    let tag = pushed_tag(build);
    let at = pushed_at(id, &tag);
    let deadline = Instant::now() + NAMING;
    let mut pauses = Backoff::default();
    loop {
        let named = tags.publish(PushedImage { at, digest }, &build.metadata.name);
        let Err(error) = named.await else {
            return Ok(());
        };
        tracing::warn!(build = %build.metadata.uid, error = &error as &dyn std::error::Error, "the image of a build has no name");
        let pause = pauses.next_delay();
        let lasting = matches!(error, TagError::Absent(_));
        if lasting || Instant::now() + pause >= deadline {
            return Err(Trouble::Failed(format!(
                "the image was pushed, but {error}"
            )));
        }
        let paused = tokio::time::sleep(pause);
        if worker.cancel.run_until_cancelled(paused).await.is_none() {
            return Err(Trouble::Ended(ended(worker)));
        }
    }
}

/// Takes the tag away that was pushed, from when on nobody asks for it any more. One that stays goes with the build's record.
async fn withdraw(scene: &Scene, id: &BuildId, build: &Build, image: &BuiltImage) {
    let Some(tags) = &scene.control.image_tags else {
        return;
    };
    let tag = pushed_tag(build);
    let withdrawn = tags.withdraw(pushed_at(id, &tag), digest(&image.reference));
    if let Err(error) = withdrawn.await {
        tracing::warn!(build = %build.metadata.uid, error = &error as &dyn std::error::Error, "the tag that a build pushed stays for the sweep");
    }
}

fn ended(worker: &Worker) -> String {
    worker.reason().unwrap_or_else(|| "it was ended".to_owned())
}

/// What is built, for the log. A commit's words are its author's: the log is text.
fn unpacking(build: &Build) -> String {
    match &build.spec.source {
        Source::Upload { .. } => "unpacking the source".to_owned(),
        Source::Template { template, .. } => format!("unpacking the template {template}"),
        Source::Git(git) => {
            let id: String = git.commit.id.chars().take(12).collect();
            format!("unpacking {} at {id}: {}", git.url, git.commit.subject)
        }
    }
}

async fn unpack(scene: &Scene, build: &Build, dir: &Path) -> Result<BuildPlan, SourceError> {
    let limits = scene.control.settings.source_limits();
    let file = tokio::fs::File::open(scene.control.upload_path(build.spec.source.file()))
        .await
        .map_err(SourceError::Io)?;
    coracle_builder::unpack(file, dir, limits).await?;
    let dir = dir.to_owned();
    let plan = tokio::task::spawn_blocking(move || {
        let plan = coracle_builder::plan(&dir)?;
        coracle_builder::prune(&plan)?;
        Ok(plan)
    });
    match plan.await {
        Ok(plan) => plan,
        Err(panic) => Err(SourceError::Io(std::io::Error::other(panic))),
    }
}

fn request(
    scene: &Scene,
    id: &BuildId,
    build: &Build,
    plan: BuildPlan,
    cache: String,
    worker: &Worker,
) -> Result<BuildRequest, Trouble> {
    let settings = &scene.control.settings;
    let push = settings.build_image(&id.project, build);
    // Opens nothing but this image, and reads of the project's own part of the registry: what is built is somebody's program.
    let pass = scene.control.build_pass(&id.project, build);
    Ok(BuildRequest {
        id: build.metadata.uid.clone(),
        context: plan.context,
        dockerfile: plan.dockerfile,
        push: push.map_err(|error| Trouble::Failed(error.to_string()))?,
        credentials: Some(pass?),
        cache,
        arguments: Vec::new(),
        limits: BuildLimits {
            time: settings.limits.build_time,
            memory_bytes: settings.limits.build_memory_bytes,
        },
        cancel: worker.cancel.clone(),
    })
}

/// Writes what a build tells into its log. A log that cannot be written does not end the build.
async fn write_log(log: &mut BuildLogWriter, mut events: mpsc::Receiver<BuildEvent>) {
    while let Some(event) = events.recv().await {
        let written = match event {
            BuildEvent::Step { id, name, state } => {
                let (state, text) = match state {
                    StepState::Running => ("running", name),
                    StepState::Done { millis } => (
                        "done",
                        format!("{name} ({}.{} s)", millis / 1000, millis % 1000 / 100),
                    ),
                    StepState::Cached => ("cached", name),
                    StepState::Failed(message) => ("failed", format!("{name}: {message}")),
                };
                log.line(Some(&id), Some(state), &text).await
            }
            BuildEvent::Output { id, text } => log.line(Some(&id), None, &text).await,
            BuildEvent::Push { current, total } => {
                let text = match total {
                    Some(total) => format!("{current}/{total}"),
                    None => current.to_string(),
                };
                log.line(Some("push"), Some("running"), &text).await
            }
        };
        if let Err(error) = written {
            tracing::warn!(%error, "a line of a build's log could not be written");
        }
    }
}

async fn note(log: &mut BuildLogWriter, state: Option<&str>, text: &str) {
    if let Err(error) = log.line(None, state, text).await {
        tracing::warn!(%error, "a line of a build's log could not be written");
    }
}

/// The one write of a build's success. Says which release came of it.
async fn succeed(
    scene: &Scene,
    id: &BuildId,
    build: &Build,
    image: &BuiltImage,
    mut config: RunConfig,
) -> Result<String, OperationError> {
    let control = &scene.control;
    let (app_key, build_key) = (
        keys::app(&id.project, &id.app),
        keys::build(&id.project, &id.app, id.number),
    );
    let settings = control.platform_settings().await?;
    settings.spec.defaults.fill(&mut config);
    let release = loop {
        let Some(mut app) = control.objects.get::<AppSpec>(&app_key).await? else {
            return Ok("its app was deleted".to_owned());
        };
        let Some(mut now) = control.objects.get::<BuildSpec>(&build_key).await? else {
            return Ok("its app was deleted".to_owned());
        };
        if check_not_deleting(&app).is_err() || now.metadata.uid != build.metadata.uid {
            finish(scene, id, BuildPhase::Cancelled, "its app was deleted").await?;
            return Ok("its app was deleted".to_owned());
        }
        if now.status.phase.is_final() {
            return Ok("it had ended before".to_owned());
        }
        let (app_revision, build_revision) = (app.metadata.revision, now.metadata.revision);
        let draft = Draft {
            image: image.reference.clone(),
            config: config.clone(),
            origin: Origin::Build { build: id.number },
            created_by: build.spec.created_by.clone(),
            env: None,
        };
        let release = number(&id.project, &id.app, &mut app, draft);
        now.status.phase = BuildPhase::Succeeded;
        now.status.reason = None;
        now.status.image = Some(image.reference.clone());
        now.status.release = Some(release.spec.number);
        now.status.finished = Some(scene.now());
        let at = keys::release(&id.project, &id.app, release.spec.number);
        let batch = Batch::new()
            .update(app_key.clone(), app_revision, &app)?
            .update(build_key.clone(), build_revision, &now)?
            .create(at, &release)?;
        match control.objects.write(batch).await {
            Ok(_) => break release,
            Err(error) if error.is_race() => {}
            Err(error) => return Err(error),
        }
    };
    let object = format!("{}/b{}", id.app, id.number);
    let message = format!("build {} made release {}", id.number, release.spec.number);
    let what = (Kind::Build, object.as_str());
    control
        .journal
        .record(&ACTOR, "build.succeeded", Some(&id.project), what, &message)
        .await;
    Ok(message)
}

/// The source of a build that has ended is needed no more.
pub(super) async fn remove_upload(scene: &Scene, build: &Build) {
    let file = build.spec.source.file();
    match tokio::fs::remove_file(scene.control.upload_path(file)).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "an upload stays for the sweep");
        }
        _ => {}
    }
}

/// Removes what builds of a process before this one unpacked.
pub(super) async fn clear_work_dir(scene: &Scene) {
    match tokio::fs::remove_dir_all(scene.control.settings.work_dir()).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "folders of builds before the start could not be removed");
        }
        _ => {}
    }
}
