//! Everything that people are shown of an image: its layers and how they came about.

use serde::{Deserialize, Serialize};

use super::{ConfigFile, IMAGE_CONFIGS, ImageConfig, Platform, bounds};
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::manifest::{Body, Descriptor, Manifest, MediaType};
use crate::registry::Registry;
use crate::repository::{Reference, RepositoryName, Tag};

/// The most entries of a history that are told.
const HISTORY_MOST: usize = 512;

/// An image with its layers and its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageDetail {
    /// Of the manifest that was asked for (the index, when it is one).
    pub digest: Digest,
    /// Its kind.
    pub media_type: MediaType,
    /// Bytes to be pulled for everything in it, each blob counted once.
    pub bytes: u64,
    /// Tags that mean it, in order.
    pub tags: Vec<Tag>,
    /// What it is made for; of an index with the manifest of each.
    pub platforms: Vec<ImagePlatform>,
    /// What the image runs on; of an index the first one.
    pub platform: Option<Platform>,
    /// How it runs; of an index the first one.
    pub config: ImageConfig,
    /// Its layers, the lowest first; of an index those of the first image.
    pub layers: Vec<Layer>,
    /// The steps that made it, the first first.
    pub history: Vec<Step>,
}

/// One platform of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImagePlatform {
    /// The platform.
    pub platform: Platform,
    /// Of its manifest.
    pub digest: Digest,
    /// Bytes to be pulled for it.
    pub bytes: u64,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Of the layer as it is stored.
    pub digest: Digest,
    /// As it is stored.
    pub bytes: u64,
    /// What it is.
    pub media_type: String,
}

/// A step of an image's history, as whoever built it wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When (RFC 3339).
    pub created: Option<String>,
    /// The instruction.
    pub created_by: Option<String>,
    /// A remark.
    pub comment: Option<String>,
    /// Did it make no layer?
    pub empty_layer: bool,
    /// Bytes of the layer that it made.
    pub bytes: Option<u64>,
}

/// A step as it stands in a configuration.
#[derive(Deserialize)]
pub(super) struct HistoryEntry {
    created: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    #[serde(default)]
    empty_layer: bool,
}

/// Each step with the layer that it made: those that made one are in the order of the layers.
fn steps(history: Vec<HistoryEntry>, layers: &[Layer]) -> Vec<Step> {
    let mut layers = layers.iter();
    let step = |entry: HistoryEntry| Step {
        bytes: (!entry.empty_layer)
            .then(|| layers.next().map(|layer| layer.bytes))
            .flatten(),
        created: entry.created.map(bounds::name),
        created_by: entry.created_by.map(bounds::text),
        comment: entry.comment.map(bounds::text),
        empty_layer: entry.empty_layer,
    };
    history.into_iter().take(HISTORY_MOST).map(step).collect()
}

impl Registry {
    /// Everything about an image. In an index, manifests of other indexes are not looked into.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`].
    pub async fn image_detail(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ImageDetail, RegistryError> {
        let summary = self.image(repository, reference).await?;
        let reference = Reference::Digest(summary.digest.clone());
        let stored = self.manifest(repository, &reference).await?;
        let top = self.parsed(&stored.bytes, stored.media_type)?;
        let tags = self.tag_records(repository).await?;
        let mut detail = ImageDetail {
            tags: tags
                .into_iter()
                .filter(|(_, means)| *means == summary.digest)
                .map(|(tag, _)| tag)
                .collect(),
            digest: summary.digest,
            media_type: summary.media_type,
            bytes: summary.size,
            platforms: Vec::new(),
            platform: summary.platforms.first().cloned(),
            config: summary.config.unwrap_or_default(),
            layers: Vec::new(),
            history: Vec::new(),
        };
        match &top.body {
            Body::Image { .. } => {
                let platforms = summary.platforms.into_iter().map(|platform| ImagePlatform {
                    platform,
                    digest: detail.digest.clone(),
                    bytes: detail.bytes,
                });
                detail.platforms = platforms.collect();
                self.add_layers(repository, &top, &mut detail).await?;
            }
            Body::Index { manifests } => {
                self.add_children(repository, manifests, &mut detail)
                    .await?;
            }
        }
        Ok(detail)
    }

    async fn add_children(
        &self,
        repository: &RepositoryName,
        manifests: &[Descriptor],
        detail: &mut ImageDetail,
    ) -> Result<(), RegistryError> {
        for listed in manifests {
            let child = Reference::Digest(listed.digest.clone());
            // A child can have been deleted by itself; the rest is still of interest.
            let stored = match self.manifest(repository, &child).await {
                Ok(stored) => stored,
                Err(RegistryError::ManifestUnknown(_)) => continue,
                Err(error) => return Err(error),
            };
            let manifest = self.parsed(&stored.bytes, stored.media_type)?;
            let Body::Image { .. } = manifest.body else {
                continue;
            };
            // What stands beside images, such as how they were built, says that it is for no platform.
            let Some(platform) = listed.platform.clone().filter(|p| p.os != "unknown") else {
                continue;
            };
            let blobs = manifest.blobs().iter().map(|blob| blob.size).sum::<u64>();
            detail.platforms.push(ImagePlatform {
                platform: platform.bounded(),
                digest: stored.digest,
                bytes: blobs + stored.bytes.len() as u64,
            });
            if detail.layers.is_empty() {
                self.add_layers(repository, &manifest, detail).await?;
            }
        }
        Ok(())
    }

    async fn add_layers(
        &self,
        repository: &RepositoryName,
        manifest: &Manifest,
        detail: &mut ImageDetail,
    ) -> Result<(), RegistryError> {
        let Body::Image { config, layers } = &manifest.body else {
            return Ok(());
        };
        let layer = |descriptor: &Descriptor| Layer {
            digest: descriptor.digest.clone(),
            bytes: descriptor.size,
            media_type: bounds::name(descriptor.media_type.clone()),
        };
        detail.layers = layers.iter().map(layer).collect();
        if IMAGE_CONFIGS.contains(&config.media_type.as_str()) {
            let bytes = self.small_blob(repository, &config.digest).await?;
            if let Ok(file) = serde_json::from_slice::<ConfigFile>(&bytes) {
                detail.history = steps(file.history.unwrap_or_default(), &detail.layers);
            }
        }
        Ok(())
    }
}
