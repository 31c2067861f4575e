//! Faults that tests put between a caller and an engine.
//!
//! Theory of operation: what goes wrong with an engine goes wrong in one of a few ways, and the two that hurt are
//! the ones that tests forget: a call that was done although its answer was lost, and a call that never comes
//! back. [`SimEngine`](crate::sim::SimEngine) and [`Flaky`](crate::flaky::Flaky) speak the same words for them.

use std::time::Duration;

use crate::error::EngineError;

/// A call of the [`Engine`](crate::Engine), or a step that [`SimEngine`](crate::sim::SimEngine) takes on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// `ping`.
    Ping,
    /// `ensure_project`.
    EnsureProject,
    /// `set_pull_credentials`.
    SetPullCredentials,
    /// `remove_project`.
    RemoveProject,
    /// `apply`.
    Apply,
    /// `remove`.
    Remove,
    /// `drained`.
    Drained,
    /// `restart`.
    Restart,
    /// `delete_pod`.
    DeletePod,
    /// `logs`.
    Logs,
    /// `exec`.
    Exec,
    /// `attach`.
    Attach,
    /// `describe`.
    Describe,
    /// `connect`.
    Connect,
    /// `stats`.
    Stats,
    /// `usage`.
    Usage,
    /// `nodes`.
    Nodes,
    /// `cordon`.
    Cordon,
    /// `uncordon`.
    Uncordon,
    /// `resolve_image`.
    ResolveImage,
    /// `remove_image`.
    RemoveImage,
    /// `build`.
    Build,
    /// `ensure_volume`.
    EnsureVolume,
    /// `volumes`.
    Volumes,
    /// `remove_volume`.
    RemoveVolume,
    /// Not a call: fetching a pod's image.
    PullForPod,
    /// Not a call: making a pod.
    CreatePod,
    /// Not a call: starting a pod.
    StartPod,
}

impl Verb {
    /// Does it change anything? The others are never interesting as a point to stop at.
    #[must_use]
    pub const fn changes(self) -> bool {
        !matches!(
            self,
            Self::Ping
                | Self::Logs
                | Self::Describe
                | Self::Connect
                | Self::Stats
                | Self::Usage
                | Self::Nodes
                | Self::Volumes
                | Self::Exec
        )
    }
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done; [`EngineError::Unavailable`].
    Unavailable,
    /// It is done, and then [`EngineError::Unavailable`]: the answer was lost.
    LostAnswer,
    /// Nothing is done; [`EngineError::Full`].
    Full,
    /// Nothing is done; [`EngineError::Refused`].
    Refused,
    /// Nothing is done; [`EngineError::Failed`].
    Failed,
    /// It is done after this time.
    Slow(Duration),
    /// Nothing is done and the call never returns: the caller was killed here, or waits for ever.
    Hangs,
}

/// What a caller does after a [`Fault`] was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Hand the result on.
    Given,
    /// Do it and say that the engine cannot be reached.
    Lost,
}

impl Fault {
    /// Waits or fails as this fault wants, before the call is made.
    pub(crate) async fn before(self) -> Result<Answer, EngineError> {
        match self {
            Self::LostAnswer => Ok(Answer::Lost),
            Self::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(Answer::Given)
            }
            Self::Hangs => std::future::pending().await,
            Self::Unavailable | Self::Full | Self::Refused | Self::Failed => Err(self.error()),
        }
    }

    /// The error that a caller sees.
    #[must_use]
    pub fn error(self) -> EngineError {
        match self {
            Self::Full => EngineError::Full("injected by a test".into()),
            Self::Refused => EngineError::Refused("injected by a test".into()),
            Self::Failed => EngineError::Failed {
                message: "injected by a test".into(),
                source: None,
            },
            Self::Unavailable | Self::LostAnswer | Self::Slow(_) | Self::Hangs => {
                unavailable("injected by a test")
            }
        }
    }
}

/// [`EngineError::Unavailable`] for this reason.
pub(crate) fn unavailable(why: &'static str) -> EngineError {
    EngineError::Unavailable(Box::new(std::io::Error::other(why)))
}
