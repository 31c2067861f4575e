//! What is known of projects in this process's life.
//!
//! Theory of operation: of each project that is there, whether its namespace was made, and a turn that whoever makes or
//! removes it holds. What is not there any more, and nobody is at, is forgotten.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_engine::build::PullCredentials;
use coracle_model::name::ProjectName;
use tokio::sync::OwnedMutexGuard;

/// What is known of projects in this process's life: of those that are there, and no others.
#[derive(Default)]
pub(crate) struct Projects {
    known: Mutex<HashMap<ProjectName, Known>>,
    /// What their images are pulled with.
    pulls: Mutex<HashMap<ProjectName, PullCredentials>>,
}

#[derive(Default)]
pub(super) struct Known {
    /// Held while the project is made or removed.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Its namespace was made or checked, and nobody has seen it go since.
    pub(super) made: bool,
    /// It was looked there for what a former life left: once, before anything is made.
    pub(super) swept: bool,
}

impl Known {
    fn is_worth_keeping(&self) -> bool {
        self.made || self.swept || Arc::strong_count(&self.turn) > 1
    }
}

impl Projects {
    pub(super) fn known(&self) -> MutexGuard<'_, HashMap<ProjectName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to make or remove a project.
    pub(super) async fn turn<'a>(&'a self, project: &'a ProjectName) -> Turn<'a> {
        let turn = Arc::clone(&self.known().entry(project.clone()).or_default().turn);
        Turn {
            projects: self,
            project,
            held: Some(turn.lock_owned().await),
        }
    }

    /// A request says that its namespace may be gone: it is looked at again before the next thing is made there.
    pub(crate) fn doubt(&self, project: &ProjectName) {
        if let Some(known) = self.known().get_mut(project) {
            known.made = false;
        }
    }

    /// Its namespace is gone, or not ours any more.
    pub(crate) fn forget(&self, project: &ProjectName) {
        let mut all = self.known();
        if let Some(known) = all.get_mut(project) {
            (known.made, known.swept) = (false, false);
            if !known.is_worth_keeping() {
                all.remove(project);
            }
        }
    }

    /// Every namespace of ours was read: others are gone.
    pub(crate) fn keep(&self, there: &BTreeSet<ProjectName>) {
        let gone = |name: &&ProjectName| !there.contains(*name);
        let gone: Vec<ProjectName> = self.known().keys().filter(gone).cloned().collect();
        for project in gone {
            self.forget(&project);
        }
    }

    pub(super) fn pulls(&self) -> MutexGuard<'_, HashMap<ProjectName, PullCredentials>> {
        self.pulls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to make or remove a project. What is not there is forgotten in the end.
pub(super) struct Turn<'a> {
    projects: &'a Projects,
    project: &'a ProjectName,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turn<'_> {
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Known) -> T) -> T {
        f(self
            .projects
            .known()
            .entry(self.project.clone())
            .or_default())
    }

    pub(super) fn is_made(&self) -> bool {
        self.with(|known| known.made)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.projects.known();
        drop(self.held.take());
        if all
            .get(self.project)
            .is_some_and(|known| !known.is_worth_keeping())
        {
            all.remove(self.project);
        }
    }
}
