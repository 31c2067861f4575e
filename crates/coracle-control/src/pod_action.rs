//! What is asked of a pod by a control plane that does not lead.
//!
//! Theory of operation: an engine stops a pod only after the gateways let go of it, which they do on the word of the
//! control plane that leads and of the engine that it drives. So another one does not touch its own engine: it writes
//! down what is asked of which run of which pod, and whoever leads does it. A pod that was made or started again since
//! is another run: nothing is done twice.

use chrono::{DateTime, Utc};
use coracle_model::object::Kind;
use coracle_model::pod::PodPhase;
use coracle_model::workload::{ObservedPod, PodId};
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::error::OperationError;
use crate::keys;
use crate::objects::Batch;

/// What is asked of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// To be stopped and started again.
    Restart,
    /// To end.
    Delete,
}

/// What is asked of one run of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodAction {
    /// What.
    pub action: Action,
    created: DateTime<Utc>,
    started: Option<DateTime<Utc>>,
}

impl PodAction {
    fn new(action: Action, pod: &ObservedPod) -> Self {
        Self {
            action,
            created: pod.created,
            started: pod.status.started,
        }
    }

    /// Is it for this run of the pod, and does it go on?
    #[must_use]
    pub fn concerns(&self, pod: &ObservedPod) -> bool {
        let same = match self.action {
            Action::Restart => (pod.created, pod.status.started) == (self.created, self.started),
            Action::Delete => pod.created == self.created,
        };
        same && pod.status.phase != PodPhase::Stopping
    }
}

impl Control {
    /// Asks for a pod to be stopped and started again.
    ///
    /// # Errors
    /// [`OperationError::NotFound`]; [`OperationError::Conflict`] for one that is on its way out.
    pub async fn restart_pod(&self, id: &PodId) -> Result<(), OperationError> {
        if self.leads() {
            return Ok(self.engine.restart(id).await?);
        }
        self.ask_leader(id, Action::Restart).await
    }

    /// Asks for the end of a pod that no record stands for.
    pub(crate) async fn end_pod(&self, id: &PodId) -> Result<(), OperationError> {
        if self.leads() {
            return Ok(self.engine.delete_pod(id).await?);
        }
        self.ask_leader(id, Action::Delete).await
    }

    /// May this control plane let its engine act? One that is alone always does.
    fn leads(&self) -> bool {
        self.leading.holds()
    }

    async fn ask_leader(&self, id: &PodId, action: Action) -> Result<(), OperationError> {
        let Some(pod) = self.observed.pod(id) else {
            return Err(OperationError::not_found(Kind::Pod, &id.name));
        };
        if pod.status.phase == PodPhase::Stopping && action == Action::Restart {
            return Err(OperationError::conflict(format!(
                "pod {} is on its way out",
                id.name
            )));
        }
        let asked = PodAction::new(action, &pod);
        let key = keys::pod_action(&id.project, &id.name);
        self.objects.write(Batch::new().set(key, &asked)?).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use coracle_model::name::{PodName, ProjectName};
    use coracle_model::pod::PodStatus;
    use coracle_model::workload::{Owner, WorkloadId};

    use super::*;

    #[test]
    fn what_is_asked_is_for_one_run_of_one_pod() {
        let (project, name) = (ProjectName::default_project(), PodName::new("a").unwrap());
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let pod = |created, started| ObservedPod {
            id: PodId {
                project: project.clone(),
                name: name.clone(),
            },
            workload: WorkloadId {
                project: project.clone(),
                name: name.clone(),
            },
            generation: 1,
            owner: Owner::default(),
            image: String::new(),
            port: None,
            created: at(created),
            status: PodStatus {
                started: Some(at(started)),
                ..PodStatus::default()
            },
        };
        let restart = PodAction::new(Action::Restart, &pod(1, 2));
        assert!(restart.concerns(&pod(1, 2)));
        assert!(!restart.concerns(&pod(1, 3)), "it was started again since");
        let delete = PodAction::new(Action::Delete, &pod(1, 2));
        assert!(delete.concerns(&pod(1, 3)));
        assert!(!delete.concerns(&pod(4, 5)), "another one of the same name");
        let mut stopping = pod(1, 2);
        stopping.status.phase = PodPhase::Stopping;
        assert!(!delete.concerns(&stopping), "it is done already");
    }
}
