//! Copies of images from one repository to another, without their data.
//!
//! Theory of operation: the same order as a push (blobs, manifests, the index), each step by the operation that a push has. What
//! was copied before a failure is garbage until somebody tries again.

use crate::blob::Mounted;
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::manifest::{Body, Manifest};
use crate::registry::Registry;
use crate::repository::{Reference, RepositoryName};

/// Indexes in indexes that are followed.
const DEPTH: usize = 4;

impl Registry {
    /// Gives `to` the image `digest` of `from`, with everything that it needs and without a tag. The caller has checked that it may be
    /// read there.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`] or [`RegistryError::BlobUnknown`] when `from` does not have it whole.
    pub async fn copy_image(
        &self,
        from: &RepositoryName,
        digest: &Digest,
        to: &RepositoryName,
    ) -> Result<(), RegistryError> {
        self.copy(from, digest, to, DEPTH).await
    }

    async fn copy(
        &self,
        from: &RepositoryName,
        digest: &Digest,
        to: &RepositoryName,
        depth: usize,
    ) -> Result<(), RegistryError> {
        let reference = Reference::Digest(digest.clone());
        // The source stays while it is copied, also when nothing else needs it.
        self.keep(from, &reference).await?;
        let stored = self.manifest(from, &reference).await?;
        if from == to {
            return Ok(());
        }
        let manifest = Manifest::parse(&stored.bytes, Some(stored.media_type), usize::MAX)?;
        match &manifest.body {
            Body::Image { .. } => {
                for blob in manifest.blobs() {
                    match self.mount(from, to, &blob.digest).await? {
                        Mounted::Done => {}
                        Mounted::NotThere => {
                            return Err(RegistryError::BlobUnknown(blob.digest.clone()));
                        }
                    }
                }
            }
            Body::Index { .. } => {
                let deeper = depth.checked_sub(1).ok_or(RegistryError::Unsupported(
                    "indexes in indexes are copied to a depth of four",
                ))?;
                for child in manifest.children() {
                    Box::pin(self.copy(from, &child.digest, to, deeper)).await?;
                }
            }
        }
        self.put_manifest(to, &reference, Some(stored.media_type), stored.bytes)
            .await?;
        Ok(())
    }
}
