//! Errors as people and programs see them: RFC 9457 problem details with a stable code.

use serde::{Deserialize, Serialize};

/// What went wrong, for programs. Codes are never renamed or reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A field has a value that is not allowed. `field` names it.
    InvalidField,
    /// The request is not well-formed (JSON syntax, missing body).
    InvalidRequest,
    /// A field that does not exist.
    UnknownField,
    /// `coracle.toml` or `Procfile` is wrong.
    InvalidManifest,
    /// The uploaded source was refused.
    InvalidSource,
    /// No credentials, or none that are valid.
    Unauthenticated,
    /// The credentials are valid, but not for this.
    Forbidden,
    /// There is no such object.
    NotFound,
    /// The path exists, but not for this method; `Allow` says for which.
    MethodNotAllowed,
    /// The body is of a type that is not taken here.
    UnsupportedMediaType,
    /// An object of this name exists.
    AlreadyExists,
    /// The object was changed since the revision that was sent.
    StaleRevision,
    /// The object is in a state in which this cannot be done.
    Conflict,
    /// The host name belongs to another app.
    DomainTaken,
    /// More than is allowed.
    TooLarge,
    /// Too many requests; `Retry-After` says when to try again.
    RateLimited,
    /// There is no room on the disk.
    DiskFull,
    /// The engine (Docker, Kubernetes) cannot be reached.
    EngineUnavailable,
    /// The engine refused.
    EngineFailed,
    /// Nothing listens on the pod's port, or the connection to it broke.
    PortUnreachable,
    /// Nothing was sent for so long that the connection was ended.
    Idle,
    /// The store (etcd) cannot be reached, has no leader, or refuses this platform.
    StoreUnavailable,
    /// Another control plane leads, and only that one can do this.
    NotLeader,
    /// Nothing of the kind on this engine or in this version.
    Unsupported,
    /// A fault of the platform. The log has the cause under the request id.
    Internal,
}

impl Code {
    /// The HTTP status that goes with the code.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidField
            | Self::UnknownField
            | Self::InvalidManifest
            | Self::InvalidSource => 422,
            Self::InvalidRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::UnsupportedMediaType => 415,
            Self::AlreadyExists | Self::StaleRevision | Self::Conflict | Self::DomainTaken => 409,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::DiskFull => 507,
            Self::EngineUnavailable | Self::StoreUnavailable | Self::NotLeader => 503,
            Self::EngineFailed | Self::PortUnreachable => 502,
            Self::Idle => 408,
            Self::Unsupported => 501,
            Self::Internal => 500,
        }
    }

    /// A short title that is the same for every problem of this code.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::InvalidField => "A field has a value that is not allowed",
            Self::InvalidRequest => "The request is not well-formed",
            Self::UnknownField => "A field does not exist",
            Self::InvalidManifest => "The manifest is wrong",
            Self::InvalidSource => "The uploaded source was refused",
            Self::Unauthenticated => "Log in first",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "This method is not possible here",
            Self::UnsupportedMediaType => "The body is of a type that is not taken here",
            Self::AlreadyExists => "It exists already",
            Self::StaleRevision => "Somebody changed it in the meantime",
            Self::Conflict => "Not possible in its present state",
            Self::DomainTaken => "The host name belongs to another app",
            Self::TooLarge => "Too large",
            Self::RateLimited => "Too many requests",
            Self::DiskFull => "No room on the disk",
            Self::EngineUnavailable => "The engine cannot be reached",
            Self::EngineFailed => "The engine refused",
            Self::PortUnreachable => "The port cannot be reached",
            Self::Idle => "Nothing was sent for too long",
            Self::StoreUnavailable => "The store cannot be used",
            Self::NotLeader => "Another control plane leads",
            Self::Unsupported => "Not supported",
            Self::Internal => "A fault of the platform",
        }
    }
}

/// A problem (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// Identifies the sort of problem; a URN made of the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, in plain words.
    pub detail: String,
    /// For programs.
    pub code: Code,
    /// The field at fault, such as `spec.process.web.port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Finds the request in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Problem {
    /// A problem of `code`, explained by `detail`.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let name = serde_json::to_value(code)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default();
        Self {
            kind: format!("urn:coracle:problem:{name}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            field: None,
            hint: None,
            request_id: None,
        }
    }

    /// The same, naming the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same, saying what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
