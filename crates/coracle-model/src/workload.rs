//! Workloads: what an engine is asked to keep running, and what it reports.
//!
//! Theory of operation: an engine knows nothing of apps, releases or the store. It is given whole workloads,
//! each complete in itself, again and again, and makes the world so; it reports every pod of the platform
//! with the facts that were put on it ([`Owner`], generation), so that whoever starts with an empty memory
//! knows from the pods alone which workload each belongs to.

use std::fmt;
use std::time::Duration;

use crate::env::Secret;
use crate::name::{AppName, EnvName, ImageRef, PodName, ProcessName, ProjectName, VolumeName};
use crate::pod::PodStatus;
use crate::quantity::{ByteSize, Cpu};
use crate::release::{CommandLine, Health, ReleaseNumber};

/// Names a workload: unique within the platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId {
    /// Its project, and so its network.
    pub project: ProjectName,
    /// Its name within the project; pods of a replicated workload are named after it with a suffix.
    pub name: PodName,
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.name)
    }
}

/// Names a pod: unique within the platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId {
    /// Its project.
    pub project: ProjectName,
    /// Its name within the project.
    pub name: PodName,
}

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.name)
    }
}

/// What an engine is asked to keep running.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Which one.
    pub id: WorkloadId,
    /// Changes when running pods are to be replaced because `template` changed. A change of `kind`'s
    /// replicas alone does not change it. Reported with every pod.
    pub generation: u64,
    /// How many pods, and what their end means.
    pub kind: WorkloadKind,
    /// What the platform wants to find again on the pods.
    pub owner: Owner,
    /// What each pod is.
    pub template: PodTemplate,
}

/// How many pods a workload has, and what their end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// So many, each with a name of its own; one that ends is started again with growing pauses.
    Replicated {
        /// How many.
        replicas: u32,
    },
    /// One, with the workload's own name; started again when it ends.
    Single,
    /// One, with the workload's own name; it runs once to its end and then stays, ended, until it is removed.
    Task {
        /// When its command is started.
        start: TaskStart,
    },
}

/// When a task's command is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStart {
    /// At once, without input.
    AtOnce,
    /// When somebody attaches, with input and, if asked for, a terminal, so that nothing of its output is lost.
    OnAttach {
        /// What its input and output are.
        terminal: Terminal,
    },
}

/// What a command's input and output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Plain streams; output and errors apart.
    Streams,
    /// A terminal of this size at first.
    Tty {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
}

/// What the platform wants to find again on a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The app.
    pub app: Option<AppName>,
    /// Its process; absent for bare pods and tasks.
    pub process: Option<ProcessName>,
    /// The release.
    pub release: Option<ReleaseNumber>,
}

/// What each pod of a workload is.
#[derive(Clone, Debug, PartialEq)]
pub struct PodTemplate {
    /// The image, pinned where that matters.
    pub image: ImageRef,
    /// The command; the image's own when absent.
    pub command: Option<CommandLine>,
    /// Variables, all of them as secrets: an engine need not tell them apart.
    pub env: Vec<(EnvName, Secret)>,
    /// The port it listens on. Without one it is ready as soon as it runs.
    pub port: Option<u16>,
    /// Names under which other pods of the project find it, beside its own.
    pub names: Vec<String>,
    /// Limits.
    pub resources: Resources,
    /// How to tell whether it works; without, a TCP connection to `port`.
    pub health: Option<Health>,
    /// Volumes of the project that it mounts.
    pub volumes: Vec<Mount>,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// The most time between the moment a pod is `stopping` and SIGTERM, for its requests to end.
    pub drain: Duration,
}

/// Limits of a pod. Absent ones are the engine's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// The most processor time.
    pub cpu: Option<Cpu>,
    /// The most memory.
    pub memory: Option<ByteSize>,
}

/// A volume in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name within the project.
    pub volume: VolumeName,
    /// Where in the pod.
    pub path: String,
}

/// A pod as an engine reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedPod {
    /// Which one.
    pub id: PodId,
    /// The workload that it belongs to.
    pub workload: WorkloadId,
    /// The workload's generation that it was made from.
    pub generation: u64,
    /// What the platform put on it.
    pub owner: Owner,
    /// The image it runs.
    pub image: String,
    /// The port that it listens on.
    pub port: Option<u16>,
    /// When it was made.
    pub created: chrono::DateTime<chrono::Utc>,
    /// How it is.
    pub status: PodStatus,
}
