//! A store in memory, on tokio's clock, so that controllers can be tested on virtual time. It keeps all laws but
//! durability: the conformance suite of the stores says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use coracle_store::{
    Entry, Event, Expected, LeaseId, Listing, MAX_PAGE, MAX_PAGE_BYTES, Op, Page, Revision, Store,
    StoreError, WatchStream, validate_key, validate_ops, validate_prefix, validate_ttl,
};
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

/// The store.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    shared: std::sync::Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    entries: BTreeMap<String, Entry>,
    log: VecDeque<Event>,
    /// The oldest revision that can be watched from.
    oldest: Revision,
    leases: BTreeMap<LeaseId, (Duration, Instant)>,
    next_lease: u64,
}

impl State {
    fn write(&mut self, ops: Vec<Op>) -> Result<Revision, StoreError> {
        for op in &ops {
            let current = self.entries.get(op.key()).map(|entry| entry.modified);
            if !op.expected().is_met_by(current) {
                let key = op.key().to_owned();
                return Err(StoreError::Conflict { key, current });
            }
            if let Op::Put(put) = op
                && let Some(lease) = put.lease.filter(|lease| !self.leases.contains_key(lease))
            {
                return Err(StoreError::LeaseNotFound { lease });
            }
        }
        let revision = self.revision + 1;
        for op in ops {
            match op {
                Op::Put(put) => {
                    let created = self
                        .entries
                        .get(&put.key)
                        .map_or(revision, |entry| entry.created);
                    let entry = Entry {
                        key: put.key.clone(),
                        value: put.value,
                        created,
                        modified: revision,
                        lease: put.lease,
                    };
                    self.log.push_back(Event::Put(entry.clone()));
                    self.entries.insert(put.key, entry);
                    self.revision = revision;
                }
                Op::Delete { key, .. } => {
                    if self.entries.remove(&key).is_some() {
                        self.log.push_back(Event::Delete { key, revision });
                        self.revision = revision;
                    }
                }
                Op::Check { .. } => {}
            }
        }
        Ok(self.revision)
    }

    fn reap(&mut self) {
        let now = Instant::now();
        let dead: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, (_, end))| *end <= now)
            .map(|(id, _)| *id)
            .collect();
        for lease in dead {
            self.end(lease);
        }
    }

    fn end(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let revision = self.revision + 1;
        let of = |entry: &&Entry| entry.lease == Some(lease);
        let keys: Vec<String> = self
            .entries
            .values()
            .filter(of)
            .map(|entry| entry.key.clone())
            .collect();
        for key in keys {
            self.entries.remove(&key);
            self.log.push_back(Event::Delete { key, revision });
            self.revision = revision;
        }
    }

    fn next_end(&self) -> Option<Instant> {
        self.leases.values().map(|(_, end)| *end).min()
    }
}

impl MemoryStore {
    pub(crate) fn new() -> Self {
        let state = State {
            oldest: 1,
            ..State::default()
        };
        let shared = Shared {
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
        };
        Self {
            shared: std::sync::Arc::new(shared),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.state.lock().unwrap();
        state.reap();
        state
    }

    /// Every key and value, for comparing whole states.
    pub(crate) fn all(&self) -> BTreeMap<String, Entry> {
        self.state().entries.clone()
    }

    fn told(&self) {
        self.shared.changed.send_replace(());
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.state().revision)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        validate_key(key)?;
        Ok(self.state().entries.get(key).cloned())
    }

    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, StoreError> {
        validate_prefix(prefix)?;
        let state = self.state();
        let limit = page.limit.clamp(1, MAX_PAGE);
        let after = page.after.unwrap_or_default();
        let mut rest = state
            .entries
            .values()
            .filter(|entry| {
                entry.key.starts_with(prefix) && (after.is_empty() || entry.key > after)
            })
            .peekable();
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = rest.next_if(|_| entries.len() < limit && bytes < MAX_PAGE_BYTES) {
            bytes += entry.value.len();
            entries.push(entry.clone());
        }
        let next = rest
            .peek()
            .and_then(|_| entries.last())
            .map(|last| last.key.clone());
        let revision = state.revision;
        Ok(Listing {
            entries,
            revision,
            next,
        })
    }

    async fn write(&self, ops: Vec<Op>) -> Result<Revision, StoreError> {
        validate_ops(&ops)?;
        let written = self.state().write(ops);
        self.told();
        written
    }

    async fn delete(&self, key: &str, expected: Expected) -> Result<Option<Revision>, StoreError> {
        validate_key(key)?;
        let deleted = {
            let mut state = self.state();
            let before = state.revision;
            let after = state.write(vec![Op::delete(key, expected)])?;
            (after > before).then_some(after)
        };
        self.told();
        Ok(deleted)
    }

    async fn watch(&self, prefix: &str, from: Option<Revision>) -> Result<WatchStream, StoreError> {
        validate_prefix(prefix)?;
        let from = {
            let state = self.state();
            let from = from.unwrap_or(state.revision + 1);
            if from < state.oldest {
                return Err(StoreError::Compacted {
                    oldest: state.oldest,
                });
            }
            from
        };
        let watcher = Watcher {
            shared: std::sync::Arc::clone(&self.shared),
            changed: self.shared.changed.subscribe(),
            prefix: prefix.to_owned(),
            from,
            pending: VecDeque::new(),
        };
        let batches = futures::stream::unfold(Some(watcher), |watcher| async move {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(event) => Some((Ok(event), Some(watcher))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(batches.boxed())
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        validate_ttl(ttl)?;
        let lease = {
            let mut state = self.state();
            state.next_lease += 1;
            let lease = LeaseId(state.next_lease);
            state.leases.insert(lease, (ttl, Instant::now() + ttl));
            lease
        };
        self.told();
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        let mut state = self.state();
        let (ttl, end) = state
            .leases
            .get_mut(&lease)
            .ok_or(StoreError::LeaseNotFound { lease })?;
        *end = Instant::now() + *ttl;
        Ok(())
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        {
            let mut state = self.state();
            if !state.leases.contains_key(&lease) {
                return Err(StoreError::LeaseNotFound { lease });
            }
            state.end(lease);
        }
        self.told();
        Ok(())
    }

    async fn compact(&self, keep_from: Revision) -> Result<(), StoreError> {
        {
            let mut state = self.state();
            let keep_from = keep_from.min(state.revision + 1).max(state.oldest);
            state.oldest = keep_from;
            state.log.retain(|event| event.revision() >= keep_from);
        }
        self.told();
        Ok(())
    }
}

struct Watcher {
    shared: std::sync::Arc<Shared>,
    changed: watch::Receiver<()>,
    prefix: String,
    from: Revision,
    pending: VecDeque<Event>,
}

impl Watcher {
    async fn next(&mut self) -> Result<Event, StoreError> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            self.changed.mark_unchanged();
            let end = {
                let mut state = self.shared.state.lock().unwrap();
                state.reap();
                if self.from < state.oldest {
                    return Err(StoreError::Compacted {
                        oldest: state.oldest,
                    });
                }
                let new = state
                    .log
                    .iter()
                    .filter(|event| event.revision() >= self.from);
                self.pending.extend(
                    new.filter(|event| event.key().starts_with(&self.prefix))
                        .cloned(),
                );
                self.from = self.from.max(state.revision + 1);
                state.next_end()
            };
            if !self.pending.is_empty() {
                continue;
            }
            let changed = self.changed.changed();
            match end {
                Some(end) => drop(tokio::time::timeout_at(end, changed).await),
                None => changed.await.map_err(|_| StoreError::Closed)?,
            }
        }
    }
}

mod tests {
    use std::sync::Arc;

    use coracle_store::conformance::{self, Fixture};

    use super::*;

    struct Fresh;

    #[async_trait]
    impl Fixture for Fresh {
        async fn open(&self) -> Arc<dyn Store> {
            Arc::new(MemoryStore::new())
        }
    }

    #[tokio::test]
    async fn keeps_the_laws_of_stores() {
        conformance::run(&Fresh).await;
    }
}
