//! The store of one machine: a redb file in the data directory.
//!
//! Theory of operation: `schema` says what is in the file, `file` owns it and its failures, `writer` is the one
//! thread that changes it (by `apply`), `read` reads it from any thread, `watch` follows its log, and `lease`
//! knows when leases end. A write is answered when it is on the disk. The process may be killed at any moment:
//! redb goes back to the last commit when the file is opened next.

mod apply;
mod file;
mod lease;
mod read;
mod schema;
mod watch;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot};

use self::apply::Written;
use self::file::StoreFile;
use self::lease::Leases;
use self::writer::{Answer, Job, Request, Writer};
use crate::error::StoreError;
use crate::limits::{validate_key, validate_ops, validate_prefix, validate_ttl};
use crate::store::{Entry, Expected, LeaseId, Listing, Op, Page, Revision, Store, WatchStream};

/// Room in the writer's queue, in KiB of keys and values: what waits is never more than this, however many
/// callers there are. Who finds it full waits.
const QUEUE_KIB: usize = 16 * 1024;
/// The least room that one request takes, so that small ones are bounded in number (1,024).
const REQUEST_KIB: usize = 16;

/// The writer answers each kind of request with its kind of answer; another would be a fault of its own.
const WRONG_ANSWER: StoreError = StoreError::Closed;

/// How much of the change log is kept for watchers that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At least this many of the newest changes, unless `bytes` is reached before.
    pub changes: u64,
    /// At most about this many bytes of changes (and always the last write).
    pub bytes: u64,
}

impl Default for Retention {
    /// 10,000 changes, 256 MiB.
    fn default() -> Self {
        Self {
            changes: 10_000,
            bytes: 256 * 1024 * 1024,
        }
    }
}

/// What can be set of an [`Embedded`] store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// Memory for pages of the file, in bytes. The kernel caches the file as well.
    pub cache_bytes: usize,
    /// How much of the change log is kept.
    pub retention: Retention,
    /// Writes with a put are refused as [`StoreError::Full`] when the file system would be left with less
    /// free bytes than this; 0 lets the disk run full.
    pub reserve_bytes: u64,
}

impl Default for EmbeddedConfig {
    /// 4 MiB of cache, 2 MiB of reserve.
    fn default() -> Self {
        Self {
            cache_bytes: 4 * 1024 * 1024,
            retention: Retention::default(),
            reserve_bytes: 2 * 1024 * 1024,
        }
    }
}

/// The store of one machine. See [`Store`] for its laws.
///
/// Dropping it finishes the writes that were begun and closes the file, which may take as long as an fsync;
/// [`close`](Self::close) does the same without blocking the thread. Watches end with
/// [`StoreError::Closed`].
#[derive(Debug)]
pub struct Embedded {
    file: Arc<StoreFile>,
    leases: Arc<Leases>,
    commits: tokio::sync::watch::Receiver<Revision>,
    room: Arc<Semaphore>,
    /// `None` only while it is being dropped.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the store in the folder `dir`, and makes both when they do not exist: the folder with mode 0700,
    /// the file `store.redb` with 0600. Blocks; after an unclean end for as long as it takes to read the
    /// file once.
    ///
    /// # Errors
    /// [`StoreError::AlreadyOpen`] when another process has it open, [`StoreError::UnknownFormat`],
    /// [`StoreError::Corrupt`], [`StoreError::Full`], [`StoreError::Io`].
    pub fn open(dir: &Path, config: EmbeddedConfig) -> Result<Self, StoreError> {
        let file = Arc::new(StoreFile::open(dir, &config)?);
        let leases = Arc::new(Leases::default());
        let now = Instant::now();
        for (lease, ttl) in writer::stored_leases(&file)? {
            leases.grant(lease, ttl, now);
        }
        let (commits, seen) = tokio::sync::watch::channel(read::revision(&file)?);
        let (jobs, queue) = std::sync::mpsc::channel();
        let writer = Writer {
            file: Arc::clone(&file),
            config,
            leases: Arc::clone(&leases),
            jobs: queue,
            commits,
        };
        let closing = Arc::clone(&file);
        let thread = std::thread::Builder::new()
            .name("coracle-store".to_owned())
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(move || writer.run())).is_err() {
                    tracing::error!("the store's writer panicked; the store is closed");
                }
                closing.close();
            })
            .map_err(|error| StoreError::Io {
                action: "start its writer",
                source: Arc::new(error),
            })?;
        Ok(Self {
            file,
            leases,
            commits: seen,
            room: Arc::new(Semaphore::new(QUEUE_KIB)),
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Finishes the writes that were begun, closes the file and frees its folder for another process.
    /// Everything afterwards is refused as [`StoreError::Closed`].
    ///
    /// # Errors
    /// [`StoreError::Closed`] when it was closed before.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.ask(Request::Close, 0).await.map(drop)
    }

    async fn ask(&self, request: Request, bytes: usize) -> Result<Answer, StoreError> {
        let kib = (bytes / 1024).clamp(REQUEST_KIB, QUEUE_KIB);
        let room = Arc::clone(&self.room)
            .acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX))
            .await
            .map_err(|_closed| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(Job {
            request,
            reply,
            room,
        })
        .map_err(|_gone| StoreError::Closed)?;
        answer.await.map_err(|_gone| StoreError::Closed)?
    }

    async fn change(&self, ops: Vec<Op>) -> Result<Written, StoreError> {
        validate_ops(&ops)?;
        let bytes = ops.iter().map(Op::bytes).sum();
        match self.ask(Request::Write(ops), bytes).await? {
            Answer::Written(written) => Ok(written),
            Answer::Granted(_) | Answer::Done => Err(WRONG_ANSWER),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The writer ends when nobody can ask any more.
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked while closing");
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn revision(&self) -> Result<Revision, StoreError> {
        read::revision(&self.file)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        validate_key(key)?;
        read::get(&self.file, key)
    }

    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, StoreError> {
        validate_prefix(prefix)?;
        read::list(&self.file, prefix, &page)
    }

    async fn write(&self, ops: Vec<Op>) -> Result<Revision, StoreError> {
        Ok(self.change(ops).await?.revision)
    }

    async fn delete(&self, key: &str, expected: Expected) -> Result<Option<Revision>, StoreError> {
        let written = self.change(vec![Op::delete(key, expected)]).await?;
        Ok(written.changed.then_some(written.revision))
    }

    async fn watch(&self, prefix: &str, from: Option<Revision>) -> Result<WatchStream, StoreError> {
        validate_prefix(prefix)?;
        watch::watch(Arc::clone(&self.file), self.commits.clone(), prefix, from)
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        validate_ttl(ttl)?;
        match self.ask(Request::Grant(ttl), 0).await? {
            Answer::Granted(lease) => Ok(lease),
            Answer::Written(_) | Answer::Done => Err(WRONG_ANSWER),
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        // Opened or not is known by the file alone; a closed store keeps nothing alive.
        read::revision(&self.file)?;
        if self.leases.keep_alive(lease, Instant::now()) {
            Ok(())
        } else {
            Err(StoreError::LeaseNotFound { lease })
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.ask(Request::Revoke(lease), 0).await.map(drop)
    }

    async fn compact(&self, keep_from: Revision) -> Result<(), StoreError> {
        self.ask(Request::Compact(keep_from), 0).await.map(drop)
    }
}
