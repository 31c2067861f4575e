//! Uploads: compressed source on its way to a build.
//!
//! Theory of operation: a body is streamed into a file beside its final name, counted while it comes, made
//! durable, and only then given its name; a build names it. A file that no build names after a while is
//! swept.

use std::path::PathBuf;

use bytes::Bytes;
use coracle_model::build::Source;
use futures::{Stream, StreamExt as _};
use tokio::io::AsyncWriteExt as _;

use crate::control::Control;
use crate::disk::DiskReserve;
use crate::error::OperationError;
use crate::objects::new_uid;

/// Removes a file that did not come to its end.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "an unfinished upload could not be removed; the sweep will");
        }
    }
}

impl Control {
    /// Where an upload is.
    #[must_use]
    pub fn upload_path(&self, id: &str) -> PathBuf {
        self.settings.uploads_dir().join(id)
    }

    /// Takes a body in.
    ///
    /// # Errors
    /// [`OperationError::TooLarge`], [`OperationError::InvalidSource`] when it is empty or breaks off,
    /// [`OperationError::NoRoom`], [`OperationError::Io`]. Nothing is left behind then.
    pub async fn receive_upload<S, E>(&self, mut body: S) -> Result<Source, OperationError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: std::fmt::Display,
    {
        let io = |source| OperationError::Io {
            what: "the upload could not be stored",
            source,
        };
        let dir = self.settings.uploads_dir();
        tokio::fs::create_dir_all(&dir).await.map_err(io)?;
        let id = new_uid();
        let partial = dir.join(format!("{id}.part"));
        let mut unfinished = Unfinished(Some(partial.clone()));
        let mut file = tokio::fs::File::create(&partial).await.map_err(io)?;
        let most = self.settings.limits.upload_bytes;
        let mut disk = DiskReserve::new(&dir, "the upload");
        let mut bytes: u64 = 0;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| OperationError::InvalidSource {
                reason: format!("the upload broke off after {bytes} bytes: {error}"),
            })?;
            bytes += chunk.len() as u64;
            if bytes > most {
                let limit = coracle_model::quantity::ByteSize(most).to_string();
                return Err(OperationError::TooLarge {
                    what: "the upload",
                    limit,
                });
            }
            disk.take(chunk.len() as u64).await?;
            file.write_all(&chunk).await.map_err(io)?;
        }
        if bytes == 0 {
            return Err(OperationError::InvalidSource {
                reason: "the upload is empty".to_owned(),
            });
        }
        file.flush().await.map_err(io)?;
        file.sync_all().await.map_err(io)?;
        tokio::fs::rename(&partial, dir.join(&id))
            .await
            .map_err(io)?;
        unfinished.0 = None;
        Ok(Source::Upload { id, bytes })
    }
}
