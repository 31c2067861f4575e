//! Manifests of a repository: accepting, reading, listing, deleting.
//!
//! Theory of operation: a manifest is taken only when everything that it needs is in the repository, so that whoever can
//! see a tag can pull it whole. The check and the write of the manifest's record are done under the shared side of
//! `Inner::publishing`; see the crate's documentation for why.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::TryStreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use serde::Serialize;

use crate::changes::What;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::RegistryError;
use crate::layout;
use crate::manifest::{Body, Descriptor, Manifest, MediaType};
use crate::reading::BlobStream;
use crate::record::{self, BlobLink, ManifestLink, Removed, TagRecord};
use crate::registry::Registry;
use crate::repository::{Reference, RepositoryName, Tag};

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
pub struct StoredManifest {
    /// Its name.
    pub digest: Digest,
    /// Its kind.
    pub media_type: MediaType,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A manifest in a listing.
#[derive(Clone, Debug, Serialize)]
pub struct ManifestEntry {
    /// Its name.
    pub digest: Digest,
    /// Its kind.
    pub media_type: MediaType,
    /// Tags that mean it, in order.
    pub tags: Vec<Tag>,
    /// When it was last pushed.
    pub pushed: DateTime<Utc>,
}

impl Registry {
    /// The digest that `reference` means now.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`].
    pub async fn resolve(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Digest, RegistryError> {
        self.manifest_record(repository, reference)
            .await
            .map(|(digest, _)| digest)
    }

    pub(crate) async fn manifest_record(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<(Digest, ManifestLink), RegistryError> {
        let unknown = || RegistryError::ManifestUnknown(reference.to_string());
        let store = &*self.inner.store;
        let digest = match reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(tag) => {
                record::read::<TagRecord>(store, &layout::tag(repository, tag))
                    .await?
                    .ok_or_else(unknown)?
                    .digest
            }
        };
        let link = record::read(store, &layout::manifest_link(repository, &digest))
            .await?
            .ok_or_else(unknown)?;
        Ok((digest, link))
    }

    /// A manifest's bytes as a stream, by its digest; the caller has looked up the record.
    pub(crate) async fn manifest_stream(
        &self,
        digest: &Digest,
    ) -> Result<BlobStream, RegistryError> {
        let got = self.inner.store.get(&layout::blob(digest)).await;
        got.map(BlobStream::new)
            .map_err(|source| RegistryError::store("read a manifest", source))
    }

    /// A manifest's bytes.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`].
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest, RegistryError> {
        let (digest, link) = self.manifest_record(repository, reference).await?;
        let bytes = self.manifest_bytes(&digest).await?;
        Ok(StoredManifest {
            digest,
            media_type: link.media_type,
            bytes,
        })
    }

    pub(crate) async fn manifest_bytes(&self, digest: &Digest) -> Result<Bytes, RegistryError> {
        let failed = |source| RegistryError::store("read a manifest", source);
        let got = self
            .inner
            .store
            .get(&layout::blob(digest))
            .await
            .map_err(failed)?;
        got.bytes().await.map_err(failed)
    }

    /// Takes a manifest, and lets `reference` mean it when that is a tag. When it is a digest it must be the content's.
    ///
    /// # Errors
    /// The manifest is invalid or too large, or names content that the repository does not have.
    pub async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: Option<MediaType>,
        bytes: Bytes,
    ) -> Result<PutManifest, RegistryError> {
        let limits = &self.inner.limits;
        if bytes.len() > limits.manifest_bytes {
            return Err(RegistryError::ManifestTooLarge {
                most: limits.manifest_bytes,
            });
        }
        let algorithm = match reference {
            Reference::Digest(digest) => digest.algorithm(),
            Reference::Tag(_) => Algorithm::Sha256,
        };
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&bytes);
        let digest = hasher.finish();
        if let Reference::Digest(expected) = reference
            && *expected != digest
        {
            return Err(RegistryError::DigestMismatch {
                expected: expected.clone(),
                actual: digest,
            });
        }
        let manifest = Manifest::parse(&bytes, media_type, limits.manifest_references)?;
        let size = bytes.len() as u64;

        let subject = manifest.subject.as_ref().map(|s| s.digest.clone());
        let referrer = manifest.referrer(digest.clone(), size);
        if subject.is_some() {
            record::check_size(&referrer)?;
        }

        // No deletion by a collector from before the check until the record is there that makes it hold.
        let _publishing = self.inner.publishing.read().await;
        let named = manifest.named().map(|part| part.digest.clone());
        let _pin = self
            .inner
            .pins
            .hold(named.chain([digest.clone()]).collect());
        self.touch_parts(repository, &manifest).await?;
        self.check_parts(repository, &manifest).await?;
        self.put_content(&digest, bytes).await?;
        let link = ManifestLink {
            media_type: manifest.media_type,
            size,
            subject: subject.clone(),
        };
        let store = &*self.inner.store;
        record::write(store, &layout::manifest_link(repository, &digest), &link).await?;
        if let Some(subject) = &subject {
            let key = layout::referrer(repository, subject, &digest);
            record::write(store, &key, &referrer).await?;
        }
        if let Reference::Tag(tag) = reference {
            record::write(
                store,
                &layout::tag(repository, tag),
                &TagRecord {
                    digest: digest.clone(),
                },
            )
            .await?;
        }
        if let Reference::Tag(tag) = reference {
            self.tell(repository, What::Tagged(tag.clone()));
        }
        Ok(PutManifest { digest, subject })
    }

    /// Makes the records of a manifest's parts young, for a collection on another server of the same store.
    async fn touch_parts(
        &self,
        repository: &RepositoryName,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        let key = |part: &Descriptor| match manifest.body {
            Body::Image { .. } => layout::blob_link(repository, &part.digest),
            Body::Index { .. } => layout::manifest_link(repository, &part.digest),
        };
        let keys = manifest.named().map(key).collect();
        self.inner.placement.touch_each(keys).await
    }

    /// Makes a manifest young, so that it stays a while although nothing may need it yet. Answers what `reference` means.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`].
    pub async fn keep(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Digest, RegistryError> {
        // No deletion between the look and the touch.
        let _publishing = self.inner.publishing.read().await;
        let digest = self.resolve(repository, reference).await?;
        let _pin = self.inner.pins.hold(vec![digest.clone()]);
        let by_digest = Reference::Digest(digest.clone());
        let (_, link) = self.manifest_record(repository, &by_digest).await?;
        let key = layout::manifest_link(repository, &digest);
        if self.inner.placement.can_touch() {
            self.inner.placement.touch(&key).await?;
        } else {
            record::write(&*self.inner.store, &key, &link).await?;
        }
        Ok(digest)
    }

    /// Everything that the manifest needs is in the repository, with the size that it says.
    async fn check_parts(
        &self,
        repository: &RepositoryName,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        let blobs = manifest.blobs();
        let blobs = blobs
            .into_iter()
            .map(|d| (d, layout::blob_link(repository, &d.digest)));
        let children = manifest.children();
        let children = children
            .into_iter()
            .map(|d| (d, layout::manifest_link(repository, &d.digest)));
        let parts: Vec<(&Descriptor, _)> = blobs.chain(children).collect();
        let (descriptors, keys): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        // Both kinds of record have a size; nothing else of them is needed here.
        let links = record::read_each::<BlobLink>(&self.inner.store, keys).await?;
        let mut missing = Vec::new();
        for (descriptor, link) in descriptors.into_iter().zip(links) {
            match link {
                None => missing.push(descriptor.digest.clone()),
                Some(link) if link.size != descriptor.size => {
                    return Err(RegistryError::ManifestInvalid(format!(
                        "{} has {} bytes, the manifest says {}",
                        descriptor.digest, link.size, descriptor.size
                    )));
                }
                Some(_) => {}
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(RegistryError::ManifestBlobUnknown(missing))
        }
    }

    /// Removes a manifest from the repository, and the tags that mean it. Content that nothing else needs is left to garbage collection.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`].
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        // Nothing is published meanwhile: a tag that is put now would be left without its manifest.
        let _exclusive = self.inner.publishing.write().await;
        self.remove_manifest(repository, digest).await
    }

    /// The caller holds the exclusive side of `Inner::publishing`.
    pub(crate) async fn remove_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let (_, link) = self
            .manifest_record(repository, &digest.clone().into())
            .await?;
        let store = &*self.inner.store;
        // Tags first: a tag without its manifest would be visible, a manifest without its tag is only untidy.
        for (tag, means) in self.tag_records(repository).await? {
            if means == *digest {
                record::remove(store, &layout::tag(repository, &tag)).await?;
            }
        }
        if let Some(subject) = &link.subject {
            record::remove(store, &layout::referrer(repository, subject, digest)).await?;
        }
        match record::remove(store, &layout::manifest_link(repository, digest)).await? {
            Removed::Yes => Ok(()),
            Removed::WasNotThere => Err(RegistryError::ManifestUnknown(digest.to_string())),
        }
    }

    /// A manifest's bytes, if they are as they were taken.
    pub(crate) async fn manifest_content(
        &self,
        digest: &Digest,
        link: &ManifestLink,
    ) -> Result<Bytes, RegistryError> {
        let unknown = || RegistryError::ManifestUnknown(digest.to_string());
        let failed = |source| RegistryError::store("read a manifest", source);
        match self.inner.store.get(&layout::blob(digest)).await {
            Ok(got) if got.meta.size == link.size => got.bytes().await.map_err(failed),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Err(unknown()),
            Err(source) => Err(failed(source)),
        }
    }

    /// The indexes of the repository that name this manifest.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn indexes_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Vec<Digest>, RegistryError> {
        let mut indexes = Vec::new();
        for entry in self.manifests(repository).await? {
            if !entry.media_type.is_index() {
                continue;
            }
            let children = self.children(repository, &entry.digest).await?;
            if children.contains(digest) {
                indexes.push(entry.digest);
            }
        }
        Ok(indexes)
    }

    /// The manifests that an index names; none where it cannot be read.
    pub(crate) async fn children(
        &self,
        repository: &RepositoryName,
        index: &Digest,
    ) -> Result<Vec<Digest>, RegistryError> {
        let stored = match self.manifest(repository, &index.clone().into()).await {
            Ok(stored) => stored,
            Err(RegistryError::ManifestUnknown(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let parsed = Manifest::parse(&stored.bytes, Some(stored.media_type), usize::MAX);
        Ok(parsed.map_or_else(
            |_unreadable| Vec::new(),
            |index| index.named().map(|child| child.digest.clone()).collect(),
        ))
    }

    /// All manifests of a repository, latest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn manifests(
        &self,
        repository: &RepositoryName,
    ) -> Result<Vec<ManifestEntry>, RegistryError> {
        let mut tags = std::collections::HashMap::<Digest, Vec<Tag>>::new();
        for (tag, digest) in self.tag_records(repository).await? {
            tags.entry(digest).or_default().push(tag);
        }
        let prefix = layout::manifests(repository);
        let listed: Vec<_> = self
            .inner
            .store
            .list(Some(&prefix))
            .try_collect()
            .await
            .map_err(|source| RegistryError::store("list manifests", source))?;
        let keys = listed.iter().map(|meta| meta.location.clone()).collect();
        let links = record::read_each::<ManifestLink>(&self.inner.store, keys).await?;
        let mut entries = Vec::new();
        for (meta, link) in listed.into_iter().zip(links) {
            // Without a record: deleted since the listing began.
            let (Some(digest), Some(link)) = (layout::digest_of_link(&meta.location), link) else {
                continue;
            };
            let tags = tags.remove(&digest).unwrap_or_default();
            entries.push(ManifestEntry {
                digest,
                media_type: link.media_type,
                tags,
                pushed: meta.last_modified,
            });
        }
        entries.sort_by(|a, b| {
            b.pushed
                .cmp(&a.pushed)
                .then_with(|| a.digest.cmp(&b.digest))
        });
        Ok(entries)
    }
}

/// A manifest that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutManifest {
    /// Its name.
    pub digest: Digest,
    /// What it is about, when it says so.
    pub subject: Option<Digest>,
}
