//! A pod as it is known: its container, what is done with it, and how it answers.

use std::net::Ipv4Addr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_model::node::cordoned_reason;
use coracle_model::pod::{Exit, ExitCause};
use coracle_model::workload::ObservedPod;
use coracle_task::CancellationToken;
use tokio::time::Instant;

use crate::container::{Container, ContainerState};
use crate::facts::Facts;
use crate::plan::{Stand, View};

/// The exit status of a command that SIGKILL ended, as the kernel ends what uses up its memory.
pub(crate) const KILLED: i64 = 128 + 9;

/// A pod, with or without a container.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) facts: Facts,
    pub(crate) created: DateTime<Utc>,
    pub(crate) container: Option<Container>,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) op: Option<Op>,
    /// What an action in flight is at, in words.
    pub(crate) note: Option<String>,
    pub(crate) leaving: Option<Leaving>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) run: Option<Run>,
    pub(crate) exit: Option<Exit>,
    /// Docker told that memory was used up, and neither that the command ended after that nor that it runs again.
    pub(crate) memory_used_up: bool,
    /// Restarts that Docker's own counter does not know of any more.
    pub(crate) restarts_before: u32,
    /// A task's container was removed by somebody else: it must not run a second time.
    pub(crate) lost: bool,
    /// Which reading of the container this is from: an older one must not overwrite it.
    pub(crate) ticket: u64,
    pub(crate) published: Option<ObservedPod>,
}

/// An action in flight.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) kind: OpKind,
    pub(crate) cancel: CancellationToken,
    /// Cancelled when no request is in flight any more to a pod that is to be restarted.
    pub(crate) drained: CancellationToken,
    pub(crate) serial: u64,
}

/// What an action in flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpKind {
    /// Make and start a container.
    Create,
    /// Start a container.
    Start,
    /// Drain, stop and remove.
    Stop,
    /// Stop and start again in place.
    Restart {
        /// Requests in flight are waited for.
        draining: bool,
    },
}

/// A pod is on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    /// Cancelled when no request is in flight to it any more.
    pub(crate) drained: CancellationToken,
    /// It may have requests in flight.
    pub(crate) served: bool,
    pub(crate) reason: Option<String>,
}

/// Why a pod has no running container, and when it is tried again.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    pub(crate) severity: Severity,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) tries: u32,
    /// The planner was told that the pause is over.
    pub(crate) told: bool,
}

/// May it go away by itself?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Yes.
    Passing,
    /// Hardly: somebody has to change something.
    Definite,
    /// Not before the node is uncordoned; then at once.
    Cordoned,
}

/// One run of a container, from a start to an end.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) key: RunKey,
    pub(crate) readiness: Readiness,
    pub(crate) was_ready: bool,
    pub(crate) cancel: CancellationToken,
}

/// Names a run: a container and the moment it was started.
pub(crate) type RunKey = (String, Option<DateTime<Utc>>);

/// Does it answer?
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It has not since its start; why.
    NotYet(Option<String>),
    /// It does.
    Ready,
    /// It did, and does no more; why.
    Unready(String),
}

impl Drop for Run {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Pod {
    pub(crate) fn new(facts: Facts) -> Self {
        Self {
            facts,
            created: Utc::now(),
            container: None,
            address: None,
            op: None,
            note: None,
            leaving: None,
            trouble: None,
            run: None,
            exit: None,
            memory_used_up: false,
            restarts_before: 0,
            lost: false,
            ticket: 0,
            published: None,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.run
            .as_ref()
            .is_some_and(|run| run.readiness == Readiness::Ready)
    }

    pub(crate) fn stand(&self, now: Instant) -> Stand {
        if self.leaving.is_some() {
            return if self.op.is_some() {
                Stand::BeingStopped
            } else {
                Stand::Leaving
            };
        }
        if self.op.is_some() {
            return Stand::Busy;
        }
        let waits = self
            .trouble
            .as_ref()
            .is_some_and(|t| t.retry_at.is_none_or(|at| at > now));
        if self.lost {
            return Stand::Done;
        }
        if waits {
            return Stand::Waiting;
        }
        match self.container.as_ref().map(|c| c.state) {
            None => Stand::Missing,
            Some(ContainerState::Created) if self.facts.kind.terminal().is_some() => Stand::Waiting,
            Some(ContainerState::Created) => Stand::Startable,
            Some(ContainerState::Ended) if self.facts.kind.is_task() => Stand::Done,
            Some(ContainerState::Ended) => Stand::Startable,
            Some(
                ContainerState::Running
                | ContainerState::Paused
                | ContainerState::Restarting
                | ContainerState::Removing,
            ) => Stand::Up,
        }
    }

    pub(crate) fn view(&self, now: Instant) -> View {
        View {
            name: self.facts.pod.name.clone(),
            generation: self.facts.generation,
            kind: self.facts.kind,
            stand: self.stand(now),
            ready: self.is_ready(),
            has_container: self.container.is_some(),
            created: self.created,
        }
    }

    /// Remembers a failure and when to try again: after pauses that grow.
    pub(crate) fn fail(&mut self, reason: String, severity: Severity) {
        let tries = self.trouble.as_ref().map_or(0, |t| t.tries) + 1;
        let (first, most) = match severity {
            Severity::Passing | Severity::Cordoned => {
                (Duration::from_millis(500), Duration::from_secs(30))
            }
            Severity::Definite => (Duration::from_secs(2), Duration::from_mins(5)),
        };
        let pause = first
            .saturating_mul(1_u32 << tries.saturating_sub(1).min(16))
            .min(most);
        // A task that cannot start has run to its end: only its owner knows whether it may be tried again.
        let ended = self.facts.kind.is_task() && severity == Severity::Definite;
        self.trouble = Some(Trouble {
            reason,
            severity,
            retry_at: (!ended).then(|| Instant::now() + pause),
            tries,
            told: false,
        });
    }

    /// Lets it wait for the end of the node's cordon.
    pub(crate) fn hold(&mut self, node: &str) {
        let tries = self.trouble.as_ref().map_or(0, |t| t.tries);
        self.trouble = Some(Trouble {
            reason: cordoned_reason([node]),
            severity: Severity::Cordoned,
            retry_at: None,
            tries,
            told: false,
        });
    }

    /// Does it wait for the end of the node's cordon?
    pub(crate) fn is_held(&self) -> bool {
        self.trouble
            .as_ref()
            .is_some_and(|t| t.severity == Severity::Cordoned)
    }

    /// Docker tells that memory was used up: before it tells of the command's end, or soon after.
    pub(crate) fn used_up_memory(&mut self) {
        self.memory_used_up = true;
        let running = self
            .container
            .as_ref()
            .is_some_and(|c| c.state == ContainerState::Running);
        if let Some(exit) = &mut self.exit
            && !running
            && exit.code == KILLED
            && exit.cause == ExitCause::Exited
        {
            exit.cause = ExitCause::OutOfMemory;
        }
    }

    /// Puts it on its way out.
    pub(crate) fn leave(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        // What waits for its turn or for an image need not have it any more.
        if let Some(op) = &self.op {
            op.cancel.cancel();
        }
        self.leaving = Some(Leaving {
            drained: CancellationToken::new(),
            served: self.run.as_ref().is_some_and(|run| run.was_ready) && self.facts.port.is_some(),
            reason: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::PodKind;

    #[test]
    fn that_memory_was_used_up_may_be_told_after_the_end() {
        let mut pod = Pod::new(crate::facts::tests::facts(PodKind::Single, 1, None, 0));
        let exit = |code, cause| Exit {
            code,
            cause,
            at: None,
        };
        for (before, after) in [
            (exit(137, ExitCause::Exited), ExitCause::OutOfMemory),
            (exit(137, ExitCause::Stopped), ExitCause::Stopped),
            (exit(1, ExitCause::Exited), ExitCause::Exited),
        ] {
            pod.exit = Some(before);
            pod.used_up_memory();
            assert_eq!(pod.exit.as_ref().map(|exit| exit.cause), Some(after));
        }
    }
}
