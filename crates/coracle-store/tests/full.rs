//! The embedded store on a disk that has no space left.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests, and a skipped test says so"
)]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use coracle_store::{Embedded, EmbeddedConfig, Expected, Op, Put, Store, StoreError};
use futures::StreamExt as _;

/// A small file system of its own, for as long as this lives.
struct SmallDisk {
    root: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` when this process may not mount.
    fn mount(mib: u32) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "coracle-test"])
            .arg(root.path())
            .status();
        if status.is_ok_and(|status| status.success()) {
            Some(Self { root })
        } else {
            eprintln!("skipped: this process may not mount a small tmpfs");
            None
        }
    }

    /// Leaves `left` bytes free; the file's removal makes room again.
    fn fill(&self, left: u64) -> PathBuf {
        let stat = rustix::fs::statvfs(self.root.path()).unwrap();
        let size = (stat.f_bavail * stat.f_frsize).saturating_sub(left);
        let path = self.root.path().join("filler");
        std::fs::write(&path, vec![1; usize::try_from(size).unwrap()]).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount")
            .arg("--lazy")
            .arg(self.root.path())
            .status();
        assert!(status.unwrap().success());
    }
}

#[tokio::test]
async fn a_disk_without_room_refuses_puts_and_nothing_else() {
    let Some(disk) = SmallDisk::mount(16) else {
        return;
    };
    let store = Embedded::open(&disk.root.path().join("data"), EmbeddedConfig::default()).unwrap();
    let kept = store.put(Put::new("/kept", "v")).await.unwrap();
    store.put(Put::new("/old", "v")).await.unwrap();
    let filler = disk.fill(1024 * 1024);

    let before = store.revision().await.unwrap();
    let error = store
        .put(Put::new("/new", vec![0; 1000]))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    let ops = vec![
        Op::delete("/old", Expected::Any),
        Put::new("/new", "").into(),
    ];
    assert!(matches!(
        store.write(ops).await,
        Err(StoreError::Full { .. })
    ));
    assert_eq!(store.revision().await.unwrap(), before, "nothing was done");
    assert_eq!(
        store.get("/kept").await.unwrap().unwrap().modified,
        kept,
        "reads go on"
    );
    store.delete("/old", Expected::Any).await.unwrap().unwrap();

    std::fs::remove_file(filler).unwrap();
    store.put(Put::new("/new", vec![0; 1000])).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_runs_full_in_a_write_costs_only_that_write() {
    let Some(disk) = SmallDisk::mount(12) else {
        return;
    };
    let dir = disk.root.path().join("data");
    // Without the reserve, as when something else takes the last block between look and write.
    let config = EmbeddedConfig {
        reserve_bytes: 0,
        ..EmbeddedConfig::default()
    };
    let store = Embedded::open(&dir, config).unwrap();
    let mut watch = store.watch("/", None).await.unwrap();
    let lease = store.grant_lease(Duration::from_secs(600)).await.unwrap();
    store
        .put(Put::new("/leased", "v").leased(lease))
        .await
        .unwrap();
    let filler = disk.fill(400 * 1024);

    let mut done = vec!["/leased".to_owned()];
    let mut refused = 0;
    for n in 0..40_u32 {
        let key = format!("/k{n:02}");
        match store.put(Put::new(key.clone(), vec![7; 100_000])).await {
            Ok(_) => done.push(key),
            Err(StoreError::Full { .. }) => refused += 1,
            Err(other) => unreachable!("{other:?}"),
        }
    }
    assert!(refused > 0, "400 KiB cannot take 4 MB");
    let keys = async || {
        let entries = store.list_all("/").await.unwrap().entries;
        let mut keys: Vec<_> = entries.into_iter().map(|entry| entry.key).collect();
        keys.sort();
        keys
    };
    done.sort();
    assert_eq!(
        keys().await,
        done,
        "what was acknowledged is there, what was refused is not"
    );

    std::fs::remove_file(filler).unwrap();
    store.put(Put::new("/z", vec![7; 100_000])).await.unwrap();
    done.push("/z".to_owned());
    assert_eq!(keys().await, done);
    store.keep_alive(lease).await.unwrap();
    store.revoke(lease).await.unwrap();
    // The watcher saw each of it once, and in order.
    let mut seen = Vec::new();
    let mut last = 0;
    while seen.len() <= done.len() {
        let event = watch.next().await.unwrap().unwrap();
        assert_eq!(event.revision(), last + 1);
        last = event.revision();
        seen.push(event.key().to_owned());
    }
    assert_eq!(seen.pop().as_deref(), Some("/leased"));
    seen.sort();
    assert_eq!(seen, done);
    store.close().await.unwrap();
    assert_eq!(
        Embedded::open(&dir, config)
            .unwrap()
            .revision()
            .await
            .unwrap(),
        last
    );
}

#[tokio::test]
async fn a_store_that_has_no_room_to_begin_says_so_and_begins_later() {
    let Some(disk) = SmallDisk::mount(4) else {
        return;
    };
    let dir = disk.root.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    let filler = disk.fill(0);
    let error = Embedded::open(&dir, EmbeddedConfig::default()).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    std::fs::remove_file(filler).unwrap();
    let store = Embedded::open(&dir, EmbeddedConfig::default()).unwrap();
    store.put(Put::new("/a", "1")).await.unwrap();
}
