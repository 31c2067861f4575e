//! What an engine keeps of what it is asked: the last wish for each workload (law 1).
//!
//! Theory of operation: every engine that drives something keeps wishes in memory only, and compares them with what there
//! is. Its planner is pure and needs of a wish no more than [`Wished`].

use std::sync::Arc;

use coracle_model::workload::{Workload, WorkloadKind};

/// What was wished last for a workload.
#[derive(Clone, Debug)]
pub enum Wish {
    /// That it runs.
    Run(Arc<Workload>),
    /// That it has no pods.
    Gone,
}

impl Wish {
    /// As much of it as a planner needs.
    #[must_use]
    pub fn wished(&self) -> Wished {
        match self {
            Self::Run(workload) => Wished::Run {
                kind: workload.kind,
                generation: workload.generation,
            },
            Self::Gone => Wished::Gone,
        }
    }

    /// What is to run.
    #[must_use]
    pub fn workload(&self) -> Option<&Arc<Workload>> {
        match self {
            Self::Run(workload) => Some(workload),
            Self::Gone => None,
        }
    }
}

/// What is wished for a workload, as far as planning is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wished {
    /// Pods of this kind and generation.
    Run {
        /// How many, and what their end means.
        kind: WorkloadKind,
        /// What they are made from.
        generation: u64,
    },
    /// None.
    Gone,
}
