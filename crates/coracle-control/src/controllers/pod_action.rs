//! What is asked of pods that no record stands for: does it, once, and strikes it when it has come true.
//!
//! Theory of operation: what an engine was told it keeps in memory, so that an action is done only when the pod is gone
//! or another run of it has begun. Until then its record stays, and whoever leads next tells its own engine. That
//! this process has told its engine it remembers: a restart that is asked for twice would be two.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use coracle_engine::EngineError;
use coracle_model::name::{PodName, ProjectName};
use coracle_model::object::Kind;
use coracle_model::plan::Knowledge;
use coracle_model::pod::PodPhase;
use coracle_model::workload::{ObservedPod, PodId};
use coracle_store::{Entry, Expected, Revision};
use tokio::time::Instant;

use crate::controllers::change::Change;
use crate::controllers::pod::PodKey;
use crate::controllers::runner::{Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, decode};
use crate::pod_action::{Action, PodAction};

const ACTOR: Actor = Actor::Platform("pod action controller");

/// What the engine was told and has not done for so long is not waited for any more: longer than any pod is drained and
/// given to end.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Does what is asked of pods.
pub struct PodActionController {
    scene: Arc<Scene>,
    /// Pods of which something is asked, and what the engine was told of it in this process's life.
    waiting: Mutex<BTreeMap<PodKey, Option<Told>>>,
}

/// What the engine was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The revision of the record.
    record: Revision,
    at: Instant,
}

/// What came of telling the engine.
enum Outcome {
    /// It has taken it.
    Taken,
    /// There is nothing to wait for.
    Over,
}

impl PodActionController {
    pub(super) fn new(scene: &Arc<Scene>) -> Self {
        Self {
            scene: Arc::clone(scene),
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<PodKey, Option<Told>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the engine was told of this record.
    fn told(&self, key: &PodKey, record: Revision) -> Option<Instant> {
        let mut waiting = self.waiting();
        let told = waiting.entry(key.clone()).or_default();
        told.filter(|told| told.record == record)
            .map(|told| told.at)
    }

    async fn execute(&self, id: &PodId, action: Action) -> Result<Outcome, OperationError> {
        let control = &self.scene.control;
        let done = match action {
            Action::Restart => control.engine.restart(id).await,
            Action::Delete => control.engine.delete_pod(id).await,
        };
        match done {
            Ok(()) => Ok(Outcome::Taken),
            Err(EngineError::NoSuchPod(_)) => Ok(Outcome::Over),
            // What cannot be done ever is not asked for again and again.
            Err(error @ (EngineError::WrongPhase { .. } | EngineError::Refused { .. })) => {
                self.note_refused(id, error.to_string()).await;
                Ok(Outcome::Over)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn note_refused(&self, id: &PodId, message: String) {
        let what = (Kind::Pod, id.name.as_str());
        let journal = &self.scene.control.journal;
        journal
            .record(&ACTOR, "pod.refused", Some(&id.project), what, message)
            .await;
    }

    /// Goes on with an action that is still to come true.
    async fn go_on(
        &self,
        key: &PodKey,
        entry: &Entry,
        asked: &PodAction,
        pod: &ObservedPod,
    ) -> Result<Next, OperationError> {
        if let Some(at) = self.told(key, entry.modified) {
            let left = PATIENCE.saturating_sub(at.elapsed());
            if left.is_zero() {
                let minutes = PATIENCE.as_secs() / 60;
                let message = format!("it was not done within {minutes} minutes");
                self.note_refused(&pod.id, message).await;
                return self.strike(key, entry).await;
            }
            return Ok(Next::After(left));
        }
        // It ends, or the engine of a process before this one had begun to start it again.
        if asked.action == Action::Restart && pod.status.phase == PodPhase::Stopping {
            return Ok(Next::Rest);
        }
        match self.execute(&pod.id, asked.action).await? {
            Outcome::Taken => {
                let told = Told {
                    record: entry.modified,
                    at: Instant::now(),
                };
                self.waiting().insert(key.clone(), Some(told));
                Ok(Next::After(PATIENCE))
            }
            Outcome::Over => self.strike(key, entry).await,
        }
    }

    /// Removes a record, unless another has taken its place.
    async fn strike(&self, key: &PodKey, entry: &Entry) -> Result<Next, OperationError> {
        let expected = Expected::Revision(entry.modified);
        let batch = Batch::new().delete(entry.key.clone(), expected);
        self.scene.control.objects.write(batch).await?;
        self.waiting().remove(key);
        Ok(Next::Rest)
    }
}

fn parse(key: &str) -> Option<PodKey> {
    let (project, pod) = key.strip_prefix(keys::POD_ACTIONS)?.split_once('/')?;
    Some(PodKey {
        project: ProjectName::new(project).ok()?,
        pod: PodName::new(pod).ok()?,
    })
}

#[async_trait]
impl Reconciler for PodActionController {
    type Key = PodKey;
    const NAME: &'static str = "pod action";
    const AT_ONCE: usize = 8;

    async fn keys(&self) -> Result<Vec<PodKey>, OperationError> {
        let store = self.scene.control.objects.store();
        let all = store.list_all(keys::POD_ACTIONS).await?;
        Ok(all.entries.iter().filter_map(|e| parse(&e.key)).collect())
    }

    fn concerns(&self, change: &Change<'_>) -> Option<PodKey> {
        match change {
            Change::Stored(key) => parse(key),
            Change::Pod(id, _) => {
                let key = PodKey {
                    project: id.project.clone(),
                    pod: id.name.clone(),
                };
                self.waiting().contains_key(&key).then_some(key)
            }
            _ => None,
        }
    }

    async fn reconcile(&self, key: &PodKey) -> Result<Next, OperationError> {
        let objects = &self.scene.control.objects;
        let at = keys::pod_action(&key.project, &key.pod);
        let Some(entry) = objects.store().get(&at).await? else {
            self.waiting().remove(key);
            return Ok(Next::Rest);
        };
        // From here on changes of the pod wake it.
        self.waiting().entry(key.clone()).or_default();
        let asked: PodAction = decode(&entry)?;
        let id = PodId {
            project: key.project.clone(),
            name: key.pod.clone(),
        };
        let (pod, knowledge) = self.scene.look(|observed| observed.pod(&id));
        match pod {
            Some(pod) if asked.is_due(&pod) => self.go_on(key, &entry, &asked, &pod).await,
            // Nothing is known of it yet.
            None if knowledge == Knowledge::Partial => Ok(match self.scene.look_again(knowledge) {
                Some(pause) => Next::After(pause),
                None => Next::Rest,
            }),
            // It has come true, or there is nothing left to do it to.
            _ => self.strike(key, &entry).await,
        }
    }
}
