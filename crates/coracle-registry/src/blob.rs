//! Blobs of a repository: lookup, reading, finishing an upload, mounting.
//!
//! Theory of operation: see the crate's documentation. Every read goes through the repository's record of the blob.

use chrono::{TimeDelta, Utc};
use object_store::{GetOptions, GetRange, ObjectStoreExt as _};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::layout;
use crate::placement::blocking;
use crate::reading::BlobStream;
use crate::record::{self, BlobLink};
use crate::registry::Registry;
use crate::repository::RepositoryName;
use crate::upload::OpenUpload;

/// What was asked for again within this time is not touched again.
const FRESH: TimeDelta = TimeDelta::minutes(5);

impl Registry {
    /// The size of a blob of this repository in bytes.
    ///
    /// # Errors
    /// [`RegistryError::BlobUnknown`] when the repository does not have it.
    pub async fn blob_size(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<u64, RegistryError> {
        let unknown = || RegistryError::BlobUnknown(digest.clone());
        let link = self
            .blob_link(repository, digest)
            .await?
            .ok_or_else(unknown)?;
        // Content that a disk's fault took or tore is unknown again, so that a client that asks before it pushes mends it.
        match self.inner.store.head(&layout::blob(digest)).await {
            Ok(meta) if meta.size == link.size => Ok(link.size),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                tracing::error!(%repository, %digest, "the content of a recorded blob is damaged or gone");
                Err(unknown())
            }
            Err(source) => Err(RegistryError::store("look at a blob", source)),
        }
    }

    /// Somebody asked whether the repository has this blob, and will not push it: it stays for as long as a push may take.
    pub(crate) async fn freshen(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let _pin = self.pin(digest).await;
        let key = layout::blob_link(repository, digest);
        let meta = match self.inner.store.head(&key).await {
            Ok(meta) => meta,
            Err(object_store::Error::NotFound { .. }) => return Ok(()),
            Err(source) => return Err(RegistryError::store("look at a record", source)),
        };
        if Utc::now() - meta.last_modified < FRESH {
            return Ok(());
        }
        if self.inner.placement.can_touch() {
            return self.inner.placement.touch_each(vec![key]).await;
        }
        match self.blob_link(repository, digest).await? {
            Some(link) => self.link_blob(repository, digest, link.size).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn blob_link(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobLink>, RegistryError> {
        record::read(&*self.inner.store, &layout::blob_link(repository, digest)).await
    }

    /// The content of a blob of this repository, or a range of it.
    ///
    /// # Errors
    /// [`RegistryError::BlobUnknown`], or [`RegistryError::RangeNotSatisfiable`].
    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<GetRange>,
    ) -> Result<BlobStream, RegistryError> {
        let size = self.blob_size(repository, digest).await?;
        let satisfiable = match &range {
            None => true,
            Some(GetRange::Bounded(bytes)) => bytes.start < size && !bytes.is_empty(),
            Some(GetRange::Offset(start)) => *start < size,
            Some(GetRange::Suffix(last)) => *last > 0 && size > 0,
        };
        if !satisfiable {
            return Err(RegistryError::RangeNotSatisfiable { size });
        }
        if size == 0 {
            return Ok(BlobStream::empty());
        }
        let options = GetOptions {
            range,
            ..GetOptions::default()
        };
        match self
            .inner
            .store
            .get_opts(&layout::blob(digest), options)
            .await
        {
            Ok(got) => Ok(BlobStream::new(got)),
            Err(object_store::Error::NotFound { .. }) => {
                Err(RegistryError::BlobUnknown(digest.clone()))
            }
            Err(source) => Err(RegistryError::store("read a blob", source)),
        }
    }

    /// A blob that must be small, such as an image's configuration, as a whole.
    pub(crate) async fn small_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bytes::Bytes, RegistryError> {
        let size = self.blob_size(repository, digest).await?;
        if size > self.inner.limits.manifest_bytes as u64 {
            return Err(RegistryError::BlobTooLarge {
                most: self.inner.limits.manifest_bytes as u64,
            });
        }
        let got = self.inner.store.get(&layout::blob(digest)).await;
        let got = got.map_err(|source| RegistryError::store("read a blob", source))?;
        got.bytes()
            .await
            .map_err(|source| RegistryError::store("read a blob", source))
    }

    /// Checks, makes durable and publishes a finished upload as a blob of `repository`. The upload ends here, well or not.
    pub(crate) async fn finish(
        &self,
        repository: &RepositoryName,
        upload: OpenUpload,
        expected: &Digest,
    ) -> Result<(), RegistryError> {
        let algorithm = expected.algorithm();
        let (upload, sealed) = blocking({
            let mut upload = upload;
            move || {
                let sealed = upload.seal(algorithm);
                (upload, sealed)
            }
        })
        .await?;
        let _pin = self.pin(expected).await;
        let done = async {
            let actual = sealed.map_err(|source| RegistryError::io("sync an upload", source))?;
            if actual != *expected {
                return Err(RegistryError::DigestMismatch {
                    expected: expected.clone(),
                    actual,
                });
            }
            let (size, key) = (upload.offset(), layout::blob(expected));
            self.inner
                .placement
                .place(&self.inner.store, upload.path(), size, &key)
                .await?;
            self.link_blob(repository, expected, size).await
        }
        .await;
        let removed = blocking(move || upload.remove()).await?;
        done?;
        removed.map_err(|source| RegistryError::io("remove a finished upload", source))
    }

    async fn link_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), RegistryError> {
        record::write(
            &*self.inner.store,
            &layout::blob_link(repository, digest),
            &BlobLink { size },
        )
        .await
    }

    /// Gives `to` a blob that `from` has, without data. Returns whether `from` has it. The caller has checked that it may be read there.
    pub(crate) async fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
    ) -> Result<Mounted, RegistryError> {
        let _pin = self.pin(digest).await;
        let Some(link) = self.blob_link(from, digest).await? else {
            return Ok(Mounted::NotThere);
        };
        self.inner.placement.touch(&layout::blob(digest)).await?;
        self.link_blob(to, digest, link.size).await?;
        Ok(Mounted::Done)
    }

    /// Makes small content a blob of `repository`: for the platform's own parts, which need no upload for it.
    ///
    /// # Errors
    /// When the content is larger than [`crate::Limits::manifest_bytes`], or the store fails.
    pub async fn put_blob(
        &self,
        repository: &RepositoryName,
        content: bytes::Bytes,
    ) -> Result<Digest, RegistryError> {
        let most = self.inner.limits.manifest_bytes;
        if content.len() > most {
            return Err(RegistryError::BlobTooLarge { most: most as u64 });
        }
        let (digest, size) = (Digest::of(&content), content.len() as u64);
        let _pin = self.pin(&digest).await;
        self.put_content(&digest, content).await?;
        self.link_blob(repository, &digest, size).await?;
        Ok(digest)
    }

    /// Writes content under its digest; known content becomes young.
    pub(crate) async fn put_content(
        &self,
        digest: &Digest,
        content: bytes::Bytes,
    ) -> Result<(), RegistryError> {
        self.inner
            .store
            .put(&layout::blob(digest), content.into())
            .await
            .map(|_| ())
            .map_err(|source| RegistryError::store("write content", source))
    }
}

/// Whether a mount could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mounted {
    Done,
    NotThere,
}
