//! How a finished upload becomes an object.
//!
//! Theory of operation: on the local file system the upload's file *is* the object: it is renamed, without a second
//! copy of the data. Any other store gets the file as a multipart upload, which shows only when it is complete.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use crate::error::RegistryError;

/// Part size for stores that are not the local disk. S3 takes no smaller one.
const PART_BYTES: usize = 5 << 20;
/// Parts in one multipart upload, at most (S3): bigger blobs get bigger parts.
const PARTS_MOST: u64 = 10_000;
/// The folder for a new object can vanish between its creation and the rename when the last object in it is deleted.
const RENAME_TRIES: usize = 8;

/// The kind of store.
#[derive(Clone, Debug)]
pub(crate) enum Placement {
    /// Files can be renamed into it.
    Local(LocalFileSystem),
    /// Data must be sent to it.
    Remote,
}

impl Placement {
    /// Makes the synced file at `from`, of `size` bytes, the object `key`. The file may be left behind; the caller removes it.
    pub(crate) async fn place(
        &self,
        store: &Arc<dyn ObjectStore>,
        from: &FilePath,
        size: u64,
        key: &Path,
    ) -> Result<(), RegistryError> {
        match self {
            Self::Local(local) => {
                let target = local
                    .path_to_filesystem(key)
                    .map_err(|source| RegistryError::store("place a blob", source))?;
                let source = from.to_owned();
                let moved = blocking(move || adopt(&source, &target, size)).await?;
                match moved {
                    Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
                        send(store, from, size, key).await
                    }
                    moved => moved.map_err(|source| RegistryError::io("place a blob", source)),
                }
            }
            Self::Remote => send(store, from, size, key).await,
        }
    }

    /// Makes the object's modification time young, so that a collector leaves it for its grace period.
    /// On a remote store nothing is done: there, a record (re)written by the caller has to protect it.
    pub(crate) async fn touch(&self, key: &Path) -> Result<(), RegistryError> {
        let Self::Local(local) = self else {
            return Ok(());
        };
        let path = local
            .path_to_filesystem(key)
            .map_err(|source| RegistryError::store("touch a blob", source))?;
        blocking(move || File::open(path)?.set_modified(SystemTime::now()))
            .await?
            .map_err(|source| RegistryError::io("touch a blob", source))
    }
}

impl Placement {
    /// Can modification times be set? Elsewhere a record has to be written again.
    pub(crate) const fn can_touch(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Makes objects young, where that can be done without writing them; those that are not there are left out.
    pub(crate) async fn touch_each(&self, keys: Vec<Path>) -> Result<(), RegistryError> {
        let Self::Local(local) = self else {
            return Ok(());
        };
        let mut files = Vec::with_capacity(keys.len());
        for key in keys {
            let file = local.path_to_filesystem(&key);
            files.push(file.map_err(|source| RegistryError::store("touch a record", source))?);
        }
        blocking(move || {
            let now = SystemTime::now();
            for file in files {
                match File::open(file).and_then(|file| file.set_modified(now)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
            Ok(())
        })
        .await?
        .map_err(|source| RegistryError::io("touch a record", source))
    }
}

/// Runs `work` where it may block.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T, RegistryError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| RegistryError::io("run file work", io::Error::other(e)))
}

fn adopt(from: &FilePath, target: &FilePath, size: u64) -> io::Result<()> {
    // Known content keeps its file. One of another size is the rest of a disk's fault and is replaced.
    if let Ok(there) = File::open(target)
        && there.metadata()?.len() == size
    {
        there.set_modified(SystemTime::now())?;
        return Ok(());
    }
    let folder = target
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut tries = 0;
    loop {
        match std::fs::rename(from, target) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && tries < RENAME_TRIES => {
                // Either the folder or the source is missing; only the first can be mended.
                from.metadata()?;
                std::fs::create_dir_all(folder)?;
                for new in folder.ancestors().skip(1).take(3) {
                    File::open(new)?.sync_all()?;
                }
                tries += 1;
            }
            done => break done?,
        }
    }
    File::open(folder)?.sync_all()
}

async fn send(
    store: &Arc<dyn ObjectStore>,
    from: &FilePath,
    size: u64,
    key: &Path,
) -> Result<(), RegistryError> {
    let failed = |source| RegistryError::store("send a blob to the object store", source);
    let part = PART_BYTES.max(usize::try_from(size.div_ceil(PARTS_MOST)).unwrap_or(PART_BYTES));
    let path = from.to_owned();
    let read = |source| RegistryError::io("read an upload", source);
    let mut file = blocking(move || File::open(path)).await?.map_err(read)?;
    let mut upload = store.put_multipart(key).await.map_err(failed)?;
    let sent = async {
        loop {
            let (back, chunk) = blocking(move || {
                let chunk = next_part(&mut file, part);
                (file, chunk)
            })
            .await?;
            file = back;
            let chunk = chunk.map_err(read)?;
            if chunk.is_empty() {
                break;
            }
            upload.put_part(chunk.into()).await.map_err(failed)?;
        }
        upload.complete().await.map_err(failed)
    }
    .await;
    if let Err(error) = sent {
        if let Err(source) = upload.abort().await {
            tracing::warn!(%source, "could not abort a multipart upload");
        }
        return Err(error);
    }
    Ok(())
}

fn next_part(file: &mut File, part: usize) -> io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(part);
    file.take(part as u64).read_to_end(&mut buffer)?;
    Ok(buffer.into())
}
