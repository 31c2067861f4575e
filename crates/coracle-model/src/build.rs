//! Builds: runs that turn source into an image.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::name::{AppName, ImageRef};
use crate::object::{Kind, Of, Spec};
use crate::release::{ReleaseNumber, RunChange};
use crate::source::{Commit, GitRef, GitUrl, SourcePath, TemplateName};

/// A build. Its `metadata.name` is its number, such as `b3`.
pub type Build = Of<BuildSpec>;

/// What is to be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BuildSpec {
    /// Its app.
    pub app: AppName,
    /// Its number within the app, from 1.
    pub number: u32,
    /// What it is made from.
    pub source: Source,
    /// What is to be run otherwise than the source says.
    #[serde(default, skip_serializing_if = "RunChange::is_empty")]
    pub config: RunChange,
    /// Who asked for it.
    pub created_by: String,
    /// Set when somebody asked for its end.
    #[serde(default)]
    pub cancel: Cancel,
}

/// Was the end of a build asked for?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cancel {
    /// No.
    #[default]
    No,
    /// Yes.
    Requested,
}

/// What a build is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = BuildSource)]
pub enum Source {
    /// A compressed tar that was uploaded.
    Upload {
        /// Names the file under the data directory; made by the platform.
        id: String,
        /// Compressed size in bytes.
        bytes: u64,
    },
    /// A commit of a Git repository.
    Git(GitSource),
    /// One of the platform's templates.
    Template {
        /// Names the file under the data directory; made by the platform.
        id: String,
        /// Compressed size in bytes.
        bytes: u64,
        /// Its name.
        template: TemplateName,
    },
}

/// A commit of a Git repository, as it was fetched for a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GitSource {
    /// Names the file under the data directory; made by the platform.
    pub id: String,
    /// Compressed size in bytes.
    pub bytes: u64,
    /// The repository, without credentials.
    pub url: GitUrl,
    /// The branch or tag that was asked for.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<GitRef>,
    /// The folder in the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<SourcePath>,
    /// The commit.
    pub commit: Commit,
}

impl Source {
    /// Names the file under the data directory.
    #[must_use]
    pub const fn file(&self) -> &String {
        match self {
            Self::Upload { id, .. } | Self::Template { id, .. } => id,
            Self::Git(git) => &git.id,
        }
    }
}

/// Where a build stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum BuildPhase {
    /// It waits for its turn.
    #[default]
    Queued,
    /// It runs.
    Running,
    /// Its image is in the registry and its release was made.
    Succeeded,
    /// `reason` says why.
    Failed,
    /// Somebody ended it, or a newer one took its place in the queue.
    Cancelled,
}

impl BuildPhase {
    /// Will nothing more happen to it?
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What the platform made of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct BuildStatus {
    /// Where it stands.
    pub phase: BuildPhase,
    /// Why it ended so, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The image in the registry, by digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRef>,
    /// The release that was made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseNumber>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<DateTime<Utc>>,
}

impl Spec for BuildSpec {
    const KIND: Kind = Kind::Build;
    type Status = BuildStatus;
}
