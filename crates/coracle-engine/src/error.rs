//! What can go wrong in an engine.

use coracle_model::workload::{PodId, WorkloadId};

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine does not answer. Everything may be tried again later.
    #[error("the engine cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no such pod.
    #[error("there is no pod {0}")]
    NoSuchPod(PodId),
    /// There is no such workload.
    #[error("there is no workload {0}")]
    NoSuchWorkload(WorkloadId),
    /// There is no such node.
    #[error("there is no node {0:?}")]
    NoSuchNode(String),
    /// The image is neither here nor to be had. `reason` says what the registry said.
    #[error("image {image} cannot be had: {reason}")]
    ImageUnavailable {
        /// The image that was asked for.
        image: String,
        /// Why, in the registry's or engine's words.
        reason: String,
    },
    /// The image's registry does not answer, or has no time. It may later.
    #[error("image {image} cannot be had now: {reason}")]
    RegistryUnavailable {
        /// The image that was asked for.
        image: String,
        /// Why, in plain words.
        reason: String,
    },
    /// The pod is in a phase in which this cannot be done.
    #[error("{pod} is {phase}: {reason}")]
    WrongPhase {
        /// The pod.
        pod: PodId,
        /// Its phase.
        phase: &'static str,
        /// What the phase would have to be.
        reason: &'static str,
    },
    /// Nothing listens on the port, or the connection to it broke.
    #[error("port {port} of pod {pod} cannot be reached: {reason}")]
    Unreachable {
        /// The pod.
        pod: PodId,
        /// Its port.
        port: u16,
        /// Why, in plain words.
        reason: String,
    },
    /// The engine refused: the request can never succeed as it is.
    #[error("the engine refused: {0}")]
    Refused(String),
    /// The engine does not know who asks, or no more: the credentials are wrong or expired.
    #[error("the engine does not accept the platform's credentials: {0}")]
    Credentials(String),
    /// The engine knows who asks, and forbids it.
    #[error("the platform may not do that: {what}; {grant}")]
    Forbidden {
        /// What is forbidden, with verb and resource.
        what: String,
        /// How it is allowed.
        grant: String,
    },
    /// Something that is not the platform's own is in the way. It is left alone.
    #[error("{0} exists and is not this platform's: it is left alone")]
    Foreign(String),
    /// Somebody else changed what the platform made. Their change is left as it is.
    #[error("somebody else changed it: {0}")]
    Conflict(String),
    /// The engine has no room: memory, disk, addresses.
    #[error("no room: {0}")]
    Full(String),
    /// The build failed. The message is what the person who asked for it must read.
    #[error("{0}")]
    BuildFailed(String),
    /// The build was ended because it was asked to be, or because its time was over.
    #[error("the build was ended: {0}")]
    BuildEnded(&'static str),
    /// This engine cannot do it.
    #[error("not supported by this engine: {0}")]
    Unsupported(&'static str),
    /// Anything else that went wrong between us and the engine.
    #[error("the engine failed: {message}")]
    Failed {
        /// The engine's own words.
        message: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl EngineError {
    /// Why a connection to a port of a pod was not made, or broke.
    #[must_use]
    pub fn unreachable(pod: &PodId, port: u16, error: &std::io::Error) -> Self {
        let reason = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
            std::io::ErrorKind::TimedOut => "it did not answer in time".to_owned(),
            _ => error.to_string(),
        };
        Self::Unreachable {
            pod: pod.clone(),
            port,
            reason,
        }
    }

    /// May the same call succeed later without anybody changing anything?
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::RegistryUnavailable { .. }
                | Self::Unreachable { .. }
                | Self::Credentials(_)
                | Self::Full(_)
                | Self::Failed { .. }
        )
    }
}
