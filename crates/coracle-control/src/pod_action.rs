//! What is asked of a pod that no record stands for: a restart, a deletion.
//!
//! Theory of operation: an engine stops a pod only after the gateways let go of it, which they do on the word of the
//! control plane that leads and of the engine that it drives. So nobody who is asked touches an engine: they write down
//! what is asked of which run of which pod, and whoever leads does it. The record stays until it has come true, so
//! that it is neither lost with the process that was at it, nor with what that had told its engine. A pod that was made
//! or started again since is another run: nothing is done twice. One action of a pod waits at a time: a deletion takes
//! the place of a restart, and no restart that of a deletion.

use chrono::{DateTime, Utc};
use coracle_model::object::Kind;
use coracle_model::pod::PodPhase;
use coracle_model::workload::{ObservedPod, PodId};
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::error::OperationError;
use crate::keys;
use crate::objects::{Batch, decode};

/// How often an action is written again when somebody else wrote in between.
const MOST_TRIES: usize = 16;

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

    /// Is it still to come true? Not when this run of the pod is over: by this or by anything else.
    #[must_use]
    pub fn is_due(&self, pod: &ObservedPod) -> bool {
        match self.action {
            Action::Restart => (pod.created, pod.status.started) == (self.created, self.started),
            Action::Delete => pod.created == self.created,
        }
    }

    /// What becomes of it where another action waits already.
    fn meets(&self, waiting: &Self) -> Meeting {
        if waiting.created != self.created {
            return Meeting::Replaces;
        }
        match (waiting.action, self.action) {
            (Action::Delete, Action::Delete) => Meeting::IsThere,
            (Action::Delete, Action::Restart) => Meeting::IsRefused,
            (Action::Restart, Action::Restart) if waiting.started == self.started => {
                Meeting::IsThere
            }
            (Action::Restart, Action::Restart | Action::Delete) => Meeting::Replaces,
        }
    }
}

/// What becomes of an action where another one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meeting {
    /// It takes the other's place.
    Replaces,
    /// The other is the same.
    IsThere,
    /// The other is the end of the pod.
    IsRefused,
}

impl Control {
    /// Asks for a pod to be stopped and started again.
    ///
    /// # Errors
    /// [`OperationError::NotFound`]; [`OperationError::Conflict`] for one that is on its way out.
    pub async fn restart_pod(&self, id: &PodId) -> Result<(), OperationError> {
        self.ask_of_pod(id, Action::Restart).await
    }

    /// Asks for the end of a pod that no record stands for.
    pub(crate) async fn end_pod(&self, id: &PodId) -> Result<(), OperationError> {
        self.ask_of_pod(id, Action::Delete).await
    }

    async fn ask_of_pod(&self, id: &PodId, action: Action) -> Result<(), OperationError> {
        let leaves = || OperationError::conflict(format!("pod {} is on its way out", id.name));
        let pod = self.observed.pod(id);
        let pod = pod.ok_or_else(|| OperationError::not_found(Kind::Pod, &id.name))?;
        if pod.status.phase == PodPhase::Stopping && action == Action::Restart {
            return Err(leaves());
        }
        let asked = PodAction::new(action, &pod);
        let key = keys::pod_action(&id.project, &id.name);
        let mut tries = 0;
        loop {
            let batch = match self.objects.store().get(&key).await? {
                None => Batch::new().create(key.clone(), &asked)?,
                Some(entry) => match asked.meets(&decode(&entry)?) {
                    Meeting::IsThere => return Ok(()),
                    Meeting::IsRefused => return Err(leaves()),
                    Meeting::Replaces => {
                        Batch::new().update(key.clone(), entry.modified, &asked)?
                    }
                },
            };
            match self.objects.write(batch).await {
                Err(error) if error.is_race() && tries < MOST_TRIES => tries += 1,
                written => return written.map(drop),
            }
        }
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
        assert!(restart.is_due(&pod(1, 2)));
        assert!(!restart.is_due(&pod(1, 3)), "it was started again since");
        let delete = PodAction::new(Action::Delete, &pod(1, 2));
        assert!(delete.is_due(&pod(1, 3)));
        assert!(!delete.is_due(&pod(4, 5)), "another one of the same name");
        let mut stopping = pod(1, 2);
        stopping.status.phase = PodPhase::Stopping;
        assert!(
            delete.is_due(&stopping) && restart.is_due(&stopping),
            "it is under way, and not done"
        );

        // Each that is asked for, against each that waits.
        let again = PodAction::new(Action::Restart, &pod(1, 3));
        let other = PodAction::new(Action::Restart, &pod(4, 5));
        for (asked, waits, becomes) in [
            (&delete, &restart, Meeting::Replaces),
            (&delete, &delete, Meeting::IsThere),
            (&restart, &delete, Meeting::IsRefused),
            (&restart, &restart, Meeting::IsThere),
            (&again, &restart, Meeting::Replaces),
            (&other, &delete, Meeting::Replaces),
        ] {
            assert_eq!(
                asked.meets(waits),
                becomes,
                "{asked:?} where {waits:?} waits"
            );
        }
    }
}
