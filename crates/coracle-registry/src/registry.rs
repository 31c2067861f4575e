//! The registry as a value: what the router and the controllers share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use tokio::sync::{Mutex, OwnedSemaphorePermit, RwLock, Semaphore, broadcast};

use crate::access::Authorizer;
use crate::changes::{self, Changed};
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::limits::Limits;
use crate::pins::Pin;
use crate::pins::Pins;
use crate::placement::Placement;
use crate::upload::{Swept, Uploads};

/// An OCI registry. Clones are handles to the same one.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) placement: Placement,
    pub(crate) uploads: Uploads,
    pub(crate) auth: Arc<dyn Authorizer>,
    pub(crate) limits: Limits,
    pub(crate) upload_slots: Arc<Semaphore>,
    /// Shared: a manifest or tag is being published. Exclusive: for deletions.
    pub(crate) publishing: RwLock<()>,
    pub(crate) pins: Arc<Pins>,
    /// Held by the collection that goes on.
    pub(crate) collecting: Mutex<()>,
    pub(crate) changes: broadcast::Sender<Changed>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("store", &self.inner.store.to_string())
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// A registry on any object store. `uploads` is a local folder that exists: uploads are gathered there, and
    /// sent to the store when they are complete. With several servers the requests of one upload must reach the same one.
    #[must_use]
    pub fn new(
        store: Arc<dyn ObjectStore>,
        uploads: PathBuf,
        auth: Arc<dyn Authorizer>,
        limits: Limits,
    ) -> Self {
        Self::with(store, Placement::Remote, uploads, auth, limits)
    }

    /// A registry in a local folder, which is made when it is missing. One process at a time may use it.
    ///
    /// # Errors
    /// When the folder cannot be made or used. Blocks shortly.
    pub fn open(
        dir: &Path,
        auth: Arc<dyn Authorizer>,
        limits: Limits,
    ) -> Result<Self, RegistryError> {
        let (objects, uploads) = (dir.join("objects"), dir.join("uploads"));
        for folder in [&objects, &uploads] {
            std::fs::create_dir_all(folder)
                .map_err(|source| RegistryError::io("create the registry's folder", source))?;
        }
        let local = LocalFileSystem::new_with_prefix(objects)
            .map_err(|source| RegistryError::store("open the registry's folder", source))?
            // An answer to a push must be true after a power cut too.
            .with_fsync(true)
            .with_automatic_cleanup(true);
        Ok(Self::with(
            Arc::new(local.clone()),
            Placement::Local(local),
            uploads,
            auth,
            limits,
        ))
    }

    fn with(
        store: Arc<dyn ObjectStore>,
        placement: Placement,
        uploads: PathBuf,
        auth: Arc<dyn Authorizer>,
        limits: Limits,
    ) -> Self {
        let upload_slots = Arc::new(Semaphore::new(limits.concurrent_uploads));
        let uploads = Uploads::new(uploads);
        let publishing = RwLock::new(());
        Self {
            inner: Arc::new(Inner {
                store,
                placement,
                uploads,
                auth,
                limits,
                upload_slots,
                publishing,
                pins: Arc::default(),
                collecting: Mutex::default(),
                changes: broadcast::Sender::new(changes::KEPT),
            }),
        }
    }

    /// The routes below `/v2/`.
    pub fn router(&self) -> axum::Router {
        crate::http::router(self.clone())
    }

    /// Removes uploads that nobody has written to for `older_than`.
    ///
    /// # Errors
    /// When the folder cannot be read; what was removed before stays removed.
    pub async fn sweep_uploads(&self, older_than: Duration) -> Result<Swept, RegistryError> {
        self.inner.uploads.sweep(older_than).await
    }

    /// Keeps a collection from what is about to be relied on.
    pub(crate) async fn pin(&self, digest: &Digest) -> Pin {
        let _shared = self.inner.publishing.read().await;
        self.inner.pins.hold(vec![digest.clone()])
    }

    /// A turn to send data.
    pub(crate) async fn upload_slot(&self) -> Result<OwnedSemaphorePermit, RegistryError> {
        let busy = || RegistryError::TooMany("too many uploads at once");
        tokio::time::timeout(
            self.inner.limits.slot_wait,
            Arc::clone(&self.inner.upload_slots).acquire_owned(),
        )
        .await
        .map_err(|_elapsed| busy())?
        .map_err(|_closed| busy())
    }
}
