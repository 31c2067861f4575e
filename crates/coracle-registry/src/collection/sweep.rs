//! Deleting what is not needed.

use chrono::{DateTime, Utc};
use futures::stream::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _};

use super::mark::Marked;
use super::{Collection, Mode};
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::layout;
use crate::record;
use crate::repository::RepositoryName;

/// Deletions for which pushes wait at a time.
const BATCH: usize = 16;

impl Collection<'_> {
    /// Deletes the records of a repository that are garbage.
    pub(super) async fn sweep(
        &mut self,
        repository: &RepositoryName,
        marked: &mut Marked,
    ) -> Result<(), RegistryError> {
        let registry = self.registry;
        let store = &*registry.inner.store;
        let garbage = std::mem::take(&mut marked.garbage);
        let before = self.done.manifests;
        for some in garbage.chunks(BATCH) {
            let _exclusive = registry.inner.publishing.write().await;
            for digest in some {
                let key = layout::manifest_link(repository, digest);
                // It may have come back to life with an index before it in this order.
                if marked.alive.contains(digest) {
                    continue;
                }
                if self.is_wanted(digest, &key).await? {
                    self.revive(marked, digest.clone()).await?;
                    continue;
                }
                let link = marked.manifests.get(digest).and_then(|m| m.link.as_ref());
                if let Some(subject) = link.and_then(|link| link.subject.as_ref()) {
                    let about = layout::referrer(repository, subject, digest);
                    record::remove(store, &about).await?;
                }
                record::remove(store, &key).await?;
                self.done.manifests += 1;
            }
        }
        if self.done.manifests > before {
            self.done.repositories.push(repository.clone());
        }
        // What came back to life may have shown that something cannot be read.
        if marked.damaged {
            self.done.damaged.push(repository.clone());
            marked.gone_blobs.clear();
            return Ok(());
        }
        let gone: Vec<Digest> = marked.gone_blobs.drain().collect();
        for some in gone.chunks(BATCH) {
            let _exclusive = registry.inner.publishing.write().await;
            for digest in some {
                let key = layout::blob_link(repository, digest);
                if marked.needed_blobs.contains(digest) || self.is_wanted(digest, &key).await? {
                    continue;
                }
                record::remove(store, &key).await?;
                marked.gone_blobs.insert(digest.clone());
            }
        }
        self.sweep_referrers(repository, marked).await
    }

    /// Deletes what a push or a deletion that was killed left of manifests that are about others.
    async fn sweep_referrers(
        &self,
        repository: &RepositoryName,
        marked: &Marked,
    ) -> Result<(), RegistryError> {
        let store = &*self.registry.inner.store;
        let listed: Vec<ObjectMeta> = store
            .list(Some(&layout::all_referrers(repository)))
            .try_collect()
            .await
            .map_err(|source| RegistryError::store("list referrers", source))?;
        for meta in listed {
            let Some(from) = layout::digest_of_referrer(&meta.location) else {
                continue;
            };
            if marked.alive.contains(&from) || self.is_young(meta.last_modified) {
                continue;
            }
            let _exclusive = self.registry.inner.publishing.write().await;
            if self.pins.saw(&from)
                || self
                    .modified(&layout::manifest_link(repository, &from))
                    .await?
                    .is_some()
            {
                continue;
            }
            record::remove(store, &meta.location).await?;
        }
        Ok(())
    }

    /// Deletes content that no record names, or counts it.
    pub(super) async fn content(&mut self) -> Result<(), RegistryError> {
        let registry = self.registry;
        let failed = |source| RegistryError::store("list blobs", source);
        let mut listing = registry.inner.store.list(Some(&layout::all_blobs()));
        let mut garbage = Vec::with_capacity(BATCH);
        loop {
            let next = listing.try_next().await.map_err(failed)?;
            let end = next.is_none();
            if let Some(meta) = next
                && let Some(digest) = layout::digest_of_blob(&meta.location)
                && !self.linked.contains(&digest)
                && !self.is_young(meta.last_modified)
                && !self.pins.saw(&digest)
            {
                garbage.push((digest, meta));
            }
            if garbage.len() == BATCH || end {
                self.delete_content(&garbage).await?;
                garbage.clear();
            }
            if end {
                return Ok(());
            }
        }
    }

    async fn delete_content(
        &mut self,
        garbage: &[(Digest, ObjectMeta)],
    ) -> Result<(), RegistryError> {
        let registry = self.registry;
        let _exclusive = match self.mode {
            Mode::Sweep if !garbage.is_empty() => Some(registry.inner.publishing.write().await),
            _ => None,
        };
        for (digest, meta) in garbage {
            if self.mode == Mode::Sweep {
                if self.is_wanted(digest, &meta.location).await? {
                    continue;
                }
                record::remove(&*registry.inner.store, &meta.location).await?;
            }
            self.done.blobs += 1;
            self.done.bytes += meta.size;
        }
        Ok(())
    }

    /// Did a push come to rely on it since it was looked at? The caller holds the exclusive side of the lock.
    async fn is_wanted(&self, digest: &Digest, key: &Path) -> Result<bool, RegistryError> {
        if self.pins.saw(digest) {
            return Ok(true);
        }
        let modified = self.modified(key).await?;
        Ok(modified.is_some_and(|modified| self.is_young(modified)))
    }

    async fn modified(&self, key: &Path) -> Result<Option<DateTime<Utc>>, RegistryError> {
        match self.registry.inner.store.head(key).await {
            Ok(meta) => Ok(Some(meta.last_modified)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(RegistryError::store("look at a record", source)),
        }
    }
}
