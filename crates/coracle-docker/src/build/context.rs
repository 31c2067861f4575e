//! The folder as a stream of tar.
//!
//! Theory of operation: a blocking task walks the folder and writes into a bounded channel, which is the body of
//! the request: a daemon that reads slowly holds the walk back. Times and owners are left out, so that the same
//! source has the same checksum in BuildKit's cache.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use coracle_task::Supervisor;
use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes of one piece of the stream.
const PIECE: usize = 64 * 1024;
/// Pieces that wait for the daemon.
const PIECES: usize = 16;

/// The folder as a stream of tar. It ends with an error when something in the folder cannot be read.
pub(super) fn stream(
    owner: &Supervisor,
    folder: PathBuf,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(PIECES);
    owner.spawn("docker-build-context", async move {
        let errors = sender.clone();
        let walk = tokio::task::spawn_blocking(move || write(&folder, sender)).await;
        let result = walk.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = result {
            // A reader that went away knows why itself.
            drop(errors.send(Err(error)).await);
        }
    });
    ReceiverStream::new(receiver)
}

struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sender
            .blocking_send(Ok(piece.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.piece.len().min(PIECE);
        let taken = bytes.len().min(room.max(1));
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() >= PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

fn write(folder: &Path, sender: mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let pieces = Pieces {
        sender,
        piece: Vec::with_capacity(PIECE),
    };
    let mut archive = tar::Builder::new(pieces);
    archive.mode(tar::HeaderMode::Deterministic);
    archive.follow_symlinks(false);
    append(&mut archive, folder, Path::new(""))?;
    archive.into_inner()?.flush()
}

fn append(archive: &mut tar::Builder<Pieces>, folder: &Path, within: &Path) -> io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder.join(within))?.collect::<io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        let (path, name) = (entry.path(), within.join(entry.file_name()));
        if kind.is_dir() {
            archive.append_dir(&name, &path)?;
            append(archive, folder, &name)?;
        } else if kind.is_symlink() {
            archive.append_path_with_name(&path, &name)?;
        } else if kind.is_file() {
            archive.append_file(&name, &mut File::open(&path)?)?;
        }
        // Sockets, pipes and devices are no source.
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use std::time::Duration;

    async fn archived(folder: &Path) -> Vec<u8> {
        let owner = Supervisor::new("test");
        let pieces: Vec<_> = stream(&owner, folder.to_owned()).collect().await;
        owner.shutdown(Duration::from_secs(1)).await;
        pieces
            .into_iter()
            .flat_map(|piece| piece.unwrap())
            .collect()
    }

    #[tokio::test]
    async fn the_same_source_is_the_same_stream() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let big = vec![7_u8; PIECE * 3 + 5];
        std::fs::write(folder.path().join("sub/big"), &big).unwrap();
        std::os::unix::fs::symlink("sub/big", folder.path().join("link")).unwrap();
        let first = archived(folder.path()).await;
        let mut found = Vec::new();
        for entry in tar::Archive::new(first.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            found.push((entry.path().unwrap().into_owned(), entry.size()));
        }
        let size = u64::try_from(big.len()).unwrap();
        let want = [("link", 0), ("sub", 0), ("sub/big", size)];
        assert_eq!(found, want.map(|(name, size)| (PathBuf::from(name), size)));
        let file = File::options()
            .write(true)
            .open(folder.path().join("sub/big"))
            .unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(first, archived(folder.path()).await);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_read_is_an_error() {
        let owner = Supervisor::new("test");
        let pieces: Vec<_> = stream(&owner, PathBuf::from("/no/such/folder"))
            .collect()
            .await;
        assert!(pieces.last().unwrap().is_err());
    }
}
