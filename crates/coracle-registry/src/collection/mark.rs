//! What is needed in a repository.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::stream::TryStreamExt as _;
use object_store::ObjectStore as _;
use object_store::path::Path;

use super::Collection;
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::layout;
use crate::manifest::{Body, Manifest};
use crate::record::{self, ManifestLink};
use crate::registry::Registry;
use crate::repository::RepositoryName;

/// An upload that was written to so lately goes on, and its repository keeps its blobs.
const UPLOADING: Duration = Duration::from_secs(15 * 60);

/// A manifest's record.
pub(super) struct Found {
    /// `None` when it cannot be read.
    pub(super) link: Option<ManifestLink>,
}

/// A repository, as a collection sees it.
#[derive(Default)]
pub(super) struct Marked {
    /// Everything that has a manifest's record.
    pub(super) manifests: HashMap<Digest, Found>,
    /// By what a manifest is about.
    about: HashMap<Digest, Vec<Digest>>,
    pub(super) alive: HashSet<Digest>,
    /// What is not, an index before what it names.
    pub(super) garbage: Vec<Digest>,
    /// Blobs that have a record, and since when.
    pub(super) blobs: HashMap<Digest, DateTime<Utc>>,
    /// Blobs that something alive needs.
    pub(super) needed_blobs: HashSet<Digest>,
    /// Blobs whose records are to go, or gone.
    pub(super) gone_blobs: HashSet<Digest>,
    /// Something cannot be read, so that not all that is needed is known.
    pub(super) damaged: bool,
}

impl Marked {
    /// Is it, as a manifest, to go or gone?
    pub(super) fn gone(&self, digest: &Digest) -> bool {
        !self.alive.contains(digest)
    }
}

impl Registry {
    /// The parts of a manifest's record and content; `None` when they cannot be read.
    pub(super) async fn parts(
        &self,
        digest: &Digest,
        found: &Found,
    ) -> Result<Option<Manifest>, RegistryError> {
        let Some(link) = &found.link else {
            return Ok(None);
        };
        let bytes = match self.manifest_content(digest, link).await {
            Ok(bytes) => bytes,
            Err(RegistryError::ManifestUnknown(_) | RegistryError::Corrupt { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // As it was taken: bounds that are lower now must not make it unreadable.
        Ok(Manifest::parse(&bytes, Some(link.media_type), usize::MAX).ok())
    }

    pub(super) async fn listed(
        &self,
        prefix: &Path,
    ) -> Result<HashMap<Digest, (Path, DateTime<Utc>)>, RegistryError> {
        self.inner
            .store
            .list(Some(prefix))
            .map_err(|source| RegistryError::store("list a repository", source))
            .try_filter_map(|meta| async move {
                let digest = layout::digest_of_link(&meta.location);
                Ok(digest.map(|digest| (digest, (meta.location, meta.last_modified))))
            })
            .try_collect()
            .await
    }
}

impl Collection<'_> {
    pub(super) async fn mark(&self, repository: &RepositoryName) -> Result<Marked, RegistryError> {
        let registry = self.registry;
        let mut marked = Marked::default();
        let mut roots = Vec::new();
        for (_, digest) in registry.tag_records(repository).await? {
            roots.push(digest);
        }
        roots.extend(self.needed.get(repository).into_iter().flatten().cloned());
        let listed = registry.listed(&layout::manifests(repository)).await?;
        for (digest, (key, modified)) in listed {
            let link = match record::read::<ManifestLink>(&*registry.inner.store, &key).await {
                Ok(Some(link)) => Some(link),
                // Deleted since the listing began.
                Ok(None) => continue,
                Err(RegistryError::Corrupt { .. }) => None,
                Err(error) => return Err(error),
            };
            // Without its record nothing is known of it: it is kept, and so are all blobs.
            marked.damaged |= link.is_none();
            if self.is_young(modified) || self.pins.saw(&digest) {
                roots.push(digest.clone());
            }
            if let Some(subject) = link.as_ref().and_then(|link| link.subject.clone()) {
                marked
                    .about
                    .entry(subject)
                    .or_default()
                    .push(digest.clone());
            }
            marked.manifests.insert(digest, Found { link });
        }
        for root in roots {
            self.revive(&mut marked, root).await?;
        }
        marked.garbage = self.in_order(&marked).await?;
        let blobs = registry.listed(&layout::blob_links(repository)).await?;
        marked.blobs = blobs
            .into_iter()
            .map(|(digest, (_, modified))| (digest, modified))
            .collect();
        let uploading = registry
            .inner
            .uploads
            .is_active(repository, UPLOADING)
            .await?;
        if !uploading {
            let of_no_use = |(digest, modified): &(&Digest, &DateTime<Utc>)| {
                !marked.needed_blobs.contains(*digest) && !self.is_young(**modified)
            };
            let gone = marked.blobs.iter().filter(of_no_use);
            marked.gone_blobs = gone.map(|(digest, _)| digest.clone()).collect();
        }
        Ok(marked)
    }

    /// Marks a manifest with all that it needs, and all that is about it.
    pub(super) async fn revive(
        &self,
        marked: &mut Marked,
        root: Digest,
    ) -> Result<(), RegistryError> {
        let mut next = VecDeque::from([root]);
        while let Some(digest) = next.pop_front() {
            let Some(found) = marked.manifests.get(&digest) else {
                continue;
            };
            if !marked.alive.insert(digest.clone()) {
                continue;
            }
            match self.registry.parts(&digest, found).await? {
                Some(manifest) => {
                    let named = manifest.named().map(|part| part.digest.clone());
                    match manifest.body {
                        Body::Image { .. } => marked.needed_blobs.extend(named),
                        Body::Index { .. } => next.extend(named),
                    }
                }
                None => marked.damaged = true,
            }
            next.extend(marked.about.get(&digest).into_iter().flatten().cloned());
        }
        Ok(())
    }

    /// The manifests that are not alive, each index before the manifests that it names.
    async fn in_order(&self, marked: &Marked) -> Result<Vec<Digest>, RegistryError> {
        let mut named: HashMap<&Digest, usize> = HashMap::new();
        let mut children: HashMap<&Digest, Vec<Digest>> = HashMap::new();
        for (digest, found) in &marked.manifests {
            if marked.alive.contains(digest) {
                continue;
            }
            named.entry(digest).or_default();
            let is_index = found.link.as_ref().is_some_and(|l| l.media_type.is_index());
            if is_index && let Some(manifest) = self.registry.parts(digest, found).await? {
                // Each once: a manifest may be named for several platforms.
                let of: HashSet<_> = manifest.named().map(|child| child.digest.clone()).collect();
                children.insert(digest, of.into_iter().collect());
            }
        }
        for child in children.values().flatten() {
            if let Some(times) = named.get_mut(child) {
                *times += 1;
            }
        }
        let mut free: VecDeque<&Digest> = named
            .iter()
            .filter(|(_, times)| **times == 0)
            .map(|(digest, _)| *digest)
            .collect();
        let mut order = Vec::with_capacity(named.len());
        while let Some(digest) = free.pop_front() {
            order.push(digest.clone());
            for child in children.get(digest).into_iter().flatten() {
                if let Some((child, _)) = marked.manifests.get_key_value(child)
                    && let Some(times) = named.get_mut(child)
                {
                    *times -= 1;
                    if *times == 0 {
                        free.push_back(child);
                    }
                }
            }
        }
        Ok(order)
    }
}
