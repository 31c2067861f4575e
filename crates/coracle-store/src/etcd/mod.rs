//! The store of several control planes: an etcd cluster (3.4 and later).
//!
//! Theory of operation: etcd's own revisions are the store's, its transactions are the store's writes, its
//! leases the store's leases; the log is etcd's history. `config` says how it is reached, `connect` reaches it,
//! `call` is the one owner of retries, `failure` turns what etcd says into the store's errors, `place` puts
//! the key prefix before every key; `read`, `write` and `watch` do what their names say, `probe` asks without
//! changing anything. Nothing is kept here but the connection.
//!
//! # Bounds that are the server's
//! - A request may have 1.5 MiB unless etcd runs with a larger `--max-request-bytes` (8388608 holds the store's
//!   largest write); what is larger is [`StoreError::Refused`].
//! - A write has at most 128 operations, which is etcd's `--max-txn-ops`.
//! - The shortest lease is one and a half election timeouts, rounded up: 2 s by default.
//!
//! # What is lost on the way
//! A write whose answer is lost may have been done. It is never sent again, so that none is applied twice; it is
//! [`StoreError::Io`], and whoever wrote reads to know. What was never sent is sent again, to any member.

mod call;
mod config;
mod connect;
mod failure;
mod place;
mod probe;
mod read;
mod watch;
mod write;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use self::call::{Caller, Repeat};
pub use self::config::{EtcdConfig, EtcdTls, EtcdUser};
use self::place::Place;
use crate::error::StoreError;
use crate::limits::{validate_key, validate_ops, validate_prefix, validate_ttl};
use crate::store::{Entry, Expected, LeaseId, Listing, Op, Page, Revision, Store, WatchStream};

/// A store on an etcd cluster. See [`Store`] for its laws. Clones share the connection.
#[derive(Clone)]
pub struct Etcd {
    caller: Caller,
    place: Place,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd")
            .field("endpoints", &self.caller.endpoints())
            .field("prefix", &self.place.prefix())
            .finish_non_exhaustive()
    }
}

impl Etcd {
    /// Connects, and reads once to see that it may.
    ///
    /// # Errors
    /// [`StoreError::InvalidConfig`] names the setting; [`StoreError::Unavailable`] when no member answers or
    /// there is no leader; [`StoreError::Refused`] for a wrong password or a missing permission.
    pub async fn connect(config: EtcdConfig) -> Result<Self, StoreError> {
        config.check()?;
        let place = Place::new(&config.prefix);
        let caller = connect::connect(&config, &place).await?;
        let etcd = Self { caller, place };
        read::revision(&etcd.caller, &etcd.place).await?;
        Ok(etcd)
    }

    /// Does somebody else keep keys in the same cluster? Then [`Store::compact`] would take away history that they may
    /// need: etcd has one for all.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the user may not see keys of others; and as for any read.
    pub async fn is_shared(&self) -> Result<bool, StoreError> {
        probe::is_shared(&self.caller, &self.place).await
    }

    /// Ends the connection: everything afterwards is refused as [`StoreError::Closed`], and watches end so.
    pub fn close(&self) {
        self.caller.close();
    }
}

#[async_trait]
impl Store for Etcd {
    async fn revision(&self) -> Result<Revision, StoreError> {
        read::revision(&self.caller, &self.place).await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        probe::writable(&self.caller, &self.place).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        validate_key(key)?;
        read::get(&self.caller, &self.place, key).await
    }

    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, StoreError> {
        validate_prefix(prefix)?;
        read::list(&self.caller, &self.place, prefix, &page).await
    }

    async fn write(&self, ops: Vec<Op>) -> Result<Revision, StoreError> {
        validate_ops(&ops)?;
        if ops.is_empty() {
            return self.revision().await;
        }
        Ok(write::write(&self.caller, &self.place, ops).await?.revision)
    }

    async fn delete(&self, key: &str, expected: Expected) -> Result<Option<Revision>, StoreError> {
        let ops = vec![Op::delete(key, expected)];
        validate_ops(&ops)?;
        let written = write::write(&self.caller, &self.place, ops).await?;
        Ok((written.deleted > 0).then_some(written.revision))
    }

    async fn watch(&self, prefix: &str, from: Option<Revision>) -> Result<WatchStream, StoreError> {
        validate_prefix(prefix)?;
        Box::pin(watch::watch(
            self.caller.clone(),
            self.place.clone(),
            prefix,
            from,
        ))
        .await
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        validate_ttl(ttl)?;
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        // A lease whose answer was lost ends by itself.
        let granted = self
            .caller
            .call("grant a lease", Repeat::Always, move |client| async move {
                client.lease_client().grant(seconds, None).await
            })
            .await?;
        Ok(LeaseId(granted.id().cast_unsigned()))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        let id = lease.0.cast_signed();
        self.caller
            .call(
                "keep a lease alive",
                Repeat::Always,
                move |client| async move { client.lease_client().keep_alive(id).await.map(drop) },
            )
            .await
            .map_err(|error| failure::of_lease(error, lease))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        let id = lease.0.cast_signed();
        self.caller
            .call(
                "revoke a lease",
                Repeat::NeverSent,
                move |client| async move { client.lease_client().revoke(id).await.map(drop) },
            )
            .await
            .map_err(|error| failure::of_lease(error, lease))
    }

    async fn compact(&self, keep_from: Revision) -> Result<(), StoreError> {
        let current = self.revision().await?;
        // etcd forgets deletions at the very revision that it is compacted at: so it is told the one before, and a
        // watch is refused from one later than etcd itself would.
        let at = keep_from.saturating_sub(1).min(current);
        if at == 0 {
            return Ok(());
        }
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        let compacted = self
            .caller
            .call("compact", Repeat::Always, move |client| async move {
                client.kv_client().compact(at, None).await.map(drop)
            })
            .await;
        match compacted {
            // It was before.
            Err(StoreError::Compacted { .. }) => Ok(()),
            other => other,
        }
    }
}
