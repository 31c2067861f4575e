//! A store against a plain model: random writes, leases, compactions and restarts, with a watcher that is read
//! now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coracle_store::{
    Entry, Event, Expected, LeaseId, Op, Page, Put, Revision, Store, StoreError, WatchStream,
};
use futures::{FutureExt as _, StreamExt as _};
use proptest::prelude::*;
use proptest::sample::Index;

/// How long an event that is due may take to come.
const DUE: Duration = Duration::from_secs(20);

/// What the store runs on.
#[async_trait]
pub(crate) trait Ground: Send + Sync {
    /// A store without keys.
    async fn open(&self) -> Arc<dyn Store>;

    /// The same after a restart of what it runs on.
    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store>;
}

/// Which revision an operation expects; the stale ones are resolved when it is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Guess {
    Any,
    Absent,
    Right,
    Stale,
}

#[derive(Clone, Debug)]
pub(crate) enum Draft {
    Put {
        key: usize,
        size: usize,
        guess: Guess,
        lease: Option<Index>,
    },
    Delete {
        key: usize,
        guess: Guess,
    },
    Check {
        key: usize,
        guess: Guess,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(Vec<Draft>),
    Grant,
    Revoke(Index),
    Compact(Index),
    Restart,
    /// Opens the watch anew somewhere in the history.
    Watch(Index),
    /// Reads what the watch has.
    Drain,
    List {
        prefix: usize,
        limit: usize,
        after: Option<usize>,
    },
}

const KEYS: [&str; 8] = ["/a", "/a/1", "/a/2", "/a/é", "/b", "/b/1", "/ab", "/c"];
const PREFIXES: [&str; 5] = ["", "/a", "/a/", "/b", "/x"];
const WATCHED: &str = "/a";
fn guess() -> impl Strategy<Value = Guess> {
    prop_oneof![
        5 => Just(Guess::Any),
        1 => Just(Guess::Absent),
        3 => Just(Guess::Right),
        1 => Just(Guess::Stale),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let key = 0..KEYS.len();
    let lease = proptest::option::weighted(0.3, any::<Index>());
    prop_oneof![
        6 => (key.clone(), 0..5000_usize, guess(), lease)
            .prop_map(|(key, size, guess, lease)| Draft::Put { key, size, guess, lease }),
        3 => (key.clone(), guess()).prop_map(|(key, guess)| Draft::Delete { key, guess }),
        1 => (key, guess()).prop_map(|(key, guess)| Draft::Check { key, guess }),
    ]
}

pub(crate) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..most)
}

fn step() -> impl Strategy<Value = Step> {
    let list = (
        0..PREFIXES.len(),
        0..5_usize,
        proptest::option::of(0..KEYS.len()),
    );
    prop_oneof![
        20 => proptest::collection::vec(draft(), 0..5).prop_map(Step::Write),
        2 => Just(Step::Grant),
        1 => any::<Index>().prop_map(Step::Revoke),
        1 => any::<Index>().prop_map(Step::Compact),
        1 => Just(Step::Restart),
        3 => any::<Index>().prop_map(Step::Watch),
        4 => Just(Step::Drain),
        4 => list.prop_map(|(prefix, limit, after)| Step::List { prefix, limit, after }),
    ]
}

/// What a store is, as plainly as it can be said.
#[derive(Debug, Default)]
struct Model {
    /// The revision before all of this.
    base: Revision,
    revision: Revision,
    current: BTreeMap<String, Entry>,
    log: Vec<Event>,
    oldest: Revision,
    leases: BTreeSet<LeaseId>,
}

impl Model {
    fn write(&mut self, ops: &[Op]) -> Result<Revision, String> {
        for op in ops {
            let current = self.current.get(op.key()).map(|entry| entry.modified);
            let met = match op.expected() {
                Expected::Any => true,
                Expected::Absent => current.is_none(),
                Expected::Revision(revision) => current == Some(revision),
            };
            if !met {
                return Err(format!("conflict {} {current:?}", op.key()));
            }
        }
        for op in ops {
            if let Op::Put(Put {
                lease: Some(lease), ..
            }) = op
                && !self.leases.contains(lease)
            {
                return Err(format!("no lease {lease}"));
            }
        }
        let revision = self.revision + 1;
        let before = self.log.len();
        for op in ops {
            match op {
                Op::Put(put) => {
                    let old = self.current.get(&put.key);
                    let entry = Entry {
                        key: put.key.clone(),
                        value: put.value.clone(),
                        created: old.map_or(revision, |old| old.created),
                        modified: revision,
                        lease: put.lease,
                    };
                    self.current.insert(put.key.clone(), entry.clone());
                    self.log.push(Event::Put(entry));
                }
                Op::Delete { key, .. } => {
                    if self.current.remove(key).is_some() {
                        self.log.push(Event::Delete {
                            key: key.clone(),
                            revision,
                        });
                    }
                }
                Op::Check { .. } => {}
            }
        }
        if self.log.len() > before {
            self.revision = revision;
        }
        Ok(self.revision)
    }

    fn revoke(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let of_lease = self
            .current
            .values()
            .filter(|entry| entry.lease == Some(lease));
        let ops: Vec<_> = of_lease
            .map(|entry| Op::delete(entry.key.clone(), Expected::Any))
            .collect();
        self.write(&ops).unwrap();
    }

    fn events_from(&self, from: Revision) -> Vec<Event> {
        let wanted = |e: &&Event| e.revision() >= from && e.key().starts_with(WATCHED);
        self.log.iter().filter(wanted).cloned().collect()
    }

    /// A revision in this history, or a little after it.
    fn somewhere(&self, index: Index) -> Revision {
        self.base + 1 + index.index((self.revision - self.base) as usize + 2) as Revision
    }

    fn ops(&self, drafts: &[Draft], leases: &[LeaseId]) -> Vec<Op> {
        let mut named = BTreeSet::new();
        let mut ops = Vec::new();
        for draft in drafts {
            let (Draft::Put { key, guess, .. }
            | Draft::Delete { key, guess }
            | Draft::Check { key, guess }) = draft;
            let key = KEYS[*key];
            if !named.insert(key) {
                continue;
            }
            let modified = self.current.get(key).map(|entry| entry.modified);
            let expected = match (guess, modified) {
                (Guess::Any, _) => Expected::Any,
                (Guess::Absent, _) | (Guess::Right, None) => Expected::Absent,
                (Guess::Right, Some(modified)) => Expected::Revision(modified),
                (Guess::Stale, modified) => Expected::Revision(modified.map_or(1, |m| m - 1)),
            };
            ops.push(match draft {
                Draft::Put { size, lease, .. } => {
                    let mut put = Put::new(key, vec![*size as u8; *size]).expecting(expected);
                    if let Some(index) = lease
                        && !leases.is_empty()
                    {
                        put = put.leased(*index.get(leases));
                    }
                    put.into()
                }
                Draft::Delete { .. } => Op::delete(key, expected),
                Draft::Check { .. } => Op::check(key, expected),
            });
        }
        ops
    }
}

/// A watch and what it has to deliver next.
struct Watched {
    stream: WatchStream,
    next: Revision,
}

impl Watched {
    /// Reads all that is due and checks it against the model.
    async fn drain(&mut self, model: &Model) {
        if self.next == Revision::MAX {
            return; // It has ended.
        }
        let expected = model.events_from(self.next);
        let mut found = Vec::new();
        loop {
            // What is due is waited for; what is not must not be there.
            let item = if found.len() < expected.len() {
                tokio::time::timeout(DUE, self.stream.next()).await.ok()
            } else {
                self.stream.next().now_or_never()
            };
            match item {
                None => break,
                Some(Some(Ok(event))) => found.push(event),
                Some(Some(Err(StoreError::Compacted { oldest }))) => {
                    assert_eq!(oldest, model.oldest);
                    assert!(found.last().map_or(self.next, Event::revision) < oldest);
                    assert_eq!(found, expected[..found.len()], "what came before");
                    self.next = Revision::MAX;
                    return;
                }
                other => unreachable!("{other:?}"),
            }
        }
        assert_eq!(found, expected);
        // Where it lags behind a compaction and nothing came, it may yet be told so: a store takes its time.
        if self.next >= model.oldest || !found.is_empty() {
            self.next = self.next.max(model.revision + 1);
        }
    }
}

/// Does the steps to a store and to the model, and compares.
pub(crate) async fn play(ground: &dyn Ground, steps: Vec<Step>) {
    let mut store = ground.open().await;
    // The store may have had other keys before.
    let base = store.revision().await.unwrap();
    let mut model = Model {
        revision: base,
        base,
        oldest: base + 1,
        ..Model::default()
    };
    let mut leases: Vec<LeaseId> = Vec::new();
    let mut watched = Watched {
        stream: store.watch(WATCHED, None).await.unwrap(),
        next: base + 1,
    };
    for step in steps {
        match step {
            Step::Write(drafts) => {
                let ops = model.ops(&drafts, &leases);
                let found = match store.write(ops.clone()).await {
                    Ok(revision) => Ok(revision),
                    Err(StoreError::Conflict { key, current }) => {
                        Err(format!("conflict {key} {current:?}"))
                    }
                    Err(StoreError::LeaseNotFound { lease }) => Err(format!("no lease {lease}")),
                    Err(other) => unreachable!("{other:?}"),
                };
                assert_eq!(found, model.write(&ops));
            }
            Step::Grant => {
                let lease = store.grant_lease(Duration::from_secs(3600)).await.unwrap();
                assert!(!leases.contains(&lease), "names are not used again");
                leases.push(lease);
                model.leases.insert(lease);
            }
            Step::Revoke(_) if leases.is_empty() => {}
            Step::Revoke(index) => {
                let lease = *index.get(&leases);
                let found = store.revoke(lease).await;
                assert_eq!(found.is_ok(), model.leases.contains(&lease), "{found:?}");
                if found.is_ok() {
                    model.revoke(lease);
                }
            }
            Step::Compact(index) => {
                let keep_from = model.somewhere(index);
                store.compact(keep_from).await.unwrap();
                model.oldest = model.oldest.max(keep_from.min(model.revision + 1));
            }
            Step::Restart => {
                watched.drain(&model).await;
                store = ground.restart(store).await;
                let next = watched.next.min(model.revision + 1);
                watched = watch(&*store, &model, next).await.unwrap_or(watched);
            }
            Step::Watch(index) => {
                let from = model.somewhere(index);
                watched = watch(&*store, &model, from).await.unwrap_or(watched);
            }
            Step::Drain => watched.drain(&model).await,
            Step::List {
                prefix,
                limit,
                after,
            } => {
                let (prefix, after) = (PREFIXES[prefix], after.map(|key| KEYS[key]));
                let page = Page {
                    after: after.map(str::to_owned),
                    limit,
                };
                let found = store.list(prefix, page).await.unwrap();
                let due: Vec<_> = model
                    .current
                    .values()
                    .filter(|entry| entry.key.starts_with(prefix))
                    .filter(|entry| after.is_none_or(|after| entry.key.as_str() > after))
                    .collect();
                let limit = limit.max(1);
                assert!(found.entries.iter().eq(due.iter().copied().take(limit)));
                let next = (due.len() > limit).then(|| due[limit - 1].key.clone());
                assert_eq!(found.next, next);
                assert_eq!(found.revision, model.revision);
            }
        }
        assert_eq!(store.revision().await.unwrap(), model.revision);
    }
    let entries = store.list_all("").await.unwrap().entries;
    assert!(entries.iter().eq(model.current.values()));
    watched.drain(&model).await;
}

/// Opens the watch, or finds the refusal that the model has.
async fn watch(store: &dyn Store, model: &Model, from: Revision) -> Option<Watched> {
    let opened = match store.watch(WATCHED, Some(from)).await {
        // The refusal may be the first item of the stream.
        Ok(mut stream) if from < model.oldest => {
            match tokio::time::timeout(DUE, stream.next()).await {
                Ok(Some(Err(error))) => Err(error),
                other => unreachable!("{from} is compacted, but: {other:?}"),
            }
        }
        opened => opened,
    };
    match opened {
        Ok(stream) => Some(Watched { stream, next: from }),
        Err(StoreError::Compacted { oldest }) => {
            assert_eq!(oldest, model.oldest);
            assert!(from < oldest);
            None
        }
        Err(other) => unreachable!("{other:?}"),
    }
}
