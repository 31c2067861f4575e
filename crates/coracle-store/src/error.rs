//! What can go wrong in a store.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::{MAX_KEY_BYTES, MAX_LEASE_TTL};
use crate::store::{LeaseId, Revision};

/// What can go wrong in a store.
///
/// The cause is in [`Error::source`], never in the text. It can be cloned, because writes that share a
/// transaction share its failure.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An expectation was not met; nothing of the write was done.
    #[error("`{key}` was changed meanwhile: {}", match current {
        Some(revision) => format!("it is at revision {revision}"),
        None => "it does not exist".to_owned(),
    })]
    Conflict {
        /// The first key, in order of the operations, whose expectation was not met.
        key: String,
        /// The revision it was last modified at; `None` when it does not exist.
        current: Option<Revision>,
    },
    /// The change log does not reach back to the asked revision: list again and watch from there.
    #[error("changes before revision {oldest} were compacted")]
    Compacted {
        /// The oldest revision that can be watched from.
        oldest: Revision,
    },
    /// The lease does not exist: never granted, revoked, or expired.
    #[error("lease {lease} does not exist or has expired")]
    LeaseNotFound {
        /// The lease that was named.
        lease: LeaseId,
    },
    /// A time to live that cannot be granted.
    #[error(
        "a lease lives for more than 0 s and at most {} s, not {} s",
        MAX_LEASE_TTL.as_secs(), ttl.as_secs_f64()
    )]
    InvalidTtl {
        /// What was asked for.
        ttl: Duration,
    },
    /// A key or prefix that is not allowed.
    #[error(
        "key {key:?} is not allowed: {reason}; a key has 1 to {MAX_KEY_BYTES} bytes and no control characters"
    )]
    InvalidKey {
        /// The beginning of the key.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// One write names one key twice, which has no order to be done in.
    #[error("one write names key {key:?} twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A bound was exceeded; nothing was done.
    #[error("too many {what}: at most {limit} are allowed")]
    TooLarge {
        /// What there is too much of, with its unit.
        what: &'static str,
        /// The most that is allowed.
        limit: usize,
    },
    /// Another process has the data directory open.
    #[error(
        "another Coracle uses this data directory: {} is locked; stop it, or choose another data directory",
        path.display()
    )]
    AlreadyOpen {
        /// The locked file.
        path: PathBuf,
    },
    /// The file is of a version that this program does not know.
    #[error(
        "{} has store format {found}, this program knows format {known}: it was written by a newer Coracle",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The format found in it.
        found: u64,
        /// The newest format that this program can read.
        known: u64,
    },
    /// What is stored cannot be read as what was written. Restore a backup.
    #[error("the store in {} is damaged: {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// No space left for the store's file. The write was not done; reads go on, and writes work again as
    /// soon as there is space.
    #[error("no space left on the disk of {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The servers of the store have used up the space they allow themselves. Puts and new leases are
    /// refused; reads and deletions go on. The write was not done.
    #[error("{reason}")]
    OutOfSpace {
        /// What is full, and what to do about it.
        reason: String,
    },
    /// The servers of the store do not answer, or have no leader. What was asked for was not done; it may work
    /// when it is tried again.
    #[error("{reason}")]
    Unavailable {
        /// What is wrong, and what to do about it.
        reason: String,
        /// What the network or the server said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The servers of the store refuse what was asked for, and will again until somebody changes something:
    /// wrong password, missing permission, a request that is larger than they allow. Nothing was done.
    #[error("{reason}")]
    Refused {
        /// What is refused, and what to do about it.
        reason: String,
        /// What the server said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The writer does not hold the key of its fence any more: another leads. Nothing was done.
    #[error("this process does not lead any more: `{key}` is not its own")]
    Fenced {
        /// The key of the fence.
        key: String,
    },
    /// What the store was told to connect with cannot be used.
    #[error("{field}: {reason}")]
    InvalidConfig {
        /// Which setting.
        field: &'static str,
        /// What is wrong with it, and what is allowed.
        reason: String,
    },
    /// The storage failed. A write that ends so may or may not have been done: read to know.
    #[error("the store could not {action}")]
    Io {
        /// What was tried, as "could not …".
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
