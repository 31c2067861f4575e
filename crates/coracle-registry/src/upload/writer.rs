//! The one writer of an upload.
//!
//! Theory of operation: it hashes what it appends, so that a blob that came in one go is not read again. When it is
//! dropped, the running hash goes back to the table with the upload's claim.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Claim, UploadId};
use crate::digest::{Algorithm, Digest, Hasher};

/// Buffer when a file is hashed again.
const REHASH_BYTES: usize = 128 << 10;

/// An upload that this request alone may write to. Its methods block.
pub(crate) struct OpenUpload {
    pub(super) claim: Claim,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) offset: u64,
    /// Over all bytes so far; `None` when it has to be computed again.
    pub(super) hasher: Option<Hasher>,
}

impl OpenUpload {
    pub(crate) fn id(&self) -> &UploadId {
        &self.claim.id
    }

    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends. After an error the upload has what it had before.
    pub(crate) fn append(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        let before = self.offset;
        for chunk in chunks {
            if let Err(error) = self.file.write_all(chunk) {
                self.truncate(before)?;
                return Err(error);
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(chunk);
            }
            self.offset += chunk.len() as u64;
        }
        Ok(())
    }

    /// Goes back to the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.hasher = None;
        self.file.set_len(len)?;
        self.offset = self.file.seek(SeekFrom::Start(len))?;
        Ok(())
    }

    /// Makes the bytes durable and returns their digest.
    pub(crate) fn seal(&mut self, algorithm: Algorithm) -> io::Result<Digest> {
        let hasher = match self.hasher.take() {
            Some(hasher) if hasher.algorithm() == algorithm => hasher,
            _ => self.rehash(algorithm)?,
        };
        self.file.sync_all()?;
        Ok(hasher.finish())
    }

    fn rehash(&mut self, algorithm: Algorithm) -> io::Result<Hasher> {
        let mut hasher = Hasher::new(algorithm);
        let mut buffer = vec![0; REHASH_BYTES];
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(hasher),
                n => hasher.update(&buffer[..n]),
            }
        }
    }

    /// Ends the upload and removes its file, if it is still there.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        self.hasher = None;
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        self.claim.cached = self.hasher.take().map(|hasher| (hasher, self.offset));
    }
}
