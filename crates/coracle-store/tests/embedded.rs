//! The embedded store against the laws of every store, and against its own promises.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coracle_store::conformance::{self, Fixture};
use coracle_store::{Embedded, EmbeddedConfig, Put, Retention, Store, StoreError};
use futures::StreamExt as _;
use futures::future::join_all;

fn open(dir: &Path) -> Result<Embedded, StoreError> {
    Embedded::open(dir, EmbeddedConfig::default())
}

struct OnDisk {
    root: tempfile::TempDir,
    next: std::sync::atomic::AtomicU32,
}

impl OnDisk {
    fn dir(&self, step: u32) -> PathBuf {
        let number = self
            .next
            .fetch_add(step, std::sync::atomic::Ordering::SeqCst)
            + step;
        self.root.path().join(number.to_string())
    }
}

#[async_trait]
impl Fixture for OnDisk {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(open(&self.dir(1)).unwrap())
    }

    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        assert_eq!(Arc::strong_count(&store), 1, "dropping it must close it");
        drop(store);
        Arc::new(open(&self.dir(0)).unwrap())
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(300)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_laws_of_every_store() {
    let root = tempfile::tempdir().unwrap();
    conformance::run(&OnDisk {
        root,
        next: 0.into(),
    })
    .await;
}

#[tokio::test]
async fn keeps_the_laws_on_one_thread() {
    let root = tempfile::tempdir().unwrap();
    conformance::run(&OnDisk {
        root,
        next: 0.into(),
    })
    .await;
}

#[tokio::test]
async fn only_its_owner_can_read_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/b");
    let _store = open(&dir).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in std::fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert!(dir.join("store.redb").exists());
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_closes() {
    let root = tempfile::tempdir().unwrap();
    let first = open(root.path()).unwrap();
    first.put(Put::new("/a", "1")).await.unwrap();
    let error = open(root.path()).unwrap_err();
    assert!(matches!(error, StoreError::AlreadyOpen { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with("another Coracle uses this data directory: "),
        "{text}"
    );
    assert!(text.contains("store.redb"), "{text}");

    first.close().await.unwrap();
    // The first handle still exists; its folder is free all the same.
    assert!(matches!(first.get("/a").await, Err(StoreError::Closed)));
    assert!(matches!(
        first.put(Put::new("/a", "2")).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(first.close().await, Err(StoreError::Closed)));
    let second = open(root.path()).unwrap();
    assert_eq!(second.get("/a").await.unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn watches_end_when_the_store_is_closed() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).unwrap();
    let mut closed = store.watch("/", None).await.unwrap();
    store.put(Put::new("/a", "1")).await.unwrap();
    assert!(closed.next().await.unwrap().is_ok());
    let (ended, result) = futures::join!(closed.next(), store.close());
    result.unwrap();
    assert!(matches!(ended, Some(Err(StoreError::Closed))), "{ended:?}");
    assert!(closed.next().await.is_none());
}

#[tokio::test]
async fn what_is_no_store_is_named_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("store.redb");
    for content in ["no store".as_bytes(), &[0; 8192]] {
        std::fs::write(&path, content).unwrap();
        let error = open(root.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("store.redb"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()).unwrap());
    {
        let database = redb::Database::create(root.path().join("store.redb")).unwrap();
        let write = database.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        write.open_table(meta).unwrap().insert("format", 9).unwrap();
        write.commit().unwrap();
    }
    match open(root.path()) {
        Err(StoreError::UnknownFormat {
            found: 9, known: 1, ..
        }) => {}
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn an_interrupted_first_start_is_begun_anew() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("store.redb.new"), "half of a st").unwrap();
    let store = open(root.path()).unwrap();
    store.put(Put::new("/a", "1")).await.unwrap();
    assert!(!root.path().join("store.redb.new").exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_an_error_with_its_cause() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = open(&file.join("data")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the store could not create its data directory"
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn the_log_keeps_the_newest_changes_and_forgets_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let retention = Retention {
        changes: 64,
        ..Retention::default()
    };
    let config = EmbeddedConfig {
        retention,
        ..EmbeddedConfig::default()
    };
    let store = Embedded::open(root.path(), config).unwrap();
    for n in 0..100_u32 {
        // Three changes for each revision.
        let ops = (0..3)
            .map(|k| Put::new(format!("/{k}"), n.to_string()).into())
            .collect();
        store.write(ops).await.unwrap();
        let error = match store.watch("/", Some(1)).await {
            Ok(_) if n < 21 => continue,
            Ok(_) if n < 25 => continue, // A slack of a sixteenth is allowed.
            Ok(_) => unreachable!("nothing was forgotten after {} changes", (n + 1) * 3),
            Err(error) => error,
        };
        let StoreError::Compacted { oldest } = error else {
            unreachable!("{error:?}")
        };
        let kept = (u64::from(n) + 1 - (oldest - 1)) * 3;
        assert!((64..=64 + 4 + 3).contains(&kept), "{kept} changes are kept");
        let mut watch = store.watch("/", Some(oldest)).await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap().revision(), oldest);
    }
}

#[tokio::test]
async fn the_log_is_bounded_in_bytes_too() {
    let root = tempfile::tempdir().unwrap();
    let retention = Retention {
        changes: 1000,
        bytes: 1024 * 1024,
    };
    let config = EmbeddedConfig {
        retention,
        ..EmbeddedConfig::default()
    };
    let store = Embedded::open(root.path(), config).unwrap();
    for _ in 0..60 {
        store
            .put(Put::new("/a", vec![7; 256 * 1024]))
            .await
            .unwrap();
    }
    let oldest = match store.watch("/", Some(1)).await {
        Err(StoreError::Compacted { oldest }) => oldest,
        other => unreachable!("{:?}", other.map(drop)),
    };
    assert!((57..=58).contains(&oldest), "{oldest}");
    // A single write beyond the bound is kept: a watcher that is not behind must get it.
    store
        .put(Put::new("/a", vec![7; 1024 * 1024]))
        .await
        .unwrap();
    let last = store
        .put(Put::new("/b", vec![7; 1024 * 1024]))
        .await
        .unwrap();
    let mut watch = store.watch("/b", Some(last)).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision(), last);
    let size = std::fs::metadata(root.path().join("store.redb"))
        .unwrap()
        .len();
    assert!(
        size < 24 * 1024 * 1024,
        "the file uses its space again, but has {size} bytes"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_write_is_done_wholly_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).unwrap();
    for n in 0..50_u32 {
        let ops = vec![
            Put::new(format!("/l/{n}"), "").into(),
            Put::new(format!("/r/{n}"), "").into(),
        ];
        let patience = Duration::from_micros(u64::from(n) * 40);
        let _cancelled_or_not = tokio::time::timeout(patience, store.write(ops)).await;
    }
    store.put(Put::new("/end", "")).await.unwrap();
    let left = store.list_all("/l/").await.unwrap().entries;
    let right = store.list_all("/r/").await.unwrap().entries;
    let revisions = |entries: Vec<coracle_store::Entry>| -> Vec<_> {
        entries.into_iter().map(|entry| entry.modified).collect()
    };
    assert_eq!(revisions(left), revisions(right));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_callers_than_the_queue_has_room_for_all_get_through() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).unwrap();
    let puts = (0..1100).map(|n| store.put(Put::new(format!("/{n}"), vec![0; 16_000])));
    let mut revisions: Vec<_> = join_all(puts)
        .await
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=1100));
}
