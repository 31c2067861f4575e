//! The embedded store against the model.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod play;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use coracle_store::{Embedded, EmbeddedConfig, Retention, Store};
use play::{Ground, play, steps};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Where cases that once failed are kept, to be tried first.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model.regressions");

struct OnDisk {
    root: tempfile::TempDir,
    next: AtomicU32,
}

impl OnDisk {
    fn store(&self, step: u32) -> Arc<dyn Store> {
        // Compaction by itself would have to be in the model: it has its own test.
        let config = EmbeddedConfig {
            retention: Retention::default(),
            ..EmbeddedConfig::default()
        };
        let number = self.next.fetch_add(step, Ordering::SeqCst) + step;
        Arc::new(Embedded::open(&self.root.path().join(number.to_string()), config).unwrap())
    }
}

#[async_trait]
impl Ground for OnDisk {
    async fn open(&self) -> Arc<dyn Store> {
        self.store(1)
    }

    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(store);
        self.store(0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn does_what_the_model_does(steps in steps(60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let root = tempfile::tempdir().unwrap();
        let disk = OnDisk { root, next: AtomicU32::new(0) };
        runtime.block_on(play(&disk, steps));
    }
}
