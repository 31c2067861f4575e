//! Tags of a repository.
//!
//! Theory of operation: a tag is one record that is replaced as a whole; the last writer wins. A record whose manifest is
//! gone (a crash in the middle of a deletion) counts as no tag.

use futures::stream::TryStreamExt as _;
use object_store::ObjectStore as _;

use crate::catalog::Page;
use crate::changes::What;
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::layout;
use crate::record::{self, Removed, TagRecord};
use crate::registry::Registry;
use crate::repository::{RepositoryName, Tag};

impl Registry {
    /// Tags after `after`, in the order of their bytes.
    ///
    /// # Errors
    /// [`RegistryError::NameUnknown`] when the repository has neither tags nor manifests.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>, RegistryError> {
        let tags = self.tag_names(repository).await?;
        if tags.is_empty() && !self.has_manifests(repository).await? {
            return Err(RegistryError::NameUnknown);
        }
        let tags = tags
            .into_iter()
            .filter(|tag| after.is_none_or(|after| tag.as_str() > after));
        Ok(Page::cut(tags, limit.min(self.inner.limits.page)))
    }

    async fn tag_names(&self, repository: &RepositoryName) -> Result<Vec<Tag>, RegistryError> {
        let mut tags: Vec<Tag> = self
            .inner
            .store
            .list(Some(&layout::tags(repository)))
            .map_err(|source| RegistryError::store("list tags", source))
            .try_filter_map(|meta| async move {
                Ok(meta
                    .location
                    .filename()
                    .and_then(|name| Tag::new(name).ok()))
            })
            .try_collect()
            .await?;
        tags.sort();
        Ok(tags)
    }

    /// All tags with what they mean, in order.
    pub(crate) async fn tag_records(
        &self,
        repository: &RepositoryName,
    ) -> Result<Vec<(Tag, Digest)>, RegistryError> {
        let names = self.tag_names(repository).await?;
        let keys = names
            .iter()
            .map(|tag| layout::tag(repository, tag))
            .collect();
        let records = record::read_each::<TagRecord>(&self.inner.store, keys).await?;
        // Without a record: deleted since the listing began.
        Ok(names
            .into_iter()
            .zip(records)
            .filter_map(|(tag, found)| Some((tag, found?.digest)))
            .collect())
    }

    /// Lets `tag` mean a manifest that the repository has.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`].
    pub async fn put_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let _publishing = self.inner.publishing.read().await;
        let _pin = self.inner.pins.hold(vec![digest.clone()]);
        self.manifest_record(repository, &digest.clone().into())
            .await?;
        let record = TagRecord {
            digest: digest.clone(),
        };
        record::write(&*self.inner.store, &layout::tag(repository, tag), &record).await?;
        self.tell(repository, What::Tagged(tag.clone()));
        Ok(())
    }

    /// Removes a tag; its manifest stays.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`].
    pub async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<(), RegistryError> {
        match record::remove(&*self.inner.store, &layout::tag(repository, tag)).await? {
            Removed::Yes => Ok(()),
            Removed::WasNotThere => Err(RegistryError::ManifestUnknown(tag.to_string())),
        }
    }
}
