//! Members are killed with SIGKILL during writes: every acknowledged write is there, and none was done twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coracle_store::{Event, Expected, Put, Store, StoreError};
use futures::StreamExt as _;
use futures::future::join_all;

use crate::server::Cluster;

const WRITERS: usize = 4;
const KILLS: usize = 9;

/// What one writer was told: the number that each revision wrote.
#[derive(Default)]
struct Told {
    acknowledged: BTreeMap<u64, u64>,
    unknown: u64,
}

/// Appends numbers, each once, never the same number again whatever the answer was.
async fn write(store: &dyn Store, key: &str, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    for number in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        match store.put(Put::new(key, number.to_string())).await {
            Ok(revision) => {
                told.acknowledged.insert(revision, number);
            }
            Err(StoreError::Io { .. }) => told.unknown += 1,
            Err(StoreError::Unavailable { .. }) => {}
            Err(other) => unreachable!("{other:?}"),
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_is_there_once() {
    let Some(mut cluster) = Cluster::start(3, &[]) else {
        return;
    };
    let store = Arc::new(cluster.store("/k/").await);
    let base = store.revision().await.unwrap();
    let mut watch = store.watch("/w/", Some(base + 1)).await.unwrap();
    let stop = AtomicBool::new(false);
    let keys: Vec<String> = (0..WRITERS).map(|number| format!("/w/{number}")).collect();
    let writers = join_all(keys.iter().map(|key| write(&*store, key, &stop)));
    let kills = async {
        for kill in 0..KILLS {
            cluster.kill(kill % 3);
            // Two of three go on: writes are acknowledged while one is dead.
            let mut done = 0;
            while done < 20 {
                match store.put(Put::new("/beat", "")).await {
                    Ok(_) => done += 1,
                    Err(StoreError::Io { .. } | StoreError::Unavailable { .. }) => {}
                    Err(other) => unreachable!("{other:?}"),
                }
            }
            cluster.run(kill % 3);
            let one = coracle_store::EtcdConfig {
                endpoints: vec![cluster.endpoints()[kill % 3].clone()],
                ..cluster.config("/k/")
            };
            drop(cluster.store_as(one).await);
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (told, ()) = futures::join!(writers, kills);
    let end = loop {
        match store
            .put(Put::new("/w/end", "").expecting(Expected::Absent))
            .await
        {
            Ok(revision) => break revision,
            Err(StoreError::Io { .. } | StoreError::Unavailable { .. }) => {}
            Err(StoreError::Conflict { current, .. }) => break current.unwrap(),
            Err(other) => unreachable!("{other:?}"),
        }
    };
    // One watch over all of it, through all kills.
    let mut seen: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
    let mut last = base;
    loop {
        let event = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
        let Ok(Some(Ok(Event::Put(entry)))) = event else {
            unreachable!("{event:?}")
        };
        assert!(entry.modified > last, "a watch goes forward");
        last = entry.modified;
        if entry.modified == end {
            break;
        }
        let number = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
        seen.entry(entry.key)
            .or_default()
            .insert(entry.modified, number);
    }
    let mut written = 0;
    for (key, told) in keys.iter().zip(told) {
        let seen = seen.remove(key).unwrap_or_default();
        for (revision, number) in &told.acknowledged {
            assert_eq!(
                seen.get(revision),
                Some(number),
                "{key}: an acknowledged write is gone"
            );
        }
        let numbers: Vec<u64> = seen.values().copied().collect();
        assert!(
            numbers.is_sorted_by(|a, b| a < b),
            "{key}: a write was done twice or late: {numbers:?}"
        );
        let more = seen.len() - told.acknowledged.len();
        assert!(
            more as u64 <= told.unknown,
            "{key}: more was done than asked for"
        );
        written += told.acknowledged.len();
    }
    println!("{written} acknowledged writes, {KILLS} kills");
    assert!(written > 100, "hardly anything was written");
}
