//! What an image build is asked and tells.

use std::path::PathBuf;
use std::time::Duration;

use coracle_model::env::Secret;
use coracle_model::name::ImageRef;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Turn a folder into an image and push it to a registry.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Names the build in labels and in the engine, unique.
    pub id: String,
    /// A folder with unpacked, checked source: no link in it leaves it.
    pub context: PathBuf,
    /// The Dockerfile within the folder.
    pub dockerfile: PathBuf,
    /// Where the image goes: `host/path:tag`. An engine may keep it under this name where other builds find it without
    /// asking a registry: the tag must be one that nobody can foresee. It is this build's alone: an image under it is what
    /// an earlier call for the same build pushed, and an engine may answer with that.
    pub push: ImageRef,
    /// How to log in there: good for this build's image and until its end only, because an engine gives it to the machine
    /// of the build.
    pub credentials: Option<RegistryCredentials>,
    /// Whose caches of commands (`RUN --mount=type=cache`) it uses: builds of another name see nothing of them. No other
    /// build may be able to foresee it.
    pub cache: String,
    /// Build arguments.
    pub arguments: Vec<(String, String)>,
    /// The most it may use.
    pub limits: BuildLimits,
    /// Ends the build when cancelled.
    pub cancel: CancellationToken,
}

/// How to log in to a registry.
#[derive(Clone, Debug)]
pub struct RegistryCredentials {
    /// User name.
    pub user: String,
    /// Password or token.
    pub password: Secret,
}

/// How images are pulled for a project. The password for the platform's own registry opens the project's images there, and
/// nothing else.
#[derive(Clone, Debug)]
pub struct PullCredentials {
    /// The registry, as images of workloads name it: `host[:port]`.
    pub host: String,
    /// User and password.
    pub credentials: RegistryCredentials,
    /// The same for other registries, `docker.io` for images that name none.
    pub others: Vec<PullCredentials>,
}

impl PullCredentials {
    /// What is for images of `host`, which is empty for those that name none.
    #[must_use]
    pub fn of(&self, host: &str) -> Option<&RegistryCredentials> {
        if self.host == host {
            return Some(&self.credentials);
        }
        let host = if host.is_empty() { "docker.io" } else { host };
        let other = self.others.iter().find(|other| other.host == host)?;
        Some(&other.credentials)
    }
}

/// The most a build may use.
#[derive(Clone, Copy, Debug)]
pub struct BuildLimits {
    /// Time from start to pushed image.
    pub time: Duration,
    /// Bytes of memory for all steps together.
    pub memory_bytes: u64,
}

/// What a build tells while it runs. The channel is bounded: a reader that is slow slows the build's log, not
/// its work.
pub type BuildProgress = mpsc::Sender<BuildEvent>;

/// Something that happened in a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    /// A step began or ended.
    Step {
        /// Names the step within the build.
        id: String,
        /// What it does, such as `[2/4] RUN apt-get update`.
        name: String,
        /// Where it stands.
        state: StepState,
    },
    /// A line of output of a step.
    Output {
        /// The step.
        id: String,
        /// Its text without the line's end.
        text: String,
    },
    /// Bytes of the image pushed so far, of so many where known.
    Push {
        /// Done.
        current: u64,
        /// In all.
        total: Option<u64>,
    },
}

/// Where a step of a build stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    /// It runs.
    Running,
    /// It is done, in so many milliseconds.
    Done {
        /// How long it took, in milliseconds.
        millis: u64,
    },
    /// Nothing had changed: its result was there.
    Cached,
    /// It failed with this message.
    Failed(String),
}

/// What came out of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// In the registry, by digest: `host/path@sha256:…`.
    pub reference: ImageRef,
    /// Ports that the image says it listens on.
    pub ports: Vec<u16>,
}
