//! What the engine was told in this process's life.
//!
//! Theory of operation: telling an engine the same wish again changes nothing, but costs something. So what was
//! told is remembered, and only told again when it differs or when it is not sure that it was taken up. This is
//! memory to save work, with one exception: a workload whose pods did not appear yet is known from here alone,
//! and so can be taken back before it ever shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use coracle_model::workload::WorkloadId;

/// What the engine was told. `W` is as much of a wish as it takes to see whether it changed.
#[derive(Debug)]
pub struct Wishes<W> {
    told: Mutex<BTreeMap<WorkloadId, Told<W>>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Told<W> {
    /// To run, perhaps: the answer is not there.
    Perhaps,
    /// To run so.
    Run(W),
    /// To have no pods.
    Remove,
}

/// Is a call needed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Yes.
    Yes,
    /// No: the engine was told just that.
    No,
}

impl<W> Default for Wishes<W> {
    fn default() -> Self {
        Self {
            told: Mutex::default(),
        }
    }
}

impl<W: PartialEq> Wishes<W> {
    fn told(&self) -> MutexGuard<'_, BTreeMap<WorkloadId, Told<W>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// About to tell that `id` runs as `wish`.
    pub fn about_to_run(&self, id: &WorkloadId, wish: &W) -> Needed {
        let mut told = self.told();
        if matches!(told.get(id), Some(Told::Run(before)) if before == wish) {
            return Needed::No;
        }
        told.insert(id.clone(), Told::Perhaps);
        Needed::Yes
    }

    /// It was taken up that `id` runs as `wish`.
    pub fn runs(&self, id: WorkloadId, wish: W) {
        self.told().insert(id, Told::Run(wish));
    }

    /// What was told of `id` is not known to hold any more: the next wish is told whatever it is.
    pub fn doubt(&self, id: &WorkloadId) {
        if let Some(told @ Told::Run(_)) = self.told().get_mut(id) {
            *told = Told::Perhaps;
        }
    }

    /// About to tell that `id` has no pods.
    pub fn about_to_remove(&self, id: &WorkloadId) -> Needed {
        match self.told().get(id) {
            Some(Told::Remove) => Needed::No,
            _ => Needed::Yes,
        }
    }

    /// It was taken up that `id` has no pods.
    pub fn removed(&self, id: WorkloadId) {
        self.told().insert(id, Told::Remove);
    }

    /// The workloads that were told to run.
    pub fn wished(&self) -> BTreeSet<WorkloadId> {
        let told = self.told();
        let wished = told.iter().filter(|(_, told)| **told != Told::Remove);
        wished.map(|(id, _)| id.clone()).collect()
    }

    /// Forgets those that were removed and have no pods any more.
    pub fn forget_removed(&self, has_pods: impl Fn(&WorkloadId) -> bool) {
        self.told()
            .retain(|id, told| *told != Told::Remove || has_pods(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_model::name::{PodName, ProjectName};

    #[test]
    fn a_wish_is_told_again_unless_it_was_surely_taken_up() {
        let id = WorkloadId {
            project: ProjectName::default_project(),
            name: PodName::new("a").unwrap(),
        };
        let wishes = Wishes::default();
        assert_eq!(wishes.about_to_run(&id, &1), Needed::Yes);
        assert_eq!(
            wishes.about_to_run(&id, &1),
            Needed::Yes,
            "nobody said that it was taken up"
        );
        wishes.runs(id.clone(), 1);
        assert_eq!(wishes.about_to_run(&id, &1), Needed::No);
        assert_eq!(wishes.about_to_run(&id, &2), Needed::Yes);
        assert_eq!(wishes.wished().len(), 1);
        assert_eq!(wishes.about_to_remove(&id), Needed::Yes);
        wishes.removed(id.clone());
        assert_eq!(wishes.about_to_remove(&id), Needed::No);
        assert!(wishes.wished().is_empty());
        assert_eq!(wishes.about_to_run(&id, &2), Needed::Yes);
    }
}
