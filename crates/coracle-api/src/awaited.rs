//! What a control plane waits for before it can serve.

use tokio::sync::watch;

/// What a control plane waits for. It is told to everybody, so it has no details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Its own parts: it has just been started.
    Start,
    /// The store, which does not answer or lets it not in.
    Store,
}

impl Awaited {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Start => "the control plane is starting",
            Self::Store => "the store does not answer, or does not let this platform in",
        }
    }
}

/// What is waited for at the moment.
pub type Reason = watch::Receiver<Awaited>;
