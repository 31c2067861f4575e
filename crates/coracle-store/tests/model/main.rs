//! The embedded store against a plain model: random writes, leases, compactions and restarts, with a watcher
//! that is read now and then.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use coracle_store::{
    Embedded, EmbeddedConfig, Entry, Event, Expected, LeaseId, Op, Page, Put, Retention, Revision,
    Store, StoreError, WatchStream,
};
use futures::{FutureExt as _, StreamExt as _};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;

/// Which revision an operation expects; the stale ones are resolved when it is done.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Any,
    Absent,
    Right,
    Stale,
}

#[derive(Clone, Debug)]
enum Draft {
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
enum Step {
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
/// Where cases that once failed are kept, to be tried first.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model.regressions");

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

fn open(dir: &Path) -> Embedded {
    // Compaction by itself would have to be in the model: it has its own test.
    let config = EmbeddedConfig {
        retention: Retention::default(),
        ..EmbeddedConfig::default()
    };
    Embedded::open(dir, config).unwrap()
}

/// A watch and what it has to deliver next.
struct Watched {
    stream: WatchStream,
    next: Revision,
}

impl Watched {
    /// Reads all that is due and checks it against the model.
    fn drain(&mut self, model: &Model) {
        if self.next == Revision::MAX {
            return; // It has ended.
        }
        let expected = model.events_from(self.next);
        let mut found = Vec::new();
        while let Some(item) = self.stream.next().now_or_never() {
            match item {
                Some(Ok(event)) => found.push(event),
                Some(Err(StoreError::Compacted { oldest })) => {
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
        self.next = self.next.max(model.revision + 1);
    }
}

async fn play(steps: Vec<Step>) {
    let root = tempfile::tempdir().unwrap();
    let mut store = open(root.path());
    let mut model = Model {
        oldest: 1,
        ..Model::default()
    };
    let mut leases: Vec<LeaseId> = Vec::new();
    let mut watched = Watched {
        stream: store.watch(WATCHED, None).await.unwrap(),
        next: 1,
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
                assert!(
                    leases.iter().all(|old| *old < lease),
                    "names are not used again"
                );
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
                let keep_from = index.index(model.revision as usize + 3) as Revision;
                store.compact(keep_from).await.unwrap();
                model.oldest = model.oldest.max(keep_from.min(model.revision + 1));
            }
            Step::Restart => {
                watched.drain(&model);
                drop(store);
                store = open(root.path());
                let next = watched.next.min(model.revision + 1);
                watched = watch(&store, &model, next).await.unwrap_or(watched);
            }
            Step::Watch(index) => {
                let from = index.index(model.revision as usize + 3) as Revision;
                watched = watch(&store, &model, from.max(1)).await.unwrap_or(watched);
            }
            Step::Drain => watched.drain(&model),
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
    watched.drain(&model);
}

/// Opens the watch, or finds the refusal that the model has.
async fn watch(store: &Embedded, model: &Model, from: Revision) -> Option<Watched> {
    match store.watch(WATCHED, Some(from)).await {
        Ok(stream) => {
            assert!(from >= model.oldest, "{from} is compacted");
            Some(Watched { stream, next: from })
        }
        Err(StoreError::Compacted { oldest }) => {
            assert_eq!(oldest, model.oldest);
            assert!(from < oldest);
            None
        }
        Err(other) => unreachable!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn does_what_the_model_does(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps));
    }
}
