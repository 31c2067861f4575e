//! Sources of builds, laid out for whoever shows a ticket.
//!
//! Theory of operation: where a build runs on another machine, its source is fetched from the control plane instead of
//! being sent. The engine lays a folder out under a ticket, a secret that only the build's pod gets; the API hands the
//! folder to who shows it, to one at a time. That all of it was sent does not say that it arrived: whoever lost
//! the end of it asks again. The ticket is spent once the engine has heard that the source is there, and good again when
//! another pod begins the build anew; a hand-over of the pod before then ends, whatever it is at. Nothing of it is kept: an
//! engine that goes on with a build of a life before lays its source out again. Only digests of tickets are compared, so
//! that how long it takes says nothing of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coracle_model::env::Secret;
use sha2::{Digest as _, Sha256};

/// A hand-over of which nothing was fetched for so long is dead: its connection may never say so.
const STALLED: Duration = Duration::from_mins(1);

type Key = [u8; 32];

/// Where sources are laid out. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ContextDesk(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    by_ticket: HashMap<Key, Entry>,
    /// Numbers what is laid out and what is handed over, so that what is over has no say any more.
    last: u64,
}

#[derive(Debug)]
struct Entry {
    laid: u64,
    source: LaidSource,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has it.
    Free,
    /// It is being handed over, and somebody took a piece of it then.
    Taken { number: u64, at: Instant },
    /// It is where it was to go.
    Spent,
}

impl State {
    /// The ticket is shown: is the source handed over, as `number`?
    fn take(&mut self, number: u64, now: Instant) -> bool {
        let free = match *self {
            Self::Free => true,
            Self::Taken { at, .. } => now.saturating_duration_since(at) >= STALLED,
            Self::Spent => false,
        };
        if free {
            *self = Self::Taken { number, at: now };
        }
        free
    }

    /// A piece is asked for: does the hand-over go on?
    fn goes_on(&mut self, number: u64, now: Instant) -> bool {
        match self {
            Self::Taken { number: mine, at } if *mine == number => {
                *at = now;
                true
            }
            _ => false,
        }
    }

    /// A hand-over is at its end, whatever that is.
    fn leave(&mut self, number: u64) {
        if matches!(self, Self::Taken { number: mine, .. } if *mine == number) {
            *self = Self::Free;
        }
    }
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
    number: u64,
}

/// A source that is being handed over. Dropped, its ticket may be shown again.
#[derive(Debug)]
pub struct Taking {
    desk: ContextDesk,
    key: Key,
    number: u64,
    source: LaidSource,
}

fn key(ticket: &str) -> Key {
    Sha256::digest(ticket.as_bytes()).into()
}

impl Entries {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl ContextDesk {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a source out for who shows `ticket`.
    #[must_use]
    pub fn lay_out(&self, ticket: &Secret, source: LaidSource) -> Laid {
        let key = key(ticket.expose());
        let mut entries = self.entries();
        let number = entries.number();
        let entry = Entry {
            laid: number,
            source,
            state: State::Free,
        };
        entries.by_ticket.insert(key, entry);
        Laid {
            desk: self.clone(),
            key,
            number,
        }
    }

    /// The source that `ticket` is for. Nothing for a ticket that is not known, is spent, or is just being used.
    #[must_use]
    pub fn take(&self, ticket: &str) -> Option<Taking> {
        let key = key(ticket);
        let mut entries = self.entries();
        let number = entries.number();
        let entry = entries.by_ticket.get_mut(&key)?;
        entry.state.take(number, Instant::now()).then(|| Taking {
            desk: self.clone(),
            key,
            number,
            source: entry.source.clone(),
        })
    }

    fn with<T>(&self, key: &Key, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.entries().by_ticket.get_mut(key).map(change)
    }
}

impl Laid {
    fn set(&self, state: State) {
        self.desk.with(&self.key, |entry| {
            if entry.laid == self.number {
                entry.state = state;
            }
        });
    }

    /// The source is where it was to go: nobody gets it any more.
    pub fn spent(&self) {
        self.set(State::Spent);
    }

    /// The ticket is good once more, whoever has the source now: another pod does the build from its start.
    pub fn again(&self) {
        self.set(State::Free);
    }
}

impl Drop for Laid {
    fn drop(&mut self) {
        let mut entries = self.desk.entries();
        let mine = |entry: &Entry| entry.laid == self.number;
        if entries.by_ticket.get(&self.key).is_some_and(mine) {
            entries.by_ticket.remove(&self.key);
        }
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

    /// Is the source still this taker's? To be asked before each piece of it is sent.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        let goes_on = self.desk.with(&self.key, |entry| {
            entry.state.goes_on(self.number, Instant::now())
        });
        goes_on.unwrap_or(false)
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.desk
            .with(&self.key, |entry| entry.state.leave(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source() -> LaidSource {
        LaidSource {
            context: "/work/context".into(),
            dockerfile: "Dockerfile".into(),
        }
    }

    #[test]
    fn one_at_a_time_until_it_is_spent() {
        let desk = ContextDesk::default();
        let laid = desk.lay_out(&Secret::new("t1"), source());
        assert!(desk.take("t2").is_none());
        let taking = desk.take("t1").unwrap();
        assert_eq!(taking.source(), Path::new("/work/context"));
        assert!(desk.take("t1").is_none(), "it is just being used");
        drop(taking);
        assert!(desk.take("t1").is_some(), "nobody said that it arrived");
        laid.spent();
        assert!(desk.take("t1").is_none(), "it is spent");
        laid.again();
        assert!(desk.take("t1").is_some());
        drop(laid);
        assert!(desk.take("t1").is_none(), "the build has ended");
    }

    #[test]
    fn the_pod_before_has_no_say() {
        let desk = ContextDesk::default();
        let laid = desk.lay_out(&Secret::new("t1"), source());
        let before = desk.take("t1").unwrap();
        laid.again();
        assert!(!before.goes_on(), "its pod is lost");
        let next = desk.take("t1").unwrap();
        drop(before);
        assert!(next.goes_on());
        assert!(desk.take("t1").is_none());
    }

    #[test]
    fn a_build_that_goes_on_lays_out_anew() {
        let desk = ContextDesk::default();
        let first = desk.lay_out(&Secret::new("t1"), source());
        let taking = desk.take("t1").unwrap();
        let _second = desk.lay_out(&Secret::new("t1"), source());
        assert!(!taking.goes_on());
        drop(taking);
        drop(first);
        assert!(desk.take("t1").is_some());
    }

    #[derive(Clone, Debug)]
    enum Event {
        Take,
        /// Of the taker of so many takings ago.
        Piece(usize),
        Drop(usize),
        Spent,
        Again,
        Seconds(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Take),
            (0_usize..4).prop_map(Event::Piece),
            (0_usize..4).prop_map(Event::Drop),
            Just(Event::Spent),
            Just(Event::Again),
            (0_u64..90).prop_map(Event::Seconds),
        ]
    }

    proptest! {
        /// Whatever happens in which order: never two at once, nobody once it is spent, always somebody once it is good again.
        #[test]
        fn a_ticket_in_any_order(events in prop::collection::vec(event(), 0..40)) {
            let mut state = State::Free;
            let mut now = Instant::now();
            let mut spent = false;
            // Those who took, oldest first; false once dropped.
            let mut takers: Vec<bool> = Vec::new();
            for event in events {
                let nth = |back: usize| takers.len().checked_sub(back + 1);
                match event {
                    Event::Take => {
                        let number = takers.len() as u64;
                        let given = state.take(number, now);
                        prop_assert!(!(given && spent));
                        takers.push(given);
                    }
                    Event::Piece(back) => if let Some(n) = nth(back).filter(|n| takers[*n]) {
                        let before = state;
                        let goes_on = state.goes_on(n as u64, now);
                        prop_assert_eq!(goes_on, matches!(before, State::Taken { number, .. } if number == n as u64));
                        prop_assert!(!(goes_on && spent));
                    },
                    Event::Drop(back) => if let Some(n) = nth(back).filter(|n| takers[*n]) {
                        takers[n] = false;
                        state.leave(n as u64);
                    },
                    Event::Spent => {
                        state = State::Spent;
                        spent = true;
                    }
                    Event::Again => {
                        state = State::Free;
                        spent = false;
                        prop_assert!(state.clone().take(u64::MAX, now));
                    }
                    Event::Seconds(seconds) => now += Duration::from_secs(seconds),
                }
                // At most one of those who took can go on, and it is one who was not dropped.
                let going: Vec<usize> = (0..takers.len())
                    .filter(|n| state.clone().goes_on(*n as u64, now))
                    .collect();
                prop_assert!(going.len() <= 1 && going.iter().all(|n| takers[*n]), "{:?}", going);
                // Nobody waits for a dead one for ever.
                prop_assert_eq!(spent, !state.clone().take(u64::MAX, now + STALLED));
            }
        }
    }
}
