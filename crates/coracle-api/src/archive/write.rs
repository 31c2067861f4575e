//! An export as it is written: a tar in zstd, made while it is sent.
//!
//! Theory of operation: what is written goes through the compressor into a bounded channel, so that a slow receiver
//! holds everything back and the memory of an export is a few chunks. Each file is hashed on its way; the index at the
//! end lists all, so that an archive that ends early is known for it, and the seal vouches for the index.

use std::io::{self, Write as _};

use bytes::Bytes;
use coracle_control::archive::bounds::RecordBudget;
use coracle_control::archive::seal::Seal;
use coracle_control::archive::{INDEX_BYTES, INDEX_FILE, Index, IndexedFile, SIGNATURE_FILE};
use futures::{Stream, StreamExt as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

/// Chunks between the writer and whoever receives.
pub(crate) const CHUNKS: usize = 8;

/// Compressed bytes are sent once there are so many.
const CHUNK_BYTES: usize = 64 * 1024;

/// Images are compressed already; this is for the rest.
const LEVEL: i32 = 3;

/// Tar is made of blocks of so many bytes.
const BLOCK: u64 = 512;

/// Zeros to fill a block, or to end an archive with.
static ZEROS: [u8; 1024] = [0; 1024];

/// Writes an archive into a channel.
pub(crate) struct ArchiveWriter {
    out: mpsc::Sender<io::Result<Bytes>>,
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    index: Index,
    budget: RecordBudget,
}

impl ArchiveWriter {
    pub(crate) fn new(out: mpsc::Sender<io::Result<Bytes>>) -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self {
            out,
            encoder,
            index: Index::default(),
            budget: RecordBudget::default(),
        })
    }

    /// A record as JSON.
    pub(crate) async fn record<T: Serialize + Sync>(
        &mut self,
        path: &str,
        record: &T,
    ) -> io::Result<()> {
        let json = serde_json::to_vec(record).map_err(io::Error::other)?;
        // What no import takes is not exported.
        self.budget
            .take_bytes(json.len() as u64)
            .and_then(|()| self.budget.take_values(path, &json))
            .map_err(|error| io::Error::other(format!("{path}: {error}")))?;
        self.bytes(path, json).await
    }

    async fn bytes(&mut self, path: &str, content: Vec<u8>) -> io::Result<()> {
        let size = content.len() as u64;
        let content = futures::stream::iter([Ok(Bytes::from(content))]);
        self.file(path, size, content).await
    }

    /// A file of exactly so many bytes.
    pub(crate) async fn file<S>(&mut self, path: &str, size: u64, mut content: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<Bytes>> + Unpin,
    {
        let mut header = tar::Header::new_ustar();
        header.set_path(path)?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        self.write(header.as_bytes()).await?;
        let mut hash = Sha256::new();
        let mut done = 0;
        while let Some(chunk) = content.next().await {
            let chunk = chunk?;
            done += chunk.len() as u64;
            hash.update(&chunk);
            self.write(&chunk).await?;
        }
        if done != size {
            return Err(io::Error::other(format!(
                "{path} has {done} bytes and not {size}"
            )));
        }
        let rest = usize::try_from((BLOCK - size % BLOCK) % BLOCK).unwrap_or_default();
        self.write(&ZEROS[..rest]).await?;
        self.index.files.push(IndexedFile {
            path: path.to_owned(),
            size,
            sha256: hex::encode(hash.finalize()),
        });
        Ok(())
    }

    /// Writes what makes the archive whole, and what vouches for it.
    pub(crate) async fn finish(mut self, seal: Option<&Seal>) -> io::Result<()> {
        let index = serde_json::to_vec(&self.index).map_err(io::Error::other)?;
        if index.len() as u64 > INDEX_BYTES {
            let files = self.index.files.len();
            return Err(io::Error::other(format!(
                "{files} files are more than an import takes"
            )));
        }
        let signature = seal.map(|seal| seal.sign(&index));
        self.bytes(INDEX_FILE, index).await?;
        if let Some(signature) = signature {
            self.bytes(SIGNATURE_FILE, signature.into_bytes()).await?;
        }
        self.write(&ZEROS).await?;
        let rest = self.encoder.finish()?;
        send(&self.out, rest).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.encoder.write_all(bytes)?;
        if self.encoder.get_ref().len() < CHUNK_BYTES {
            return Ok(());
        }
        let chunk = std::mem::take(self.encoder.get_mut());
        send(&self.out, chunk).await
    }
}

async fn send(out: &mpsc::Sender<io::Result<Bytes>>, chunk: Vec<u8>) -> io::Result<()> {
    out.send(Ok(chunk.into()))
        .await
        .map_err(|_left| io::ErrorKind::BrokenPipe.into())
}
