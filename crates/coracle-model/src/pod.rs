//! Pods: running instances, of apps or on their own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::name::{AppName, EnvName, ImageRef, ProcessName};
use crate::object::{Kind, Of, Spec};
use crate::quantity::{ByteSize, Cpu};
use crate::release::{CommandLine, Health, ReleaseNumber};

/// A pod.
pub type Pod = Of<PodSpec>;

/// What a pod is asked to be. A person can make a bare pod; the pods of an app are made by the platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PodSpec {
    /// What to run.
    pub image: ImageRef,
    /// The command; the image's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    /// Variables. Given for bare pods only; not shown for the pods of apps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<EnvName, String>,
    /// The port that it listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The most processor time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// The most memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// How to tell whether it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What to do when it ends.
    #[serde(default)]
    pub restart: Restart,
    /// When its command is started. One-off commands wait for somebody to attach.
    #[serde(default, skip_serializing_if = "PodStart::is_at_once")]
    pub start: PodStart,
    /// The app it belongs to. Set by the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The process of the app. Set by the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    /// The release of the app. Set by the platform. A bare pod that has one (a one-off command) runs with
    /// that release's environment beside its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseNumber>,
}

/// When a bare pod's command is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PodStart {
    /// At once, without input.
    #[default]
    AtOnce,
    /// When somebody attaches; input and output are plain streams. Only with [`Restart::Never`].
    Attached,
    /// When somebody attaches; input and output are a terminal. Only with [`Restart::Never`].
    Terminal {
        /// Columns at first.
        columns: u16,
        /// Rows at first.
        rows: u16,
    },
}

impl PodStart {
    /// Is it started without anybody attached?
    #[must_use]
    pub const fn is_at_once(&self) -> bool {
        matches!(self, Self::AtOnce)
    }
}

/// What to do when a pod's command ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// Start it again, with growing pauses.
    #[default]
    Always,
    /// Leave it ended.
    Never,
}

/// Where a pod stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PodPhase {
    /// Waiting: for its image, for its turn, or for a pause after a crash to end.
    #[default]
    Pending,
    /// It runs, and was not ready yet since its start.
    Starting,
    /// It runs and answers.
    Ready,
    /// It runs, was ready, and does not answer any more.
    Unready,
    /// It is on its way out: no new requests, then SIGTERM, then SIGKILL.
    Stopping,
    /// Its command ended with status 0 and is not started again.
    Exited,
    /// It cannot run, or its command ended badly and is not started again.
    Failed,
}

impl PodPhase {
    /// As it is written, here and in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Stopping => "stopping",
            Self::Exited => "exited",
            Self::Failed => "failed",
        }
    }

    /// May requests be sent to it?
    #[must_use]
    pub const fn can_serve(self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Is there a process inside, so that a command can be run beside it?
    #[must_use]
    pub const fn can_exec(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Ready | Self::Unready | Self::Stopping
        )
    }

    /// Will it not run any more by itself?
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Exited | Self::Failed)
    }
}

/// What the platform made of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct PodStatus {
    /// Where it stands.
    pub phase: PodPhase,
    /// Its address in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// The node it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// When it was last started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<DateTime<Utc>>,
    /// How its command last ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Why it is in this phase, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a pod's command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Exit {
    /// Its exit status; 128 and the signal's number when it was killed by one.
    pub code: i64,
    /// How it came about.
    pub cause: ExitCause,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
}

/// How a command's end came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// By itself.
    Exited,
    /// It had used up its memory and was killed.
    OutOfMemory,
    /// The platform stopped it.
    Stopped,
}

/// What a pod uses at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PodStats {
    /// Processor time used since its start, in nanoseconds.
    pub cpu_nanos: u64,
    /// Processors in use, averaged over the time since the sample before; absent in a first sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Memory in use without page cache, in bytes.
    pub memory_bytes: u64,
    /// Its limit, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Bytes received.
    pub network_rx_bytes: u64,
    /// Bytes sent.
    pub network_tx_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

impl Spec for PodSpec {
    const KIND: Kind = Kind::Pod;
    type Status = PodStatus;
}

#[cfg(test)]
mod tests {
    use super::PodPhase;

    #[test]
    fn a_phase_is_written_as_in_json() {
        for phase in [
            PodPhase::Pending,
            PodPhase::Starting,
            PodPhase::Ready,
            PodPhase::Unready,
            PodPhase::Stopping,
            PodPhase::Exited,
            PodPhase::Failed,
        ] {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.word());
        }
    }
}
