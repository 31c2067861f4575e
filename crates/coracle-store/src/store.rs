//! The port: what a store is and the laws it keeps.
//!
//! Theory of operation: a store is a map from keys to values in which every write has a number, its
//! *revision*, and a log of these writes. A reader lists a prefix and gets the revision at which the listing
//! was true; a watch from the next revision then delivers every later write to the prefix in order, so a
//! copy kept by list and watch is never missing anything. A writer names the revision it read, and is
//! refused when the key was written meanwhile, so no update is lost. Nothing else is needed to build
//! controllers that can be killed at any line.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::StoreError;
use crate::limits::MAX_PAGE;

/// The number of a write. Global over all keys, starts at 1, grows with each write, never used twice, and
/// survives restarts. Revision 0 is the empty store before any write.
pub type Revision = u64;

/// The name of a lease, unique in the life of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A key with its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Bytes,
    /// The revision of the put that created it (after its last deletion, if it had existed before).
    pub created: Revision,
    /// The revision of its last put.
    pub modified: Revision,
    /// The lease that it dies with.
    pub lease: Option<LeaseId>,
}

/// Values may hold secrets: only their length is shown.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("value", &format_args!("{} bytes", self.value.len()))
            .field("created", &self.created)
            .field("modified", &self.modified)
            .field("lease", &self.lease)
            .finish()
    }
}

/// What a writer expects of a key; when it is otherwise, the write is refused with
/// [`StoreError::Conflict`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    #[default]
    Any,
    /// The key does not exist.
    Absent,
    /// The key exists and [`Entry::modified`] is this.
    Revision(Revision),
}

impl Expected {
    /// Whether a key that was last modified at `current` (`None`: does not exist) is as expected.
    #[must_use]
    pub fn is_met_by(self, current: Option<Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Revision(expected) => current == Some(expected),
        }
    }
}

/// Sets a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: String,
    /// Its new value.
    pub value: Bytes,
    /// What the key must be before.
    pub expected: Expected,
    /// The lease it shall die with from now on. `None` also detaches it from the lease it had.
    pub lease: Option<LeaseId>,
}

/// Values may hold secrets: only their length is shown.
impl fmt::Debug for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put")
            .field("key", &self.key)
            .field("value", &format_args!("{} bytes", self.value.len()))
            .field("expected", &self.expected)
            .field("lease", &self.lease)
            .finish()
    }
}

impl Put {
    /// Sets `key` to `value`, whatever it was before, without a lease.
    #[must_use]
    pub fn new(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            expected: Expected::Any,
            lease: None,
        }
    }

    /// The same, but only when the key is as expected.
    #[must_use]
    pub fn expecting(mut self, expected: Expected) -> Self {
        self.expected = expected;
        self
    }

    /// The same, but the key dies with `lease`.
    #[must_use]
    pub fn leased(mut self, lease: LeaseId) -> Self {
        self.lease = Some(lease);
        self
    }
}

/// One of the operations of a [`Store::write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put(Put),
    /// Deletes a key. Deleting a key that does not exist is no change, and no error unless the expectation
    /// says so.
    Delete {
        /// The key.
        key: String,
        /// What the key must be before.
        expected: Expected,
    },
    /// Changes nothing, but the write is done only when the key is as expected: a guard, for example that
    /// the writer still holds the key of its lease.
    Check {
        /// The key.
        key: String,
        /// What the key must be.
        expected: Expected,
    },
}

impl Op {
    /// Deletes `key` when it is as expected.
    #[must_use]
    pub fn delete(key: impl Into<String>, expected: Expected) -> Self {
        Self::Delete {
            key: key.into(),
            expected,
        }
    }

    /// Guards the write by `key` being as expected.
    #[must_use]
    pub fn check(key: impl Into<String>, expected: Expected) -> Self {
        Self::Check {
            key: key.into(),
            expected,
        }
    }

    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(put) => &put.key,
            Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    /// The bytes of its key and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put(put) => put.key.len() + put.value.len(),
            Self::Delete { key, .. } | Self::Check { key, .. } => key.len(),
        }
    }

    /// What the key must be before.
    #[must_use]
    pub fn expected(&self) -> Expected {
        match self {
            Self::Put(put) => put.expected,
            Self::Delete { expected, .. } | Self::Check { expected, .. } => *expected,
        }
    }
}

impl From<Put> for Op {
    fn from(put: Put) -> Self {
        Self::Put(put)
    }
}

/// Which part of a listing is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only keys after this one (exclusive): [`Listing::next`] of the page before.
    pub after: Option<String>,
    /// The most entries; more than [`MAX_PAGE`] means that, 0 means 1.
    pub limit: usize,
}

impl Default for Page {
    /// The first page, as long as allowed.
    fn default() -> Self {
        Self {
            after: None,
            limit: MAX_PAGE,
        }
    }
}

/// A part of the keys under a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries, in byte order of their keys.
    pub entries: Vec<Entry>,
    /// The revision that the listing was true at.
    pub revision: Revision,
    /// There are more: what to pass as [`Page::after`] to get them.
    pub next: Option<String>,
}

/// A change, as a watch delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was set. The revision of the event is [`Entry::modified`].
    Put(Entry),
    /// The key was deleted, by a writer or with its lease.
    Delete {
        /// The key.
        key: String,
        /// The revision of the write that deleted it.
        revision: Revision,
    },
}

impl Event {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision of the write that changed it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.modified,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// The events of a watch. After an error it ends; without one it does not end.
pub type WatchStream = BoxStream<'static, Result<Event, StoreError>>;

/// A revisioned store of small objects.
///
/// # Laws
/// Every implementation keeps them; `coracle_store::conformance` checks them.
///
/// 1. **Atomic.** A write is done wholly, at one revision, or not at all. A refused write changes nothing and
///    uses no revision.
/// 2. **Ordered.** Writes are in one total order, which is that of their revisions and agrees with real time:
///    a write begun after another returned has the greater revision, and a read begun after a write
///    returned sees it.
/// 3. **Durable.** A write that returned `Ok` survives the death of the process and of the machine. A write
///    that nobody was told of may or may not be there afterwards, but never in part. Nothing that was read,
///    listed or watched is taken back.
/// 4. **Compare and set.** The expectations of a write are judged at the revision just before its own.
/// 5. **No change, no revision.** A write whose operations change nothing (deletes of absent keys, checks)
///    succeeds and makes no revision and no event. A put always changes, also with an equal value.
/// 6. **A watch is gapless, ordered, without doubles.** It delivers each event under its prefix of every
///    write at or after its starting revision exactly once, in order of revisions, and within one revision in
///    order of the operations. It delivers nothing older than where it starts, also when it starts in the
///    future. A key that was deleted and created again between two polls gives all of its events.
/// 7. **A slow watcher is never skipped.** It is served from the log, and when the log was compacted past
///    it, it gets [`StoreError::Compacted`] and the stream ends. Memory held for it is bounded by
///    [`WATCH_BUFFER`](crate::WATCH_BUFFER).
/// 8. **Resume.** A watcher that handled all events up to revision R goes on with `from: Some(R + 1)`. One
///    that stopped between two events of the same revision goes on with that revision, and sees its first
///    events again.
/// 9. **Compaction is explicit.** `compact(k)` forgets changes before `k` and none at or after it: a watch
///    from `k` still gets everything, a watch from before gets [`StoreError::Compacted`]. Current values
///    are never touched. Implementations may compact by themselves, but keep a configured number of the
///    newest changes.
/// 10. **Leases.** When a lease expires or is revoked, its keys are deleted in one write, which is watched as
///     any other. A lease never expires before its time to live after the last successful
///     [`keep_alive`](Store::keep_alive) (or the grant), whatever the wall clock does; it may expire a
///     little later, and after a restart of the store each lease that was alive has its full time to live
///     again. A put that names a dead lease is refused. Leases do not count as writes: granting uses no revision.
/// 11. **Fences.** A write that has a [`Op::check`] of a key at a revision is done only if at its own revision
///     the key still is the one that was put at the checked one: whoever deletes the key, or lets the lease
///     of the key end, shuts out every such write from then on, also those that are on their way, and for
///     ever, because a key that is put again has a greater revision. [`Fenced`](crate::Fenced) and
///     [`Candidate`](crate::Candidate) make leaders of that.
///
/// # Cancellation
/// Dropping the future of a write may or may not prevent it.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// The revision of the last write; 0 when there was none. On servers that others use as well, theirs
    /// count too.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Closed`].
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// Would a write be taken now? Answers in a bounded time of a few seconds, and changes nothing.
    ///
    /// # Errors
    /// What a write would be refused with: [`StoreError::Unavailable`], [`StoreError::OutOfSpace`],
    /// [`StoreError::Refused`], [`StoreError::Io`], [`StoreError::Closed`].
    async fn writable(&self) -> Result<(), StoreError> {
        self.revision().await.map(drop)
    }

    /// The entry of `key`, `None` when it does not exist.
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`], [`StoreError::Io`], [`StoreError::Closed`].
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// A page of the keys that begin with `prefix`, in key order. A page may be shorter than its limit and
    /// still have a [`Listing::next`]. Pages of one listing may be of different revisions; to list and watch,
    /// watch from the revision of the *first* page plus 1 (as [`list_all`](Store::list_all) returns it).
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`], [`StoreError::Io`], [`StoreError::Closed`].
    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, StoreError>;

    /// Does all of `ops` in one write, or none of them, and returns its revision: that of the last write
    /// when nothing changed (law 5).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] names the first key that was not as expected. [`StoreError::LeaseNotFound`],
    /// [`StoreError::InvalidKey`], [`StoreError::DuplicateKey`], [`StoreError::TooLarge`] and
    /// [`StoreError::Full`] change nothing either, nor do [`StoreError::OutOfSpace`], [`StoreError::Unavailable`],
    /// [`StoreError::Refused`] and [`StoreError::Fenced`]. After [`StoreError::Io`] or [`StoreError::Closed`] the write
    /// may or may not have been done.
    async fn write(&self, ops: Vec<Op>) -> Result<Revision, StoreError>;

    /// Deletes `key` and returns the revision of that, `None` when it did not exist.
    ///
    /// # Errors
    /// As [`write`](Store::write).
    async fn delete(&self, key: &str, expected: Expected) -> Result<Option<Revision>, StoreError>;

    /// The changes of keys that begin with `prefix`: from revision `from` on, or all after this call when
    /// it is `None`. Dropping the stream ends the watch.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when `from` is too old, here or as an item of the stream.
    /// [`StoreError::InvalidKey`], [`StoreError::Io`], [`StoreError::Closed`].
    async fn watch(&self, prefix: &str, from: Option<Revision>) -> Result<WatchStream, StoreError>;

    /// A new lease that lives for `ttl` after now and after each [`keep_alive`](Store::keep_alive). An
    /// implementation may round up to its granularity (at most to the next second) and to the shortest that
    /// it can grant (at most 10 s).
    ///
    /// # Errors
    /// [`StoreError::InvalidTtl`], and as [`write`](Store::write).
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError>;

    /// Gives the lease its full time to live again.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`] when it has expired or was revoked; then its keys are deleted or just
    /// being deleted. [`StoreError::Io`], [`StoreError::Closed`].
    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Ends the lease and deletes its keys; they are deleted when this returns.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`], and as [`write`](Store::write).
    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Forgets the changes before `keep_from` (law 9). A revision beyond the next one means the next one.
    ///
    /// # Errors
    /// As [`write`](Store::write).
    async fn compact(&self, keep_from: Revision) -> Result<(), StoreError>;

    /// Sets a key and returns the revision of that.
    ///
    /// # Errors
    /// As [`write`](Store::write).
    async fn put(&self, put: Put) -> Result<Revision, StoreError> {
        self.write(vec![Op::Put(put)]).await
    }

    /// Every entry under `prefix` ([`Listing::next`] is `None`), to be watched from [`Listing::revision`] + 1.
    /// When it takes more than one page, later entries may be newer than that revision: the watch then
    /// delivers their changes again, in order, and ends at the same state.
    ///
    /// # Errors
    /// As [`list`](Store::list).
    async fn list_all(&self, prefix: &str) -> Result<Listing, StoreError> {
        let mut all = self.list(prefix, Page::default()).await?;
        while let Some(after) = all.next.take() {
            let page = Page {
                after: Some(after),
                ..Page::default()
            };
            let more = self.list(prefix, page).await?;
            all.entries.extend(more.entries);
            all.next = more.next;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let put = Put::new("/secrets/a", "hunter2");
        let entry = Entry {
            key: put.key.clone(),
            value: put.value.clone(),
            created: 1,
            modified: 1,
            lease: None,
        };
        for text in [
            format!("{put:?}"),
            format!("{:?}", Op::Put(put)),
            format!("{entry:?}"),
        ] {
            assert!(
                !text.contains("hunter2") && text.contains("7 bytes"),
                "{text}"
            );
        }
    }
}
