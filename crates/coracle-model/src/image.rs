//! Images of the registry, and who relies on them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::name::{AppName, PodName, ProjectName};
use crate::release::ReleaseNumber;

/// Something that relies on an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageUse {
    /// Its project.
    pub project: ProjectName,
    /// The app.
    pub app: Option<AppName>,
    /// The release that runs it.
    pub release: Option<ReleaseNumber>,
    /// The build that made it, such as `b3`.
    pub build: Option<String>,
    /// The bare pod that runs it.
    pub pod: Option<PodName>,
    /// How much would break without it.
    pub live: Live,
}

/// How much something relies on an image.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Live {
    /// It only says where the image came from.
    No,
    /// It can be rolled back to.
    Earlier,
    /// It is on its way.
    Deploying,
    /// It runs.
    Live,
}

impl Live {
    /// May the image be deleted by somebody who insists?
    #[must_use]
    pub const fn may_be_forced(self) -> bool {
        matches!(self, Self::No | Self::Earlier)
    }
}

impl std::fmt::Display for ImageUse {
    /// As it stands in a sentence.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.release, &self.build, &self.pod) {
            (Some(release), ..) => write!(f, "release {release}")?,
            (None, Some(build), _) => write!(f, "build {build}")?,
            (None, None, Some(pod)) => write!(f, "pod {pod}")?,
            (None, None, None) => f.write_str("something")?,
        }
        if let Some(app) = &self.app {
            write!(f, " of {app}")?;
        }
        write!(f, " in project {}", self.project)?;
        f.write_str(match self.live {
            Live::Live => " (runs)",
            Live::Deploying => " (is on its way)",
            Live::Earlier => " (can be rolled back to)",
            Live::No => "",
        })
    }
}

/// A repository of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Repository {
    /// Its name, such as `default/hello`.
    pub name: String,
    /// What `docker pull` takes, without a tag.
    pub reference: String,
    /// The project that it belongs to; absent where it is the whole platform's.
    #[serde(default)]
    pub project: Option<ProjectName>,
    /// How many tags it has.
    #[serde(default)]
    pub tags: u64,
    /// Bytes of all that it has. Other repositories may have the same.
    #[serde(default)]
    pub bytes: u64,
    /// When something was pushed last.
    #[serde(default)]
    pub updated: Option<DateTime<Utc>>,
}

/// A tag of a repository, or an image that no tag means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageTag {
    /// The tag.
    pub tag: Option<String>,
    /// What `docker pull` takes.
    pub reference: String,
    /// Of the image.
    pub digest: String,
    /// Bytes to be pulled for it.
    pub bytes: u64,
    /// When it was made, as whoever made it says; or else when it was pushed.
    pub created: String,
    /// What it is made for, such as `linux/amd64`.
    pub platforms: Vec<String>,
    /// Who relies on it.
    pub used_by: Vec<ImageUse>,
}

/// An image. What its maker wrote (labels, history, commands, names of variables) is theirs: text of bounded length that nobody checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageDetail {
    /// Where it is.
    pub repository: String,
    /// Of what was asked for: the index, when it is one.
    pub digest: String,
    /// Its kind.
    pub media_type: String,
    /// Bytes to be pulled for all that is in it.
    pub bytes: u64,
    /// When it was made, as whoever made it says.
    pub created: Option<String>,
    /// Of the image, or the first one of an index.
    pub architecture: Option<String>,
    /// Of the image, or the first one of an index.
    pub os: Option<String>,
    /// What it is made for.
    pub platforms: Vec<ImagePlatform>,
    /// Tags that mean it.
    pub tags: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Names of the variables that it sets. Their values are not told.
    pub env: Vec<String>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// User and group.
    pub user: Option<String>,
    /// Ports that it says it listens on, such as `8080/tcp`.
    pub ports: Vec<String>,
    /// Paths that it says are volumes.
    pub volumes: Vec<String>,
    /// Where it starts.
    pub workdir: Option<String>,
    /// Its layers, the lowest first; of an index those of the first image.
    pub layers: Vec<ImageLayer>,
    /// The steps that made it, the first first.
    pub history: Vec<ImageStep>,
    /// Who relies on it.
    pub used_by: Vec<ImageUse>,
}

/// What an image is made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImagePlatform {
    /// Such as `linux/amd64`.
    pub platform: String,
    /// Of the image for it.
    pub digest: String,
    /// Bytes to be pulled for it.
    pub bytes: u64,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageLayer {
    /// Of the layer as it is stored.
    pub digest: String,
    /// As it is stored.
    pub bytes: u64,
    /// What it is.
    pub media_type: String,
}

/// A step of an image's history, as whoever built it wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageStep {
    /// When.
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
