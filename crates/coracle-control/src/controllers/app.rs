//! Rollouts: does what `plan::rollout` says about one app.
//!
//! Theory of operation: facts are read, the plan is made, its steps are done in order, each idempotent. A step
//! that fails ends the run; the next one plans anew from what is true then. Only two things are remembered
//! between runs: what the engine was told (see [`Wishes`]), and which images are being fetched. Slow work
//! (fetching an image) is a task beside the run, so that an app can be scaled meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use coracle_engine::EngineError;
use coracle_model::app::{App, AppSpec};
use coracle_model::build::BuildSpec;
use coracle_model::domain::DomainSpec;
use coracle_model::env::Secret;
use coracle_model::name::{AppName, EnvName};
use coracle_model::node::NodeSpec;
use coracle_model::object::Kind;
use coracle_model::plan::Knowledge;
use coracle_model::plan::builds::BuildId;
use coracle_model::plan::job::{self, Wish};
use coracle_model::plan::node_drain;
use coracle_model::plan::rollout::{self, Action, Facts, ReleaseChange};
use coracle_model::release::{Release, ReleaseNumber};
use coracle_model::workload::WorkloadId;
use coracle_store::Expected;

use crate::controllers::change::Change;
use crate::controllers::image::{Images, tail};
use crate::controllers::key::AppKey;
use crate::controllers::release_status::{ACTOR, journal, set_release};
use crate::controllers::runner::{Kick, Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::controllers::sweep::withdraw_tags;
use crate::controllers::wishes::{Needed, Wishes};
use crate::error::OperationError;
use crate::keys;
use crate::objects::Batch;

/// The pause before a look at something that no change will tell of.
const AGAIN: Duration = Duration::from_millis(10);

/// Records that are deleted in one write; fewer than a store takes.
const DELETED_AT_ONCE: usize = 100;

/// Rolls out releases.
pub struct AppController {
    scene: Arc<Scene>,
    wishes: Mutex<BTreeMap<AppKey, Arc<Wishes<Wish>>>>,
    images: Images,
}

impl AppController {
    pub(super) fn new(scene: &Arc<Scene>, kick: Kick<AppKey>) -> Self {
        Self {
            scene: Arc::clone(scene),
            wishes: Mutex::default(),
            images: Images::new(Arc::clone(scene), kick),
        }
    }

    fn wishes(&self, key: &AppKey) -> Arc<Wishes<Wish>> {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(wishes.entry(key.clone()).or_default())
    }

    fn forget(&self, key: &AppKey) {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        wishes.remove(key);
    }
}

#[async_trait]
impl Reconciler for AppController {
    type Key = AppKey;
    const NAME: &'static str = "app";
    const AT_ONCE: usize = 8;

    async fn keys(&self) -> Result<Vec<AppKey>, OperationError> {
        let mut keys = BTreeSet::new();
        for app in self
            .scene
            .control
            .objects
            .list::<AppSpec>(keys::APPS)
            .await?
        {
            keys.extend(key_of(&app));
        }
        // Pods whose app is gone are somebody's to clear away.
        for pod in self.scene.control.observed.pods() {
            keys.extend(pod.owner.app.clone().map(|app| AppKey {
                project: pod.id.project.clone(),
                app,
            }));
        }
        Ok(keys.into_iter().collect())
    }

    fn concerns(&self, change: &Change<'_>) -> Option<AppKey> {
        if let Change::Pod(pod, owner) = change {
            let app = owner.as_ref()?.app.clone()?;
            let project = pod.project.clone();
            return Some(AppKey { project, app });
        }
        let stored = change.stored_app(keys::APPS);
        let (project, app) = stored.or_else(|| change.stored_app(keys::RELEASES))?;
        Some(AppKey { project, app })
    }

    async fn reconcile(&self, key: &AppKey) -> Result<Next, OperationError> {
        let control = &self.scene.control;
        let wishes = self.wishes(key);
        let told = wishes.wished();
        // Before the store is read: what is read there is then never older than what was observed.
        let (pods, knowledge) = self
            .scene
            .look(|observed| observed.pods_of_app(&key.project, &key.app));
        let pods: Vec<_> = pods.iter().map(AsRef::as_ref).collect();
        let (now, policy) = (self.scene.now(), self.scene.policy());
        let record = control
            .objects
            .get::<AppSpec>(&keys::app(&key.project, &key.app))
            .await?;
        let releases = control.releases(&key.project, &key.app).await?;
        let drains = control.objects.list::<NodeSpec>(keys::NODES).await?;
        let moving = node_drain::all_moving(&drains);
        let plan = match &record {
            None => rollout::plan_without_app(&pods, &told, knowledge),
            Some(app) => rollout::plan(Facts {
                project: &key.project,
                name: &key.app,
                app,
                releases: &releases,
                pods: &pods,
                told: &told,
                moving: &moving,
                knowledge,
                policy: &policy,
                now,
            }),
        };
        let run = Run {
            scene: &self.scene,
            images: &self.images,
            wishes: &wishes,
            key,
            app: record.as_ref(),
            releases: &releases,
            removed: AtomicBool::new(false),
        };
        for step in &plan.steps {
            run.execute(&step.action, &step.why).await?;
        }
        wishes.forget_removed(|id| pods.iter().any(|pod| pod.workload == *id));
        if record.is_none() && pods.is_empty() && knowledge != Knowledge::Partial {
            self.forget(key);
        }
        // Should nothing of what was removed ever have shown, no change will tell that it is gone.
        let again = match run.removed.load(Ordering::Relaxed) {
            true => Some(AGAIN),
            false => self.scene.look_again(knowledge),
        };
        Ok(again.map_or(Next::at(plan.wake_at, now), Next::After))
    }
}

fn key_of(app: &App) -> Option<AppKey> {
    Some(AppKey {
        project: app.metadata.project.clone()?,
        app: AppName::new(app.metadata.name.clone()).ok()?,
    })
}

/// One plan on its way.
struct Run<'a> {
    scene: &'a Scene,
    images: &'a Images,
    wishes: &'a Wishes<Wish>,
    key: &'a AppKey,
    app: Option<&'a App>,
    releases: &'a [Release],
    /// Was the engine told to remove anything?
    removed: AtomicBool,
}

impl Run<'_> {
    async fn execute(&self, action: &Action, why: &str) -> Result<(), OperationError> {
        match action {
            Action::SetRelease { release, change } => {
                tracing::debug!(app = %self.key, %release, ?change, why, "release");
                self.set_release(*release, change).await
            }
            Action::ResolveImage(release) => {
                self.images.resolve(self.key, *release);
                Ok(())
            }
            Action::Apply(wish) => self.apply(wish, why).await,
            Action::Remove(id) => self.remove(id, why).await,
            Action::MoveTraffic(release) => self.move_traffic(*release, why).await,
            Action::SetAppStatus(shown) => {
                let key = keys::app(&self.key.project, &self.key.app);
                let change = |app: &mut App| {
                    shown.set(app);
                    Ok(())
                };
                let objects = &self.scene.control.objects;
                objects
                    .modify::<AppSpec>(&key, &self.key.app, change)
                    .await
                    .map(drop)
            }
            Action::FinishDeletion => self.finish_deletion().await,
        }
    }

    fn release(&self, number: ReleaseNumber) -> Result<&Release, OperationError> {
        let found = self
            .releases
            .iter()
            .find(|release| release.spec.number == number);
        found.ok_or_else(|| OperationError::not_found(Kind::Release, number))
    }

    async fn set_release(
        &self,
        number: ReleaseNumber,
        change: &ReleaseChange,
    ) -> Result<(), OperationError> {
        let mut log = Vec::new();
        if let ReleaseChange::Failed { log_from, .. } = change {
            // An engine that does not answer is no fault of the release: its pods are judged when it does.
            self.scene.control.engine.ping().await?;
            if let Some(pod) = log_from {
                log = tail(self.scene.control.engine.as_ref(), pod).await;
            }
        }
        set_release(self.scene, self.key, number, change, log).await
    }

    async fn apply(&self, wish: &Wish, why: &str) -> Result<(), OperationError> {
        if self.wishes.about_to_run(&wish.id, wish) == Needed::No {
            return Ok(());
        }
        tracing::debug!(app = %self.key, workload = %wish.id, job = ?wish.job, why, "apply");
        let control = &self.scene.control;
        let release = self.release(wish.release)?;
        let env = self.environment(release, wish)?;
        let Some(workload) =
            job::workload(&self.key.project, release, wish, env, &self.scene.policy)
        else {
            return Ok(());
        };
        for mount in &release.spec.config.volumes {
            let volume = coracle_model::plan::naming::volume(&self.key.app, &mount.name);
            control
                .engine
                .ensure_volume(&self.key.project, &volume, mount.size)
                .await?;
        }
        match control.engine.apply(workload).await {
            Ok(()) => {
                self.wishes.runs(wish.id.clone(), wish.clone());
                Ok(())
            }
            Err(EngineError::Refused(reason)) => {
                // It can never run as it is. A live release stays what it is; a new one ends here.
                let change = ReleaseChange::Failed {
                    reason: format!("the engine refused it: {reason}"),
                    log_from: None,
                };
                set_release(self.scene, self.key, wish.release, &change, Vec::new()).await?;
                Err(EngineError::Refused(reason).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn environment(
        &self,
        release: &Release,
        wish: &Wish,
    ) -> Result<Vec<(EnvName, Secret)>, OperationError> {
        let vault = &self.scene.control.vault;
        let open = |(name, value): (EnvName, _)| {
            let secret = vault.open_env(&self.key.project, &self.key.app, &name, &value)?;
            Ok((name, secret))
        };
        job::environment(&self.key.project, release, &wish.job)
            .into_iter()
            .map(open)
            .collect()
    }

    async fn remove(&self, id: &WorkloadId, why: &str) -> Result<(), OperationError> {
        if self.wishes.about_to_remove(id) == Needed::Yes {
            tracing::debug!(app = %self.key, workload = %id, why, "remove");
            self.scene.control.engine.remove(id).await?;
            self.wishes.removed(id.clone());
            self.removed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The one write that moves the traffic: the app, the new release and the old one together, each as it was
    /// when the plan was made.
    async fn move_traffic(&self, number: ReleaseNumber, why: &str) -> Result<(), OperationError> {
        let Some(before) = self.app else {
            return Ok(());
        };
        let (project, name) = (&self.key.project, &self.key.app);
        let now = self.scene.now();
        let mut app = before.clone();
        app.status.release = Some(number);
        let mut batch =
            Batch::new().update(keys::app(project, name), before.metadata.revision, &app)?;
        let mut change = |number: ReleaseNumber, change: ReleaseChange| {
            let mut release = self.release(number)?.clone();
            change.apply(&mut release.status, Vec::new(), now);
            let key = keys::release(project, name, number);
            batch = std::mem::take(&mut batch).update(key, release.metadata.revision, &release)?;
            Ok::<_, OperationError>(())
        };
        change(number, ReleaseChange::Live)?;
        if let Some(old) = before.status.release
            && self.release(old).is_ok()
        {
            change(old, ReleaseChange::Superseded { reason: None })?;
        }
        self.scene.control.objects.write(batch).await?;
        tracing::info!(app = %self.key, release = %number, why, "traffic moved");
        journal(
            self.scene,
            self.key,
            number,
            "release.live",
            format!("{number} is live"),
        )
        .await;
        Ok(())
    }

    /// Everything that hangs on the app goes first; the app's own record is what makes this run again.
    async fn finish_deletion(&self) -> Result<(), OperationError> {
        let control = &self.scene.control;
        let (project, name) = (&self.key.project, &self.key.app);
        let Some(app) = self.app else {
            return Ok(());
        };
        let objects = &control.objects;
        let builds = objects
            .list::<BuildSpec>(&keys::builds(project, name))
            .await?;
        self.images.forget(self.key, self.releases, &builds).await;
        for build in &builds {
            let id = BuildId {
                project: project.clone(),
                app: name.clone(),
                number: build.spec.number,
            };
            if let Some(tags) = &control.image_tags
                && let Err(error) = withdraw_tags(&**tags, &id, build).await
            {
                tracing::warn!(build = %id, %error, "an image of a deleted app keeps its tag");
            }
        }
        let mut gone: Vec<String> = self
            .releases
            .iter()
            .map(|release| keys::release(project, name, release.spec.number))
            .collect();
        for build in &builds {
            gone.push(keys::build(project, name, build.spec.number));
        }
        for domain in objects.list::<DomainSpec>(keys::DOMAINS).await? {
            if domain.spec.project == *project && domain.spec.app == *name {
                gone.push(format!("{}{}", keys::DOMAINS, domain.metadata.name));
            }
        }
        for some in gone.chunks(DELETED_AT_ONCE) {
            let delete = |batch: Batch, key: &String| batch.delete(key.clone(), Expected::Any);
            objects
                .write(some.iter().fold(Batch::new(), delete))
                .await?;
        }
        let logs = control.build_logs.remove_app(project, name).await;
        logs.map_err(|source| OperationError::Io {
            what: "the logs of a deleted app's builds could not be removed",
            source,
        })?;
        let expected = Expected::Revision(app.metadata.revision);
        objects
            .write(Batch::new().delete(keys::app(project, name), expected))
            .await?;
        let message = format!("{name} and all it had is gone");
        let object = (Kind::App, name.as_str());
        control
            .journal
            .record(&ACTOR, "app.gone", Some(project), object, message)
            .await;
        Ok(())
    }
}
