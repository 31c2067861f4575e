//! A folder's source as a stream of tar with zstd.
//!
//! Theory of operation: the same content makes the same bytes, wherever and whenever it is packed: entries are
//! sorted, owners and times are zero, permissions are reduced to whether the owner may execute. So whoever
//! receives it can tell from a digest that nothing changed. A blocking thread reads and compresses; a bounded
//! channel makes it wait for the network.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;

use bytes::Bytes;
use futures::Stream;
use rustix::fs::OFlags;
use tokio::sync::mpsc;

use crate::scan::{Entry, EntryKind, PackError, Scan};
use crate::template::EmbeddedFile;

/// The content type of what [`pack()`] makes.
pub const CONTENT_TYPE: &str = "application/zstd";

/// Bytes in one piece of the stream.
const PIECE_BYTES: usize = 64 * 1024;

/// Pieces that wait for the network.
const PIECES: usize = 8;

/// Fast: the way to the platform is usually quicker than a better level.
const ZSTD_LEVEL: i32 = 1;

/// How far packing is. Bytes are those of the files, as in [`Scan::bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackProgress {
    /// Files that are done.
    pub files: u64,
    /// Bytes of files that were read.
    pub bytes: u64,
}

/// Streams the source that `scan` found. `progress` is called on the thread that packs, after every piece of a file.
/// Dropping the stream ends the work. An error ends the stream; its source is a [`PackError`].
pub fn pack(
    scan: Scan,
    progress: impl FnMut(PackProgress) + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
    let (pieces, receiver) = mpsc::channel(PIECES);
    // Its end is the channel's end; a failure is its last piece.
    let _worker = tokio::task::spawn_blocking(move || {
        let sink = Pieces {
            buffer: Vec::with_capacity(PIECE_BYTES),
            pieces: pieces.clone(),
        };
        if let Err(error) = pack_into(&scan, sink, progress) {
            // When nobody takes the pieces any more, nobody wants the error either.
            drop(pieces.blocking_send(Err(io::Error::other(error))));
        }
    });
    Box::pin(futures::stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    }))
}

/// Writes the source that `scan` found to `sink`: what [`pack()`] does, on this thread.
///
/// # Errors
/// [`PackError`]; what was written is then not a whole archive.
pub fn pack_into(
    scan: &Scan,
    sink: impl Write,
    mut progress: impl FnMut(PackProgress),
) -> Result<(), PackError> {
    let encoder = zstd::stream::write::Encoder::new(sink, ZSTD_LEVEL).map_err(PackError::Sink)?;
    let mut tar = tar::Builder::new(encoder);
    let mut done = PackProgress::default();
    for entry in &scan.entries {
        append(&mut tar, scan, entry, &mut done, &mut progress)?;
    }
    let encoder = tar.into_inner().map_err(PackError::Sink)?;
    let mut sink = encoder.finish().map_err(PackError::Sink)?;
    sink.flush().map_err(PackError::Sink)
}

/// The same for files of the program itself.
pub(crate) fn pack_files(files: &[EmbeddedFile]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?);
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(file.content.len() as u64);
        tar.append_data(&mut header, file.path, file.content)?;
    }
    tar.into_inner()?.finish()
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    scan: &Scan,
    entry: &Entry,
    done: &mut PackProgress,
    progress: &mut impl FnMut(PackProgress),
) -> Result<(), PackError> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match &entry.kind {
        EntryKind::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            tar.append_data(&mut header, format!("{}/", entry.path), io::empty())
                .map_err(PackError::Sink)
        }
        EntryKind::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, &entry.path, target)
                .map_err(PackError::Sink)
        }
        EntryKind::File { size, mode } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(if mode & 0o100 == 0 { 0o644 } else { 0o755 });
            header.set_size(*size);
            let mut content = Content {
                file: open(scan, entry)?,
                left: *size,
                failed: None,
                done,
                progress,
            };
            let appended = tar.append_data(&mut header, &entry.path, &mut content);
            let (left, failed) = (content.left, content.failed.take());
            if let Some(source) = failed {
                return Err(PackError::Unreadable {
                    path: entry.path.clone(),
                    source,
                });
            }
            appended.map_err(PackError::Sink)?;
            if left > 0 {
                return Err(PackError::Changed(entry.path.clone()));
            }
            done.files += 1;
            progress(*done);
            Ok(())
        }
    }
}

/// Opens a file as it was found: no link and no pipe that took its place since.
fn open(scan: &Scan, entry: &Entry) -> Result<std::fs::File, PackError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(scan.root.join(&entry.path))
        .map_err(|source| PackError::Unreadable {
            path: entry.path.clone(),
            source,
        })?;
    Ok(file)
}

/// A file's content, as long as its header says, whatever happens to it meanwhile. Keeps the file's errors apart
/// from the sink's.
struct Content<'p, P> {
    file: std::fs::File,
    left: u64,
    failed: Option<io::Error>,
    done: &'p mut PackProgress,
    progress: &'p mut P,
}

impl<P: FnMut(PackProgress)> Read for Content<'_, P> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        if most == 0 {
            return Ok(0);
        }
        match self.file.read(&mut buf[..most]) {
            Ok(n) => {
                self.left -= n as u64;
                self.done.bytes += n as u64;
                (self.progress)(*self.done);
                Ok(n)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::from(error.kind());
                self.failed = Some(error);
                Err(told)
            }
        }
    }
}

/// A writer that sends pieces of a good size.
struct Pieces {
    buffer: Vec<u8>,
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        self.pieces
            .blocking_send(Ok(Bytes::from(full)))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + buf.len() > PIECE_BYTES {
            self.send()?;
        }
        self.buffer.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
