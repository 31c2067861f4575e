//! Projects: boundaries of names, access, quota and network.

use serde::{Deserialize, Serialize};

use crate::object::{Kind, Of, Spec};

/// A project.
pub type Project = Of<ProjectSpec>;

/// What a project is asked to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectSpec {
    /// For people.
    pub description: String,
}

/// What the platform made of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ProjectStatus {
    /// How many apps it has.
    pub apps: u32,
}

impl Spec for ProjectSpec {
    const KIND: Kind = Kind::Project;
    type Status = ProjectStatus;
}
