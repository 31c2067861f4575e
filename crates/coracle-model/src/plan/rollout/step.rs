//! What a plan of a rollout says, and how it changes what is written of a release.
//!
//! Theory of operation: a plan is made from what was read, and done later, when others may have written. So a change of a
//! release's status is no new status but a decision, which is applied to what the status is then, or dropped.

use chrono::{DateTime, Utc};

use crate::plan::app_status::Shown;
use crate::plan::job::Wish;
use crate::release::{ReleaseNumber, ReleasePhase, ReleaseStatus};
use crate::workload::{PodId, WorkloadId};

/// What to do, in this order, and when to look again should nothing happen before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Steps.
    pub steps: Vec<Step>,
    /// The next deadline.
    pub wake_at: Option<DateTime<Utc>>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What.
    pub action: Action,
    /// Why, in words.
    pub why: String,
}

/// Something to do about an app. Each is idempotent.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write that a release stands elsewhere now.
    SetRelease {
        /// Which.
        release: ReleaseNumber,
        /// How.
        change: ReleaseChange,
    },
    /// Find out which image exactly a release runs, and write it to its status. May take long.
    ResolveImage(ReleaseNumber),
    /// Wish that a workload runs.
    Apply(Wish),
    /// Wish that a workload has no pods.
    Remove(WorkloadId),
    /// Make a release the live one: the one write that moves the traffic.
    MoveTraffic(ReleaseNumber),
    /// Write what is shown of the app.
    SetAppStatus(Shown),
    /// Nothing of it runs any more: delete its records and files, the app's own last.
    FinishDeletion,
}

/// How a release's status changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseChange {
    /// Its deployment begins.
    Begin,
    /// Its release command succeeded, or there is none.
    Prepared,
    /// It has the traffic.
    Live,
    /// A newer one took its place, or will.
    Superseded {
        /// Said when it was never live.
        reason: Option<String>,
    },
    /// It does not work.
    Failed {
        /// Why, in plain words.
        reason: String,
        /// The pod at fault: its last lines go into the status.
        log_from: Option<PodId>,
    },
}

impl ReleaseChange {
    /// May a release in this phase change so? A decision that was overtaken is dropped, not forced.
    #[must_use]
    pub const fn is_possible(&self, from: ReleasePhase) -> bool {
        match self {
            Self::Begin => matches!(from, ReleasePhase::Pending),
            Self::Prepared => matches!(from, ReleasePhase::Deploying),
            Self::Live | Self::Failed { .. } => {
                matches!(from, ReleasePhase::Pending | ReleasePhase::Deploying)
            }
            Self::Superseded { .. } => !from.is_final(),
        }
    }

    /// Writes the change into a status, if it is possible there. `log` are the last lines of the pod at fault.
    pub fn apply(&self, status: &mut ReleaseStatus, log: Vec<String>, now: DateTime<Utc>) {
        if !self.is_possible(status.phase) {
            return;
        }
        match self {
            Self::Begin => {
                status.phase = ReleasePhase::Deploying;
                status.started = Some(now);
            }
            Self::Prepared => {
                status.prepared.get_or_insert(now);
            }
            Self::Live => {
                status.phase = ReleasePhase::Live;
                status.reason = None;
                status.finished = Some(now);
            }
            Self::Superseded { reason } => {
                status.phase = ReleasePhase::Superseded;
                status.reason.clone_from(reason);
                status.finished.get_or_insert(now);
            }
            Self::Failed { reason, .. } => {
                status.phase = ReleasePhase::Failed;
                status.reason = Some(reason.clone());
                status.log = log;
                status.finished = Some(now);
            }
        }
    }
}

pub(super) fn step(action: Action, why: impl Into<String>) -> Step {
    Step {
        action,
        why: why.into(),
    }
}
