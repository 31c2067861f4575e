//! The files of an archive one after another, within the bounds of unpacking and without writing anything.
//!
//! For archives that are read and not unpacked (what `coracle export` makes): names, sizes, the ratio of compression
//! and the number of members are held to the same [`Limits`]; links and devices are refused, because nothing that
//! is read so has them.

use std::io::{self, BufReader, Read};

use crate::archive::{Member, MemberKind, each_member};
use crate::error::{Refusal, SourceError};
use crate::limits::{Limit, Limits};
use crate::meter::{Expanded, Gauge, Incoming};
use crate::unpack::{CHUNK_BYTES, decompressed};

/// A file of an archive, to be read within [`walk`].
pub struct ArchiveFile<'w> {
    /// Its path: names joined by `/`, none of them empty, `.` or `..`.
    pub path: &'w str,
    /// Its bytes.
    pub size: u64,
    reader: &'w mut dyn Read,
    gauge: &'w Gauge,
    read: u64,
}

impl std::fmt::Debug for ArchiveFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveFile")
            .field("path", &self.path)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl ArchiveFile<'_> {
    /// The next bytes of its content; none at its end.
    ///
    /// # Errors
    /// [`SourceError`] when the archive is damaged, cut, or passes a limit.
    pub fn chunk(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            match self.reader.read(buffer) {
                Ok(0) if self.read < self.size => {
                    return Err(SourceError::Damaged(
                        "it ends in the middle of a file".into(),
                    ));
                }
                Ok(n) => {
                    self.read += n as u64;
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.gauge.explain(&error)),
            }
        }
    }

    /// The whole content, which must have `most` bytes at most.
    ///
    /// # Errors
    /// As [`ArchiveFile::chunk`], and when it is larger.
    pub fn whole(&mut self, most: u64) -> Result<Vec<u8>, SourceError> {
        if self.size > most {
            return Err(SourceError::TooLarge(Limit::Expanded(most)));
        }
        let mut content = Vec::new();
        let mut buffer = [0; CHUNK_BYTES];
        loop {
            match self.chunk(&mut buffer)? {
                0 => return Ok(content),
                n => content.extend_from_slice(&buffer[..n]),
            }
        }
    }
}

/// Reads a tar (plain, gzip or zstd) and shows each of its files to `visit`, which reads as much of it as it wants.
/// Blocks.
///
/// # Errors
/// [`SourceError`], or what `visit` answers; nothing is read after that.
pub fn walk<R: Read, E: From<SourceError>>(
    reader: R,
    limits: &Limits,
    mut visit: impl FnMut(&mut ArchiveFile<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let gauge = Gauge::default();
    let incoming = Incoming {
        reader,
        gauge: gauge.clone(),
        most: limits.bytes_compressed,
    };
    let mut incoming = BufReader::with_capacity(CHUNK_BYTES, incoming);
    let expanded = Expanded {
        reader: decompressed(&mut incoming, &gauge)?,
        gauge: gauge.clone(),
        limits: *limits,
    };
    let mut archive = tar::Archive::new(BufReader::with_capacity(CHUNK_BYTES, expanded));
    each_member(&mut archive, limits, &gauge, |member, entry| {
        let Member { path, kind } = member;
        let size = match kind {
            MemberKind::File { size, .. } => size,
            MemberKind::Folder => return Ok(()),
            MemberKind::Symlink(_) | MemberKind::HardLink(_) => {
                return Err(SourceError::refused(path, Refusal::Unknown).into());
            }
        };
        visit(&mut ArchiveFile {
            path: &path,
            size,
            reader: entry,
            gauge: &gauge,
            read: 0,
        })
    })?;
    // To the end: only there does a checksum tell that nothing was changed or cut.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|e| gauge.explain(&e))?;
    Ok(())
}
