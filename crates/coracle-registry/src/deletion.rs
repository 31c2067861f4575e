//! Deleting what somebody looked at before.
//!
//! Theory of operation: whether an image may go is asked of the platform's records, which takes a while, and a release that
//! is written meanwhile would lose its image. Whoever writes one makes the image young first ([`Registry::keep`]), and so does
//! whoever pushes it again. So a deletion says how the image was before the question, and is refused when it is not so any more.

use chrono::{DateTime, Utc};
use object_store::ObjectStoreExt as _;

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::layout;
use crate::registry::Registry;
use crate::repository::{Reference, RepositoryName};

/// How an image was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What the reference meant.
    pub digest: Digest,
    /// When it was pushed, or kept, last.
    modified: DateTime<Utc>,
}

impl Registry {
    /// Looks at an image that is perhaps to be deleted: before it is asked who needs it.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`].
    pub async fn look(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Seen, RegistryError> {
        let digest = self.resolve(repository, reference).await?;
        let key = layout::manifest_link(repository, &digest);
        match self.inner.store.head(&key).await {
            Ok(meta) => Ok(Seen {
                digest,
                modified: meta.last_modified,
            }),
            Err(object_store::Error::NotFound { .. }) => {
                Err(RegistryError::ManifestUnknown(reference.to_string()))
            }
            Err(source) => Err(RegistryError::store("look at a manifest", source)),
        }
    }

    /// Deletes a tag, or a manifest with its tags, as it was `seen`.
    ///
    /// # Errors
    /// [`RegistryError::InUse`] when it was pushed or kept since, or the tag means another image now;
    /// [`RegistryError::ManifestUnknown`].
    pub async fn delete_seen(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        seen: &Seen,
    ) -> Result<(), RegistryError> {
        let _exclusive = self.inner.publishing.write().await;
        if self.look(repository, reference).await? != *seen {
            let why = "the image was pushed or released this moment; look again who needs it";
            return Err(RegistryError::InUse(why.to_owned()));
        }
        match reference {
            Reference::Tag(tag) => self.delete_tag(repository, tag).await,
            Reference::Digest(digest) => self.remove_manifest(repository, digest).await,
        }
    }
}
