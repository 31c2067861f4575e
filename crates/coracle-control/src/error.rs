//! Why an operation was not done.

use coracle_engine::EngineError;
use coracle_model::name::InvalidName;
use coracle_model::object::Kind;
use coracle_model::problem::{Code, Problem};
use coracle_model::quantity::ByteSize;
use coracle_store::StoreError;

/// Why an operation was not done. Each turns into one [`Problem`] for the person who asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// There is no such object.
    #[error("there is no {} {name}", noun(*kind))]
    NotFound {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// An object of this name exists.
    #[error("the {} {name} exists already", noun(*kind))]
    AlreadyExists {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// The object was changed since the revision that the caller has.
    #[error("the {} {name} was changed in the meantime: it is at revision {current} now", noun(*kind))]
    Stale {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// The revision it is at.
        current: u64,
    },
    /// The object's state does not allow it.
    #[error("{reason}")]
    Conflict {
        /// What is in the way.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A field has a value that is not allowed.
    #[error("{reason}")]
    Invalid {
        /// The field.
        field: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// The host name belongs to another app.
    #[error("{host} belongs to another app")]
    DomainTaken {
        /// The host name.
        host: String,
    },
    /// The uploaded source was refused.
    #[error("{reason}")]
    InvalidSource {
        /// What is wrong with it.
        reason: String,
    },
    /// More than is allowed.
    #[error("{what} is larger than {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The most that is allowed, in words.
        limit: String,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// A record in the store cannot be read.
    #[error("the record {key} cannot be read")]
    Record {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The engine failed or refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The data directory failed.
    #[error("{what}")]
    Io {
        /// What could not be done.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no room for it beside what is kept free on the disk.
    #[error(
        "there is no room for {what}: the disk has {} free, and {} of it are kept for the platform itself",
        ByteSize(*free), ByteSize(*reserve)
    )]
    NoRoom {
        /// What.
        what: &'static str,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are kept.
        reserve: u64,
    },
    /// A sealed value cannot be opened: the key file is not the one it was sealed with.
    #[error("a secret cannot be opened with this platform's key")]
    Unseal,
}

/// A kind as it stands in a sentence.
#[must_use]
pub const fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Project => "project",
        Kind::App => "app",
        Kind::Build => "build",
        Kind::Release => "release",
        Kind::Pod => "pod",
        Kind::Node => "node",
        Kind::User => "user",
        Kind::Token => "token",
        Kind::Domain => "domain",
        Kind::Event => "event",
        Kind::Volume => "volume",
        Kind::Source => "source",
        Kind::Image => "image",
        Kind::Registry => "registry",
        Kind::Settings => "settings",
    }
}

impl OperationError {
    /// A refused value of `field`.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// There is no such object.
    pub fn not_found(kind: Kind, name: impl ToString) -> Self {
        Self::NotFound {
            kind,
            name: name.to_string(),
        }
    }

    /// Something is in the way.
    pub fn conflict(reason: impl Into<String>) -> Self {
        Self::Conflict {
            reason: reason.into(),
            hint: None,
        }
    }

    /// Did another writer come in between, so that trying again from a fresh read may succeed?
    #[must_use]
    pub const fn is_race(&self) -> bool {
        matches!(self, Self::Store(StoreError::Conflict { .. }))
    }

    /// Does another process lead, so that this one must not act any more?
    #[must_use]
    pub const fn is_fenced(&self) -> bool {
        matches!(self, Self::Store(StoreError::Fenced { .. }))
    }

    /// As the person who asked is told. The cause of a fault of the platform is not in it: that is for the log.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let detail = self.to_string();
        match self {
            Self::NotFound { .. } => Problem::new(Code::NotFound, detail),
            Self::AlreadyExists { .. } => {
                Problem::new(Code::AlreadyExists, detail).field("metadata.name")
            }
            Self::Stale { .. } => Problem::new(Code::StaleRevision, detail)
                .field("If-Match")
                .hint("read it again, and repeat your change on what you read"),
            Self::Conflict { hint, .. } => {
                let problem = Problem::new(Code::Conflict, detail);
                match hint {
                    Some(hint) => problem.hint(hint.clone()),
                    None => problem,
                }
            }
            Self::Invalid { field, .. } => {
                Problem::new(Code::InvalidField, detail).field(field.clone())
            }
            Self::DomainTaken { .. } => Problem::new(Code::DomainTaken, detail)
                .field("host")
                .hint("choose another host name, or remove it from the other app first"),
            Self::InvalidSource { .. } => Problem::new(Code::InvalidSource, detail),
            Self::TooLarge { .. } => Problem::new(Code::TooLarge, detail),
            Self::Store(StoreError::Conflict { .. }) => Problem::new(
                Code::StaleRevision,
                "somebody else changed the same object at the same moment",
            )
            .hint("try again"),
            Self::Store(StoreError::TooLarge { .. }) => Problem::new(
                Code::TooLarge,
                "the object would be larger than the 1 MiB that is kept of one",
            ),
            // Keys are made of parsed names; only a cursor comes from outside as it is.
            Self::Store(StoreError::InvalidKey { .. }) => Problem::new(
                Code::InvalidField,
                "it is no cursor that a page before answered as `next`",
            )
            .field("after"),
            Self::Store(StoreError::Full { .. }) => {
                Problem::new(Code::DiskFull, "the disk of the data directory is full")
                    .hint("make room, then try again; nothing was changed")
            }
            Self::Store(StoreError::OutOfSpace { reason }) => {
                Problem::new(Code::DiskFull, reason.clone()).hint("nothing was changed")
            }
            Self::Store(
                StoreError::Unavailable { reason, .. } | StoreError::Refused { reason, .. },
            ) => Problem::new(Code::StoreUnavailable, reason.clone())
                .hint("nothing was changed; try again once it is mended"),
            Self::Store(StoreError::Fenced { .. }) => Problem::new(
                Code::NotLeader,
                "another control plane leads now, and this one must not act any more",
            )
            .hint("try again: it is for another control plane to answer"),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Problem::new(Code::DiskFull, "the disk of the data directory is full")
                    .hint("make room, then try again; nothing was changed")
            }
            Self::NoRoom { .. } => Problem::new(Code::DiskFull, detail)
                .hint("make room, then try again; nothing was changed"),
            Self::Engine(error) => engine_problem(error),
            Self::Store(_) | Self::Record { .. } | Self::Io { .. } | Self::Unseal => {
                Problem::new(Code::Internal, detail)
                    .hint("the log of the platform has the cause under the request id")
            }
        }
    }
}

fn engine_problem(error: &EngineError) -> Problem {
    let detail = error.to_string();
    match error {
        EngineError::Unavailable(_) => Problem::new(Code::EngineUnavailable, detail)
            .hint("`coracle doctor` checks the engine and says how to mend it"),
        EngineError::NoSuchPod(_) | EngineError::NoSuchWorkload(_) | EngineError::NoSuchNode(_) => {
            Problem::new(Code::NotFound, detail)
        }
        EngineError::WrongPhase { .. } => Problem::new(Code::Conflict, detail),
        EngineError::Unreachable { port, .. } => Problem::new(Code::PortUnreachable, detail).hint(
            format!("`coracle logs` shows whether the program listens on port {port}"),
        ),
        EngineError::Unsupported(_) => Problem::new(Code::Unsupported, detail),
        _ => Problem::new(Code::EngineFailed, detail),
    }
}

impl From<StoreError> for OperationError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<InvalidName> for OperationError {
    fn from(error: InvalidName) -> Self {
        Self::Invalid {
            field: error.what.to_owned(),
            reason: error.to_string(),
        }
    }
}
