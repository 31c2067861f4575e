//! A writing process is killed with SIGKILL, again and again, on the same data directory.
//!
//! The test runs itself as the child: several writers in it write pairs of keys, and tell on standard output
//! what was acknowledged. After each kill the parent opens the store and finds every write that was
//! acknowledged, none in half, revisions that only grew, and a log that ends in the values that are there.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coracle_store::{
    Embedded, EmbeddedConfig, Entry, Event, Expected, Op, Put, Retention, Revision, Store,
    StoreError,
};
use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _};

const CHILD_DIR: &str = "CORACLE_STORE_TEST_CHILD_DIR";
const KILLS: u32 = 100;
const WRITERS: u32 = 4;
/// The parent stops early, but never below half of the kills, on a machine that is too busy.
const PATIENCE: Duration = Duration::from_secs(35);

fn open(dir: &Path) -> Embedded {
    // A short log: compaction is at work while the process is killed.
    let retention = Retention {
        changes: 200,
        ..Retention::default()
    };
    let config = EmbeddedConfig {
        retention,
        ..EmbeddedConfig::default()
    };
    Embedded::open(dir, config).unwrap()
}

/// Not a test of its own: what the child does.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&dir));
        // Keys also die with a lease while the process may be killed.
        let lease = store.grant_lease(Duration::from_millis(3)).await.unwrap();
        let leased = ["/lease/l", "/lease/r"].map(|key| Put::new(key, "").leased(lease).into());
        let _dead_or_alive = store.write(leased.to_vec()).await;
        say("ready");
        join_all((0..WRITERS).map(|writer| write(&store, writer))).await;
    });
}

/// Says a line at once, so that nothing acknowledged is unsaid in a buffer.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

async fn write(store: &Embedded, writer: u32) {
    let mut random = u64::from(std::process::id()) << 8 | u64::from(writer);
    for n in 0_u64.. {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (slot, size) = ((random >> 33) % 5, (random >> 40) % 9000);
        let (left, right) = (key("l", writer, slot), key("r", writer, slot));
        let revision = if random >> 60 == 0 {
            let both = [left, right].map(|key| Op::delete(key, Expected::Any));
            let revision = store.write(both.to_vec()).await.unwrap();
            say(&format!("deleted {writer} {slot} {revision} ."));
            revision
        } else {
            let mut value = format!("{n} ").into_bytes();
            value.resize(value.len() + usize::try_from(size).unwrap(), b'x');
            let both = [left, right].map(|key| Put::new(key, value.clone()).into());
            let revision = store.write(both.to_vec()).await.unwrap();
            say(&format!("put {writer} {slot} {revision} ."));
            revision
        };
        assert!(revision > 0);
    }
}

fn key(side: &str, writer: u32, slot: u64) -> String {
    format!("/{side}/{writer}/{slot}")
}

/// What was acknowledged last of a writer's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acknowledged {
    Put(Revision),
    Deleted(Revision),
}

/// From when on the time of a child is counted.
#[derive(Clone, Copy, Debug)]
enum Since {
    /// It is killed somewhere in its start: while it makes, opens or repairs the store.
    Start,
    /// It is killed while it writes.
    Ready,
}

/// Lets a child write until it is killed, and returns what it had acknowledged.
fn run_child(dir: &Path, since: Since, patience: Duration) -> Vec<((u32, u64), Acknowledged)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines {
            tell.send(line.unwrap()).unwrap();
        }
    });
    let mut said = Vec::new();
    let mut end = Instant::now() + patience;
    if let Since::Ready = since {
        let ready = |said: &Vec<String>| said.last().is_some_and(|line| line == "@ready");
        while !ready(&said) {
            said.push(told.recv_timeout(PATIENCE).unwrap());
        }
        end = Instant::now() + patience;
    }
    while let Ok(line) = told.recv_timeout(end.saturating_duration_since(Instant::now())) {
        said.push(line);
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "{status}"
    );
    // What it had said before it died is in the pipe.
    reader.join().unwrap();
    said.extend(told);
    said.iter().filter_map(|line| parse(line)).collect()
}

/// A line that was said to its end: a kill may cut the last one, which then counts as not said.
fn parse(line: &str) -> Option<((u32, u64), Acknowledged)> {
    let mut words = line.strip_prefix('@')?.split(' ');
    let what = words.next()?;
    let slot = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let revision = words.next()?.parse().ok()?;
    if words.next() != Some(".") {
        return None;
    }
    match what {
        "put" => Some((slot, Acknowledged::Put(revision))),
        "deleted" => Some((slot, Acknowledged::Deleted(revision))),
        _ => None,
    }
}

/// Waits until the leases of killed children have ended, as they do after a restart, keys and all.
async fn wait_for_leases(store: &Embedded) {
    loop {
        let listing = store.list_all("/lease/").await.unwrap();
        let both = ["/lease/l", "/lease/r"];
        match &listing.entries[..] {
            [] => return,
            some => assert!(
                some.iter().map(|e| e.key.as_str()).eq(both),
                "half: {some:?}"
            ),
        }
        let mut watch = store
            .watch("/lease/", Some(listing.revision + 1))
            .await
            .unwrap();
        let ended = tokio::time::timeout(PATIENCE, watch.next()).await;
        assert!(
            matches!(ended, Ok(Some(Ok(Event::Delete { .. })))),
            "{ended:?}"
        );
    }
}

/// Checks what is there against what was acknowledged, and brings that up to date with the last write of
/// each writer, which may have been done without being acknowledged.
async fn check(
    store: &Embedded,
    acknowledged: &mut BTreeMap<(u32, u64), Acknowledged>,
    highest: Revision,
) {
    wait_for_leases(store).await;
    let revision = store.revision().await.unwrap();
    assert!(
        revision >= highest,
        "revision {revision} after {highest} was acknowledged"
    );
    let entries: BTreeMap<String, Entry> = store
        .list_all("/")
        .await
        .unwrap()
        .entries
        .into_iter()
        .map(|entry| (entry.key.clone(), entry))
        .collect();
    let log = check_log(store, revision, &entries).await;
    for (&(writer, slot), last) in acknowledged.iter_mut() {
        let key = key("l", writer, slot);
        let (Acknowledged::Put(told) | Acknowledged::Deleted(told)) = *last;
        let found = match (entries.get(&key), log.get(&key)) {
            (Some(entry), _) => Acknowledged::Put(entry.modified),
            (None, Some(Event::Delete { revision, .. })) => Acknowledged::Deleted(*revision),
            // A deletion so old that the log has forgotten it.
            (None, _) => Acknowledged::Deleted(told),
        };
        let (Acknowledged::Put(done) | Acknowledged::Deleted(done)) = found;
        // To delete what was deleted before is acknowledged with the revision of another write.
        let still_deleted = matches!(
            (*last, found),
            (Acknowledged::Deleted(_), Acknowledged::Deleted(_))
        );
        assert!(
            *last == found || still_deleted || done > told,
            "{key}: {found:?} instead of {last:?}"
        );
        *last = found;
    }
    let side = |side: &str| -> Vec<_> {
        let of_side = entries.values().filter(|entry| entry.key.starts_with(side));
        let rest = |entry: &Entry| entry.key[side.len()..].to_owned();
        of_side
            .map(|e| (rest(e), e.value.clone(), e.created, e.modified, e.lease))
            .collect()
    };
    assert_eq!(side("/l/"), side("/r/"), "no write is there in half");
}

/// The log has a change for each revision that it reaches back to, and ends in what is there. Returns its
/// last change of each key.
async fn check_log(
    store: &Embedded,
    revision: Revision,
    entries: &BTreeMap<String, Entry>,
) -> BTreeMap<String, Event> {
    let (mut watch, oldest) = match store.watch("/", Some(1)).await {
        Ok(watch) => (watch, 1),
        Err(StoreError::Compacted { oldest }) => {
            (store.watch("/", Some(oldest)).await.unwrap(), oldest)
        }
        Err(other) => unreachable!("{other:?}"),
    };
    let mut last = BTreeMap::new();
    let mut seen = oldest - 1;
    // Everything is in the log by now: a watch that has to wait has told all.
    while let Some(event) = watch.next().now_or_never() {
        let event = event.unwrap().unwrap();
        let here = event.revision();
        assert!(
            here == seen || here == seen + 1,
            "a gap from {seen} to {here}"
        );
        seen = here;
        last.insert(event.key().to_owned(), event);
    }
    assert_eq!(seen, revision, "the log ends with the last write");
    for (key, event) in &last {
        match event {
            Event::Put(entry) => assert_eq!(entries.get(key), Some(entry)),
            Event::Delete { .. } => assert_eq!(entries.get(key), None),
        }
    }
    last
}

#[test]
fn every_acknowledged_write_survives_sigkill() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let root = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let mut acknowledged = BTreeMap::new();
    let mut highest = 0;
    let mut writes = 0;
    for kill in 0..KILLS {
        if kill >= KILLS / 2 && begin.elapsed() > PATIENCE {
            println!("stopped after {kill} kills: the machine is too busy");
            break;
        }
        // Primes spread the moments evenly without order.
        let (since, patience) = match kill % 4 {
            0 => (Since::Start, u64::from(kill * 7919 % 41)),
            _ => (Since::Ready, u64::from(kill * 7919 % 61)),
        };
        let patience = Duration::from_millis(patience);
        for (slot, what) in run_child(root.path(), since, patience) {
            let (Acknowledged::Put(revision) | Acknowledged::Deleted(revision)) = what;
            acknowledged.insert(slot, what);
            highest = highest.max(revision);
            writes += 1;
        }
        runtime.block_on(async {
            let store = open(root.path());
            check(&store, &mut acknowledged, highest).await;
        });
    }
    println!("{writes} acknowledged writes, the last at revision {highest}");
    assert!(writes > u64::from(KILLS), "hardly anything was written");
}
