//! Manifests that are about another one (signatures, bills of material): the referrers API.
//!
//! Theory of operation: the descriptor that the API returns is written when the manifest is pushed, so that a list is read
//! without opening manifests. The subject need not exist. The basics only: one page of bounded length.

use futures::stream::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStore as _;

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::layout;
use crate::manifest::Descriptor;
use crate::record;
use crate::registry::Registry;
use crate::repository::RepositoryName;

/// Most referrers of one subject that are looked at; they are all held in memory.
const REFERRERS_MOST: usize = 1000;

impl Registry {
    /// Descriptors of the manifests whose `subject` is `subject`, all kinds or one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let prefix = layout::referrers(repository, subject);
        let listed: Vec<_> = self
            .inner
            .store
            .list(Some(&prefix))
            .map_ok(|meta| meta.location)
            .take(REFERRERS_MOST)
            .try_collect()
            .await
            .map_err(|source| RegistryError::store("list referrers", source))?;
        let found = record::read_each::<Descriptor>(&self.inner.store, listed).await?;
        let wanted = |found: &Descriptor| {
            artifact_type.is_none_or(|kind| found.artifact_type.as_deref() == Some(kind))
        };
        Ok(found.into_iter().flatten().filter(wanted).collect())
    }
}
