//! Apps: what a person wants to run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::env::{EnvValue, EnvVars};
use crate::name::{AppName, EnvName, Hostname, ProcessName, ProjectName};
use crate::object::{Kind, Of, Spec};
use crate::release::ReleaseNumber;

/// An app.
pub type App = Of<AppSpec>;

/// What an app is asked to be, beside what its releases say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AppSpec {
    /// How many pods a process has, where somebody scaled it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scale: BTreeMap<ProcessName, u32>,
    /// Variables of the app's own. API answers leave them out: they have a route of their own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<EnvName, EnvValue>)]
    pub env: EnvVars,
    /// Host names beside the one that every app has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<Hostname>,
}

/// Where an app stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AppPhase {
    /// It has no release, or was scaled to nothing.
    #[default]
    Stopped,
    /// A release is being deployed.
    Deploying,
    /// Its live release has ready pods.
    Running,
    /// It has no pods until the next request.
    Sleeping,
    /// Its pods do not work, or its only release failed.
    Failed,
}

/// What the platform made of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct AppStatus {
    /// Where it stands.
    pub phase: AppPhase,
    /// Where people reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The release that has the traffic. Writing it is what moves the traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseNumber>,
    /// The spec was last changed by a write after this revision of the store: whoever read the app later has seen the
    /// spec as it is. That is what `If-Match` is held against, so that a controller's status is in nobody's way. 0:
    /// not known. API answers leave it out.
    #[serde(skip_serializing_if = "is_zero")]
    pub spec_after: u64,
    /// The last number given to a release.
    pub last_release: u32,
    /// The last number given to a build.
    pub last_build: u32,
    /// Why it is in this phase, when that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its processes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub processes: BTreeMap<ProcessName, ProcessStatus>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One process of the live release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProcessStatus {
    /// Pods that it should have.
    pub replicas: u32,
    /// Pods that are ready.
    pub ready: u32,
}

impl Spec for AppSpec {
    const KIND: Kind = Kind::App;
    type Status = AppStatus;
}

/// The first label of the host name that every app has: `APP`, or `APP-PROJECT` outside project `default`.
#[must_use]
pub fn host_label(project: &ProjectName, app: &AppName) -> String {
    if project.is_default() {
        app.to_string()
    } else {
        format!("{app}-{project}")
    }
}

/// A change of scale: pods by process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleChange {
    /// Pods by process; processes that are not named stay as they are.
    pub processes: BTreeMap<ProcessName, u32>,
}
