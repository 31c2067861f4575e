//! Garbage collection: mark and sweep beside pushes and pulls.
//!
//! Theory of operation: repository after repository, [`mark`] reads what there is and tells what is needed; [`sweep`] deletes the
//! rest in small batches. Needed are, in a repository: what a tag means, what the platform says that it needs ([`NeededImages`]),
//! what is younger than the collection's `min_age`, what a push relies on ([`crate::pins`]); then the manifests of a needed index, the
//! manifests about a needed one (`subject`), and the blobs of all of these. Content goes last, when no record of any
//! repository names it.
//!
//! Three things protect a push. *Pins*: within this process nothing is deleted that a push relied on since the collection began,
//! whatever its age. *Age*: what was written or asked for (`HEAD`) a moment ago stays, so that a client may send one blob after the other before
//! the manifest that names them; and it is the only protection of pushes through other servers on the same store, which is why each deletion looks at
//! the age again. *Upload sessions*: a repository into which somebody uploads keeps all blobs that it has.
//!
//! Order of deletions: an index before its manifests, a manifest before its blobs, records before content. Each deletion is atomic,
//! and what it leaves is whole or garbage, so a process can be killed between any two; the next collection goes on. A repository
//! with a manifest that cannot be read keeps everything that it has: what it needs is not known.

mod mark;
mod sweep;

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::pins::Watched;
use crate::registry::Registry;
use crate::repository::{Reference, RepositoryName};

/// An upload that nobody has written to for so long is removed.
const UPLOAD_AGE: Duration = Duration::from_secs(24 * 3600);

/// Says which manifests are needed although no tag means them.
#[async_trait]
pub trait NeededImages: Send + Sync {
    /// All of them, in all repositories. It is asked after the collection began, so that whatever was needed before and
    /// is still is among them. What there is not does no harm.
    ///
    /// # Errors
    /// Nothing is collected then.
    async fn needed(
        &self,
    ) -> Result<Vec<(RepositoryName, Reference)>, Box<dyn Error + Send + Sync>>;
}

/// What a collection removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests that nothing needed.
    pub manifests: u64,
    /// Pieces of content.
    pub blobs: u64,
    /// Their bytes, and those of uploads that nobody went on with.
    pub bytes: u64,
    /// Repositories of which something that people see was removed.
    pub repositories: Vec<RepositoryName>,
    /// Repositories that keep all they have, because something in them cannot be read.
    pub damaged: Vec<RepositoryName>,
}

/// Whether what is garbage is deleted, or only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Sweep,
    Count,
}

/// One collection.
struct Collection<'a> {
    registry: &'a Registry,
    pins: Watched,
    needed: HashMap<RepositoryName, HashSet<Digest>>,
    /// What is not older stays.
    cutoff: DateTime<Utc>,
    mode: Mode,
    /// Content that a record names which stays.
    linked: HashSet<Digest>,
    done: Collected,
}

impl Registry {
    /// Deletes what nothing needs and what is older than `min_age`. It may be killed at any moment, and run again. Pushes and pulls go
    /// on meanwhile; `min_age` must be longer than a client may pause between two requests of one push.
    ///
    /// # Errors
    /// [`RegistryError::Needed`], or when the store fails: what was
    /// deleted before stays deleted.
    pub async fn collect(
        &self,
        needed: &dyn NeededImages,
        min_age: Duration,
    ) -> Result<Collected, RegistryError> {
        let mut collected = self.run(needed, min_age, Mode::Sweep).await?;
        let uploads = self.sweep_uploads(UPLOAD_AGE).await?;
        collected.bytes += uploads.bytes;
        for repository in &collected.repositories {
            self.tell(repository, crate::changes::What::Collected);
        }
        Ok(collected)
    }

    /// What [`Registry::collect`] would remove now. Reads all manifests.
    ///
    /// # Errors
    /// [`RegistryError::Collecting`] while a collection goes on, or as [`Registry::collect`].
    pub async fn collectable(
        &self,
        needed: &dyn NeededImages,
        min_age: Duration,
    ) -> Result<Collected, RegistryError> {
        self.run(needed, min_age, Mode::Count).await
    }

    async fn run(
        &self,
        needed: &dyn NeededImages,
        min_age: Duration,
        mode: Mode,
    ) -> Result<Collected, RegistryError> {
        let collecting = &self.inner.collecting;
        let _one = match mode {
            Mode::Sweep => collecting.lock().await,
            Mode::Count => collecting
                .try_lock()
                .map_err(|_held| RegistryError::Collecting)?,
        };
        // From here on what is published is pinned; only then it is asked what is needed.
        let pins = self.inner.pins.begin();
        let needed = needed.needed().await.map_err(RegistryError::Needed)?;
        let age = TimeDelta::from_std(min_age).unwrap_or(TimeDelta::MAX);
        let cutoff = Utc::now()
            .checked_sub_signed(age)
            .unwrap_or(DateTime::<Utc>::MIN_UTC);
        let mut collection = Collection {
            registry: self,
            pins,
            needed: HashMap::new(),
            cutoff,
            mode,
            linked: HashSet::new(),
            done: Collected::default(),
        };
        for (repository, reference) in needed {
            // A tag that exists is a root anyway.
            if let Reference::Digest(digest) = reference {
                let of = collection.needed.entry(repository).or_default();
                of.insert(digest);
            }
        }
        for repository in self.repository_names(None).await? {
            collection.repository(&repository).await?;
        }
        collection.content().await?;
        Ok(collection.done)
    }
}

impl Collection<'_> {
    fn is_young(&self, modified: DateTime<Utc>) -> bool {
        modified > self.cutoff
    }

    async fn repository(&mut self, repository: &RepositoryName) -> Result<(), RegistryError> {
        let mut marked = self.mark(repository).await?;
        if marked.damaged {
            tracing::error!(%repository, "something in this repository cannot be read: nothing of it is collected");
            self.done.damaged.push(repository.clone());
        } else {
            match self.mode {
                Mode::Sweep => self.sweep(repository, &mut marked).await?,
                Mode::Count => self.done.manifests += marked.garbage.len() as u64,
            }
        }
        let kept = |digest: &&Digest| marked.damaged || !marked.gone(digest);
        let manifests = marked.manifests.keys().filter(kept);
        let blobs = marked
            .blobs
            .keys()
            .filter(|digest| marked.damaged || !marked.gone_blobs.contains(*digest));
        self.linked.extend(manifests.chain(blobs).cloned());
        Ok(())
    }
}
