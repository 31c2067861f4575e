//! What an image is, in short, for people and for the release controller.
//!
//! Theory of operation: read on demand from the manifest and its configuration; nothing is kept. Environment values are left
//! out: images carry secrets there more often than they should.

mod bounds;
mod detail;
mod listing;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::manifest::{Body, Descriptor, Manifest, MediaType};
use crate::registry::Registry;
use crate::repository::{Reference, RepositoryName};

pub use self::detail::{ImageDetail, ImagePlatform, Layer, Step};
pub use self::listing::ImageEntry;

/// Operating system and processor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `linux`.
    #[serde(default)]
    pub os: String,
    /// Such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The same, of bounded length: it is a client's own text.
    fn bounded(self) -> Self {
        Self {
            os: bounds::name(self.os),
            architecture: bounds::name(self.architecture),
            variant: self.variant.map(bounds::name),
        }
    }
}

impl std::fmt::Display for Platform {
    /// As people and tools write it: `linux/arm64/v8`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// An image in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Of the manifest that was asked for (the index, when it is one).
    pub digest: Digest,
    /// Its kind.
    pub media_type: MediaType,
    /// Bytes to be pulled for everything in it, each blob counted once.
    pub size: u64,
    /// What it runs on.
    pub platforms: Vec<Platform>,
    /// The configuration of the image, or of the first one in an index. None for artifacts that are not images.
    pub config: Option<ImageConfig>,
}

/// The parts of an image's configuration that say how to run it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImageConfig {
    /// When it was made (RFC 3339), as the builder wrote it.
    pub created: Option<String>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub command: Vec<String>,
    /// Names of the environment variables that it sets.
    pub env_names: Vec<String>,
    /// Ports that it says it listens on, such as `8080/tcp`.
    pub exposed_ports: Vec<String>,
    /// Paths that it says are volumes.
    pub volumes: Vec<String>,
    /// User and group.
    pub user: Option<String>,
    /// Where it starts.
    pub working_dir: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ConfigFile {
    created: Option<String>,
    #[serde(flatten)]
    platform: Option<Platform>,
    config: Option<ConfigSection>,
    history: Option<Vec<detail::HistoryEntry>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConfigSection {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    user: Option<String>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

impl From<ConfigFile> for ImageConfig {
    fn from(file: ConfigFile) -> Self {
        let section = file.config.unwrap_or_default();
        let env = section.env.unwrap_or_default();
        let filled = |text: &String| !text.is_empty();
        Self {
            created: file.created.map(bounds::name),
            entrypoint: bounds::texts(section.entrypoint.unwrap_or_default()),
            command: bounds::texts(section.cmd.unwrap_or_default()),
            env_names: bounds::names(
                env.iter()
                    .filter_map(|e| e.split('=').next().map(str::to_owned)),
            ),
            exposed_ports: bounds::names(section.exposed_ports.unwrap_or_default().into_keys()),
            volumes: bounds::texts(section.volumes.unwrap_or_default().into_keys()),
            user: section.user.filter(filled).map(bounds::name),
            working_dir: section.working_dir.filter(filled).map(bounds::text),
            labels: bounds::map(section.labels.unwrap_or_default()),
        }
    }
}

/// Media types of configurations that are images'.
const IMAGE_CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

impl Registry {
    /// An image in short. In an index, manifests of other indexes are not looked into.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`].
    pub async fn image(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ImageSummary, RegistryError> {
        let stored = self.manifest(repository, reference).await?;
        let top = self.parsed(&stored.bytes, stored.media_type)?;
        let mut summary = ImageSummary {
            digest: stored.digest,
            media_type: stored.media_type,
            size: stored.bytes.len() as u64,
            platforms: Vec::new(),
            config: None,
        };
        let mut seen = HashSet::new();
        match &top.body {
            Body::Image { config, .. } => {
                summary.size += new_bytes(&top, &mut seen);
                self.add_config(repository, config, &mut summary).await?;
            }
            Body::Index { manifests } => {
                for child in manifests {
                    summary.platforms.extend(
                        child
                            .platform
                            .clone()
                            .filter(|p| p.os != "unknown")
                            .map(Platform::bounded),
                    );
                    let found = self
                        .manifest(repository, &child.digest.clone().into())
                        .await;
                    // A child can have been deleted by itself; the rest is still of interest.
                    let child = match found {
                        Ok(child) => child,
                        Err(RegistryError::ManifestUnknown(_)) => continue,
                        Err(error) => return Err(error),
                    };
                    let manifest = self.parsed(&child.bytes, child.media_type)?;
                    summary.size += child.bytes.len() as u64 + new_bytes(&manifest, &mut seen);
                    if let (Body::Image { config, .. }, None) = (&manifest.body, &summary.config) {
                        let listed = summary.platforms.clone();
                        self.add_config(repository, config, &mut summary).await?;
                        if !listed.is_empty() {
                            summary.platforms = listed;
                        }
                    }
                }
            }
        }
        Ok(summary)
    }

    fn parsed(&self, bytes: &[u8], kind: MediaType) -> Result<Manifest, RegistryError> {
        Manifest::parse(bytes, Some(kind), self.inner.limits.manifest_references)
    }

    async fn add_config(
        &self,
        repository: &RepositoryName,
        config: &Descriptor,
        summary: &mut ImageSummary,
    ) -> Result<(), RegistryError> {
        if !IMAGE_CONFIGS.contains(&config.media_type.as_str()) {
            return Ok(());
        }
        let bytes = self.small_blob(repository, &config.digest).await?;
        // A configuration is a client's own text: one that cannot be read is shown as none.
        let Ok(mut file) = serde_json::from_slice::<ConfigFile>(&bytes) else {
            return Ok(());
        };
        summary.platforms.extend(
            file.platform
                .take()
                .filter(|p| !p.os.is_empty())
                .map(Platform::bounded),
        );
        summary.config = Some(file.into());
        Ok(())
    }
}

fn new_bytes(manifest: &Manifest, seen: &mut HashSet<Digest>) -> u64 {
    manifest
        .blobs()
        .into_iter()
        .filter(|d| seen.insert(d.digest.clone()))
        .map(|d| d.size)
        .sum()
}
