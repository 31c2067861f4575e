//! What other control planes ask of pods: does it, once.

use std::sync::Arc;

use async_trait::async_trait;
use coracle_engine::EngineError;
use coracle_model::name::{PodName, ProjectName};
use coracle_model::object::Kind;
use coracle_model::plan::Knowledge;
use coracle_model::workload::PodId;
use coracle_store::{Expected, Page};

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

/// Does what other control planes ask of pods.
pub struct PodActionController {
    scene: Arc<Scene>,
}

impl PodActionController {
    pub(super) fn new(scene: &Arc<Scene>) -> Self {
        Self {
            scene: Arc::clone(scene),
        }
    }

    async fn execute(&self, id: &PodId, action: Action) -> Result<(), OperationError> {
        let control = &self.scene.control;
        let done = match action {
            Action::Restart => control.engine.restart(id).await,
            Action::Delete => control.engine.delete_pod(id).await,
        };
        match done {
            // What cannot be done ever is not asked for again and again.
            Err(
                error @ (EngineError::NoSuchPod(_)
                | EngineError::WrongPhase { .. }
                | EngineError::Refused { .. }),
            ) => {
                let what = (Kind::Pod, id.name.as_str());
                let project = Some(&id.project);
                let message = error.to_string();
                control
                    .journal
                    .record(&ACTOR, "pod.refused", project, what, message)
                    .await;
                Ok(())
            }
            done => Ok(done?),
        }
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
        // A page: the next ones come with the next rescan, and they are few.
        let store = self.scene.control.objects.store();
        let page = store.list(keys::POD_ACTIONS, Page::default()).await?;
        let keys = page.entries.iter().filter_map(|entry| parse(&entry.key));
        Ok(keys.collect())
    }

    fn concerns(&self, change: &Change<'_>) -> Option<PodKey> {
        match change {
            Change::Stored(key) => parse(key),
            _ => None,
        }
    }

    async fn reconcile(&self, key: &PodKey) -> Result<Next, OperationError> {
        let objects = &self.scene.control.objects;
        let at = keys::pod_action(&key.project, &key.pod);
        let Some(entry) = objects.store().get(&at).await? else {
            return Ok(Next::Rest);
        };
        let asked: PodAction = decode(&entry)?;
        let id = PodId {
            project: key.project.clone(),
            name: key.pod.clone(),
        };
        let (pod, knowledge) = self.scene.look(|observed| observed.pod(&id));
        match pod {
            Some(pod) if asked.concerns(&pod) => self.execute(&id, asked.action).await?,
            // Nothing is known of it yet.
            None if knowledge == Knowledge::Partial => {
                return Ok(match self.scene.look_again(knowledge) {
                    Some(pause) => Next::After(pause),
                    None => Next::Rest,
                });
            }
            // It was done, or there is nothing left to do it to.
            _ => {}
        }
        let expected = Expected::Revision(entry.modified);
        objects.write(Batch::new().delete(at, expected)).await?;
        Ok(Next::Rest)
    }
}
