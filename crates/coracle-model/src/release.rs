//! Releases: immutable pairs of image and configuration, numbered per app.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::env::{EnvValue, EnvVars};
use crate::name::{
    AppName, EnvName, ImageRef, InvalidName, ProcessName, ProjectName, VolumeName, shown,
};
use crate::object::{Kind, Of, Spec};
use crate::quantity::{ByteSize, Cpu, Span};

/// A release. Its `metadata.name` is its number, such as `v3`.
pub type Release = Of<ReleaseSpec>;

/// The number of a release within its app, from 1. Written `v3`; `3` is read too.
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
#[serde(transparent)]
pub struct ReleaseNumber(pub u32);

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl FromStr for ReleaseNumber {
    type Err = InvalidName;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let digits = s.strip_prefix('v').unwrap_or(s);
        let number = digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())
            .flatten();
        match number {
            Some(n) if n > 0 => Ok(Self(n)),
            _ => Err(InvalidName {
                what: "release",
                shown: shown(s),
                rule: "use a number such as v3".into(),
            }),
        }
    }
}

/// What a release is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReleaseSpec {
    /// Its app.
    pub app: AppName,
    /// Its number.
    pub number: ReleaseNumber,
    /// The image as it was asked for; `status.image` is what it was pinned to.
    pub image: ImageRef,
    /// What runs: from the source's manifest.
    pub config: RunConfig,
    /// The app's own variables when the release was made; they win over the manifest's. Secret ones sealed.
    /// API answers leave them out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<EnvName, EnvValue>)]
    pub env: EnvVars,
    /// Where it came from.
    pub origin: Origin,
    /// Who asked for it.
    pub created_by: String,
}

/// Where a release came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// A build of source.
    Build {
        /// Its number.
        build: u32,
    },
    /// An image that existed.
    Image,
    /// An earlier release, again.
    Rollback {
        /// The earlier release.
        release: ReleaseNumber,
    },
    /// The release before, with changed variables.
    Config {
        /// The release whose image and processes it has.
        release: ReleaseNumber,
    },
    /// A release of another app, with this app's own variables.
    Promotion {
        /// The project of that app.
        project: ProjectName,
        /// That app.
        app: AppName,
        /// Its release.
        release: ReleaseNumber,
    },
}

/// What a source's manifest (or nothing) says about running it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// What to keep running. Never empty once validated: `web` when nothing is said.
    pub processes: BTreeMap<ProcessName, ProcessSpec>,
    /// Plain variables.
    pub env: BTreeMap<EnvName, String>,
    /// Runs once, to its end, with the new release's image and environment before traffic moves.
    pub release_command: Option<CommandLine>,
    /// Volumes that every pod of the app mounts.
    pub volumes: Vec<VolumeMount>,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            processes: BTreeMap::from([(ProcessName::web(), ProcessSpec::default())]),
            env: BTreeMap::new(),
            release_command: None,
            volumes: Vec::new(),
        }
    }
}

/// What is to be run otherwise than a source says. What is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunChange {
    /// By process; one that the source does not have is added.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub processes: BTreeMap<ProcessName, ProcessChange>,
    /// Plain variables, beside those of the source.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<EnvName, String>,
}

/// What of a process is to be otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessChange {
    /// What to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    /// The port it listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How many pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The most processor time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// The most memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
}

impl RunChange {
    /// Is nothing to be otherwise?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.env.is_empty()
    }

    /// Changes what a source says.
    pub fn apply(&self, config: &mut RunConfig) {
        for (name, change) in &self.processes {
            let process = config.processes.entry(name.clone()).or_default();
            if let Some(command) = &change.command {
                process.command = Some(command.clone());
            }
            process.port = change.port.or(process.port);
            process.replicas = change.replicas.unwrap_or(process.replicas);
            process.cpu = change.cpu.or(process.cpu);
            process.memory = change.memory.or(process.memory);
        }
        let env = self.env.iter();
        config
            .env
            .extend(env.map(|(name, value)| (name.clone(), value.clone())));
    }

    /// Applies every rule that holds whatever the source says.
    ///
    /// # Errors
    /// Every field whose value is not allowed.
    pub fn check(&self) -> Result<(), Vec<crate::manifest::rules::InvalidValue>> {
        let mut config = RunConfig::default();
        self.apply(&mut config);
        config.check()
    }
}

/// One process of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessSpec {
    /// What to run; the image's own command when absent.
    pub command: Option<CommandLine>,
    /// The port it listens on, told to it as `PORT`. For `web`: the image's exposed port, else 8080.
    pub port: Option<u16>,
    /// How many pods, unless the app was scaled.
    pub replicas: u32,
    /// The most processor time.
    pub cpu: Option<Cpu>,
    /// The most memory.
    pub memory: Option<ByteSize>,
    /// How to tell whether it works. TCP on the port when absent.
    pub health: Option<Health>,
    /// Automatic scaling.
    pub scale: Option<Scale>,
    /// Time between SIGTERM and SIGKILL.
    pub stop_grace: Span,
}

impl ProcessSpec {
    /// The most pods that one process may have.
    pub const MOST_REPLICAS: u32 = 100;
}

impl Default for ProcessSpec {
    fn default() -> Self {
        Self {
            command: None,
            port: None,
            replicas: 1,
            cpu: None,
            memory: None,
            health: None,
            scale: None,
            stop_grace: Span::secs(10),
        }
    }
}

/// A command, as a line for the image's shell or as words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum CommandLine {
    /// For the image's `/bin/sh -c`, so that `$PORT` works.
    Shell(String),
    /// Run as it is, without a shell.
    Exec(Vec<String>),
}

/// How to tell whether a pod works: asked by the platform, not by tools inside the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// HTTP path that must answer with 200 to 399. Absent: the port must accept a TCP connection.
    pub path: Option<String>,
    /// Between two probes.
    pub interval: Span,
    /// For one answer.
    pub timeout: Span,
    /// From the pod's start until it must be ready.
    pub grace: Span,
    /// So many failures in a row make a ready pod unready; three times as many restart it.
    pub failures: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: None,
            interval: Span::secs(5),
            timeout: Span::secs(5),
            grace: Span::secs(60),
            failures: 3,
        }
    }
}

/// Automatic scaling of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Fewest pods; 0 lets the process sleep.
    pub min: u32,
    /// Most pods.
    pub max: u32,
    /// Sleep after this long without a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Span>,
}

/// A volume in a pod's file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeMount {
    /// The volume's name within the app.
    pub name: VolumeName,
    /// Where it is mounted: absolute, not `/`.
    pub path: String,
    /// How large it may grow, where the engine can hold it to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
}

/// Where a release stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ReleasePhase {
    /// Nothing was done for it yet.
    #[default]
    Pending,
    /// Its image is fetched, its release command runs, or its pods start.
    Deploying,
    /// It has the traffic.
    Live,
    /// A newer one took its place.
    Superseded,
    /// It never became healthy. `reason` says why.
    Failed,
}

impl ReleasePhase {
    /// Will nothing more happen to it by itself?
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Superseded | Self::Failed)
    }
}

/// What the platform made of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ReleaseStatus {
    /// Where it stands.
    pub phase: ReleasePhase,
    /// Why it failed or what it waits for, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last lines of the log of the pod at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// The image it was pinned to, once and for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<PinnedImage>,
    /// When the deployment began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<DateTime<Utc>>,
    /// When the release command succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepared: Option<DateTime<Utc>>,
    /// When it became live, failed, or was superseded before it was live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<DateTime<Utc>>,
}

/// An image that cannot change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PinnedImage {
    /// By digest (`host/path@sha256:…`), or the id of a local image (`sha256:…`).
    pub reference: ImageRef,
    /// Ports that the image says it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
}

impl Spec for ReleaseSpec {
    const KIND: Kind = Kind::Release;
    type Status = ReleaseStatus;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let mut config = RunConfig::default();
        config.env.insert(EnvName::new("A").unwrap(), "1".into());
        let web = config.processes.get_mut(&ProcessName::web()).unwrap();
        web.port = Some(3000);
        web.command = Some(CommandLine::Shell("serve".into()));
        let change: RunChange = serde_json::from_value(serde_json::json!({
            "processes": {"web": {"replicas": 2}, "worker": {"command": ["work"]}},
            "env": {"B": "2"},
        }))
        .unwrap();
        change.check().unwrap();
        change.apply(&mut config);
        let web = &config.processes[&ProcessName::web()];
        assert_eq!((web.port, web.replicas), (Some(3000), 2));
        assert_eq!(web.command, Some(CommandLine::Shell("serve".into())));
        let worker = &config.processes[&ProcessName::new("worker").unwrap()];
        assert_eq!(worker.command, Some(CommandLine::Exec(vec!["work".into()])));
        assert_eq!(config.env.len(), 2);

        let wrong: RunChange =
            serde_json::from_value(serde_json::json!({"processes": {"web": {"port": 0}}})).unwrap();
        assert_eq!(wrong.check().unwrap_err()[0].field, "processes.web.port");
        let unknown = serde_json::json!({"processes": {"web": {"prot": 1}}});
        assert!(serde_json::from_value::<RunChange>(unknown).is_err());
    }
}
