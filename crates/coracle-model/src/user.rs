//! Users and roles.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::name::ProjectName;
use crate::object::{Kind, Of, Spec};

/// A user. The password's hash is a record of its own and in no API object.
pub type User = Of<UserSpec>;

/// What a user may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// What they may do.
    pub role: Role,
    /// Where they may do it. Administrators are everywhere.
    #[serde(default)]
    pub projects: ProjectScope,
}

/// What somebody may do. Each role may do all that the one before it may.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
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
pub enum Role {
    /// Look.
    #[default]
    Viewer,
    /// Deploy, change and delete apps and pods, run commands in them.
    Developer,
    /// Everything: users, projects, nodes.
    Admin,
}

/// In which projects a role holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProjectScope {
    /// In all.
    #[default]
    All,
    /// In these.
    Only(BTreeSet<ProjectName>),
}

impl ProjectScope {
    /// Does it hold in `project`?
    #[must_use]
    pub fn contains(&self, project: &ProjectName) -> bool {
        match self {
            Self::All => true,
            Self::Only(projects) => projects.contains(project),
        }
    }
}

/// What is known of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UserStatus {}

impl Spec for UserSpec {
    const KIND: Kind = Kind::User;
    type Status = UserStatus;
}
