//! From a request's body into an upload's file.
//!
//! Theory of operation: frames are gathered into a batch of some 128 KiB; while one batch is hashed and written on a blocking
//! thread the next one is received. So a transfer holds at most two batches and one frame, whatever its size, and network and
//! disk work at the same time. Before each batch the disk is asked whether it has room beside what is kept free.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::BodyDataStream;
use bytes::Bytes;
use coracle_model::disk::kept_free;
use futures::StreamExt as _;
use tokio::task::JoinHandle;

use crate::error::RegistryError;
use crate::placement::blocking;
use crate::upload::OpenUpload;

/// Bytes gathered before they are written. Two batches can be in memory: one being received and one being written.
const BATCH_BYTES: usize = 128 << 10;

/// Bounds of one transfer.
pub(crate) struct Bounds {
    /// Most bytes that the upload may have afterwards.
    pub(crate) blob_bytes: u64,
    /// Longest pause between two frames.
    pub(crate) idle: Duration,
    /// Exactly so many bytes were announced.
    pub(crate) announced: Option<u64>,
}

/// What came of a transfer.
pub(crate) enum Received {
    /// All of it.
    Whole(OpenUpload),
    /// A part, and why. The upload is kept at what is stated, if there is one.
    Broken(Option<OpenUpload>, RegistryError),
}

#[expect(
    clippy::large_enum_variant,
    reason = "one per transfer, inside its future; a box would be one more allocation per batch"
)]
enum Writer {
    Free(OpenUpload),
    Writing(JoinHandle<(OpenUpload, std::io::Result<()>)>),
}

impl Writer {
    async fn free(self) -> Result<OpenUpload, (Option<OpenUpload>, RegistryError)> {
        match self {
            Self::Free(upload) => Ok(upload),
            Self::Writing(work) => match work.await {
                Ok((upload, Ok(()))) => Ok(upload),
                Ok((upload, Err(source))) => {
                    Err((Some(upload), RegistryError::io("write an upload", source)))
                }
                Err(e) => Err((
                    None,
                    RegistryError::io("write an upload", std::io::Error::other(e)),
                )),
            },
        }
    }

    fn write(mut upload: OpenUpload, batch: Vec<Bytes>) -> Self {
        if batch.is_empty() {
            return Self::Free(upload);
        }
        Self::Writing(tokio::task::spawn_blocking(move || {
            let done = check_room(upload.path(), &batch).and_then(|()| upload.append(&batch));
            (upload, done)
        }))
    }
}

/// Fails when the platform itself would have less room on the disk of `file` than it needs.
fn check_room(file: &Path, batch: &[Bytes]) -> io::Result<()> {
    let disk = rustix::fs::statvfs(file)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let kept = kept_free(disk.f_blocks.saturating_mul(disk.f_frsize));
    let bytes: usize = batch.iter().map(Bytes::len).sum();
    match free.checked_sub(kept) {
        Some(room) if room >= bytes as u64 => Ok(()),
        _ => Err(io::ErrorKind::StorageFull.into()),
    }
}

/// Appends `body` to `upload`.
///
/// A body that breaks off leaves what came, so that the client can go on there; but one that was announced with a range
/// and is not of that length leaves nothing, because then it is not known which bytes were meant.
pub(crate) async fn receive(upload: OpenUpload, body: BodyDataStream, bounds: &Bounds) -> Received {
    let start = upload.offset();
    let (kept, fault) = match pump(upload, body, bounds).await {
        Ok(upload) => {
            if bounds
                .announced
                .is_none_or(|n| n == upload.offset() - start)
            {
                return Received::Whole(upload);
            }
            (
                Some(upload),
                RegistryError::UploadInvalid("the chunk is shorter than its Content-Range says"),
            )
        }
        Err(broken) => broken,
    };
    let misfit = matches!(fault, RegistryError::UploadInvalid(_));
    let mut upload = match kept {
        Some(upload) if misfit => upload,
        kept => return Received::Broken(kept, fault),
    };
    match blocking(move || {
        let done = upload.truncate(start);
        (upload, done)
    })
    .await
    {
        Ok((upload, Ok(()))) => Received::Broken(Some(upload), fault),
        Ok((upload, Err(source))) => Received::Broken(
            Some(upload),
            RegistryError::io("truncate an upload", source),
        ),
        Err(error) => Received::Broken(None, error),
    }
}

async fn pump(
    upload: OpenUpload,
    mut body: BodyDataStream,
    bounds: &Bounds,
) -> Result<OpenUpload, (Option<OpenUpload>, RegistryError)> {
    let mut total = upload.offset();
    let end = bounds.announced.map(|n| total.saturating_add(n));
    let mut writer = Writer::Free(upload);
    let mut batch: Vec<Bytes> = Vec::new();
    let mut held = 0;
    let fault = loop {
        let frame = match tokio::time::timeout(bounds.idle, body.next()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break None,
            Ok(Some(Err(_broken))) => {
                break Some(RegistryError::Interrupted("the connection broke"));
            }
            Err(_elapsed) => break Some(RegistryError::Interrupted("nothing came for too long")),
        };
        if frame.is_empty() {
            continue;
        }
        total += frame.len() as u64;
        if end.is_some_and(|end| total > end) {
            break Some(RegistryError::UploadInvalid(
                "the chunk is longer than its Content-Range says",
            ));
        }
        if total > bounds.blob_bytes {
            break Some(RegistryError::BlobTooLarge {
                most: bounds.blob_bytes,
            });
        }
        held += frame.len();
        batch.push(frame);
        if held >= BATCH_BYTES {
            let upload = writer.free().await?;
            writer = Writer::write(upload, std::mem::take(&mut batch));
            held = 0;
        }
    };
    let upload = writer.free().await?;
    let upload = Writer::write(upload, batch).free().await?;
    match fault {
        None => Ok(upload),
        Some(fault) => Err((Some(upload), fault)),
    }
}
