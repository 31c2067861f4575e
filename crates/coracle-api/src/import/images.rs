//! The images of an import on their way into the registry.
//!
//! Theory of operation: what the registry has already is left out. The rest is read from the archive by a blocking
//! thread, blob after blob, and goes over a short channel into the registry's own route for uploads, with the
//! platform's own credentials: hashes, limits and durability are the registry's. A blob that several repositories have is
//! sent once and mounted into the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Seek as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coracle_builder::{SourceError, walk};
use coracle_control::OperationError;
use coracle_control::archive::{Archive, LIMITS, ManifestRecord};
use coracle_control::disk::DiskReserve;
use coracle_model::import::{ImportOutcome, ImportStage};
use coracle_registry::{Digest, Reference, Registry, RegistryError, RepositoryName};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tower::ServiceExt as _;

use crate::archive::blob_digest;
use crate::error::{ApiError, ApiResult};
use crate::import::Listener;
use crate::state::ApiState;

/// Bytes that are handed over at once, and how many such may wait.
const CHUNK_BYTES: usize = 128 * 1024;
const CHUNKS: usize = 4;

/// What of the images in an archive is to go into the registry.
pub(crate) struct Images {
    registry: Registry,
    router: Router,
    authorization: String,
    /// Blobs that are missing, with their size and the repositories that miss them.
    missing: BTreeMap<Digest, (u64, Vec<RepositoryName>)>,
    manifests: Vec<(RepositoryName, Vec<ManifestRecord>)>,
    disk: DiskReserve,
}

/// A blob on its way out of the archive.
struct Arriving {
    digest: Digest,
    content: mpsc::Receiver<std::io::Result<Bytes>>,
}

/// Why the reader stopped.
enum Stopped {
    Archive(SourceError),
    /// Nobody takes blobs any more: the other side says why.
    Unwanted,
}

impl From<SourceError> for Stopped {
    fn from(error: SourceError) -> Self {
        Self::Archive(error)
    }
}

fn refused<E: std::fmt::Display>(what: E) -> OperationError {
    OperationError::InvalidSource {
        reason: format!("an image of the export is not taken: {what}"),
    }
}

impl Images {
    /// Of the apps that are to be created or replaced; `outcomes` are those of the archive's apps.
    pub(crate) async fn missing_here(
        state: &ApiState,
        archive: &Archive,
        outcomes: &[ImportOutcome],
        blobs: &BTreeMap<Digest, u64>,
    ) -> ApiResult<Self> {
        let credentials = &state.control.settings.registry_credentials;
        let pair = format!("{}:{}", credentials.user, credentials.password.expose());
        let mut images = Self {
            registry: state.registry.clone(),
            router: state.registry.router(),
            authorization: format!("Basic {}", STANDARD.encode(pair)),
            missing: BTreeMap::new(),
            manifests: Vec::new(),
            disk: DiskReserve::new(
                &state.control.settings.shared_dir,
                "the images of the export",
            ),
        };
        for (app, outcome) in archive.apps.iter().zip(outcomes) {
            if !matches!(outcome, ImportOutcome::Created | ImportOutcome::Replaced) {
                continue;
            }
            for image in &app.images {
                let repository = RepositoryName::new(&image.repository).map_err(refused)?;
                for blob in &image.blobs {
                    let digest: Digest = blob.digest.parse().map_err(refused)?;
                    let size = blobs.get(&digest).copied().unwrap_or(blob.size);
                    images.want(&repository, digest, size).await?;
                }
                images.manifests.push((repository, image.manifests.clone()));
            }
        }
        Ok(images)
    }

    async fn want(
        &mut self,
        repository: &RepositoryName,
        digest: Digest,
        size: u64,
    ) -> ApiResult<()> {
        match self.registry.blob_size(repository, &digest).await {
            Ok(_) => return Ok(()),
            Err(RegistryError::BlobUnknown(_)) => {}
            Err(error) => return Err(ApiError::internal(error)),
        }
        let (_, repositories) = self.missing.entry(digest).or_insert((size, Vec::new()));
        if !repositories.contains(repository) {
            repositories.push(repository.clone());
        }
        Ok(())
    }

    /// How many blobs are missing, and their bytes.
    pub(crate) fn missing(&self) -> (u64, u64) {
        let bytes = self.missing.values().map(|(size, _)| size).sum();
        (self.missing.len() as u64, bytes)
    }

    /// The disk that they are to go to.
    pub(crate) fn room(&self) -> &DiskReserve {
        &self.disk
    }

    /// Pushes everything that is missing.
    pub(crate) async fn push(
        &self,
        archive: &Arc<File>,
        listener: &Listener,
    ) -> Result<(), OperationError> {
        let (_, total) = self.missing();
        let mut done = 0;
        listener.progress(ImportStage::Images, done, total);
        if !self.missing.is_empty() {
            let (out, mut blobs) = mpsc::channel(1);
            let wanted = self.missing.keys().cloned().collect();
            let archive = Arc::clone(archive);
            let reader = tokio::task::spawn_blocking(move || read(&archive, &wanted, &out));
            while let Some(Arriving { digest, content }) = blobs.recv().await {
                let Some((size, repositories)) = self.missing.get(&digest) else {
                    continue;
                };
                let mut repositories = repositories.iter();
                let Some(first) = repositories.next() else {
                    continue;
                };
                self.disk.check(*size).await?;
                self.put(first, &digest, *size, content).await?;
                for other in repositories {
                    self.mount(first, other, &digest).await?;
                }
                done += size;
                listener.progress(ImportStage::Images, done, total);
            }
            match reader.await {
                Ok(Ok(()) | Err(Stopped::Unwanted)) => {}
                Ok(Err(Stopped::Archive(error))) => return Err(refused(error)),
                Err(panic) => return Err(refused(panic)),
            }
        }
        for (repository, manifests) in &self.manifests {
            for manifest in manifests {
                self.put_manifest(repository, manifest).await?;
            }
        }
        Ok(())
    }

    async fn put(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
        content: mpsc::Receiver<std::io::Result<Bytes>>,
    ) -> Result<(), OperationError> {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let body = Body::from_stream(ReceiverStream::new(content).fuse());
        self.ask(&path, size, body).await
    }

    async fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), OperationError> {
        let path = format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}");
        self.ask(&path, 0, Body::empty()).await
    }

    async fn ask(&self, path: &str, size: u64, body: Body) -> Result<(), OperationError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_LENGTH, size)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(body)
            .map_err(refused)?;
        let answer = match self.router.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            StatusCode::INSUFFICIENT_STORAGE => {
                let source = std::io::ErrorKind::StorageFull.into();
                let what = "an image could not be stored";
                Err(OperationError::Io { what, source })
            }
            status => Err(refused(format!("the registry answers {status}"))),
        }
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        record: &ManifestRecord,
    ) -> Result<(), OperationError> {
        let digest: Digest = record.digest.parse().map_err(refused)?;
        let kind = record
            .media_type
            .parse()
            .map_err(refused::<RegistryError>)?;
        let content = Bytes::from(record.content.clone());
        self.registry
            .put_manifest(repository, &Reference::Digest(digest), Some(kind), content)
            .await
            .map_err(refused)?;
        Ok(())
    }
}

/// Reads the wanted blobs out of the archive, in its order.
fn read(
    mut archive: &File,
    wanted: &BTreeSet<Digest>,
    out: &mpsc::Sender<Arriving>,
) -> Result<(), Stopped> {
    archive.rewind().map_err(SourceError::Io)?;
    walk(archive, &LIMITS, |file| {
        let Some(digest) = blob_digest(file.path).filter(|digest| wanted.contains(digest)) else {
            return Ok(());
        };
        let (chunks, content) = mpsc::channel(CHUNKS);
        out.blocking_send(Arriving { digest, content })
            .map_err(|_left| Stopped::Unwanted)?;
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let n = file.chunk(&mut chunk)?;
            if n == 0 {
                return Ok(());
            }
            chunk.truncate(n);
            // Whoever does not take all of it has found a fault, and ends the other channel too.
            if chunks.blocking_send(Ok(chunk.into())).is_err() {
                return Err(Stopped::Unwanted);
            }
        }
    })
}
