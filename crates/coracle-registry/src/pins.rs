//! What pushes under way rely on, so that a collection leaves it alone.
//!
//! Theory of operation: whoever publishes something pins the digests that it is made of *before* it looks whether they are
//! there, and holds the pin until its records are written. A collection deletes under the exclusive side of
//! `Inner::publishing`, pins are taken under the shared side. So a push either pinned first, and the collection sees the pin before
//! it deletes, or it finds out that the content is gone. A pin that ends in the middle of a collection counts until that ends: what
//! the push wrote may lie where the collection has looked already.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;

/// All pins of one registry.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    held: HashMap<Digest, usize>,
    /// During a collection: all that was pinned at its begin or since.
    seen: Option<HashSet<Digest>>,
}

impl Pins {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; if it did, the tables would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pins `digests`. The caller holds the shared side of `Inner::publishing` for the time of this call.
    pub(crate) fn hold(self: &Arc<Self>, digests: Vec<Digest>) -> Pin {
        let mut state = self.state();
        for digest in &digests {
            *state.held.entry(digest.clone()).or_default() += 1;
            if let Some(seen) = &mut state.seen {
                seen.insert(digest.clone());
            }
        }
        Pin {
            pins: Arc::clone(self),
            digests,
        }
    }

    /// A collection begins. There is one at a time.
    pub(crate) fn begin(self: &Arc<Self>) -> Watched {
        let mut state = self.state();
        state.seen = Some(state.held.keys().cloned().collect());
        Watched(Arc::clone(self))
    }
}

/// As long as it lives, its digests are not collected.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    digests: Vec<Digest>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.pins.state();
        for digest in &self.digests {
            if let Some(held) = state.held.get_mut(digest) {
                *held -= 1;
                if *held == 0 {
                    state.held.remove(digest);
                }
            }
        }
    }
}

/// The pins since the begin of a collection, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watched(Arc<Pins>);

impl Watched {
    /// Was it pinned at any time since the begin?
    pub(crate) fn saw(&self, digest: &Digest) -> bool {
        let state = self.0.state();
        state
            .seen
            .as_ref()
            .is_some_and(|seen| seen.contains(digest))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.state().seen = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_counts_until_the_collection_ends() {
        let pins = Arc::new(Pins::default());
        let (early, late, never) = (Digest::of(b"a"), Digest::of(b"b"), Digest::of(b"c"));
        let first = pins.hold(vec![early.clone()]);
        let second = pins.hold(vec![early.clone()]);
        drop(first);
        let watched = pins.begin();
        drop(second);
        drop(pins.hold(vec![late.clone()]));
        assert!(watched.saw(&early) && watched.saw(&late) && !watched.saw(&never));
        drop(watched);
        assert!(!pins.begin().saw(&early));
        assert!(pins.state().held.is_empty());
    }
}
