//! Builds: does what `plan::builds` says about the queue.
//!
//! Theory of operation: the queue is in the store; who works at a build is known in this process only. Every
//! build is looked at in one run, since they take turns. A build is first written down as running, then begun;
//! a process that ends in between, or later, leaves a build that says `running` without anybody working at it,
//! and the next process queues it again. The result of a build (its state, the new release and the app's
//! counter of releases) is one write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use coracle_model::app::AppSpec;
use coracle_model::build::{Build, BuildPhase, BuildSpec};
use coracle_model::name::ProjectName;
use coracle_model::object::Kind;
use coracle_model::plan::builds::{self, Action, BuildId, Facts, Owner, Runner, Upload};
use coracle_task::{Backoff, CancellationToken};
use tokio_util::sync::DropGuard;

use crate::controllers::build_run;
use crate::controllers::change::Change;
use crate::controllers::key::Everything;
use crate::controllers::runner::{Kick, Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;

/// Who did it, in the journal.
pub(super) const ACTOR: Actor = Actor::Platform("build controller");

/// A build that somebody works at.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    /// Ends the work.
    pub cancel: CancellationToken,
    /// Why it was ended.
    pub reason: Arc<Mutex<Option<String>>>,
}

impl Worker {
    /// Why it was ended, if it was.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Builds that somebody works at.
pub(super) type Workers = Arc<Mutex<BTreeMap<BuildId, Worker>>>;

/// Runs the queue of builds.
pub struct BuildController {
    scene: Arc<Scene>,
    kick: Kick<Everything>,
    workers: Workers,
    swept: tokio::sync::OnceCell<()>,
    ended: tokio::sync::OnceCell<()>,
}

/// The end of work at a build, whatever it was.
struct Seat {
    /// An engine that works on apart from our call is told, too.
    _cancel: DropGuard,
    workers: Workers,
    kick: Kick<Everything>,
    id: BuildId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.remove(&self.id);
        drop(workers);
        self.kick.kick(Everything);
    }
}

impl BuildController {
    pub(super) fn new(scene: &Arc<Scene>, kick: Kick<Everything>) -> Self {
        Self {
            scene: Arc::clone(scene),
            kick,
            workers: Workers::default(),
            swept: tokio::sync::OnceCell::new(),
            ended: tokio::sync::OnceCell::new(),
        }
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<BuildId, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the engine end what a process before this one left of builds that are over. The engine may be away: nothing
    /// waits for it.
    async fn end_others(&self) -> Result<(), OperationError> {
        let objects = &self.scene.control.objects;
        let builds = objects.list::<BuildSpec>(keys::BUILDS).await?;
        let going_on: BTreeSet<String> = builds
            .into_iter()
            .filter(|build| !build.status.phase.is_final())
            .map(|build| build.metadata.uid)
            .collect();
        let engine = Arc::clone(&self.scene.control.engine);
        self.scene
            .supervisor
            .spawn("builds that are over", async move {
                let mut pauses = Backoff::default();
                while let Err(error) = engine.end_builds_except(&going_on).await {
                    if !error.is_passing() {
                        tracing::warn!(%error, "what is left of builds that are over stays");
                        return;
                    }
                    tokio::time::sleep(pauses.next_delay()).await;
                }
            });
        Ok(())
    }

    async fn upload(&self, build: &Build) -> Upload {
        let file = build.spec.source.file();
        match tokio::fs::try_exists(self.scene.control.upload_path(file)).await {
            Ok(false) => Upload::Gone,
            // A disk that cannot be asked is not a source that is gone.
            Ok(true) | Err(_) => Upload::There,
        }
    }

    async fn start(&self, id: &BuildId) -> Result<(), OperationError> {
        let now = self.scene.now();
        let objects = &self.scene.control.objects;
        let at = keys::build(&id.project, &id.app, id.number);
        let begin = |build: &mut Build| {
            if build.status.phase == BuildPhase::Queued {
                build.status.phase = BuildPhase::Running;
                build.status.started = Some(now);
                build.status.reason = None;
            }
            Ok(())
        };
        let build = objects.modify::<BuildSpec>(&at, id, begin).await?;
        if build.status.phase != BuildPhase::Running {
            return Ok(());
        }
        let worker = Worker {
            // Not the supervisor's: the end of this process is not the end of the build, which is queued again
            // by the next one.
            cancel: CancellationToken::new(),
            reason: Arc::default(),
        };
        self.workers().insert(id.clone(), worker.clone());
        let seat = Seat {
            _cancel: worker.cancel.clone().drop_guard(),
            workers: Arc::clone(&self.workers),
            kick: self.kick.clone(),
            id: id.clone(),
        };
        let scene = Arc::clone(&self.scene);
        self.scene.supervisor.spawn("build", async move {
            // One that cannot write its result stays `running`; without a worker it will be queued again.
            if let Err(error) = build_run::run(&scene, &seat.id, &build, &worker).await {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(build = %seat.id, %error, cause, "the result of a build could not be written");
                tokio::time::sleep(build_run::FAILED_PAUSE).await;
            }
        });
        Ok(())
    }

    async fn execute(&self, action: Action) -> Result<(), OperationError> {
        match action {
            Action::Start(id) => self.start(&id).await,
            Action::Stop(id, reason) => {
                if let Some(worker) = self.workers().get(&id) {
                    let mut why = worker.reason.lock().unwrap_or_else(PoisonError::into_inner);
                    why.get_or_insert(reason);
                    worker.cancel.cancel();
                }
                Ok(())
            }
            Action::Requeue(id) => {
                let at = keys::build(&id.project, &id.app, id.number);
                let queue = |build: &mut Build| {
                    if build.status.phase == BuildPhase::Running {
                        build.status.phase = BuildPhase::Queued;
                    }
                    Ok(())
                };
                let objects = &self.scene.control.objects;
                objects.modify::<BuildSpec>(&at, &id, queue).await.map(drop)
            }
            Action::Finish(id, phase, reason) => {
                finish(&self.scene, &id, phase, &reason).await.map(drop)
            }
        }
    }
}

#[async_trait]
impl Reconciler for BuildController {
    type Key = Everything;
    const NAME: &'static str = "build";
    const AT_ONCE: usize = 1;

    async fn keys(&self) -> Result<Vec<Everything>, OperationError> {
        Ok(vec![Everything])
    }

    fn concerns(&self, change: &Change<'_>) -> Option<Everything> {
        let ours = change.is_stored_under(keys::BUILDS) || change.is_stored_under(keys::APPS);
        ours.then_some(Everything)
    }

    async fn reconcile(&self, _: &Everything) -> Result<Next, OperationError> {
        // What a process before this one was unpacking.
        self.swept
            .get_or_init(|| build_run::clear_work_dir(&self.scene))
            .await;
        let objects = &self.scene.control.objects;
        let mut apps = BTreeMap::new();
        for app in objects.list::<AppSpec>(keys::APPS).await? {
            let owner = match app.metadata.deleting {
                None => Owner::There,
                Some(_) => Owner::Gone,
            };
            apps.insert((app.metadata.project, app.metadata.name), owner);
        }
        let mut read = Vec::new();
        for build in objects.list::<BuildSpec>(keys::BUILDS).await? {
            let Some(project) = build.metadata.project.clone() else {
                continue;
            };
            let upload = if build.status.phase.is_final() {
                Upload::Gone
            } else {
                self.upload(&build).await
            };
            read.push((project, build, upload));
        }
        let actions = {
            let workers = self.workers();
            let facts = |(project, build, upload): &'_ (ProjectName, Build, Upload)| {
                let id = BuildId {
                    project: project.clone(),
                    app: build.spec.app.clone(),
                    number: build.spec.number,
                };
                let app = (Some(project.clone()), build.spec.app.to_string());
                let owner = apps.get(&app).copied().unwrap_or(Owner::Gone);
                let runner = match workers.contains_key(&id) {
                    true => Runner::Working,
                    false => Runner::None,
                };
                (owner, *upload, runner)
            };
            let facts: Vec<_> = read
                .iter()
                .map(|one| {
                    let (owner, upload, runner) = facts(one);
                    Facts {
                        project: &one.0,
                        build: &one.1,
                        owner,
                        upload,
                        runner,
                    }
                })
                .collect();
            builds::plan(&facts, self.scene.control.settings.limits.builds)
        };
        for action in actions {
            self.execute(action).await?;
        }
        // After the actions: what nobody wants any more is over only then.
        self.ended
            .get_or_try_init(async || self.end_others().await)
            .await?;
        Ok(Next::Rest)
    }
}

/// Writes that a build ended without an image, unless it ended before; then its source goes.
pub(super) async fn finish(
    scene: &Scene,
    id: &BuildId,
    phase: BuildPhase,
    reason: &str,
) -> Result<Build, OperationError> {
    let now = scene.now();
    let mut changed = false;
    let at = keys::build(&id.project, &id.app, id.number);
    let end = |build: &mut Build| {
        changed = !build.status.phase.is_final();
        if changed {
            build.status.phase = phase;
            build.status.reason = Some(reason.to_owned());
            build.status.finished = Some(now);
        }
        Ok(())
    };
    let build = scene
        .control
        .objects
        .modify::<BuildSpec>(&at, id, end)
        .await?;
    if changed {
        let action = match phase {
            BuildPhase::Cancelled => "build.ended",
            _ => "build.failed",
        };
        let object = format!("{}/b{}", id.app, id.number);
        let journal = &scene.control.journal;
        let what = (Kind::Build, object.as_str());
        journal
            .record(&ACTOR, action, Some(&id.project), what, reason)
            .await;
    }
    build_run::remove_upload(scene, &build).await;
    Ok(build)
}
