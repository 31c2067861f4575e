//! What changed, for whoever shows it.
//!
//! Theory of operation: a broadcast with a bound. It tells people's browsers to look again; nothing relies on every change
//! being heard, and a listener that falls behind is told that it missed some.

use tokio::sync::broadcast;

use crate::digest::Digest;
use crate::registry::Registry;
use crate::repository::{RepositoryName, Tag};

/// Changes that a slow listener may be behind.
pub(crate) const KEPT: usize = 64;

/// A repository changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which one.
    pub repository: RepositoryName,
    /// What.
    pub what: What,
}

/// What changed in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A tag means an image now.
    Tagged(Tag),
    /// A client deleted a tag.
    Untagged(Tag),
    /// A client deleted an image, with its tags.
    Deleted(Digest),
    /// A collection removed images that nothing needed.
    Collected,
}

impl Registry {
    /// Changes from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.inner.changes.subscribe()
    }

    pub(crate) fn tell(&self, repository: &RepositoryName, what: What) {
        let repository = repository.clone();
        // An error says that nobody listens.
        drop(self.inner.changes.send(Changed { repository, what }));
    }
}
