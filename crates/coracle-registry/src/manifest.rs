//! Manifests: media types and what a manifest says, checked. Pure.
//!
//! Theory of operation: the registry keeps a manifest's bytes as they came and only reads from them what it must know:
//! which other content it needs, and its `subject`. A document that could be read as two kinds at once is refused,
//! because then two clients would see two images under one digest (CVE-2021-41190).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::RegistryError;

/// Kinds of manifest that the registry takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// `application/vnd.oci.image.manifest.v1+json`
    OciManifest,
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerList,
}

impl MediaType {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::OciManifest,
        Self::OciIndex,
        Self::DockerManifest,
        Self::DockerList,
    ];

    /// As in `Content-Type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// Does it name other manifests (one per platform) instead of layers?
    #[must_use]
    pub const fn is_index(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MediaType {
    type Err = RegistryError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == s).ok_or_else(|| {
            RegistryError::ManifestInvalid(format!(
                "media type {}: use an OCI image manifest or index, or a Docker manifest (version 2) or list",
                coracle_model::name::shown(s)
            ))
        })
    }
}

impl Serialize for MediaType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A pointer to content (OCI image specification, descriptor).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Kind of artifact, in lists of referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// In an index: for which platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<crate::image::Platform>,
    /// Where else the content can be had: then the registry need not have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

/// What the registry knows of a manifest.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) media_type: MediaType,
    pub(crate) body: Body,
    pub(crate) subject: Option<Descriptor>,
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// What a manifest is made of.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// One image.
    Image {
        config: Box<Descriptor>,
        layers: Vec<Descriptor>,
    },
    /// Several manifests.
    Index { manifests: Vec<Descriptor> },
}

fn invalid(message: impl Into<String>) -> RegistryError {
    RegistryError::ManifestInvalid(message.into())
}

impl Manifest {
    /// Reads a manifest that came as `media_type`, or without a type.
    pub(crate) fn parse(
        bytes: &[u8],
        declared: Option<MediaType>,
        most: usize,
    ) -> Result<Self, RegistryError> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|e| invalid(format!("the manifest cannot be read: {e}")))?;
        if document.schema_version != 2 {
            return Err(invalid("schemaVersion must be 2"));
        }
        let inside = document
            .media_type
            .as_deref()
            .map(str::parse::<MediaType>)
            .transpose()?;
        let media_type = match (declared, inside) {
            (Some(declared), Some(inside)) if declared != inside => {
                return Err(invalid(format!(
                    "the request says {declared}, the manifest's mediaType says {inside}"
                )));
            }
            (Some(kind), _) | (None, Some(kind)) => kind,
            (None, None) => return Err(invalid("neither Content-Type nor mediaType is given")),
        };
        let body = match (
            media_type.is_index(),
            document.config,
            document.layers,
            document.manifests,
        ) {
            (true, None, None, Some(manifests)) => Body::Index { manifests },
            (true, ..) => {
                return Err(invalid(
                    "an index has manifests, and neither config nor layers",
                ));
            }
            (false, Some(config), Some(layers), None) => Body::Image {
                config: Box::new(config),
                layers,
            },
            (false, ..) => {
                return Err(invalid(
                    "an image manifest has config and layers, and no manifests",
                ));
            }
        };
        let count = match &body {
            Body::Image { layers, .. } => layers.len(),
            Body::Index { manifests } => manifests.len(),
        };
        if count > most {
            return Err(invalid(format!("a manifest may name at most {most} parts")));
        }
        Ok(Self {
            media_type,
            body,
            subject: document.subject,
            artifact_type: document.artifact_type,
            annotations: document.annotations,
        })
    }

    /// Blobs that must be in the repository, each once.
    pub(crate) fn blobs(&self) -> Vec<&Descriptor> {
        match &self.body {
            Body::Image { config, layers } => once_each(
                std::iter::once(&**config)
                    .chain(layers)
                    .filter(|d| d.urls.is_empty()),
            ),
            Body::Index { .. } => Vec::new(),
        }
    }

    /// Manifests that must be in the repository, each once.
    pub(crate) fn children(&self) -> Vec<&Descriptor> {
        match &self.body {
            Body::Image { .. } => Vec::new(),
            Body::Index { manifests } => once_each(manifests.iter().filter(|d| d.urls.is_empty())),
        }
    }

    /// Everything that it names, also what may be had elsewhere: blobs, or manifests.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, rest) = match &self.body {
            Body::Image { config, layers } => (Some(&**config), layers),
            Body::Index { manifests } => (None, manifests),
        };
        config.into_iter().chain(rest)
    }

    /// How this manifest shows in the list of its subject's referrers.
    pub(crate) fn referrer(&self, digest: Digest, size: u64) -> Descriptor {
        let artifact_type = self.artifact_type.clone().or_else(|| match &self.body {
            // The specification: without artifactType the config's media type stands for it.
            Body::Image { config, .. } => Some(config.media_type.clone()),
            Body::Index { .. } => None,
        });
        Descriptor {
            media_type: self.media_type.to_string(),
            digest,
            size,
            artifact_type,
            annotations: self.annotations.clone(),
            platform: None,
            urls: Vec::new(),
        }
    }
}

fn once_each<'a>(descriptors: impl Iterator<Item = &'a Descriptor>) -> Vec<&'a Descriptor> {
    let mut seen = std::collections::HashSet::new();
    descriptors.filter(|d| seen.insert(&d.digest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MOST: usize = 3;

    fn descriptor() -> serde_json::Value {
        json!({ "mediaType": "x", "digest": Digest::of(b""), "size": 0 })
    }

    fn parse(
        value: &serde_json::Value,
        declared: Option<MediaType>,
    ) -> Result<Manifest, RegistryError> {
        Manifest::parse(value.to_string().as_bytes(), declared, MOST)
    }

    #[test]
    fn kinds_are_not_mixed() {
        let image = json!({ "schemaVersion": 2, "config": descriptor(), "layers": [descriptor(), descriptor()] });
        let manifest = parse(&image, Some(MediaType::OciManifest)).unwrap();
        assert_eq!(manifest.blobs().len(), 1, "each digest is looked up once");
        assert!(parse(&image, Some(MediaType::OciIndex)).is_err());
        assert!(parse(&image, None).is_err());

        let mut both = image.clone();
        both["manifests"] = json!([descriptor()]);
        assert!(parse(&both, Some(MediaType::OciManifest)).is_err());
        assert!(parse(&both, Some(MediaType::OciIndex)).is_err());

        let mut other = image.clone();
        other["mediaType"] = json!(MediaType::DockerManifest);
        assert!(parse(&other, Some(MediaType::OciManifest)).is_err());
        assert_eq!(
            parse(&other, None).unwrap().media_type,
            MediaType::DockerManifest
        );
    }

    #[test]
    fn hostile_documents_are_refused() {
        let mut many = json!({ "schemaVersion": 2, "config": descriptor(), "layers": [] });
        many["layers"] = json!(vec![descriptor(); MOST + 1]);
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"schemaVersion":1,"config":null}"#,
            r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:../..","size":1},"layers":[]}"#,
            r#"{"schemaVersion":2,"schemaVersion":2}"#,
            &many.to_string(),
            &deep,
        ] {
            let error =
                Manifest::parse(bad.as_bytes(), Some(MediaType::OciManifest), MOST).unwrap_err();
            assert_eq!(error.code(), crate::ErrorCode::ManifestInvalid);
        }
        let negative =
            r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"D","size":-1},"layers":[]}"#
                .replace('D', &Digest::of(b"").to_string());
        assert!(Manifest::parse(negative.as_bytes(), Some(MediaType::OciManifest), MOST).is_err());
    }
}
