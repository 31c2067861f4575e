//! Why the gateway itself answers a request, instead of a pod.
//!
//! Theory of operation: every layer below the error layer returns a [`Refusal`]; only [`crate::page`] turns it into
//! an answer. Codes are stable: people and programs may rely on them.

use std::sync::Arc;

use http::StatusCode;

use crate::traffic::App;

/// Why a request was not answered by a pod.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The `Host` header or the request's target is not usable.
    BadHost { why: &'static str },
    /// A method that a reverse proxy has no business with.
    MethodNotAllowed,
    /// A transfer coding other than `chunked`.
    UnknownCoding,
    /// The gateway has no table yet.
    NoTable,
    /// No route for this host.
    NoSuchApp { host: String },
    /// The app has no ready pod yet.
    Starting { app: Arc<App> },
    /// The app's release failed.
    Failed { app: Arc<App>, reason: Arc<str> },
    /// The app was scaled to nothing.
    Stopped { app: Arc<App> },
    /// No pod took the connection.
    Unreachable { app: Arc<App> },
    /// A pod took the request and ended the connection without a whole answer's head.
    Broken { app: Arc<App> },
    /// The client's request body was malformed or ended early.
    BadBody { app: Arc<App> },
    /// The client stopped sending its request body.
    BodyStalled { app: Arc<App> },
}

impl Refusal {
    /// The answer's status.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadHost { .. } | Self::BadBody { .. } => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            Self::NoSuchApp { .. } => StatusCode::NOT_FOUND,
            Self::NoTable | Self::Starting { .. } | Self::Failed { .. } | Self::Stopped { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unreachable { .. } | Self::Broken { .. } => StatusCode::BAD_GATEWAY,
            Self::BodyStalled { .. } => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// The stable code, in header `X-Coracle-Error` and in the JSON form.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::BadHost { .. } => "bad_host",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UnknownCoding => "unknown_transfer_coding",
            Self::NoTable => "gateway_starting",
            Self::NoSuchApp { .. } => "no_such_app",
            Self::Starting { .. } => "app_starting",
            Self::Failed { .. } => "app_failed",
            Self::Stopped { .. } => "app_stopped",
            Self::Unreachable { .. } => "app_unreachable",
            Self::Broken { .. } => "app_broke_off",
            Self::BadBody { .. } => "bad_request_body",
            Self::BodyStalled { .. } => "request_body_stalled",
        }
    }

    /// One line that says what is the matter.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::BadHost { .. } => "This address is not valid".into(),
            Self::MethodNotAllowed => "This method is not allowed here".into(),
            Self::UnknownCoding => "This transfer coding is not known".into(),
            Self::NoTable => "The platform is starting".into(),
            Self::NoSuchApp { .. } => "There is no app here".into(),
            Self::Starting { app } => format!("{} is starting", app.name),
            Self::Failed { app, .. } => format!("{} failed to start", app.name),
            Self::Stopped { app } => format!("{} is stopped", app.name),
            Self::Unreachable { app } => format!("{} cannot be reached", app.name),
            Self::Broken { app } => format!("{} broke off without an answer", app.name),
            Self::BadBody { .. } => "The request's body is broken".into(),
            Self::BodyStalled { .. } => "The request's body stopped arriving".into(),
        }
    }

    /// What it means and what to do. May hold text from outside: escape it.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::BadHost { why } => (*why).to_owned(),
            Self::MethodNotAllowed => "CONNECT is for forward proxies; this is not one.".into(),
            Self::UnknownCoding => {
                "Send the body with Content-Length, or with chunked alone.".into()
            }
            Self::NoTable => {
                "The gateway has not heard yet where apps are. Try again in a moment.".into()
            }
            Self::NoSuchApp { host } => format!(
                "No app is served at {host}. Check the address; `coracle apps` lists what there is."
            ),
            Self::Starting { .. } => {
                "It will answer as soon as its first instance is ready.".into()
            }
            Self::Failed { reason, .. } => reason.to_string(),
            Self::Stopped { app } => format!(
                "It has no instances. Whoever runs it can start it: coracle scale {} web=1.",
                app.name
            ),
            Self::Unreachable { app } => format!(
                "None of its instances took the connection. `coracle logs {}` may say why.",
                app.name
            ),
            Self::Broken { app } => format!(
                "The request reached it, so it was not sent a second time. `coracle logs {}` may say why.",
                app.name
            ),
            Self::BadBody { .. } => "It ended early, or its chunks are malformed.".into(),
            Self::BodyStalled { .. } => "The app waited for the rest of it in vain.".into(),
        }
    }

    /// Seconds after which a new try makes sense, for those that pass by themselves.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        match self {
            Self::NoTable => Some(1),
            Self::Starting { .. } => Some(2),
            Self::Unreachable { .. } => Some(5),
            _ => None,
        }
    }

    /// The app whose counters this answer belongs to.
    pub(crate) fn app(&self) -> Option<&Arc<App>> {
        match self {
            Self::Starting { app }
            | Self::Failed { app, .. }
            | Self::Stopped { app }
            | Self::Unreachable { app }
            | Self::Broken { app }
            | Self::BadBody { app }
            | Self::BodyStalled { app } => Some(app),
            Self::BadHost { .. }
            | Self::MethodNotAllowed
            | Self::UnknownCoding
            | Self::NoTable
            | Self::NoSuchApp { .. } => None,
        }
    }
}
