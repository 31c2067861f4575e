//! Law 11: fences, and the elections that are made of them.

#![expect(
    clippy::unwrap_used,
    reason = "a broken law ends the test that runs the suite"
)]

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::join_all;

use super::{Fixture, case};
use crate::election::Candidate;
use crate::error::StoreError;
use crate::fence::{Fence, Fenced};
use crate::limits::{MAX_WRITE_OPS, WATCH_BUFFER};
use crate::store::{Expected, Op, Put, Store};

const KEY: &str = "/leader";

pub(super) async fn run(fixture: &dyn Fixture) {
    case("a fence shuts out who lost it", fence(fixture).boxed()).await;
    case("a fenced store is a store", fenced_store(fixture).boxed()).await;
    case("one leads at a time", one_leads(fixture).boxed()).await;
    case(
        "a dead leader is followed by another",
        succession(fixture).boxed(),
    )
    .await;
}

fn assert_fenced<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    match result {
        Err(StoreError::Fenced { key }) => assert_eq!(key, KEY),
        other => unreachable!("the fence is lost, but: {other:?}"),
    }
}

async fn fence(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    // Lost by a deletion, by being put again, and by both.
    for way in 0..3 {
        store.delete(KEY, Expected::Any).await.unwrap();
        let held = store.put(Put::new(KEY, "me")).await.unwrap();
        let fence = Fence::new(KEY, held);
        let mine = Fenced::new(Arc::clone(&store), fence.clone());
        let written = mine.put(Put::new("/a", "mine")).await.unwrap();
        assert!(written > held && !fence.is_lost());
        if way != 1 {
            store.delete(KEY, Expected::Any).await.unwrap();
        }
        if way != 0 {
            store.put(Put::new(KEY, "other")).await.unwrap();
        }
        let last = store.put(Put::new("/b", "other")).await.unwrap();
        // One that was on its way when the fence was lost: nothing here knows of it yet.
        assert!(!fence.is_lost());
        assert_fenced(mine.put(Put::new("/a", "late")).await);
        assert!(fence.is_lost());
        fence.lost().await;
        assert_fenced(mine.delete("/b", Expected::Any).await);
        assert_fenced(mine.delete("/none", Expected::Any).await);
        assert_fenced(mine.write(vec![Op::check("/a", Expected::Absent)]).await);
        assert_fenced(mine.write(Vec::new()).await);
        assert_eq!(store.revision().await.unwrap(), last, "nothing was changed");
        assert_eq!(store.get("/a").await.unwrap().unwrap().value, "mine");
        assert!(mine.get("/b").await.unwrap().is_some(), "reads go on");
    }
}

async fn fenced_store(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let held = store.put(Put::new(KEY, "me")).await.unwrap();
    let mine = Fenced::new(Arc::clone(&store), Fence::new(KEY, held));
    let first = mine.put(Put::new("/a", "1")).await.unwrap();
    assert_eq!(mine.delete("/none", Expected::Any).await.unwrap(), None);
    assert_eq!(mine.delete("/none", Expected::Absent).await.unwrap(), None);
    let conflict = mine.delete("/a", Expected::Revision(first + 1)).await;
    assert!(
        matches!(&conflict, Err(StoreError::Conflict { key, current }) if key == "/a" && *current == Some(first)),
        "{conflict:?}"
    );
    let conflict = mine
        .put(Put::new("/a", "").expecting(Expected::Absent))
        .await;
    assert!(
        matches!(conflict, Err(StoreError::Conflict { .. })),
        "{conflict:?}"
    );
    assert_eq!(store.revision().await.unwrap(), first);
    let deleted = mine.delete("/a", Expected::Any).await.unwrap();
    assert_eq!(deleted, Some(store.revision().await.unwrap()));
    let many = |count: usize| -> Vec<Op> {
        let puts = (0..count).map(|n| Put::new(format!("/m{n:03}"), ""));
        puts.map(|put| put.expecting(Expected::Absent).into())
            .collect()
    };
    mine.write(many(MAX_WRITE_OPS - 1)).await.unwrap();
    assert_eq!(
        store.list_all("/m").await.unwrap().entries.len(),
        MAX_WRITE_OPS - 1
    );
    const { assert!(MAX_WRITE_OPS < WATCH_BUFFER) };
}

/// Several want to lead, do something that only a leader may, and give up. What they did is one after another.
async fn one_leads(fixture: &dyn Fixture) {
    const CANDIDATES: usize = 4;
    const TERMS: usize = 3;
    let store = fixture.open().await;
    let candidate = async |name: usize| {
        let candidate = Candidate::new(
            Arc::clone(&store),
            KEY,
            name.to_string(),
            fixture.ttl() * 60,
        );
        for _ in 0..TERMS {
            let leadership = candidate.campaign().await.unwrap();
            assert!(leadership.holds());
            let mine = Fenced::new(Arc::clone(&store), leadership.fence().clone());
            // Without the fence these two would lose updates of each other.
            for _ in 0..3 {
                let count = mine.get("/count").await.unwrap();
                let count = count.map_or(0, |entry| entry.value.len());
                tokio::task::yield_now().await;
                mine.put(Put::new("/count", vec![b'x'; count + 1]))
                    .await
                    .unwrap();
            }
            leadership.resign().await.unwrap();
            assert!(!leadership.holds());
            assert_fenced(mine.put(Put::new("/count", "")).await);
        }
    };
    join_all((0..CANDIDATES).map(candidate)).await;
    let count = store.get("/count").await.unwrap().unwrap();
    assert_eq!(count.value.len(), CANDIDATES * TERMS * 3);
    assert_eq!(store.get(KEY).await.unwrap(), None);
}

async fn succession(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let candidate =
        |name: &'static str| Candidate::new(Arc::clone(&store), KEY, name, fixture.ttl());
    let first = candidate("first").campaign().await.unwrap();
    let mine = Fenced::new(Arc::clone(&store), first.fence().clone());
    mine.put(Put::new("/a", "first")).await.unwrap();
    let second = candidate("second");
    let kept = std::time::Instant::now();
    {
        // It keeps its lease for a while; then it is paused, as by SIGSTOP or a long collection of garbage.
        let keep = first.keep();
        tokio::pin!(keep);
        let led = tokio::time::timeout(fixture.ttl() * 2, async {
            tokio::select! {
                () = &mut keep => None,
                led = second.campaign() => Some(led.unwrap()),
            }
        });
        if let Ok(ended) = led.await {
            // The machine was so busy that the lease was not kept in time.
            assert!(
                kept.elapsed() >= fixture.ttl() / 2,
                "it lost its lease: {ended:?}"
            );
            return;
        }
    }
    let second = second.campaign().await.unwrap();
    assert!(second.fence().revision() > first.fence().revision());
    assert!(!first.holds(), "it stops to act before another leads");
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value, "second");
    // Awake again, with a write that it had decided before.
    assert_fenced(mine.put(Put::new("/a", "late")).await);
    first.keep().await;
    // Its end does not end the other's.
    first.resign().await.unwrap();
    let other = Fenced::new(Arc::clone(&store), second.fence().clone());
    other.put(Put::new("/a", "second")).await.unwrap();
    // Who sees its key taken away stops at once, not at the end of its lease.
    store.delete(KEY, Expected::Any).await.unwrap();
    assert_fenced(other.put(Put::new("/a", "third")).await);
    assert!(!second.holds());
    second.keep().await;
    assert_eq!(store.get("/a").await.unwrap().unwrap().value, "second");
}
