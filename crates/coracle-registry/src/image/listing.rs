//! What a repository holds, for people.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::ImageSummary;
use crate::catalog::Page;
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::layout;
use crate::record::{self, ManifestLink};
use crate::registry::Registry;
use crate::repository::{Reference, RepositoryName, Tag};

/// A tag of a repository, or an image that none means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEntry {
    /// The tag.
    pub tag: Option<Tag>,
    /// What it means.
    pub digest: Digest,
    /// When it was pushed last.
    pub pushed: DateTime<Utc>,
    /// The image in short; none when it cannot be read.
    pub summary: Option<ImageSummary>,
}

impl ImageEntry {
    /// What it is listed by: its tag, or else its digest.
    #[must_use]
    pub fn key(&self) -> String {
        self.tag
            .as_ref()
            .map_or_else(|| self.digest.to_string(), ToString::to_string)
    }
}

impl Registry {
    /// The tags of a repository after `after`, in the order of their bytes, and then its images without a tag. What is a part of another
    /// image (a platform of an index), or about one, is not listed by itself.
    ///
    /// # Errors
    /// [`RegistryError::NameUnknown`] when there is nothing.
    pub async fn images(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ImageEntry>, RegistryError> {
        let manifests = self.manifests(repository).await?;
        if manifests.is_empty() {
            return Err(RegistryError::NameUnknown);
        }
        let mut tagged = Vec::new();
        let mut untagged = Vec::new();
        for entry in &manifests {
            for tag in &entry.tags {
                tagged.push((tag.clone(), entry));
            }
            if entry.tags.is_empty() {
                untagged.push(entry);
            }
        }
        tagged.sort_by(|a, b| a.0.cmp(&b.0));
        untagged.sort_by(|a, b| a.digest.cmp(&b.digest));
        let mut parts = HashSet::new();
        if !untagged.is_empty() {
            for index in manifests.iter().filter(|entry| entry.media_type.is_index()) {
                parts.extend(self.children(repository, &index.digest).await?);
            }
        }
        let there: HashSet<_> = manifests.iter().map(|entry| &entry.digest).collect();
        let after_tag = |key: &str| after.is_none_or(|after| !after.contains(':') && key > after);
        let after_digest =
            |key: &str| after.is_none_or(|after| !after.contains(':') || key > after);
        let mut chosen = Vec::new();
        for (tag, entry) in tagged {
            if after_tag(tag.as_str()) {
                chosen.push((Some(tag), entry));
            }
        }
        for entry in untagged {
            if chosen.len() > limit {
                break;
            }
            if !after_digest(&entry.digest.to_string()) || parts.contains(&entry.digest) {
                continue;
            }
            let key = layout::manifest_link(repository, &entry.digest);
            let link = record::read::<ManifestLink>(&*self.inner.store, &key).await?;
            let subject = link.and_then(|link| link.subject);
            if subject.is_none_or(|subject| !there.contains(&subject)) {
                chosen.push((None, entry));
            }
        }
        let page = Page::cut(chosen.into_iter(), limit.min(self.inner.limits.page));
        let mut items = Vec::with_capacity(page.items.len());
        for (tag, entry) in page.items {
            let reference = Reference::Digest(entry.digest.clone());
            let summary = self.image(repository, &reference).await;
            if let Err(error) = &summary {
                tracing::warn!(%repository, digest = %entry.digest, %error, "an image cannot be read");
            }
            items.push(ImageEntry {
                tag,
                digest: entry.digest.clone(),
                pushed: entry.pushed,
                summary: summary.ok(),
            });
        }
        Ok(Page {
            items,
            more: page.more,
        })
    }
}
