//! Errors of handlers, and how each becomes an answer.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use coracle_control::OperationError;
use coracle_engine::EngineError;
use coracle_model::name::InvalidName;
use coracle_model::problem::{Code, Problem};

use crate::awaited::Awaited;

/// Why a request was not done. The cause goes to the log, the problem to the caller.
#[derive(Debug)]
pub(crate) struct ApiError {
    problem: Box<Problem>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    pub(crate) fn unauthenticated() -> Self {
        Problem::new(
            Code::Unauthenticated,
            "there are no credentials that are valid",
        )
        .hint("log in with `coracle login`, or send `Authorization: Bearer TOKEN`")
        .into()
    }

    /// The same, saying what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem.hint = Some(hint.into());
        self
    }

    /// The same, telling the caller to come back after so many seconds.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.headers
            .push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }

    /// The same, telling which methods are possible.
    pub(crate) fn allow(mut self, methods: &str) -> Self {
        if let Ok(methods) = HeaderValue::from_str(methods) {
            self.headers.push((header::ALLOW, methods));
        }
        self
    }

    /// The same for somebody who is not known to the platform.
    pub(crate) fn for_strangers(mut self) -> Self {
        withhold(&mut self.problem);
        self
    }

    /// A fault of the platform, with its cause for the log.
    pub(crate) fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        let problem = Problem::new(Code::Internal, "the platform could not do it")
            .hint("the log of the platform has the cause under the request id");
        Self {
            problem: Box::new(problem),
            cause: Some(Box::new(cause)),
            headers: Vec::new(),
        }
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            cause: None,
            headers: Vec::new(),
        }
    }
}

impl From<Box<Problem>> for ApiError {
    fn from(problem: Box<Problem>) -> Self {
        Self {
            problem,
            cause: None,
            headers: Vec::new(),
        }
    }
}

impl From<OperationError> for ApiError {
    fn from(error: OperationError) -> Self {
        Self {
            problem: Box::new(error.problem()),
            cause: Some(Box::new(error)),
            headers: Vec::new(),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        OperationError::from(error).into()
    }
}

impl From<InvalidName> for ApiError {
    fn from(error: InvalidName) -> Self {
        OperationError::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if self.problem.code == Code::NotLeader {
            // Gateways ask one after the other until one leads.
            tracing::debug!("asked what only another control plane can do");
        } else if self.problem.code == Code::PortUnreachable {
            // It is the pod's affair.
            tracing::debug!(detail = %self.problem.detail, "a port of a pod cannot be reached");
        } else if status.is_server_error() {
            let cause = self.cause.as_deref().map(chain).unwrap_or_default();
            tracing::error!(code = ?self.problem.code, detail = %self.problem.detail, cause, "request failed");
        }
        let mut response = (status, Json(&*self.problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers.extend(self.headers);
        response.extensions_mut().insert(Told(self.problem));
        response
    }
}

/// Strangers are not told where the store is, and as whom the platform speaks to it. That is in the log.
fn withhold(problem: &mut Problem) {
    if problem.code == Code::StoreUnavailable {
        Awaited::Store.words().clone_into(&mut problem.detail);
    }
}

/// The problem that an answer tells, so that [`name_request`] can add to it what only the outermost layer knows.
#[derive(Clone)]
struct Told(Box<Problem>);

/// The same answer for somebody who is not known to the platform.
pub(crate) fn for_strangers(response: &mut Response) {
    if let Some(Told(problem)) = response.extensions_mut().get_mut::<Told>() {
        withhold(problem);
    }
}

/// Puts the request's id into the problem that `response` tells, if it tells one.
pub(crate) fn name_request(response: &mut Response, id: &str) {
    let Some(Told(mut problem)) = response.extensions_mut().remove::<Told>() else {
        return;
    };
    problem.request_id = Some(id.to_owned());
    match serde_json::to_vec(&*problem) {
        Ok(bytes) => {
            response.headers_mut().remove(header::CONTENT_LENGTH);
            *response.body_mut() = Body::from(bytes);
        }
        Err(error) => tracing::error!(%error, "a problem could not be written"),
    }
}

fn chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// The header that carries the request's id both ways.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
