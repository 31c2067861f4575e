//! The etcd store against the model.

use std::sync::Arc;

use async_trait::async_trait;
use coracle_store::Store;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use crate::laws::OnEtcd;
use crate::play::{Ground, play, steps};
use crate::server::Cluster;

/// Where cases that once failed are kept, to be tried first.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/etcd-model.regressions");

#[async_trait]
impl Ground for OnEtcd {
    async fn open(&self) -> Arc<dyn Store> {
        self.empty().await
    }

    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        self.roll().await;
        store
    }
}

#[test]
fn does_what_the_model_does() {
    let Some(cluster) = Cluster::start(1, &[]) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ground = runtime.block_on(OnEtcd::new(cluster));
    let mut runner = TestRunner::new(Config {
        cases: 24,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..Config::default()
    });
    runner
        .run(&steps(40), |steps| {
            runtime.block_on(play(&ground, steps));
            Ok(())
        })
        .unwrap();
}
