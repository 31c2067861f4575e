//! Sources of builds, laid out for whoever shows a ticket.
//!
//! Theory of operation: where a build runs on another machine, its source is fetched from the control plane instead of
//! being sent. The engine lays a folder out under a ticket, a secret that only the build's pod gets; the API hands the
//! folder to who shows it, once: a ticket is used up when all was handed over, and good again when that broke. Nothing of
//! it is kept: an engine that goes on with a build of a life before lays its source out again. Only digests of
//! tickets are compared, so that how long it takes says nothing of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_model::env::Secret;
use sha2::{Digest as _, Sha256};

type Key = [u8; 32];

/// Where sources are laid out. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ContextDesk(Arc<Mutex<HashMap<Key, Entry>>>);

#[derive(Debug)]
struct Entry {
    source: LaidSource,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has it.
    Free,
    /// It is being handed over.
    Taken,
    /// It was handed over.
    Used,
}

/// A source that was laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaidSource {
    /// A folder with unpacked, checked source, without what its `.dockerignore` names.
    pub context: PathBuf,
    /// The Dockerfile within the folder.
    pub dockerfile: PathBuf,
}

/// Keeps a source laid out; dropped, its ticket is worth nothing.
#[derive(Debug)]
pub struct Laid {
    desk: ContextDesk,
    key: Key,
}

/// A source that is being handed over. Dropped before [`Taking::done`], its ticket is good again.
#[derive(Debug)]
pub struct Taking {
    desk: ContextDesk,
    key: Key,
    source: LaidSource,
}

fn key(ticket: &str) -> Key {
    Sha256::digest(ticket.as_bytes()).into()
}

impl ContextDesk {
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a source out for who shows `ticket`, once.
    #[must_use]
    pub fn lay_out(&self, ticket: &Secret, source: LaidSource) -> Laid {
        let key = key(ticket.expose());
        let entry = Entry {
            source,
            state: State::Free,
        };
        self.entries().insert(key, entry);
        Laid {
            desk: self.clone(),
            key,
        }
    }

    /// The source that `ticket` is for. Nothing for a ticket that is not known, was used, or is just being used.
    #[must_use]
    pub fn take(&self, ticket: &str) -> Option<Taking> {
        let key = key(ticket);
        let mut entries = self.entries();
        let entry = entries.get_mut(&key)?;
        if entry.state != State::Free {
            return None;
        }
        entry.state = State::Taken;
        Some(Taking {
            desk: self.clone(),
            key,
            source: entry.source.clone(),
        })
    }

    fn mark(&self, key: &Key, from: State, to: State) {
        if let Some(entry) = self.entries().get_mut(key)
            && entry.state == from
        {
            entry.state = to;
        }
    }
}

impl Laid {
    /// The ticket is good once more: another pod does the build from its start.
    pub fn again(&self) {
        self.desk.mark(&self.key, State::Used, State::Free);
    }
}

impl Drop for Laid {
    fn drop(&mut self) {
        self.desk.entries().remove(&self.key);
    }
}

impl Taking {
    /// What is handed over.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.source.context
    }

    /// The Dockerfile within [`Taking::source`].
    #[must_use]
    pub fn dockerfile(&self) -> &Path {
        &self.source.dockerfile
    }

    /// All of it was handed over.
    pub fn done(self) {
        self.desk.mark(&self.key, State::Taken, State::Used);
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.desk.mark(&self.key, State::Taken, State::Free);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> LaidSource {
        LaidSource {
            context: "/work/context".into(),
            dockerfile: "Dockerfile".into(),
        }
    }

    #[test]
    fn a_ticket_is_good_once() {
        let desk = ContextDesk::default();
        let laid = desk.lay_out(&Secret::new("t1"), source());
        assert!(desk.take("t2").is_none());
        let taking = desk.take("t1").unwrap();
        assert_eq!(taking.source(), Path::new("/work/context"));
        assert!(desk.take("t1").is_none(), "it is just being used");
        taking.done();
        assert!(desk.take("t1").is_none(), "it was used");
        laid.again();
        assert!(desk.take("t1").is_some());
        drop(laid);
        assert!(desk.take("t1").is_none(), "the build has ended");
    }

    #[test]
    fn a_ticket_is_good_again_after_what_broke() {
        let desk = ContextDesk::default();
        let _laid = desk.lay_out(&Secret::new("t1"), source());
        drop(desk.take("t1").unwrap());
        assert!(desk.take("t1").is_some());
    }

    #[test]
    fn a_build_that_goes_on_lays_out_anew() {
        let desk = ContextDesk::default();
        let first = desk.lay_out(&Secret::new("t1"), source());
        desk.take("t1").unwrap().done();
        drop(first);
        let _second = desk.lay_out(&Secret::new("t1"), source());
        assert!(desk.take("t1").is_some());
    }
}
