//! What happened in a simulated world, for golden tests.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use coracle_model::workload::{PodId, WorkloadId, WorkloadKind};

use crate::fault::Verb;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since the beginning of the world.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// An engine began its life on this world, without wishes.
    EngineStarted,
    /// The engine's process died.
    EngineCrashed,
    /// A workload was wished.
    Applied {
        /// Which one.
        workload: WorkloadId,
        /// Its generation.
        generation: u64,
        /// Its kind.
        kind: WorkloadKind,
    },
    /// A workload was wished away.
    Removed(WorkloadId),
    /// A call was made to fail.
    Faulted(Verb),
    /// A pod was made.
    Created(PodId),
    /// A pod's command was started.
    Started(PodId, IpAddr),
    /// A pod answers.
    Ready(PodId),
    /// A pod does not answer any more.
    Unready(PodId),
    /// A pod is on its way out.
    Stopping(PodId),
    /// Its requests have ended, somebody said.
    Drained(PodId),
    /// It was asked to end.
    Sigterm(PodId),
    /// It was made to end.
    Sigkill(PodId),
    /// Its command ended.
    Exited(PodId, i64),
    /// It was removed.
    Gone(PodId),
    /// Somebody outside killed its process.
    KilledOutside(PodId),
    /// Somebody outside removed it.
    VanishedOutside(PodId),
    /// The daemon stopped answering.
    DaemonDown,
    /// The daemon answers again.
    DaemonUp,
    /// A node became ready or not.
    Node {
        /// Which one.
        name: String,
        /// Is it ready?
        ready: bool,
    },
    /// A node was told to take no new pods.
    Cordoned(String),
    /// A node was told to take new pods again.
    Uncordoned(String),
    /// A build came to its end.
    Built {
        /// The build.
        id: String,
        /// What became of it, in a word.
        outcome: &'static str,
    },
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EngineStarted => write!(f, "engine started"),
            Self::EngineCrashed => write!(f, "engine crashed"),
            Self::Applied {
                workload,
                generation,
                kind,
            } => match kind {
                WorkloadKind::Replicated { replicas } => {
                    write!(f, "apply {workload} generation {generation} × {replicas}")
                }
                WorkloadKind::Single => {
                    write!(f, "apply {workload} generation {generation} single")
                }
                WorkloadKind::Task { .. } => {
                    write!(f, "apply {workload} generation {generation} task")
                }
            },
            Self::Removed(workload) => write!(f, "remove {workload}"),
            Self::Faulted(verb) => write!(f, "fault at {verb:?}"),
            Self::Created(pod) => write!(f, "{pod} created"),
            Self::Started(pod, address) => write!(f, "{pod} started at {address}"),
            Self::Ready(pod) => write!(f, "{pod} ready"),
            Self::Unready(pod) => write!(f, "{pod} unready"),
            Self::Stopping(pod) => write!(f, "{pod} stopping"),
            Self::Drained(pod) => write!(f, "{pod} drained"),
            Self::Sigterm(pod) => write!(f, "{pod} SIGTERM"),
            Self::Sigkill(pod) => write!(f, "{pod} SIGKILL"),
            Self::Exited(pod, code) => write!(f, "{pod} ended with {code}"),
            Self::Gone(pod) => write!(f, "{pod} gone"),
            Self::KilledOutside(pod) => write!(f, "{pod} killed from outside"),
            Self::VanishedOutside(pod) => write!(f, "{pod} removed from outside"),
            Self::DaemonDown => write!(f, "daemon down"),
            Self::DaemonUp => write!(f, "daemon up"),
            Self::Node { name, ready: true } => write!(f, "node {name} ready"),
            Self::Node { name, ready: false } => write!(f, "node {name} not ready"),
            Self::Cordoned(name) => write!(f, "node {name} cordoned"),
            Self::Uncordoned(name) => write!(f, "node {name} uncordoned"),
            Self::Built { id, outcome } => write!(f, "build {id} {outcome}"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} {}", self.at.as_secs_f64(), self.act)
    }
}

/// The last [`Journal::MOST`] things that happened.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
}

impl Journal {
    /// A crash loop over months of virtual time must not eat the machine.
    const MOST: usize = 100_000;

    pub(super) fn note(&mut self, at: Duration, act: Act) {
        if self.entries.len() == Self::MOST {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { at, act });
    }

    pub(super) fn all(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
