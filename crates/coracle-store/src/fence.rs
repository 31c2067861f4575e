//! Writes that are done only while their writer leads.
//!
//! Theory of operation: a fence is a key and the revision at which its owner put it. Every write through a
//! [`Fenced`] store carries a check of that key at that revision (law 11), so it is the store that decides at
//! the moment of the write whether the writer still leads, and no clock, pause or late packet can fool it. The
//! first refusal is remembered: who acts on other things than the store under the same fence learns of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use crate::error::StoreError;
use crate::store::{Entry, Expected, LeaseId, Listing, Op, Page, Revision, Store, WatchStream};

/// A key that whoever writes must hold. Clones share whether it was lost.
#[derive(Clone, Debug)]
pub struct Fence {
    key: Arc<str>,
    revision: Revision,
    lost: Arc<watch::Sender<bool>>,
    refused: Arc<Notify>,
}

impl Fence {
    /// Held as long as `key` is the one that was put at `revision`.
    #[must_use]
    pub fn new(key: &str, revision: Revision) -> Self {
        Self {
            key: key.into(),
            revision,
            lost: Arc::new(watch::Sender::new(false)),
            refused: Arc::default(),
        }
    }

    /// The revision at which it was put: greater for each leader than for the one before.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The operation that makes a write depend on it.
    #[must_use]
    pub fn check(&self) -> Op {
        Op::check(&*self.key, Expected::Revision(self.revision))
    }

    /// Is it known to be lost?
    #[must_use]
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Takes note that it is lost.
    pub fn note_lost(&self) {
        self.lost.send_replace(true);
    }

    /// Waits until it is known to be lost.
    pub async fn lost(&self) {
        // The sender lives as long as `self`.
        drop(self.lost.subscribe().wait_for(|lost| *lost).await);
    }

    /// Waits until the store has refused something that was asked for under it, such as for a password that holds no
    /// more: a leader's lease may be kept alive all the same.
    pub async fn refused(&self) {
        self.refused.notified().await;
    }

    fn judge(&self, error: StoreError) -> StoreError {
        if matches!(error, StoreError::Refused { .. }) {
            self.refused.notify_one();
        }
        match error {
            StoreError::Conflict { key, .. } if *key == *self.key => {
                self.note_lost();
                StoreError::Fenced { key }
            }
            error => error,
        }
    }
}

/// A store whose writes are done only while a fence is held; reads and watches are those of the store.
///
/// A write has room for one operation less than [`MAX_WRITE_OPS`](crate::MAX_WRITE_OPS). Leases and compactions
/// are not fenced: a lease does nothing until a key is put under it, and a compaction changes no value.
#[derive(Clone, Debug)]
pub struct Fenced {
    store: Arc<dyn Store>,
    fence: Fence,
}

impl Fenced {
    /// `store` behind `fence`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, fence: Fence) -> Self {
        Self { store, fence }
    }

    fn judged<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.map_err(|error| self.fence.judge(error))
    }
}

#[async_trait]
impl Store for Fenced {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.judged(self.store.revision().await)
    }

    async fn writable(&self) -> Result<(), StoreError> {
        self.store.writable().await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.judged(self.store.get(key).await)
    }

    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, StoreError> {
        self.judged(self.store.list(prefix, page).await)
    }

    async fn write(&self, mut ops: Vec<Op>) -> Result<Revision, StoreError> {
        if self.fence.is_lost() {
            return Err(StoreError::Fenced {
                key: self.fence.key.to_string(),
            });
        }
        // First: of several broken expectations the first is told, and this one decides.
        ops.insert(0, self.fence.check());
        self.judged(self.store.write(ops).await)
    }

    async fn delete(&self, key: &str, expected: Expected) -> Result<Option<Revision>, StoreError> {
        loop {
            // Whether the write changed anything is not told by its revision, so what is there is read first.
            let found = self.store.get(key).await?.map(|entry| entry.modified);
            let (op, deletes) = match (expected, found) {
                (Expected::Any, Some(revision)) => {
                    (Op::delete(key, Expected::Revision(revision)), true)
                }
                (Expected::Any, None) => (Op::check(key, Expected::Absent), false),
                (expected, found) => (Op::delete(key, expected), found.is_some()),
            };
            match self.write(vec![op]).await {
                Ok(revision) => return Ok(deletes.then_some(revision)),
                // Written in between: looked at again.
                Err(StoreError::Conflict { .. }) if expected == Expected::Any => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn watch(&self, prefix: &str, from: Option<Revision>) -> Result<WatchStream, StoreError> {
        self.store.watch(prefix, from).await
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        self.store.grant_lease(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.store.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.store.revoke(lease).await
    }

    async fn compact(&self, keep_from: Revision) -> Result<(), StoreError> {
        self.store.compact(keep_from).await
    }
}
