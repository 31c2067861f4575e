//! The file: its place, its lock, its life and its failures.
//!
//! Theory of operation: a data directory has one owner, who holds a lock on `store.lock` as long as it
//! lives; the kernel frees it with the process, however that dies. The database is first made complete in
//! `store.redb.new` and then renamed, so that a process killed at its first start leaves nothing that could
//! be taken for a damaged store. Readers share the database under a read lock for the length of one short
//! read. redb refuses everything after one failed I/O call, reads included: then the writer takes the write
//! lock, closes the database and opens it again, which rolls back to the last commit.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase as _, StorageError};

use super::EmbeddedConfig;
use super::schema::{self, CURRENT, FORMAT, LEASE_KEYS, LEASES, LOG, META};
use crate::error::StoreError;

const FILE_NAME: &str = "store.redb";
const NEW_NAME: &str = "store.redb.new";
const LOCK_NAME: &str = "store.lock";

/// Whether the database can be used.
#[derive(Debug)]
enum State {
    Open(Database),
    /// It failed and could not be opened again yet; the writer tries before its next write.
    Failed(StoreError),
    Closed,
}

/// The store's file.
#[derive(Debug)]
pub(super) struct StoreFile {
    path: PathBuf,
    cache_bytes: usize,
    state: RwLock<State>,
    /// Held for its lock; `None` when closed.
    lock: Mutex<Option<File>>,
}

impl StoreFile {
    /// Opens the store in `dir`; makes both when they do not exist.
    pub(super) fn open(dir: &Path, config: &EmbeddedConfig) -> Result<Self, StoreError> {
        let path = dir.join(FILE_NAME);
        let io = |action| move |error: io::Error| io_error(action, error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(io("create its data directory"))?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK_NAME))
            .map_err(io("open its lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(StoreError::AlreadyOpen { path });
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(io_error("lock its data directory", error));
            }
        }
        if !path.try_exists().map_err(io("look for its file"))? {
            create(dir, &path, config.cache_bytes)?;
        }
        let database = open_database(&path, config.cache_bytes)?;
        let file = Self {
            path,
            cache_bytes: config.cache_bytes,
            state: RwLock::new(State::Open(database)),
            lock: Mutex::new(Some(lock)),
        };
        file.check_format()?;
        Ok(file)
    }

    /// Does `read` in a transaction, which sees one state of the store and neither waits for writers nor
    /// holds them up. Called on threads of the async runtime: it must be short.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.with(|database| {
            let transaction = database.begin_read()?;
            read(&transaction)
        })
    }

    /// Does `work` with the database. It must not be called within itself.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Open(database) => work(database).map_err(|error| self.explain(error)),
            State::Failed(error) => Err(error.clone()),
            State::Closed => Err(StoreError::Closed),
        }
    }

    /// Whether the database was lost by a failure and [`reopen`](Self::reopen) is due.
    pub(super) fn is_failed(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*state, State::Failed(_))
    }

    /// Closes the database and opens it again, at its last commit.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*state, State::Closed) {
            return Err(StoreError::Closed);
        }
        // The old one is dropped first: it locks the file.
        *state = State::Failed(StoreError::Closed);
        match open_database(&self.path, self.cache_bytes) {
            Ok(database) => {
                *state = State::Open(database);
                Ok(())
            }
            Err(error) => {
                *state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// Closes the database for ever. Reads from now on are refused.
    pub(super) fn close(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Closed;
        // Last, when the database is closed: the folder is free for another owner.
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The bytes that can still be written to the file system.
    pub(super) fn free_bytes(&self) -> Result<u64, StoreError> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|error| io_error("ask for free space", error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// [`StoreError::Full`] for this file.
    pub(super) fn full(&self) -> StoreError {
        StoreError::Full {
            path: self.path.clone(),
        }
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let found = self.read(|transaction| {
            let meta = transaction.open_table(META)?;
            Ok(meta.get(schema::meta::FORMAT)?.map(|format| format.value()))
        })?;
        match found {
            Some(FORMAT) => Ok(()),
            Some(found) => Err(StoreError::UnknownFormat {
                path: self.path.clone(),
                found,
                known: FORMAT,
            }),
            None => Err(corrupt(&self.path, "it has no format number")),
        }
    }

    fn explain(&self, error: Failure) -> StoreError {
        match error {
            Failure::Refused(error) => error,
            Failure::Record(what) => corrupt(&self.path, what),
            Failure::Redb(error) => explain(&self.path, "read or write its file", error),
        }
    }
}

/// Why work on the database failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The answer is this error; the database is fine and nothing was changed.
    Refused(StoreError),
    /// A record or table is not as it was written.
    Record(&'static str),
    /// redb failed.
    Redb(redb::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl<E> From<E> for Failure
where
    redb::Error: From<E>,
    E: RedbError,
{
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

/// The error types of redb, which have no trait of their own.
pub(super) trait RedbError {}
impl RedbError for StorageError {}
impl RedbError for redb::TableError {}
impl RedbError for redb::TransactionError {}
impl RedbError for redb::CommitError {}
impl RedbError for redb::SetDurabilityError {}

fn corrupt(path: &Path, detail: impl Into<String>) -> StoreError {
    StoreError::Corrupt {
        path: path.to_owned(),
        detail: detail.into(),
    }
}

fn io_error(action: &'static str, error: io::Error) -> StoreError {
    StoreError::Io {
        action,
        source: Arc::new(error),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn explain(path: &Path, action: &'static str, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) if is_full(&error) => StoreError::Full {
            path: path.to_owned(),
        },
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            corrupt(path, "it is not a store")
        }
        redb::Error::Corrupted(detail) => corrupt(path, detail),
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            StoreError::AlreadyOpen {
                path: path.to_owned(),
            }
        }
        error @ (redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::UpgradeRequired(_)) => corrupt(path, error.to_string()),
        error => StoreError::Io {
            action,
            source: Arc::new(error),
        },
    }
}

fn open_database(path: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
    let open = || -> Result<Database, DatabaseError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        Database::builder()
            .set_cache_size(cache_bytes)
            .create_with_backend(FileBackend::new(file)?)
    };
    // redb may panic on a file that something else wrote to.
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(explain(path, "open its file", error.into())),
        Err(_panic) => Err(corrupt(path, "redb cannot open it")),
    }
}

/// Makes an empty store that appears at `path` only when it is complete.
fn create(dir: &Path, path: &Path, cache_bytes: usize) -> Result<(), StoreError> {
    let new = dir.join(NEW_NAME);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove what an interrupted start left", error));
        }
        Ok(()) | Err(_) => {}
    }
    let database = open_database(&new, cache_bytes)?;
    let fill = || -> Result<(), Failure> {
        let transaction = database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert(schema::meta::FORMAT, FORMAT)?;
            meta.insert(schema::meta::OLDEST, 1)?;
            transaction.open_table(CURRENT)?;
            transaction.open_table(LOG)?;
            transaction.open_table(LEASES)?;
            transaction.open_table(LEASE_KEYS)?;
        }
        transaction.commit()?;
        Ok(())
    };
    fill().map_err(|error| match error {
        Failure::Refused(error) => error,
        Failure::Record(what) => corrupt(&new, what),
        Failure::Redb(error) => explain(&new, "create its file", error),
    })?;
    drop(database);
    let publish = || -> io::Result<()> {
        std::fs::rename(&new, path)?;
        // A file is only there after a power cut when its directory is on the disk, and so on upwards.
        File::open(dir)?.sync_all()?;
        match dir.parent() {
            Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    };
    publish().map_err(|error| io_error("create its file", error))
}
