//! The embedded registry, and the collection of what nothing in it needs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::object::{Kind, Of, Spec};
use crate::quantity::Span;

/// The registry. There is one, named `registry`.
pub type Registry = Of<RegistrySpec>;

/// What is asked of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct RegistrySpec {
    /// When somebody asked for a collection last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested: Option<DateTime<Utc>>,
    /// Who did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// What is younger stays, in the collection that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_age: Option<Span>,
}

/// How the collection is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct CollectionStatus {
    /// Where it stands.
    pub phase: CollectionPhase,
    /// When the last one began.
    pub started: Option<DateTime<Utc>>,
    /// When the last one ended, well or not.
    pub finished: Option<DateTime<Utc>>,
    /// Bytes that the last one freed.
    pub freed_bytes: u64,
    /// Images that the last one removed: nothing needed them.
    pub freed_images: u64,
    /// Why the last one failed, or what it left alone.
    pub reason: Option<String>,
}

/// Where a collection stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum CollectionPhase {
    /// None goes on.
    #[default]
    Idle,
    /// One goes on.
    Running,
    /// The last one failed. The next is tried by itself.
    Failed,
}

impl Spec for RegistrySpec {
    const KIND: Kind = Kind::Registry;
    type Status = CollectionStatus;
}

/// How the registry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegistryState {
    /// Bytes of all that it holds, each piece counted once.
    pub bytes: u64,
    /// Pieces of content: layers, configurations and manifests.
    pub blobs: u64,
    /// Repositories with an image.
    pub repositories: u64,
    /// Bytes that a collection would free now; absent while one goes on.
    pub reclaimable_bytes: Option<u64>,
    /// The disk that it is on.
    pub disk: DiskState,
    /// How the collection is.
    pub collection: CollectionStatus,
}

/// A disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DiskState {
    /// Its bytes.
    pub total: u64,
    /// Bytes that the platform may still use.
    pub free: u64,
}
