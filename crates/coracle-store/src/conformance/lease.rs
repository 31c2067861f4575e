//! Law 10: leases.

#![expect(
    clippy::unwrap_used,
    reason = "a broken law ends the test that runs the suite"
)]

use std::time::Instant;

use futures::{FutureExt as _, StreamExt as _};

use super::{Fixture, brief, case, take};
use crate::error::StoreError;
use crate::store::{Event, Expected, LeaseId, Put};

pub(super) async fn run(fixture: &dyn Fixture) {
    case("a lease takes its keys with it", expiry(fixture).boxed()).await;
    case(
        "a lease that is kept alive lives",
        keep_alive(fixture).boxed(),
    )
    .await;
    case("a revoked lease is dead", revoke(fixture).boxed()).await;
    case("a key leaves its lease", detach(fixture).boxed()).await;
    case("a lease outlives a restart", restart(fixture).boxed()).await;
}

fn assert_dead<T: std::fmt::Debug>(result: Result<T, StoreError>, lease: LeaseId) {
    match result {
        Err(StoreError::LeaseNotFound { lease: found }) => assert_eq!(found, lease),
        other => unreachable!("lease {lease} is dead, but: {other:?}"),
    }
}

async fn expiry(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let mut watch = store.watch("/l/", None).await.unwrap();
    let base = store.revision().await.unwrap();
    let granted = Instant::now();
    let lease = store.grant_lease(fixture.ttl()).await.unwrap();
    assert_eq!(store.revision().await.unwrap(), base, "a grant is no write");
    let puts = ["/l/a", "/l/b", "/l/c"].map(|key| Put::new(key, "").leased(lease).into());
    let put = store.write(puts.to_vec()).await.unwrap();
    store.put(Put::new("/l/free", "")).await.unwrap();
    let events = take(&mut watch, 7).await;
    assert!(
        granted.elapsed() >= fixture.ttl(),
        "it lived shorter than its time"
    );
    let Some(Event::Put(entry)) = events.first() else {
        unreachable!("{events:?}")
    };
    assert_eq!((entry.lease, entry.modified), (Some(lease), put));
    let deleted = put + 2;
    let expected = ["a", "b", "c"].map(|key| format!("-/l/{key}@{deleted}"));
    let mut found: Vec<_> = events[4..].iter().map(brief).collect();
    found.sort();
    assert_eq!(found, expected, "all in one write");
    assert_eq!(store.get("/l/a").await.unwrap(), None);
    assert!(store.get("/l/free").await.unwrap().is_some());
    assert_dead(store.keep_alive(lease).await, lease);
    assert_dead(store.put(Put::new("/l/d", "").leased(lease)).await, lease);
    assert_dead(store.revoke(lease).await, lease);
    assert_eq!(store.revision().await.unwrap(), deleted);
}

async fn keep_alive(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let ttl = fixture.ttl();
    let begin = Instant::now();
    let lease = store.grant_lease(ttl).await.unwrap();
    store.put(Put::new("/l/a", "").leased(lease)).await.unwrap();
    let mut watch = store.watch("/l/", None).await.unwrap();
    let mut kept = begin;
    while begin.elapsed() < ttl * 3 {
        // The machine may be so busy that the lease is not kept in time: then it may be dead.
        let asked = Instant::now();
        match store.keep_alive(lease).await {
            Ok(()) => kept = asked,
            Err(_dead) => {
                assert!(kept.elapsed() >= ttl, "it died before its time");
                return;
            }
        }
        if let Ok(event) = tokio::time::timeout(ttl / 5, watch.next()).await {
            assert!(kept.elapsed() >= ttl, "it died before its time: {event:?}");
            return;
        }
    }
    // Nobody keeps it any more.
    let events = take(&mut watch, 1).await;
    assert!(matches!(events[0], Event::Delete { .. }));
    assert!(kept.elapsed() >= ttl, "it died before its time");
}

async fn revoke(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let lease = store.grant_lease(fixture.ttl() * 600).await.unwrap();
    let other = store.grant_lease(fixture.ttl() * 600).await.unwrap();
    assert_ne!(lease, other);
    store.put(Put::new("/l/a", "").leased(lease)).await.unwrap();
    let last = store.put(Put::new("/l/b", "").leased(other)).await.unwrap();
    store.keep_alive(lease).await.unwrap();
    store.revoke(lease).await.unwrap();
    assert_eq!(
        store.get("/l/a").await.unwrap(),
        None,
        "gone when it returns"
    );
    assert!(store.get("/l/b").await.unwrap().is_some());
    assert_eq!(store.revision().await.unwrap(), last + 1);
    assert_dead(store.revoke(lease).await, lease);
    assert_dead(store.keep_alive(lease).await, lease);
    // A refused lease refuses the whole write, and is the one that is named.
    let ops = vec![
        Put::new("/l/c", "").leased(other).into(),
        Put::new("/l/d", "").leased(lease).into(),
        Put::new("/l/e", "").leased(other).into(),
    ];
    assert_dead(store.write(ops).await, lease);
    assert_eq!(store.get("/l/c").await.unwrap(), None);
    let unknown = LeaseId(i64::MAX as u64);
    assert_dead(
        store.put(Put::new("/l/c", "").leased(unknown)).await,
        unknown,
    );
    let third = store.grant_lease(fixture.ttl()).await.unwrap();
    assert!(
        third != lease && third != other,
        "a lease's name is not used again"
    );
}

async fn detach(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let first = store.grant_lease(fixture.ttl() * 600).await.unwrap();
    let second = store.grant_lease(fixture.ttl() * 600).await.unwrap();
    for key in ["/l/free", "/l/moved", "/l/reborn", "/l/stays"] {
        store.put(Put::new(key, "").leased(first)).await.unwrap();
    }
    store.put(Put::new("/l/free", "")).await.unwrap();
    store
        .put(Put::new("/l/moved", "").leased(second))
        .await
        .unwrap();
    store.delete("/l/reborn", Expected::Any).await.unwrap();
    store.put(Put::new("/l/reborn", "")).await.unwrap();
    store
        .put(Put::new("/l/stays", "again").leased(first))
        .await
        .unwrap();
    let keys = async || {
        let entries = store.list_all("/l/").await.unwrap().entries;
        entries
            .into_iter()
            .map(|entry| entry.key)
            .collect::<Vec<_>>()
    };
    store.revoke(first).await.unwrap();
    assert_eq!(keys().await, ["/l/free", "/l/moved", "/l/reborn"]);
    store.revoke(second).await.unwrap();
    assert_eq!(keys().await, ["/l/free", "/l/reborn"]);
}

async fn restart(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let long = store.grant_lease(fixture.ttl() * 600).await.unwrap();
    let short = store.grant_lease(fixture.ttl()).await.unwrap();
    store
        .put(Put::new("/l/long", "").leased(long))
        .await
        .unwrap();
    let base = store.revision().await.unwrap();
    // On a busy machine the short one may have died by now.
    let leased = store
        .put(Put::new("/l/short", "").leased(short))
        .await
        .is_ok();
    let store = fixture.restart(store).await;
    store.keep_alive(long).await.unwrap();
    if leased {
        let mut watch = store.watch("/l/", Some(base + 1)).await.unwrap();
        let events = take(&mut watch, 2).await;
        assert_eq!(events[1].key(), "/l/short");
        assert!(
            matches!(events[1], Event::Delete { .. }),
            "it ends also after a restart"
        );
    }
    assert_eq!(
        store.get("/l/long").await.unwrap().unwrap().lease,
        Some(long)
    );
    store.revoke(long).await.unwrap();
    assert_eq!(store.get("/l/long").await.unwrap(), None);
}
