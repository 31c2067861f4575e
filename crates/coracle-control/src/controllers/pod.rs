//! Bare pods and one-off commands of apps: does what `plan::pods` says about one of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coracle_model::app::AppSpec;
use coracle_model::name::{PodName, ProjectName};
use coracle_model::object::Kind;
use coracle_model::plan::pods::{self, Action, AppState, Facts, FromRelease};
use coracle_model::plan::{Knowledge, job, naming};
use coracle_model::pod::{Pod, PodSpec, Restart};
use coracle_model::release::ReleaseSpec;
use coracle_model::workload::{ObservedPod, WorkloadId};
use coracle_store::Expected;

use crate::controllers::change::Change;
use crate::controllers::runner::{Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::controllers::wishes::{Needed, Wishes};
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::Batch;

const ACTOR: Actor = Actor::Platform("pod controller");

/// The pause before a look at something that no change will tell of.
const AGAIN: Duration = Duration::from_millis(10);

/// Names a bare pod: unique within the platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodKey {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub pod: PodName,
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.pod)
    }
}

/// Runs bare pods.
pub struct PodController {
    scene: Arc<Scene>,
    /// What the engine was told, by the generation of the spec.
    wishes: Wishes<u64>,
}

impl PodController {
    pub(super) fn new(scene: &Arc<Scene>) -> Self {
        Self {
            scene: Arc::clone(scene),
            wishes: Wishes::default(),
        }
    }

    async fn app_state(
        &self,
        key: &PodKey,
        record: Option<&Pod>,
    ) -> Result<AppState, OperationError> {
        let Some(app) = record.and_then(|record| record.spec.app.as_ref()) else {
            return Ok(AppState::There);
        };
        let at = keys::app(&key.project, app);
        let app = self.scene.control.objects.get::<AppSpec>(&at).await?;
        Ok(match app {
            Some(app) if app.metadata.deleting.is_none() => AppState::There,
            _ => AppState::Gone,
        })
    }

    async fn apply(
        &self,
        key: &PodKey,
        id: WorkloadId,
        spec: &PodSpec,
    ) -> Result<(), OperationError> {
        let generation = pods::generation(spec);
        if self.wishes.about_to_run(&id, &generation) == Needed::No {
            return Ok(());
        }
        let from = self.release_part(key, spec).await?;
        let workload = pods::workload(&key.project, &key.pod, spec, from);
        self.scene.control.engine.apply(workload).await?;
        self.wishes.runs(id, generation);
        Ok(())
    }

    /// What a one-off command has from its release.
    async fn release_part(
        &self,
        key: &PodKey,
        spec: &PodSpec,
    ) -> Result<FromRelease, OperationError> {
        let (Some(app), Some(number)) = (&spec.app, spec.release) else {
            return Ok(FromRelease::default());
        };
        let control = &self.scene.control;
        let at = keys::release(&key.project, app, number);
        let release = control.objects.need::<ReleaseSpec>(&at, number).await?;
        let vars = job::variables(&key.project, &release, "run", None).into_iter();
        let env = vars
            .map(|(name, value)| {
                let secret = control.vault.open_env(&key.project, app, &name, &value)?;
                Ok::<_, OperationError>((name, secret))
            })
            .collect::<Result<_, _>>()?;
        Ok(FromRelease {
            env,
            volumes: job::mounts(&release),
        })
    }
}

/// Is this pod one that a bare pod's record stands for, or should? The others are the rollouts'.
pub(super) fn is_bare(pod: &ObservedPod) -> bool {
    let command =
        |app, release| naming::release_command(&pod.id.project, app, release) == pod.workload;
    match (&pod.owner.app, pod.owner.release) {
        (Some(app), Some(release)) if command(app, release) => false,
        _ => pod.owner.process.is_none(),
    }
}

#[async_trait]
impl Reconciler for PodController {
    type Key = PodKey;
    const NAME: &'static str = "pod";
    const AT_ONCE: usize = 8;

    async fn keys(&self) -> Result<Vec<PodKey>, OperationError> {
        let mut keys = BTreeSet::new();
        for pod in self
            .scene
            .control
            .objects
            .list::<PodSpec>(keys::PODS)
            .await?
        {
            if let (Some(project), Ok(pod)) =
                (pod.metadata.project, PodName::new(pod.metadata.name))
            {
                keys.insert(PodKey { project, pod });
            }
        }
        for pod in self.scene.control.observed.pods() {
            if is_bare(&pod) {
                keys.insert(PodKey {
                    project: pod.workload.project.clone(),
                    pod: pod.workload.name.clone(),
                });
            }
        }
        Ok(keys.into_iter().collect())
    }

    fn concerns(&self, change: &Change<'_>) -> Option<PodKey> {
        match change {
            Change::Stored(key) => {
                let (project, pod) = key.strip_prefix(keys::PODS)?.split_once('/')?;
                Some(PodKey {
                    project: ProjectName::new(project).ok()?,
                    pod: PodName::new(pod).ok()?,
                })
            }
            // Such a pod has its workload's name.
            Change::Pod(id, Some(owner)) if owner.process.is_none() => Some(PodKey {
                project: id.project.clone(),
                pod: id.name.clone(),
            }),
            _ => None,
        }
    }

    async fn reconcile(&self, key: &PodKey) -> Result<Next, OperationError> {
        let control = &self.scene.control;
        let id = WorkloadId {
            project: key.project.clone(),
            name: key.pod.clone(),
        };
        let (pods, knowledge) = self.scene.look(|observed| observed.pods_of_workload(&id));
        if pods.iter().any(|pod| !is_bare(pod)) {
            // An app's: not ours, whatever its name.
            return Ok(Next::Rest);
        }
        let at = keys::pod(&key.project, &key.pod);
        let record = control.objects.get::<PodSpec>(&at).await?;
        let app = self.app_state(key, record.as_ref()).await?;
        let seen: Vec<_> = pods.iter().map(AsRef::as_ref).collect();
        let now = self.scene.now();
        let (action, wake_at) = pods::plan(Facts {
            id: &id,
            record: record.as_ref(),
            app,
            pods: &seen,
            told: &self.wishes.wished(),
            knowledge,
            now,
        });
        match (action, record) {
            (Some(Action::Apply), Some(record)) => {
                // One that was deleted for itself (it moves to another node) took its wish with it. What runs once
                // is not begun a second time.
                let gone = pods.is_empty() && knowledge != Knowledge::Partial;
                if gone && record.spec.restart == Restart::Always {
                    self.wishes.doubt(&id);
                }
                self.apply(key, id.clone(), &record.spec).await?
            }
            (Some(Action::Remove), _) => {
                if self.wishes.about_to_remove(&id) == Needed::Yes {
                    control.engine.remove(&id).await?;
                    self.wishes.removed(id.clone());
                }
                // Should nothing of it ever have shown, no change will tell that it is gone.
                if pods.is_empty() && knowledge != Knowledge::Partial {
                    return Ok(Next::After(AGAIN));
                }
            }
            (Some(Action::Forget), Some(record)) => {
                let expected = Expected::Revision(record.metadata.revision);
                control
                    .objects
                    .write(Batch::new().delete(at, expected))
                    .await?;
                let what = (Kind::Pod, key.pod.as_str());
                let message = format!("pod {} is gone", key.pod);
                control
                    .journal
                    .record(&ACTOR, "pod.gone", Some(&key.project), what, message)
                    .await;
            }
            _ => {}
        }
        if pods.is_empty() && knowledge != Knowledge::Partial {
            self.wishes.forget_removed(|other| *other != id);
        }
        match self.scene.look_again(knowledge) {
            Some(pause) => Ok(Next::After(pause)),
            None => Ok(Next::at(wake_at, now)),
        }
    }
}
