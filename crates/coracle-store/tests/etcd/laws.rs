//! The laws of every store, on one member and on three.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use coracle_store::conformance::{self, Fixture};
use coracle_store::{Etcd, Store};

use crate::server::Cluster;

pub(crate) struct OnEtcd {
    pub(crate) cluster: Mutex<Cluster>,
    pub(crate) first: Etcd,
    next: AtomicU32,
}

impl OnEtcd {
    pub(crate) async fn new(cluster: Cluster) -> Self {
        let first = cluster.store("/").await;
        Self {
            cluster: Mutex::new(cluster),
            first,
            next: AtomicU32::new(0),
        }
    }

    pub(crate) async fn empty(&self) -> Arc<dyn Store> {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let config = self.cluster.lock().unwrap().config(&format!("/t{number}/"));
        Arc::new(Etcd::connect(config).await.unwrap())
    }

    /// Kills every member, one after the other, and starts each again. The connection stays.
    pub(crate) async fn roll(&self) {
        let size = self.cluster.lock().unwrap().members.len();
        for number in 0..size {
            {
                let mut cluster = self.cluster.lock().unwrap();
                cluster.kill(number);
                cluster.run(number);
            }
            // More than half must be there before the next goes.
            while self.first.revision().await.is_err() {}
            let config = {
                let cluster = self.cluster.lock().unwrap();
                let mut config = cluster.config("/");
                config.endpoints = vec![config.endpoints[number].clone()];
                config
            };
            while Etcd::connect(config.clone()).await.is_err() {}
        }
    }
}

#[async_trait]
impl Fixture for OnEtcd {
    async fn open(&self) -> Arc<dyn Store> {
        self.empty().await
    }

    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        self.roll().await;
        store
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(2)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_keeps_the_laws_of_every_store() {
    let Some(cluster) = Cluster::start(1, &[]) else {
        return;
    };
    conformance::run(&OnEtcd::new(cluster).await).await;
}

#[tokio::test]
async fn three_members_keep_the_laws_of_every_store() {
    let Some(cluster) = Cluster::start(3, &[]) else {
        return;
    };
    conformance::run(&OnEtcd::new(cluster).await).await;
}
