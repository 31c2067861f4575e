//! Domains: host names that belong to apps.
//!
//! A domain's object is its claim: its key is the host name, so that two apps cannot have one host. The host
//! name that every app has by default is claimed in the same way.

use serde::{Deserialize, Serialize};

use crate::name::{AppName, ProjectName};
use crate::object::{Kind, Of, Spec};

/// A claim to a host name. Its `metadata.name` is the host name.
pub type Domain = Of<DomainSpec>;

/// Whose host name it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainSpec {
    /// Project of the app.
    pub project: ProjectName,
    /// The app.
    pub app: AppName,
    /// Why the app has it.
    #[serde(default)]
    pub claim: Claim,
}

/// Why an app has a host name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// Somebody asked for it.
    #[default]
    Added,
    /// It is the one that every app has.
    Default,
}

/// What the platform made of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DomainStatus {}

impl Spec for DomainSpec {
    const KIND: Kind = Kind::Domain;
    type Status = DomainStatus;
}
