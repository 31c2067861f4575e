//! The envelope that every API object comes in.
//!
//! `{"kind", "metadata": {…}, "spec": {…}, "status": {…}}`: `spec` is what somebody asked for, `status` is
//! what the platform made of it. People write specs, controllers write statuses.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::name::ProjectName;

/// What sort of object this is.
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
pub enum Kind {
    /// A boundary of names, access, quota and network.
    Project,
    /// What a person wants to run.
    App,
    /// One run that turns source into an image.
    Build,
    /// An immutable pair of image and configuration.
    Release,
    /// One running instance.
    Pod,
    /// A machine that runs pods.
    Node,
    /// Somebody who may log in.
    User,
    /// A key to the API.
    Token,
    /// A host name that belongs to an app.
    Domain,
    /// Something that happened.
    Event,
    /// Data that outlives pods.
    Volume,
    /// Source that was brought here to be built.
    Source,
    /// What a repository of the registry holds.
    Image,
    /// The embedded registry, and the state of its collection.
    Registry,
    /// What administrators set for the whole platform.
    Settings,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Project,
        Self::App,
        Self::Build,
        Self::Release,
        Self::Pod,
        Self::Node,
        Self::User,
        Self::Token,
        Self::Domain,
        Self::Event,
        Self::Volume,
        Self::Source,
        Self::Image,
        Self::Registry,
        Self::Settings,
    ];

    /// The plural as it stands in API paths and store keys.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Project => "projects",
            Self::App => "apps",
            Self::Build => "builds",
            Self::Release => "releases",
            Self::Pod => "pods",
            Self::Node => "nodes",
            Self::User => "users",
            Self::Token => "tokens",
            Self::Domain => "domains",
            Self::Event => "events",
            Self::Volume => "volumes",
            Self::Source => "sources",
            Self::Image => "images",
            Self::Registry => "registry",
            Self::Settings => "settings",
        }
    }
}

/// Who an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Metadata {
    /// Unique among its kind in its project (or app).
    pub name: String,
    /// The project it belongs to; absent for objects of the whole platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// Never used twice, not even for an object of the same name after a deletion.
    #[serde(default)]
    pub uid: String,
    /// Changes with every write; send it as `If-Match` to be sure that nobody wrote in between. 0 in what was never stored.
    #[serde(default)]
    pub revision: u64,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// When its deletion was asked for; it vanishes once all that it owns is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<DateTime<Utc>>,
}

/// An API object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Object<S, T> {
    /// What sort of object this is.
    pub kind: Kind,
    /// Who it is.
    pub metadata: Metadata,
    /// What was asked for.
    pub spec: S,
    /// What the platform made of it.
    pub status: T,
}

/// The spec of a kind of object: ties it to its status and its kind.
pub trait Spec: Serialize + for<'de> Deserialize<'de> + Clone + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// What the platform makes of it.
    type Status: Serialize + for<'de> Deserialize<'de> + Clone + Default + Send + Sync + 'static;
}

/// The object whose spec is `S`.
pub type Of<S> = Object<S, <S as Spec>::Status>;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct List<T> {
    /// The objects, by name.
    pub items: Vec<T>,
    /// Cursor of the next page (`?after=`); absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
