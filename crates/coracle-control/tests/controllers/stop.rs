//! A store that a process stops at: from the n-th write on, nothing is answered any more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use coracle_store::{
    Entry, Expected, LeaseId, Listing, Op, Page, Revision, Store, StoreError, WatchStream,
};

use crate::memory::MemoryStore;

/// Where a process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopAt {
    /// Nowhere.
    Never,
    /// Before the write with this number (the first is 0).
    Before(usize),
    /// After it: it was done, and nobody learned of it.
    After(usize),
    /// Not at all, but this write fails.
    Fail(usize),
}

/// A process's way to a store.
#[derive(Debug)]
pub(crate) struct Stopping {
    inner: Arc<MemoryStore>,
    stop: Mutex<StopAt>,
    writes: AtomicUsize,
    /// A key that cannot be read, and how often that was tried.
    unreadable: Mutex<(Option<String>, usize)>,
}

impl Stopping {
    pub(crate) fn new(inner: Arc<MemoryStore>, stop: StopAt) -> Self {
        Self {
            inner,
            stop: Mutex::new(stop),
            writes: AtomicUsize::new(0),
            unreadable: Mutex::default(),
        }
    }

    /// From now on this key cannot be read, and all others can.
    pub(crate) fn fail_reads(&self, key: Option<&str>) {
        *self.unreadable.lock().unwrap() = (key.map(str::to_owned), 0);
    }

    /// Reads that failed so far.
    pub(crate) fn failed_reads(&self) -> usize {
        self.unreadable.lock().unwrap().1
    }

    /// Writes so far.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// From now on counts from 0, and stops there.
    pub(crate) fn arm(&self, stop: StopAt) {
        *self.stop.lock().unwrap() = stop;
        self.writes.store(0, Ordering::SeqCst);
    }

    async fn through<T>(
        &self,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        let stop = *self.stop.lock().unwrap();
        match stop {
            StopAt::Before(at) if number >= at => std::future::pending().await,
            StopAt::After(at) if number > at => std::future::pending().await,
            StopAt::After(at) if number == at => {
                write.await?;
                std::future::pending().await
            }
            StopAt::Fail(at) if number == at => Err(StoreError::Closed),
            _ => write.await,
        }
    }
}

#[async_trait]
impl Store for Stopping {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        {
            let mut unreadable = self.unreadable.lock().unwrap();
            if unreadable.0.as_deref() == Some(key) {
                unreadable.1 += 1;
                return Err(StoreError::Closed);
            }
        }
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, StoreError> {
        self.inner.list(prefix, page).await
    }
    async fn write(&self, ops: Vec<Op>) -> Result<Revision, StoreError> {
        self.through(self.inner.write(ops)).await
    }
    async fn delete(&self, key: &str, expected: Expected) -> Result<Option<Revision>, StoreError> {
        self.through(self.inner.delete(key, expected)).await
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
