//! Uploads in progress: one file each.
//!
//! Theory of operation: the file's length is the state of the upload; there is no other. So an upload goes on after a
//! restart where its file ends. In memory is only a table with, per upload that this process has seen, either "somebody is
//! writing" or the running hash up to an offset. The hash is a cache: when it is missing, or not for the file's
//! length or the wanted algorithm, it is computed again from the file.
//!
//! The writer ([`OpenUpload`]) moves into each blocking write and back. If the request is dropped in the
//! middle, the blocking write still ends, and only then the writer's `Drop` frees the upload: two writers never meet, and
//! a file never gets bytes of a dead request behind those of a living one.

mod writer;

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::digest::{Algorithm, Hasher};
use crate::error::RegistryError;
use crate::layout::repository_part;
use crate::placement::blocking;
use crate::repository::RepositoryName;

pub(crate) use self::writer::OpenUpload;

/// Running hashes kept for uploads that wait for their next chunk.
const HASHES_KEPT: usize = 1024;
const ID_BYTES: usize = 16;

/// Name of one upload: random, so that nobody can guess another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UploadId(String);

impl UploadId {
    fn random() -> Result<Self, RegistryError> {
        let mut bytes = [0; ID_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|e| RegistryError::io("get random bytes", io::Error::other(e)))?;
        Ok(Self(hex::encode(bytes)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = RegistryError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let lower_hex = s
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if s.len() == 2 * ID_BYTES && lower_hex {
            Ok(Self(s.to_owned()))
        } else {
            Err(RegistryError::UploadUnknown)
        }
    }
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads.
    pub uploads: usize,
    /// Bytes that they had.
    pub bytes: u64,
}

enum Slot {
    Busy,
    /// The running hash, and of how many bytes it is. In a box: most slots are busy ones.
    Idle(Box<(Hasher, u64)>),
}

type Table = Mutex<HashMap<UploadId, Slot>>;

fn locked(table: &Table) -> MutexGuard<'_, HashMap<UploadId, Slot>> {
    // No code panics while it holds the lock; if it did, the table would still be whole.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All uploads below one folder.
#[derive(Clone)]
pub(crate) struct Uploads {
    folder: PathBuf,
    table: Arc<Table>,
}

impl Uploads {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            table: Arc::default(),
        }
    }

    fn of(&self, repository: &RepositoryName) -> PathBuf {
        self.folder.join(repository_part(repository))
    }

    /// Begins an empty upload.
    pub(crate) async fn create(
        &self,
        repository: &RepositoryName,
        most: usize,
    ) -> Result<OpenUpload, RegistryError> {
        let id = UploadId::random()?;
        let folder = self.of(repository);
        let table = Arc::clone(&self.table);
        blocking(move || {
            std::fs::create_dir_all(&folder)?;
            if std::fs::read_dir(&folder)?.take(most).count() >= most {
                return Ok(None);
            }
            let path = folder.join(id.as_str());
            // The claim stands before the file, so that a sweep cannot see the file without it.
            let claim = Claim::take(&table, &id)
                .ok_or_else(|| io::Error::from(io::ErrorKind::AlreadyExists))?;
            let new = || {
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(&path)
            };
            let file = new().or_else(|e| match e.kind() {
                // A sweep removed the empty folder meanwhile.
                io::ErrorKind::NotFound => std::fs::create_dir_all(&folder).and_then(|()| new()),
                _ => Err(e),
            })?;
            Ok(Some(OpenUpload {
                claim,
                path,
                file,
                offset: 0,
                hasher: Some(Hasher::new(Algorithm::Sha256)),
            }))
        })
        .await?
        .map_err(|source| RegistryError::io("create an upload", source))?
        .ok_or(RegistryError::TooMany(
            "this repository has too many unfinished uploads",
        ))
    }

    /// Opens an upload to write; nobody else can until the result is dropped.
    pub(crate) async fn open(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<OpenUpload, RegistryError> {
        let path = self.of(repository).join(id.as_str());
        let (table, id) = (Arc::clone(&self.table), id.clone());
        blocking(move || {
            // First the file: an upload of another repository must look like none at all.
            match path.try_exists() {
                Ok(true) => {}
                Ok(false) => return Err(RegistryError::UploadUnknown),
                Err(source) => return Err(RegistryError::io("open an upload", source)),
            }
            let mut claim = Claim::take(&table, &id).ok_or(RegistryError::UploadBusy)?;
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .and_then(|mut file| {
                    let offset = file.seek(SeekFrom::End(0))?;
                    Ok((file, offset))
                });
            let (file, offset) = opened.map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => RegistryError::UploadUnknown,
                _ => RegistryError::io("open an upload", source),
            })?;
            let hasher = match claim.cached.take() {
                Some((hasher, at)) if at == offset => Some(hasher),
                _ if offset == 0 => Some(Hasher::new(Algorithm::Sha256)),
                _ => None,
            };
            Ok(OpenUpload {
                claim,
                path,
                file,
                offset,
                hasher,
            })
        })
        .await?
    }

    /// How many bytes an upload has. Also while somebody writes to it.
    pub(crate) async fn offset(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<u64, RegistryError> {
        let path = self.of(repository).join(id.as_str());
        blocking(move || std::fs::metadata(path))
            .await?
            .map(|meta| meta.len())
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => RegistryError::UploadUnknown,
                _ => RegistryError::io("look at an upload", source),
            })
    }

    /// Did somebody upload into the repository within this time, without the end of it so far?
    pub(crate) async fn is_active(
        &self,
        repository: &RepositoryName,
        within: Duration,
    ) -> Result<bool, RegistryError> {
        let folder = self.of(repository);
        blocking(move || {
            let Some(since) = SystemTime::now().checked_sub(within) else {
                return Ok(true);
            };
            let uploads = match std::fs::read_dir(folder) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                uploads => uploads?,
            };
            for upload in uploads {
                match upload?.metadata().and_then(|meta| meta.modified()) {
                    Ok(modified) if modified >= since => return Ok(true),
                    Ok(_) => {}
                    // It ended since the listing began.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(false)
        })
        .await?
        .map_err(|source| RegistryError::io("look for uploads", source))
    }

    /// Removes uploads that nobody has written to for `older_than`.
    pub(crate) async fn sweep(&self, older_than: Duration) -> Result<Swept, RegistryError> {
        let (folder, table) = (self.folder.clone(), Arc::clone(&self.table));
        blocking(move || sweep(&folder, &table, older_than))
            .await?
            .map_err(|source| RegistryError::io("sweep uploads", source))
    }
}

fn sweep(folder: &Path, table: &Arc<Table>, older_than: Duration) -> io::Result<Swept> {
    let mut swept = Swept::default();
    let Some(oldest) = SystemTime::now().checked_sub(older_than) else {
        return Ok(swept);
    };
    for repository in std::fs::read_dir(folder)? {
        let repository = repository?;
        if !repository.file_type()?.is_dir() {
            continue;
        }
        let repository = repository.path();
        for upload in std::fs::read_dir(&repository)? {
            let upload = upload?;
            let Some(id) = upload
                .file_name()
                .to_str()
                .and_then(|name| UploadId::from_str(name).ok())
            else {
                continue;
            };
            let Some(_claim) = Claim::take(table, &id) else {
                continue;
            };
            // The age is read under the claim: a chunk that came a moment ago makes it young.
            match std::fs::metadata(upload.path()) {
                Ok(meta) if meta.modified()? <= oldest => {
                    std::fs::remove_file(upload.path())?;
                    swept.uploads += 1;
                    swept.bytes += meta.len();
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        match std::fs::remove_dir(&repository) {
            Err(e)
                if !matches!(
                    e.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
                ) =>
            {
                return Err(e);
            }
            _ => {}
        }
    }
    Ok(swept)
}

/// The right to write to one upload. Dropping it gives it back.
struct Claim {
    table: Arc<Table>,
    id: UploadId,
    /// The running hash: taken out of the table with the claim, and put back with it.
    cached: Option<(Hasher, u64)>,
}

impl Claim {
    fn take(table: &Arc<Table>, id: &UploadId) -> Option<Self> {
        let cached = match locked(table).insert(id.clone(), Slot::Busy) {
            Some(Slot::Busy) => return None,
            Some(Slot::Idle(hashed)) => Some(*hashed),
            None => None,
        };
        Some(Self {
            table: Arc::clone(table),
            id: id.clone(),
            cached,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = locked(&self.table);
        match self.cached.take() {
            Some(hashed) if table.len() <= HASHES_KEPT => {
                table.insert(self.id.clone(), Slot::Idle(Box::new(hashed)));
            }
            _ => {
                table.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
