//! Laws 6 to 9: watches and compaction.
//!
//! Most correctness bugs known of other stores were here: at the boundary of a resume, while a watch is being
//! registered, in a slow watcher, and where a compaction meets any of these.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a broken law ends the test that runs the suite"
)]

use std::collections::BTreeMap;

use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _};

use super::{Fixture, brief, case, next, take};
use crate::error::StoreError;
use crate::limits::WATCH_BUFFER;
use crate::store::{Event, Expected, Op, Put, Revision, Store};

pub(super) async fn run(fixture: &dyn Fixture) {
    case(
        "a watch sees what is written after it",
        live(fixture).boxed(),
    )
    .await;
    case("a watch resumes at every revision", resume(fixture).boxed()).await;
    case("a watch resumes after a restart", restart(fixture).boxed()).await;
    case(
        "events of one write belong together",
        one_write(fixture).boxed(),
    )
    .await;
    case(
        "a watch from the future sees nothing older",
        future(fixture).boxed(),
    )
    .await;
    case(
        "nothing is lost while a watch is registered",
        registration(fixture).boxed(),
    )
    .await;
    case("list and watch make a true copy", copy(fixture).boxed()).await;
    case("a slow watcher is not skipped", slow(fixture).boxed()).await;
    case("a compaction is told", compaction(fixture).boxed()).await;
    case(
        "a compaction keeps a delete at its edge",
        delete_at_the_edge(fixture).boxed(),
    )
    .await;
    case(
        "a compaction under a slow watcher",
        compaction_under_watch(fixture).boxed(),
    )
    .await;
    case(
        "a compaction spares idle watchers",
        compaction_of_others(fixture).boxed(),
    )
    .await;
}

fn briefs(events: &[Event]) -> Vec<String> {
    events.iter().map(brief).collect()
}

/// Writes a bit of everything under `/w/`, and returns all of its events.
async fn history(store: &dyn Store) -> Vec<Event> {
    let base = store.revision().await.unwrap();
    let mut watch = store.watch("/w/", None).await.unwrap();
    store.put(Put::new("/w/a", "1")).await.unwrap();
    store.put(Put::new("/other", "")).await.unwrap();
    store.put(Put::new("/w/b", "2")).await.unwrap();
    store.delete("/w/a", Expected::Any).await.unwrap();
    store.put(Put::new("/w/a", "3")).await.unwrap();
    let ops = vec![
        Op::delete("/w/b", Expected::Any),
        Put::new("/w", "no child").into(),
        Put::new("/w/a", "4").into(),
        Put::new("/w/c", "5").into(),
    ];
    store.write(ops).await.unwrap();
    store.delete("/w/c", Expected::Any).await.unwrap();
    let events = take(&mut watch, 8).await;
    let at = |n: u64| base + n;
    let expected = [
        format!("+/w/a@{}", at(1)),
        format!("+/w/b@{}", at(3)),
        format!("-/w/a@{}", at(4)),
        format!("+/w/a@{}", at(5)),
        format!("-/w/b@{}", at(6)),
        format!("+/w/a@{}", at(6)),
        format!("+/w/c@{}", at(6)),
        format!("-/w/c@{}", at(7)),
    ];
    assert_eq!(briefs(&events), expected);
    events
}

async fn live(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    store.put(Put::new("/w/before", "")).await.unwrap();
    let events = history(&*store).await;
    // Events have all that a read has.
    let Some(Event::Put(entry)) = events.get(5) else {
        unreachable!("{events:?}")
    };
    assert_eq!(store.get("/w/a").await.unwrap().as_ref(), Some(entry));
    assert!(entry.created < entry.modified);
}

async fn resume(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let base = store.revision().await.unwrap();
    let mut events = history(&*store).await;
    let last = store.revision().await.unwrap();
    // The markers of the check are written after `last`: a watch from before sees those of earlier rounds.
    for from in base + 1..=last + 1 {
        let mut watch = store.watch("/w/", Some(from)).await.unwrap();
        let expected: Vec<_> = events
            .iter()
            .filter(|e| e.revision() >= from)
            .cloned()
            .collect();
        assert_eq!(
            take(&mut watch, expected.len()).await,
            expected,
            "from {from}"
        );
        store.put(Put::new("/w/marker", "")).await.unwrap();
        let marker = take(&mut watch, 1).await;
        assert_eq!(
            marker[0].revision(),
            store.revision().await.unwrap(),
            "nothing in between"
        );
        events.extend(marker);
    }
}

async fn restart(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let base = store.revision().await.unwrap();
    let events = history(&*store).await;
    let store = fixture.restart(store).await;
    let mut watch = store.watch("/w/", Some(base + 1)).await.unwrap();
    assert_eq!(take(&mut watch, events.len()).await, events);
    let marker = store.put(Put::new("/w/x", "")).await.unwrap();
    assert_eq!(take(&mut watch, 1).await[0].revision(), marker);
}

async fn one_write(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let keys = ["/w/z", "/w/a", "/w/m"];
    let ops = keys.iter().map(|key| Put::new(*key, "").into()).collect();
    let revision = store.write(ops).await.unwrap();
    let mut watch = store.watch("/w/", Some(revision)).await.unwrap();
    let events = take(&mut watch, 3).await;
    let expected: Vec<_> = keys
        .iter()
        .map(|key| format!("+{key}@{revision}"))
        .collect();
    assert_eq!(briefs(&events), expected, "in the order of the operations");
    // One that stopped in the middle goes on with the same revision and sees its beginning again.
    drop(watch);
    let mut watch = store.watch("/w/", Some(revision)).await.unwrap();
    assert_eq!(take(&mut watch, 3).await, events);
}

async fn future(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let base = store.put(Put::new("/w/0", "")).await.unwrap();
    let mut watch = store.watch("/w/", Some(base + 4)).await.unwrap();
    for n in 1..=6_u32 {
        store.put(Put::new(format!("/w/{n}"), "")).await.unwrap();
    }
    let events = take(&mut watch, 3).await;
    let expected = [4, 5, 6].map(|n| format!("+/w/{n}@{}", base + n));
    assert_eq!(briefs(&events), expected);
}

async fn registration(fixture: &dyn Fixture) {
    const WRITES: u64 = 120;
    let store = fixture.open().await;
    let base = store.revision().await.unwrap();
    let writes = async {
        for n in 0..WRITES {
            store
                .put(Put::new(format!("/w/{}", n % 3), n.to_string()))
                .await
                .unwrap();
        }
    };
    // Watchers come one after the other while the writer is at work.
    let watcher = async || {
        let mut seen = 0;
        while seen < base + WRITES {
            let before = store.revision().await.unwrap();
            let mut watch = store.watch("/w/", None).await.unwrap();
            let after = store.revision().await.unwrap();
            if after == base + WRITES {
                break;
            }
            let first = take(&mut watch, 1).await[0].revision();
            assert!(
                first > before && first <= after + 1,
                "{before} {first} {after}"
            );
            seen = first;
            for event in take(
                &mut watch,
                (WRITES.min(base + WRITES - first)).min(5) as usize,
            )
            .await
            {
                assert_eq!(event.revision(), seen + 1, "every revision, once");
                seen += 1;
            }
        }
    };
    futures::join!(writes, join_all((0..4).map(|_| watcher())));
}

async fn copy(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let writer = async |name: u32| {
        for n in 0..40_u32 {
            let key = format!("/w/{name}/{}", n % 5);
            if n % 4 == 3 {
                store.delete(&key, Expected::Any).await.unwrap();
            } else {
                store.put(Put::new(key, n.to_string())).await.unwrap();
            }
        }
    };
    let writes = async {
        join_all((0..4).map(writer)).await;
        store.put(Put::new("/w/end", "")).await.unwrap();
    };
    let reader = async || {
        let listing = store.list_all("/w/").await.unwrap();
        let mut copy: BTreeMap<_, _> = listing
            .entries
            .into_iter()
            .map(|entry| (entry.key.clone(), entry))
            .collect();
        let mut watch = store
            .watch("/w/", Some(listing.revision + 1))
            .await
            .unwrap();
        let mut last = listing.revision;
        while !copy.contains_key("/w/end") {
            let event = next(&mut watch).await.unwrap();
            assert!(event.revision() >= last, "time goes forward");
            last = event.revision();
            match event {
                Event::Put(entry) => {
                    copy.insert(entry.key.clone(), entry);
                }
                Event::Delete { key, .. } => {
                    assert!(
                        copy.remove(&key).is_some(),
                        "only what was there is deleted"
                    );
                }
            }
        }
        copy
    };
    let ((), copies) = futures::join!(writes, join_all((0..3).map(|_| reader())));
    let truth = store.list_all("/w/").await.unwrap().entries;
    for copy in copies {
        assert_eq!(copy.into_values().collect::<Vec<_>>(), truth);
    }
}

async fn slow(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let mut watch = store.watch("/w/", None).await.unwrap();
    let base = store.revision().await.unwrap();
    let mut expected = Vec::new();
    for n in 0..(WATCH_BUFFER / 16) as u64 {
        // Writes that do not divide the buffer: a piece ends within one.
        let keys: Vec<_> = (0..50_u32).map(|key| format!("/w/{key:02}")).collect();
        let ops = keys
            .iter()
            .map(|key| Put::new(key.clone(), "").into())
            .collect();
        store.write(ops).await.unwrap();
        expected.extend(keys.iter().map(|key| format!("+{key}@{}", base + 1 + n)));
    }
    let events = take(&mut watch, expected.len()).await;
    assert_eq!(briefs(&events), expected);
    let last = store.put(Put::new("/w/x", "")).await.unwrap();
    assert_eq!(take(&mut watch, 1).await[0].revision(), last);
}

async fn expect_compacted(store: &dyn Store, from: Revision, oldest: Revision) {
    let error = match store.watch("/w/", Some(from)).await {
        Err(error) => error,
        Ok(mut watch) => next(&mut watch).await.expect_err("a compacted revision"),
    };
    match error {
        StoreError::Compacted { oldest: found } => assert_eq!(found, oldest, "from {from}"),
        other => unreachable!("{other:?}"),
    }
}

async fn compaction(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let base = store.revision().await.unwrap();
    let events = history(&*store).await;
    let last = store.revision().await.unwrap();
    let values = store.list_all("").await.unwrap();
    for keep_from in base + 2..=last + 1 {
        store.compact(keep_from).await.unwrap();
        // An older compaction afterwards is no news.
        store.compact(base + 1).await.unwrap();
        expect_compacted(&*store, base + 1, keep_from).await;
        expect_compacted(&*store, keep_from - 1, keep_from).await;
        let expected: Vec<_> = events
            .iter()
            .filter(|e| e.revision() >= keep_from)
            .collect();
        let mut watch = store.watch("/w/", Some(keep_from)).await.unwrap();
        let found = take(&mut watch, expected.len()).await;
        assert!(
            found.iter().eq(expected),
            "from {keep_from}: {:?}",
            briefs(&found)
        );
    }
    assert_eq!(
        store.list_all("").await.unwrap(),
        values,
        "values are not touched"
    );
    store.compact(Revision::MAX).await.unwrap();
    assert_eq!(
        store.revision().await.unwrap(),
        last,
        "a compaction is no write"
    );
    let next = store.put(Put::new("/w/n", "")).await.unwrap();
    assert_eq!(
        next,
        last + 1,
        "a compaction of the future forgets nothing to come"
    );
    let mut watch = store.watch("/w/", Some(next)).await.unwrap();
    assert_eq!(take(&mut watch, 1).await[0].revision(), next);
    let store = fixture.restart(store).await;
    expect_compacted(&*store, last, last + 1).await;
}

async fn delete_at_the_edge(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    store.put(Put::new("/w/a", "")).await.unwrap();
    let deleted = store.delete("/w/a", Expected::Any).await.unwrap().unwrap();
    store.compact(deleted).await.unwrap();
    let mut watch = store.watch("/w/", Some(deleted)).await.unwrap();
    assert_eq!(
        briefs(&take(&mut watch, 1).await),
        [format!("-/w/a@{deleted}")]
    );
}

async fn compaction_under_watch(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let base = store.put(Put::new("/w/0", "")).await.unwrap();
    let mut watch = store.watch("/w/", Some(base)).await.unwrap();
    assert_eq!(take(&mut watch, 1).await[0].revision(), base);
    let count = 3 * WATCH_BUFFER as u64;
    let puts = (0..count).map(|n| store.put(Put::new(format!("/w/{}", n % 9), "")));
    for result in join_all(puts).await {
        result.unwrap();
    }
    let last = store.revision().await.unwrap();
    store.compact(last).await.unwrap();
    // It may have had some in its buffer, it may even have had all; it must not miss any silently.
    let mut seen = base;
    while seen < last {
        match next(&mut watch).await {
            Ok(event) => {
                assert_eq!(event.revision(), seen + 1, "no gap");
                seen += 1;
            }
            Err(StoreError::Compacted { oldest }) => {
                assert_eq!(oldest, last);
                assert!(
                    seen + 1 < last,
                    "it had not been told of all that is forgotten"
                );
                assert!(
                    watch.next().await.is_none(),
                    "the stream ends after an error"
                );
                break;
            }
            Err(other) => unreachable!("{other:?}"),
        }
    }
}

async fn compaction_of_others(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let mut watch = store.watch("/quiet/", None).await.unwrap();
    for n in 0..4_u32 {
        let last = store.put(Put::new("/w/a", n.to_string())).await.unwrap();
        // It has nothing to wait for here: let it look.
        assert!(watch.next().now_or_never().is_none());
        store.compact(last + 1).await.unwrap();
    }
    let revision = store.put(Put::new("/quiet/a", "")).await.unwrap();
    assert_eq!(take(&mut watch, 1).await[0].revision(), revision);
}
