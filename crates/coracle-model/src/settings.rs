//! What administrators set for the whole platform, while it runs.

use serde::{Deserialize, Serialize};

use crate::env::Secret;
use crate::name::Hostname;
use crate::object::{Kind, Of, Spec};
use crate::quantity::{ByteSize, Cpu};
use crate::release::RunConfig;

/// The settings of a platform. There is one such object.
pub type PlatformSettings = Of<SettingsSpec>;

/// What is set. What is left out is as the platform was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsSpec {
    /// Apps are served at `APP.DOMAIN`. A change moves all apps to their new host names, and the old ones lead nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<Hostname>,
    /// With what images of other registries are pulled, for all projects. By host, each once.
    pub registries: Vec<RegistryLogin>,
    /// What apps get that do not say it themselves.
    pub defaults: Defaults,
    /// How much is kept.
    pub retention: Retention,
    /// How long a login lasts, in days, 1 to 365; 30 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_days: Option<u32>,
}

/// How to log in to a registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryLogin {
    /// The registry, as images name it: `host[:port]`, `docker.io` for images without one.
    pub host: String,
    /// The user.
    pub username: String,
    /// The password or token. Written and never answered; when absent, the one that the host has stays.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed"
    )]
    #[schema(value_type = Option<String>)]
    pub password: Option<Secret>,
    /// Is there a password? Not looked at when it is sent.
    #[serde(default)]
    pub has_password: bool,
    /// The password as it is stored. Answers leave it out, and it is not looked at when it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub sealed: Option<String>,
}

/// For whoever sends it: what is stored and answered has none.
fn exposed<S: serde::Serializer>(
    password: &Option<Secret>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    password.as_ref().map(Secret::expose).serialize(serializer)
}

/// What apps get that do not say it themselves. Holds for releases that are made from then on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// Pods of process `web`, where its source asks for no more than one and has no volumes; 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The most processor time of a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// The most memory of a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
}

/// How much is kept of each app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Builds with their logs, 1 to 1000; 20 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builds: Option<u32>,
    /// Releases, 1 to 1000; 20 when absent. Ten that were live once are kept to roll back to, whatever this says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub releases: Option<u32>,
}

/// What holds, whether it was set or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct SettingsStatus {
    /// Apps are served under this domain.
    pub domain: String,
    /// A login lasts so many days.
    pub session_days: u32,
}

impl SettingsSpec {
    /// How long a login lasts when nothing was set, in days.
    pub const SESSION_DAYS: u32 = 30;
    /// The longest that a login may last, in days.
    pub const MOST_SESSION_DAYS: u32 = 365;
    /// The most registries.
    pub const MOST_REGISTRIES: usize = 50;

    /// How long a login lasts, in days.
    #[must_use]
    pub fn days_of_session(&self) -> u32 {
        self.session_days.unwrap_or(Self::SESSION_DAYS)
    }
}

impl Defaults {
    /// Puts them where a configuration says nothing itself.
    pub fn fill(&self, config: &mut RunConfig) {
        let alone = !config.volumes.is_empty();
        for (name, process) in &mut config.processes {
            process.cpu = process.cpu.or(self.cpu);
            process.memory = process.memory.or(self.memory);
            if let Some(replicas) = self.replicas
                && name.is_web()
                && !alone
                && process.scale.is_none()
            {
                process.replicas = process.replicas.max(replicas);
            }
        }
    }
}

impl Spec for SettingsSpec {
    const KIND: Kind = Kind::Settings;
    type Status = SettingsStatus;
}
