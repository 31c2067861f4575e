//! A store that takes so many writes and then fails, as one does whose process is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use coracle_store::embedded::Embedded;
use coracle_store::{
    Entry, Expected, LeaseId, Listing, Op, Page, Revision, Store, StoreError, WatchStream,
};

/// Of how many writes none fails.
const UNBOUNDED: u32 = u32::MAX;

/// How many writes are left. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct WriteBudget(Arc<AtomicU32>);

impl Default for WriteBudget {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(UNBOUNDED)))
    }
}

impl WriteBudget {
    pub(crate) fn set(&self, writes: u32) {
        self.0.store(writes, Ordering::SeqCst);
    }

    pub(crate) fn lift(&self) {
        self.set(UNBOUNDED);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    fn take(&self) -> Result<(), StoreError> {
        let less = |left: u32| match left {
            UNBOUNDED => Some(UNBOUNDED),
            left => left.checked_sub(1),
        };
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .map(|_| ())
            .map_err(|_spent| StoreError::Closed)
    }
}

#[derive(Debug)]
pub(crate) struct Bounded {
    inner: Embedded,
    budget: WriteBudget,
}

impl Bounded {
    pub(crate) fn new(inner: Embedded, budget: WriteBudget) -> Self {
        Self { inner, budget }
    }
}

#[async_trait]
impl Store for Bounded {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, StoreError> {
        self.inner.list(prefix, page).await
    }
    async fn write(&self, ops: Vec<Op>) -> Result<Revision, StoreError> {
        self.budget.take()?;
        self.inner.write(ops).await
    }
    async fn delete(&self, key: &str, expected: Expected) -> Result<Option<Revision>, StoreError> {
        self.budget.take()?;
        self.inner.delete(key, expected).await
    }
    async fn watch(&self, prefix: &str, from: Option<Revision>) -> Result<WatchStream, StoreError> {
        self.inner.watch(prefix, from).await
    }
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        self.inner.grant_lease(ttl).await
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.inner.keep_alive(lease).await
    }
    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.inner.revoke(lease).await
    }
    async fn compact(&self, keep_from: Revision) -> Result<(), StoreError> {
        self.inner.compact(keep_from).await
    }
}
