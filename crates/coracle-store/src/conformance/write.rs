//! Laws 1 to 5: writes and what reads see of them.

#![expect(
    clippy::unwrap_used,
    reason = "a broken law ends the test that runs the suite"
)]

use std::collections::BTreeSet;

use futures::FutureExt as _;
use futures::future::join_all;

use super::{Fixture, case};
use crate::error::StoreError;
use crate::store::{Expected, Op, Page, Put};

pub(super) async fn run(fixture: &dyn Fixture) {
    case("a put is read back", put_is_read_back(fixture).boxed()).await;
    case("expectations are judged", expectations(fixture).boxed()).await;
    case(
        "a write is done wholly or not at all",
        all_or_none(fixture).boxed(),
    )
    .await;
    case("no change makes no revision", no_change(fixture).boxed()).await;
    case(
        "a listing is ordered, bounded and complete",
        listing(fixture).boxed(),
    )
    .await;
    case("no update is lost", no_lost_update(fixture).boxed()).await;
    case(
        "readers see no half of a write",
        no_half_write(fixture).boxed(),
    )
    .await;
    case("a restart keeps everything", restart(fixture).boxed()).await;
}

fn assert_conflict(result: Result<u64, StoreError>, expected: (&str, Option<u64>)) {
    match result {
        Err(StoreError::Conflict { key, current }) => {
            assert_eq!((key.as_str(), current), expected, "what the conflict names");
        }
        other => unreachable!("a conflict was due, not {other:?}"),
    }
}

async fn put_is_read_back(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let base = store.revision().await.unwrap();
    assert_eq!(store.get("/a").await.unwrap(), None);
    let first = store.put(Put::new("/a", "1")).await.unwrap();
    assert!(first > base, "a write has a new revision");
    let entry = store.get("/a").await.unwrap().unwrap();
    assert_eq!((entry.key.as_str(), &entry.value[..]), ("/a", &b"1"[..]));
    assert_eq!(
        (entry.created, entry.modified, entry.lease),
        (first, first, None)
    );

    let second = store.put(Put::new("/a", "1")).await.unwrap();
    assert!(second > first, "a put of an equal value is a write");
    let entry = store.get("/a").await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified), (first, second));
    assert_eq!(store.revision().await.unwrap(), second);

    let deleted = store.delete("/a", Expected::Any).await.unwrap().unwrap();
    assert!(deleted > second);
    assert_eq!(store.get("/a").await.unwrap(), None);
    let again = store.put(Put::new("/a", "")).await.unwrap();
    let entry = store.get("/a").await.unwrap().unwrap();
    assert_eq!(
        (entry.created, entry.modified),
        (again, again),
        "a new life begins"
    );
    assert!(entry.value.is_empty(), "an empty value is a value");
}

async fn expectations(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let put = |expected| store.put(Put::new("/a", "v").expecting(expected));
    let future = store.revision().await.unwrap() + 1;
    assert_conflict(put(Expected::Revision(future)).await, ("/a", None));
    let first = put(Expected::Absent).await.unwrap();
    assert_conflict(put(Expected::Absent).await, ("/a", Some(first)));
    let second = put(Expected::Revision(first)).await.unwrap();
    assert_conflict(put(Expected::Revision(first)).await, ("/a", Some(second)));
    assert_conflict(
        put(Expected::Revision(second + 1)).await,
        ("/a", Some(second)),
    );
    assert_conflict(put(Expected::Revision(0)).await, ("/a", Some(second)));
    let third = put(Expected::Any).await.unwrap();

    let stale = store.delete("/a", Expected::Revision(second)).await;
    assert_conflict(stale.map(Option::unwrap_or_default), ("/a", Some(third)));
    assert_eq!(
        store.revision().await.unwrap(),
        third,
        "what is refused uses no revision"
    );
    assert!(
        store
            .delete("/a", Expected::Revision(third))
            .await
            .unwrap()
            .is_some()
    );
    let gone = store.delete("/a", Expected::Revision(third)).await;
    assert_conflict(gone.map(Option::unwrap_or_default), ("/a", None));
}

async fn all_or_none(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let a = store.put(Put::new("/a", "old")).await.unwrap();
    let b = store.put(Put::new("/b", "old")).await.unwrap();
    let ops = |expected_b| {
        vec![
            Put::new("/a", "new")
                .expecting(Expected::Revision(a))
                .into(),
            Op::delete("/b", expected_b),
            Put::new("/c", "new").expecting(Expected::Absent).into(),
            Op::check("/d", Expected::Absent),
        ]
    };
    assert_conflict(
        store.write(ops(Expected::Revision(a))).await,
        ("/b", Some(b)),
    );
    assert_eq!(store.revision().await.unwrap(), b);
    assert_eq!(store.get("/a").await.unwrap().unwrap().value, "old");
    assert_eq!(store.get("/c").await.unwrap(), None);

    let done = store.write(ops(Expected::Revision(b))).await.unwrap();
    let listing = store.list_all("/").await.unwrap();
    let found: Vec<_> = listing
        .entries
        .iter()
        .map(|e| (e.key.as_str(), e.modified))
        .collect();
    assert_eq!(
        found,
        [("/a", done), ("/c", done)],
        "one revision for all of it"
    );
    assert_eq!(listing.revision, done);

    let guarded = vec![
        Put::new("/e", "").into(),
        Op::check("/a", Expected::Revision(a)),
    ];
    assert_conflict(store.write(guarded).await, ("/a", Some(done)));
    assert_eq!(
        store.get("/e").await.unwrap(),
        None,
        "a check guards the rest"
    );
}

async fn no_change(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let last = store.put(Put::new("/a", "")).await.unwrap();
    assert_eq!(store.delete("/b", Expected::Any).await.unwrap(), None);
    assert_eq!(store.delete("/b", Expected::Absent).await.unwrap(), None);
    let nothing = vec![
        Op::check("/a", Expected::Revision(last)),
        Op::delete("/b", Expected::Any),
    ];
    assert_eq!(store.write(nothing).await.unwrap(), last);
    assert_eq!(store.write(Vec::new()).await.unwrap(), last);
    assert_eq!(store.revision().await.unwrap(), last);
}

async fn listing(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let keys = [
        "/a", "/a-b", "/a/", "/a/1", "/a/10", "/a/2", "/a/é", "/a/世", "/a0", "/b",
    ];
    // Written in another order than they are listed.
    for key in keys.iter().rev() {
        store.put(Put::new(*key, *key)).await.unwrap();
    }
    let revision = store.revision().await.unwrap();
    for prefix in [
        "", "/", "/a", "/a/", "/a/1", "/a/1x", "/b", "/c", "0", "/a/é",
    ] {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        for limit in [0, 1, 2, 3, keys.len(), usize::MAX] {
            let mut found = Vec::new();
            let mut page = Page { after: None, limit };
            loop {
                let listing = store.list(prefix, page.clone()).await.unwrap();
                assert!(listing.entries.len() <= limit.max(1));
                assert_eq!(listing.revision, revision);
                found.extend(listing.entries.into_iter().map(|entry| entry.key));
                match listing.next {
                    Some(after) => page.after = Some(after),
                    None => break,
                }
            }
            assert!(
                found.iter().eq(expected.iter().copied()),
                "{prefix:?} by {limit}: {found:?}"
            );
        }
    }
    let after = |after: &str| Page {
        after: Some(after.to_owned()),
        ..Page::default()
    };
    let count = async |prefix, page| store.list(prefix, page).await.unwrap().entries.len();
    assert_eq!(
        count("/a/", after("")).await,
        6,
        "a cursor before the prefix"
    );
    assert_eq!(
        count("/a/", after("/a/3")).await,
        2,
        "a cursor that is no key"
    );
    assert_eq!(
        count("/a/", after("/b")).await,
        0,
        "a cursor behind the prefix"
    );
}

async fn no_lost_update(fixture: &dyn Fixture) {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 12;
    let store = fixture.open().await;
    store.put(Put::new("/n", "0")).await.unwrap();
    let count = async || {
        let mut revisions = Vec::new();
        while revisions.len() < ROUNDS {
            let entry = store.get("/n").await.unwrap().unwrap();
            let n: usize = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
            let expected = Expected::Revision(entry.modified);
            let put = Put::new("/n", (n + 1).to_string()).expecting(expected);
            match store.put(put).await {
                Ok(revision) => {
                    assert!(revision > entry.modified);
                    revisions.push(revision);
                }
                Err(StoreError::Conflict { current, .. }) => {
                    assert!(
                        current > Some(entry.modified),
                        "a conflict is with something newer"
                    );
                }
                Err(error) => unreachable!("{error:?}"),
            }
        }
        revisions
    };
    let revisions = join_all((0..WRITERS).map(|_| count())).await.concat();
    let distinct: BTreeSet<_> = revisions.iter().collect();
    assert_eq!(
        distinct.len(),
        WRITERS * ROUNDS,
        "every write has its own revision"
    );
    let entry = store.get("/n").await.unwrap().unwrap();
    assert_eq!(entry.value, (WRITERS * ROUNDS).to_string());
    assert_eq!(Some(&entry.modified), revisions.iter().max());
}

async fn no_half_write(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let writes = async {
        for n in 0..50_u32 {
            let value = n.to_string();
            let pair = vec![
                Put::new("/l", value.clone()).into(),
                Put::new("/r", value).into(),
            ];
            store.write(pair).await.unwrap();
        }
        store.put(Put::new("/end", "")).await.unwrap();
    };
    let reads = async {
        loop {
            let listing = store.list("/", Page::default()).await.unwrap();
            let of = |key| listing.entries.iter().find(|entry| entry.key == key);
            let (left, right) = (of("/l"), of("/r"));
            assert_eq!(left.map(|e| &e.value), right.map(|e| &e.value));
            assert_eq!(left.map(|e| e.modified), right.map(|e| e.modified));
            assert!(
                listing
                    .entries
                    .iter()
                    .all(|entry| entry.modified <= listing.revision)
            );
            if of("/end").is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    futures::join!(writes, reads);
}

async fn restart(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    for n in 0..20_u32 {
        store
            .put(Put::new(format!("/k{}", n % 7), n.to_string()))
            .await
            .unwrap();
    }
    store.delete("/k3", Expected::Any).await.unwrap();
    let before = store.list_all("").await.unwrap();
    let store = fixture.restart(store).await;
    assert_eq!(store.list_all("").await.unwrap(), before);
    let next = store.put(Put::new("/k3", "")).await.unwrap();
    assert!(next > before.revision, "revisions are not used again");
}
