//! Blob content as a stream with bounded buffers.
//!
//! Theory of operation: a local file is read in chunks big enough that the hand-over to a blocking thread does not
//! count; other stores bring their own chunks, as they come from the network.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::{GetResult, GetResultPayload};

/// Bytes read at once. The HTTP layer can hold one chunk while the next is read.
const CHUNK_BYTES: usize = 128 << 10;

/// The content of a blob, or a range of it.
pub struct BlobStream {
    /// Bytes of the whole blob.
    pub size: u64,
    /// Which of them follow.
    pub range: Range<u64>,
    /// The bytes, in chunks of at most 128 KiB when the store is local.
    pub stream: BoxStream<'static, io::Result<Bytes>>,
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobStream")
            .field("size", &self.size)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl BlobStream {
    pub(crate) fn new(got: GetResult) -> Self {
        let (size, range) = (got.meta.size, got.range.clone());
        let stream = match got.payload {
            GetResultPayload::File(file, _path) => of_file(file, range.clone()),
            GetResultPayload::Stream(stream) => stream.map_err(io::Error::other).boxed(),
        };
        Self {
            size,
            range,
            stream,
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            size: 0,
            range: 0..0,
            stream: futures::stream::empty().boxed(),
        }
    }
}

fn of_file(file: File, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
    futures::stream::try_unfold((file, range), |(mut file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let work = move || {
            let want = (range.end - range.start).min(CHUNK_BYTES as u64);
            let mut chunk = Vec::with_capacity(usize::try_from(want).unwrap_or(CHUNK_BYTES));
            file.seek(SeekFrom::Start(range.start))?;
            (&mut file).take(want).read_to_end(&mut chunk)?;
            if chunk.is_empty() {
                // Ending the stream here would look like success to a client that got no length.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let next = range.start + chunk.len() as u64..range.end;
            Ok(Some((Bytes::from(chunk), (file, next))))
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(io::Error::other)?
    })
    .boxed()
}
