//! What only servers do: no space, no leader, no answer, too small a bound.

use std::time::{Duration, Instant};

use coracle_store::{Etcd, EtcdConfig, Expected, Op, Put, Store, StoreError};
use futures::StreamExt as _;

use crate::server::Cluster;

#[tokio::test]
async fn out_of_space_is_told_with_what_to_do_and_passes() {
    // The smallest quota that holds anything.
    let Some(cluster) = Cluster::start(1, &["--quota-backend-bytes=2097152"]) else {
        return;
    };
    let store = cluster.store("/s/").await;
    let mut watch = store.watch("/", None).await.unwrap();
    let full = loop {
        match store.put(Put::new("/big", vec![7; 256 * 1024])).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::OutOfSpace { .. }), "{full:?}");
    let text = full.to_string();
    for part in ["NOSPACE", "defrag", "--quota-backend-bytes", "alarm disarm"] {
        assert!(text.contains(part), "{text}");
    }
    let asked = store.writable().await;
    assert!(
        matches!(asked, Err(StoreError::OutOfSpace { .. })),
        "{asked:?}"
    );
    let leased = store.grant_lease(Duration::from_secs(5)).await;
    assert!(
        matches!(leased, Err(StoreError::OutOfSpace { .. })),
        "{leased:?}"
    );
    // Reads and deletions, which are how room is made, go on.
    assert!(store.get("/big").await.unwrap().is_some());
    assert!(watch.next().await.unwrap().is_ok());
    store.delete("/big", Expected::Any).await.unwrap();
    let revision = store.revision().await.unwrap();
    store.compact(revision + 1).await.unwrap();
    if cluster.control(&["defrag"]).is_none() {
        return;
    }
    cluster.control(&["alarm", "disarm"]);
    let before = store.revision().await.unwrap();
    store.writable().await.unwrap();
    assert_eq!(store.revision().await.unwrap(), before, "nothing changed");
    store.put(Put::new("/small", "v")).await.unwrap();
}

#[tokio::test]
async fn without_a_majority_nothing_is_done_and_it_is_said_why() {
    let Some(mut cluster) = Cluster::start(3, &[]) else {
        return;
    };
    let store = cluster.store("/l/").await;
    let last = store.put(Put::new("/a", "1")).await.unwrap();
    let mut watch = store.watch("/", Some(last)).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision(), last);
    cluster.kill(0);
    cluster.kill(1);
    let refused = store.get("/a").await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Unavailable { .. }),
        "{refused:?}"
    );
    let text = refused.to_string();
    assert!(
        text.contains("no leader") || text.contains("does not answer"),
        "{text}"
    );
    let asked = Instant::now();
    let refused = store.writable().await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    // Much sooner than a write gives up, which waits for another leader of etcd.
    assert!(asked.elapsed() < Duration::from_secs(8));
    let refused = store
        .put(Put::new("/a", "2").expecting(Expected::Revision(last)))
        .await;
    assert!(
        matches!(
            refused,
            Err(StoreError::Unavailable { .. } | StoreError::Io { .. })
        ),
        "{refused:?}"
    );
    cluster.run(0);
    cluster.run(1);
    let again = cluster.store("/l/").await;
    // What was not acknowledged may have been done; what is there says so.
    let now = again.get("/a").await.unwrap().unwrap().modified;
    let next = again
        .put(Put::new("/a", "3").expecting(Expected::Revision(now)))
        .await
        .unwrap();
    // The old connection and its watch go on.
    assert_eq!(store.get("/a").await.unwrap().unwrap().modified, next);
    let mut seen = last;
    while seen < next {
        seen = watch.next().await.unwrap().unwrap().revision();
    }
}

#[tokio::test]
async fn nobody_there_is_told_in_bounded_time() {
    let begin = Instant::now();
    let config = EtcdConfig {
        endpoints: vec!["http://127.0.0.1:1".to_owned()],
        ..EtcdConfig::default()
    };
    let error = Etcd::connect(config).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_write_that_is_larger_than_the_server_allows_is_refused() {
    let Some(cluster) = Cluster::start(1, &[]) else {
        return;
    };
    let store = cluster.store("/b/").await;
    let base = store.revision().await.unwrap();
    let large = || -> Vec<Op> {
        let puts = (0..3).map(|n| Put::new(format!("/{n}"), vec![7; 1024 * 1024]));
        puts.map(Op::from).collect()
    };
    let refused = store.write(large()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused:?}");
    assert!(
        refused.to_string().contains("--max-request-bytes"),
        "{refused}"
    );
    assert_eq!(store.revision().await.unwrap(), base);
    drop(cluster);
    let Some(cluster) = Cluster::start(1, &["--max-request-bytes=8388608"]) else {
        return;
    };
    let store = cluster.store("/b/").await;
    store.write(large()).await.unwrap();
    assert_eq!(store.list_all("/").await.unwrap().entries.len(), 3);
}

#[tokio::test]
async fn stores_of_two_prefixes_do_not_meet() {
    let Some(cluster) = Cluster::start(1, &[]) else {
        return;
    };
    let (a, b) = (cluster.store("/a/").await, cluster.store("/a/b/").await);
    let mut watch = b.watch("", None).await.unwrap();
    assert!(!b.is_shared().await.unwrap());
    a.put(Put::new("/k", "a")).await.unwrap();
    assert!(b.is_shared().await.unwrap());
    assert!(!a.is_shared().await.unwrap(), "nothing of b's yet");
    assert_eq!(b.list_all("").await.unwrap().entries, []);
    let revision = b.put(Put::new("/k", "b")).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision(), revision);
    assert_eq!(a.get("/k").await.unwrap().unwrap().value, "a");
    let refused = Etcd::connect(cluster.config("no-slash")).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::InvalidConfig { .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_closed_store_and_its_watches_say_so() {
    let Some(cluster) = Cluster::start(1, &[]) else {
        return;
    };
    let store = cluster.store("/c/").await;
    let mut watch = store.watch("", None).await.unwrap();
    store.close();
    assert!(matches!(store.get("/a").await, Err(StoreError::Closed)));
    assert!(matches!(watch.next().await, Some(Err(StoreError::Closed))));
    assert!(watch.next().await.is_none());
}
