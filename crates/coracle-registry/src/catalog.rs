//! Listing of repositories, and how much they hold.
//!
//! Theory of operation: a repository is there when it has a manifest; the first push of a blob alone does not show it. The keys of
//! repositories are one flat level, so the catalog is one listing plus one short look into each repository of the page.

use chrono::{DateTime, Utc};
use futures::stream::TryStreamExt as _;
use object_store::{ObjectMeta, ObjectStore as _};
use serde::Serialize;

use crate::error::RegistryError;
use crate::layout;
use crate::record::{self, BlobLink};
use crate::registry::Registry;
use crate::repository::RepositoryName;

/// Part of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// Entries, in order.
    pub items: Vec<T>,
    /// Are there more after the last?
    pub more: bool,
}

impl<T> Page<T> {
    /// The first `limit` of `all`.
    pub(crate) fn cut(mut all: impl Iterator<Item = T>, limit: usize) -> Self {
        let items: Vec<T> = all.by_ref().take(limit).collect();
        // A page of nothing has no last entry to go on from.
        let more = limit > 0 && all.next().is_some();
        Self { items, more }
    }
}

/// A repository in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepositorySummary {
    /// How many tags it has.
    pub tags: usize,
    /// Bytes of all that it has. Other repositories may have the same.
    pub bytes: u64,
    /// When something was pushed last.
    pub updated: Option<DateTime<Utc>>,
}

/// How much the registry holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Pieces of content: layers, configs and manifests, each counted once.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Registry {
    /// Repositories after `after`, in the order of their bytes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>, RegistryError> {
        let limit = limit.min(self.inner.limits.page);
        let mut items = Vec::new();
        for name in self.repository_names(after).await? {
            if !self.has_manifests(&name).await? {
                continue;
            }
            if items.len() == limit {
                return Ok(Page {
                    items,
                    more: limit > 0,
                });
            }
            items.push(name);
        }
        Ok(Page { items, more: false })
    }

    /// All that has a record, also when only blobs were pushed yet.
    pub(crate) async fn repository_names(
        &self,
        after: Option<&str>,
    ) -> Result<Vec<RepositoryName>, RegistryError> {
        let listed = self
            .inner
            .store
            .list_with_delimiter(Some(&layout::repositories()))
            .await;
        let listed = listed.map_err(|source| RegistryError::store("list repositories", source))?;
        let mut names: Vec<_> = listed
            .common_prefixes
            .iter()
            .filter_map(|prefix| layout::repository_of_part(prefix.filename()?))
            .filter(|name| after.is_none_or(|after| name.as_str() > after))
            .collect();
        names.sort();
        Ok(names)
    }

    pub(crate) async fn has_manifests(
        &self,
        repository: &RepositoryName,
    ) -> Result<bool, RegistryError> {
        let prefix = layout::manifests(repository);
        let first = self.inner.store.list(Some(&prefix)).try_next().await;
        first
            .map(|found| found.is_some())
            .map_err(|source| RegistryError::store("list manifests", source))
    }

    /// Removes a repository with all its tags, manifests and records of blobs, as when an app is deleted. Content is left to
    /// garbage collection, unfinished uploads to the sweep. Nothing is published anywhere meanwhile.
    ///
    /// # Errors
    /// [`RegistryError::NameUnknown`] when there is nothing of that name.
    pub async fn delete_repository(
        &self,
        repository: &RepositoryName,
    ) -> Result<(), RegistryError> {
        let _exclusive = self.inner.publishing.write().await;
        let store = &*self.inner.store;
        let mut found = false;
        // From what is seen to what it needs, so that a crash in the middle leaves nothing broken in sight.
        for part in layout::repository_parts(repository) {
            let failed = |source| RegistryError::store("list a repository", source);
            let keys: Vec<_> = store
                .list(Some(&part))
                .map_ok(|meta| meta.location)
                .try_collect()
                .await
                .map_err(failed)?;
            found |= !keys.is_empty();
            for key in keys {
                record::remove(store, &key).await?;
            }
        }
        if found {
            Ok(())
        } else {
            Err(RegistryError::NameUnknown)
        }
    }

    /// A repository in short.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn repository_summary(
        &self,
        repository: &RepositoryName,
    ) -> Result<RepositorySummary, RegistryError> {
        let mut summary = RepositorySummary::default();
        let failed = |source| RegistryError::store("list a repository", source);
        let list = async |part| -> Result<Vec<ObjectMeta>, RegistryError> {
            let listed = self.inner.store.list(Some(&part));
            listed.try_collect().await.map_err(failed)
        };
        for tag in list(layout::tags(repository)).await? {
            summary.tags += 1;
            summary.updated = summary.updated.max(Some(tag.last_modified));
        }
        let manifests = list(layout::manifests(repository)).await?;
        for manifest in &manifests {
            summary.updated = summary.updated.max(Some(manifest.last_modified));
        }
        let blobs = list(layout::blob_links(repository)).await?;
        let keys = manifests.into_iter().chain(blobs);
        let keys = keys.map(|meta| meta.location).collect();
        // Both kinds of record have a size; nothing else of them is needed here.
        let links = record::read_each::<BlobLink>(&self.inner.store, keys).await?;
        summary.bytes = links.into_iter().flatten().map(|link| link.size).sum();
        Ok(summary)
    }

    /// How much the registry holds in all. Walks the whole store.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage(&self) -> Result<Usage, RegistryError> {
        self.inner
            .store
            .list(Some(&layout::all_blobs()))
            .try_fold(Usage::default(), |sum, meta| async move {
                Ok(Usage {
                    blobs: sum.blobs + 1,
                    bytes: sum.bytes + meta.size,
                })
            })
            .await
            .map_err(|source| RegistryError::store("list blobs", source))
    }
}
