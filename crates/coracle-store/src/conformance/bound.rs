//! The bounds: what is refused, and that it changes nothing.

#![expect(
    clippy::unwrap_used,
    reason = "a broken law ends the test that runs the suite"
)]

use std::time::Duration;

use futures::FutureExt as _;

use super::{Fixture, case};
use crate::error::StoreError;
use crate::limits::{
    MAX_KEY_BYTES, MAX_LEASE_TTL, MAX_PAGE, MAX_VALUE_BYTES, MAX_WRITE_BYTES, MAX_WRITE_OPS,
};
use crate::store::{Expected, Op, Page, Put};

pub(super) async fn run(fixture: &dyn Fixture) {
    case("keys have bounds", keys(fixture).boxed()).await;
    case("values and writes have bounds", sizes(fixture).boxed()).await;
    case("pages have bounds", pages(fixture).boxed()).await;
}

async fn keys(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let longest = "k".repeat(MAX_KEY_BYTES);
    let base = store.put(Put::new(longest.clone(), "v")).await.unwrap();
    assert_eq!(store.get(&longest).await.unwrap().unwrap().value, "v");
    assert_eq!(store.list_all(&longest).await.unwrap().entries.len(), 1);

    let longer = "k".repeat(MAX_KEY_BYTES + 1);
    let wide = "é".repeat(MAX_KEY_BYTES / 2 + 1);
    for key in ["", "/a\nb", "/a\0", "/\u{7f}", "/\u{85}", &longer, &wide] {
        let refused = [
            store.get(key).await.map(drop),
            store.put(Put::new(key, "")).await.map(drop),
            store.delete(key, Expected::Any).await.map(drop),
            store
                .write(vec![Op::check(key, Expected::Absent)])
                .await
                .map(drop),
        ];
        for result in refused {
            assert!(
                matches!(result, Err(StoreError::InvalidKey { .. })),
                "{key:?}: {result:?}"
            );
        }
    }
    for prefix in ["/a\nb", &longer] {
        let listing = store.list(prefix, Page::default()).await.map(drop);
        let watch = store.watch(prefix, None).await.map(drop);
        for result in [listing, watch] {
            assert!(
                matches!(result, Err(StoreError::InvalidKey { .. })),
                "{prefix:?}: {result:?}"
            );
        }
    }
    assert_eq!(
        store.revision().await.unwrap(),
        base,
        "what is refused changes nothing"
    );
    // Not pretty, but allowed: keys are not paths.
    for key in ["a", "../..", "/a b", "'; --", "//", "/\u{202e}"] {
        store.put(Put::new(key, key)).await.unwrap();
        assert_eq!(store.get(key).await.unwrap().unwrap().key, key);
    }
}

async fn sizes(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let full = vec![0xff_u8; MAX_VALUE_BYTES];
    let base = store.put(Put::new("/big", full.clone())).await.unwrap();
    assert_eq!(store.get("/big").await.unwrap().unwrap().value, full);

    let too_large = async |ops: Vec<Op>, limit: usize| match store.write(ops).await {
        Err(StoreError::TooLarge { limit: found, .. }) => assert_eq!(found, limit),
        other => unreachable!("a refusal was due, not {other:?}"),
    };
    let mut over = full.clone();
    over.push(0);
    too_large(vec![Put::new("/over", over).into()], MAX_VALUE_BYTES).await;
    let many = |count: usize| {
        (0..count)
            .map(|n| Put::new(format!("/m{n:03}"), "").into())
            .collect()
    };
    too_large(many(MAX_WRITE_OPS + 1), MAX_WRITE_OPS).await;
    let heavy = (0..4)
        .map(|n| Put::new(format!("/h{n}"), full.clone()).into())
        .collect();
    too_large(heavy, MAX_WRITE_BYTES).await;

    let twice = vec![Put::new("/t", "1").into(), Op::delete("/t", Expected::Any)];
    match store.write(twice).await {
        Err(StoreError::DuplicateKey { key }) => assert_eq!(key, "/t"),
        other => unreachable!("a refusal was due, not {other:?}"),
    }
    for ttl in [Duration::ZERO, MAX_LEASE_TTL + Duration::from_secs(1)] {
        let refused = store.grant_lease(ttl).await;
        assert!(
            matches!(refused, Err(StoreError::InvalidTtl { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(
        store.revision().await.unwrap(),
        base,
        "what is refused changes nothing"
    );
    let most = store.write(many(MAX_WRITE_OPS)).await.unwrap();
    assert_eq!(
        store.list_all("/m").await.unwrap().entries.len(),
        MAX_WRITE_OPS
    );
    assert_eq!(store.revision().await.unwrap(), most);
}

async fn pages(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let count = MAX_PAGE + MAX_PAGE / 2;
    let keys: Vec<_> = (0..count).map(|n| format!("/p/{n:05}")).collect();
    for some in keys.chunks(MAX_WRITE_OPS) {
        let ops = some
            .iter()
            .map(|key| Put::new(key.clone(), "").into())
            .collect();
        store.write(ops).await.unwrap();
    }
    let first = store
        .list(
            "/p/",
            Page {
                after: None,
                limit: usize::MAX,
            },
        )
        .await
        .unwrap();
    assert_eq!(first.entries.len(), MAX_PAGE);
    assert_eq!(first.next.as_ref(), Some(&keys[MAX_PAGE - 1]));
    let all = store.list_all("/p/").await.unwrap();
    assert!(all.entries.iter().map(|entry| &entry.key).eq(&keys));
    assert_eq!(all.next, None);
}
