//! What a platform has, as one archive for another platform.
//!
//! Theory of operation: the archive is made while it is sent, one app in memory at a time; blobs of images stream from
//! the registry, each once. It ends with a list of its files: whatever cuts it (the platform's stop, the end of the
//! caller's credentials, a fault) breaks the connection and leaves an archive that no import takes.

use std::collections::BTreeSet;
use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_control::archive::seal::Seal;
use coracle_control::archive::{
    APPS_FOLDER, AppRecord, BlobRecord, HEADER_FILE, Header, ImageRecord, ManifestRecord,
    PROJECTS_FILE, ProjectRecord, USERS_FILE, UserRecord,
};
use coracle_control::release::pinned;
use coracle_model::env::Secret;
use coracle_model::name::{AppName, ProjectName};
use coracle_model::object::Kind;
use coracle_model::problem::{Code, Problem};
use coracle_registry::{Digest, Reference, RegistryError, RepositoryName};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::archive::blob_path;
use crate::archive::write::{ArchiveWriter, CHUNKS};
use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::Query;
use crate::state::ApiState;
use crate::tenure::Tenure;

/// The header that carries the passphrase, in base64: it is no part of an address, which logs keep.
const PASSPHRASE: &str = "coracle-passphrase";

/// What to export.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportQuery {
    /// These projects only, such as `shop,blog`; all when absent.
    #[serde(default)]
    projects: Option<String>,
    /// `true`: users too, without passwords and tokens.
    #[serde(default)]
    users: bool,
}

/// The passphrase that a request brings.
pub(crate) fn passphrase(headers: &HeaderMap) -> ApiResult<Option<Secret>> {
    let Some(value) = headers.get(PASSPHRASE) else {
        return Ok(None);
    };
    STANDARD
        .decode(value.as_bytes())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(|text| Some(Secret::new(text)))
        .ok_or_else(|| {
            let detail = "the header Coracle-Passphrase is a text in base64";
            Problem::new(Code::InvalidField, detail)
                .field("passphrase")
                .into()
        })
}

struct Exporter {
    state: ApiState,
    header: Header,
    seal: Option<Seal>,
    projects: Vec<ProjectRecord>,
    apps: Vec<(ProjectName, AppName)>,
    users: Option<Vec<UserRecord>>,
}

/// Export projects with their apps, releases, images and secrets: an archive that `POST /api/v1/import` takes on another
/// platform. The header `Coracle-Passphrase` (base64) has the passphrase that secrets are sealed with, and that vouches for
/// everything in the archive. Without secrets it may be left out: then nobody vouches for what is in the archive.
#[utoipa::path(get, path = "/api/v1/export", tag = "platform", params(ExportQuery), responses(
    (status = 200, description = "application/zstd: a tar in zstd"), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<ExportQuery>,
) -> ApiResult<Response> {
    let passphrase = passphrase(&headers)?;
    let only = query.projects.as_deref().map(parse_projects).transpose()?;
    let control = &state.control;
    let projects = control.export_projects(only.as_ref()).await?;
    let mut apps = Vec::new();
    let mut secrets = false;
    for project in &projects {
        let (names, sealed) = control.export_apps(&project.name).await?;
        secrets |= sealed;
        apps.extend(names.into_iter().map(|app| (project.name.clone(), app)));
    }
    let sealed = match &passphrase {
        Some(passphrase) => Some(Seal::create(passphrase).await?),
        None if secrets => {
            let detail = "there are secrets to export: a passphrase is needed to seal them with";
            return Err(Problem::new(Code::InvalidField, detail)
                .field("passphrase")
                .hint("`coracle export` asks for it on a terminal, or takes it from --passphrase-file or CORACLE_PASSPHRASE")
                .into());
        }
        None => None,
    };
    let (seal, parameters) = sealed.unzip();
    let users = match query.users {
        true => Some(control.export_users().await?),
        false => None,
    };
    let message = format!(
        "{} projects with {} apps exported",
        projects.len(),
        apps.len()
    );
    let exporter = Exporter {
        header: control.export_header(env!("CARGO_PKG_VERSION"), parameters),
        state: state.clone(),
        seal,
        projects,
        apps,
        users,
    };
    let what = (Kind::Project, "export");
    control
        .journal
        .record(&caller.actor(), "platform.exported", None, what, message)
        .await;
    let ended = Tenure::new(&state, caller).ended();
    let (out, chunks) = mpsc::channel(CHUNKS);
    state.supervisor.spawn("export", async move {
        let outcome = tokio::select! {
            outcome = exporter.write(out.clone()) => outcome,
            () = ended => Err(io::Error::other("the credentials ended")),
        };
        if let Err(error) = outcome {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an export was cut off"
            );
            // Breaks the connection, so that what came does not look whole.
            if out
                .send(Err(io::ErrorKind::Interrupted.into()))
                .await
                .is_err()
            {
                tracing::debug!("its receiver had left");
            }
        }
    });
    let name = "attachment; filename=\"coracle-export.tar.zst\"";
    let kind = [
        (header::CONTENT_TYPE, "application/zstd"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((kind, Body::from_stream(ReceiverStream::new(chunks))).into_response())
}

fn parse_projects(text: &str) -> ApiResult<BTreeSet<ProjectName>> {
    text.split(',')
        .map(|name| {
            ProjectName::new(name.trim()).map_err(|error| {
                Problem::new(Code::InvalidField, error.to_string())
                    .field("projects")
                    .into()
            })
        })
        .collect()
}

impl Exporter {
    async fn write(self, out: mpsc::Sender<io::Result<bytes::Bytes>>) -> io::Result<()> {
        let mut archive = ArchiveWriter::new(out)?;
        archive.record(HEADER_FILE, &self.header).await?;
        archive.record(PROJECTS_FILE, &self.projects).await?;
        if let Some(users) = &self.users {
            archive.record(USERS_FILE, users).await?;
        }
        let mut blobs = BTreeSet::new();
        for (project, name) in &self.apps {
            let control = &self.state.control;
            let secrets = self.seal.as_ref().map(|seal| &seal.secrets);
            let record = control.export_app(project, name, secrets);
            let Some(mut record) = record.await.map_err(io::Error::other)? else {
                continue;
            };
            self.add_images(&mut record, &mut blobs)
                .await
                .map_err(internal)?;
            let path = format!("{APPS_FOLDER}/{project}/{name}.json");
            archive.record(&path, &record).await?;
        }
        let mut written = BTreeSet::new();
        for (digest, repository) in blobs {
            if !written.insert(digest.clone()) {
                continue;
            }
            let found = self.state.registry.blob(&repository, &digest, None).await;
            let content = found.map_err(io::Error::other)?;
            let path = blob_path(&digest);
            archive.file(&path, content.size, content.stream).await?;
        }
        archive.finish(self.seal.as_ref()).await
    }

    /// Notes which images the app's releases have in the registry, and collects their blobs.
    async fn add_images(
        &self,
        app: &mut AppRecord,
        blobs: &mut BTreeSet<(Digest, RepositoryName)>,
    ) -> Result<(), RegistryError> {
        let prefix = format!("{}/", self.header.registry_host);
        let mut known = BTreeSet::new();
        for release in &app.releases {
            let image = pinned(release);
            let Some((repository, digest)) = image
                .as_str()
                .strip_prefix(&prefix)
                .and_then(|rest| rest.split_once('@'))
            else {
                continue;
            };
            // A tag may stand before the digest.
            let repository = repository.split(':').next().unwrap_or_default();
            let owner = repository.split('/').next();
            if owner != Some(app.project.as_str()) {
                // Older platforms ran it; no project takes it any more.
                tracing::warn!(%image, project = %app.project, "the image of a release is not its project's own, and stays behind");
                continue;
            }
            let (Ok(repository), Ok(digest)) =
                (RepositoryName::new(repository), digest.parse::<Digest>())
            else {
                continue;
            };
            if !known.insert((repository.clone(), digest.clone())) {
                continue;
            }
            match self.image(&repository, &digest).await {
                Ok(image) => {
                    for blob in &image.blobs {
                        let digest = blob.digest.parse()?;
                        blobs.insert((digest, repository.clone()));
                    }
                    app.images.push(image);
                }
                // The history may be longer than the registry's memory.
                Err(RegistryError::ManifestUnknown(_) | RegistryError::BlobUnknown(_)) => {
                    tracing::warn!(%repository, %digest, "the image of a release is not in the registry any more");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Everything that an image is made of. In an index, platforms that were never pushed are left out as they are here.
    async fn image(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<ImageRecord, RegistryError> {
        let registry = &self.state.registry;
        let mut image = ImageRecord {
            repository: repository.to_string(),
            manifests: Vec::new(),
            blobs: Vec::new(),
        };
        let mut blobs = BTreeSet::new();
        let mut left = vec![digest.clone()];
        let mut seen = BTreeSet::new();
        while let Some(digest) = left.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            let stored = match registry
                .manifest(repository, &Reference::Digest(digest))
                .await
            {
                Ok(stored) => stored,
                Err(RegistryError::ManifestUnknown(_)) if !image.manifests.is_empty() => continue,
                Err(error) => return Err(error),
            };
            let parts: Parts = serde_json::from_slice(&stored.bytes)
                .map_err(|error| RegistryError::ManifestInvalid(error.to_string()))?;
            left.extend(parts.manifests.into_iter().map(|part| part.digest));
            for part in parts.config.into_iter().chain(parts.layers) {
                let size = registry.blob_size(repository, &part.digest).await?;
                blobs.insert(BlobRecord {
                    digest: part.digest.to_string(),
                    size,
                });
            }
            image.manifests.push(ManifestRecord {
                digest: stored.digest.to_string(),
                media_type: stored.media_type.to_string(),
                content: String::from_utf8(stored.bytes.to_vec())
                    .map_err(|error| RegistryError::ManifestInvalid(error.to_string()))?,
            });
        }
        // Those that others name are pushed first.
        image.manifests.reverse();
        image.blobs = blobs.into_iter().collect();
        Ok(image)
    }
}

/// What a manifest names.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    manifests: Vec<Part>,
    #[serde(default)]
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    digest: Digest,
}

fn internal(error: RegistryError) -> io::Error {
    io::Error::other(error)
}
