//! Requests and answers in general.
//!
//! Theory of operation: one connection pool, HTTP/1.1, TLS by the one provider of the whole tree. Redirects are never
//! followed: the token belongs to the address it was given for. Ordinary requests have a deadline; streams have
//! one until their answer begins. Whatever is read into memory has a bound, so that a wrong address that
//! streams for ever does no harm.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use coracle_model::env::Secret;
use coracle_model::problem::Problem;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MATCH, LOCATION};
use http::{Method, StatusCode};
use reqwest::{RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;
use crate::error::ClientError;

/// For a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// For an ordinary request with its answer.
const ORDINARY: Duration = Duration::from_secs(60);

/// Until a stream's answer begins. Attaching waits up to 60 s for its pod.
const BEGIN: Duration = Duration::from_secs(90);

/// The most bytes of an ordinary answer.
const ANSWER_BYTES: usize = 64 << 20;

/// The most bytes of a refusal.
const PROBLEM_BYTES: usize = 1 << 20;

/// A client of one platform. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    bearer: Option<HeaderValue>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the platform at `url` (such as `http://127.0.0.1:7070`), with a token or, for logging in, without.
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`], [`ClientError::BadToken`].
    pub fn new(url: &str, token: Option<&Secret>) -> Result<Self> {
        let bad = |reason| ClientError::BadUrl {
            // What is left after a mistake could be a password in the address.
            url: url.rsplit('@').next().unwrap_or_default().to_owned(),
            reason,
        };
        let parsed = Url::parse(url).map_err(|_| bad("use one such as http://127.0.0.1:7070"))?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(bad("use one that begins with http:// or https://"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(bad("leave the user and password out, and log in"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(bad("leave out what follows ? or #"));
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .build()
            .map_err(|error| ClientError::Unreachable {
                url: url.to_owned(),
                source: Box::new(error),
            })?;
        let base = parsed.as_str().trim_end_matches('/').into();
        let client = Self {
            http,
            base,
            bearer: None,
        };
        match token {
            Some(token) => client.with_token(token),
            None => Ok(client),
        }
    }

    /// The same platform, with another token.
    ///
    /// # Errors
    /// [`ClientError::BadToken`].
    pub fn with_token(&self, token: &Secret) -> Result<Self> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .map_err(|_| ClientError::BadToken)?;
        bearer.set_sensitive(true);
        Ok(Self {
            bearer: Some(bearer),
            ..self.clone()
        })
    }

    /// The platform's address, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// A request to `path` under `/api/v1`.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1{path}", self.base));
        match &self.bearer {
            Some(bearer) => request.header(AUTHORIZATION, bearer.clone()),
            None => request,
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.ordinary(self.request(Method::GET, path)).await
    }

    /// A request with a JSON body, conditional on the object's revision where one is given.
    pub(crate) async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        expected: Option<u64>,
    ) -> Result<T> {
        let request = self.request(method, path).json(body);
        self.ordinary(if_match(request, expected)).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        self.write(Method::POST, path, body, None).await
    }

    /// A deletion whose answer is of no interest.
    pub(crate) async fn delete(&self, path: &str, expected: Option<u64>) -> Result<()> {
        let request = if_match(self.request(Method::DELETE, path), expected);
        self.send(request.timeout(ORDINARY)).await.map(drop)
    }

    /// A request whose answer is of no interest.
    pub(crate) async fn unanswered(&self, request: RequestBuilder) -> Result<()> {
        self.send(request.timeout(ORDINARY)).await.map(drop)
    }

    pub(crate) async fn ordinary<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        self.answer(request.timeout(ORDINARY)).await
    }

    /// The same without a deadline.
    pub(crate) async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let response = self.send(request).await?;
        let body = self.body(response, ANSWER_BYTES).await?;
        serde_json::from_slice(&body).map_err(|error| self.protocol(error))
    }

    /// Sends a request whose answer is a stream.
    pub(crate) async fn open(&self, request: RequestBuilder) -> Result<Response> {
        match tokio::time::timeout(BEGIN, self.send(request)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(self.timed_out()),
        }
    }

    /// Sends a request; an answer that is no success is an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|e| self.failed(e))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        if status.is_redirection() {
            let to = response.headers().get(LOCATION);
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or("somewhere");
            return Err(ClientError::Redirected {
                url: self.base.to_string(),
                to: to.chars().take(200).collect(),
            });
        }
        Err(self.refusal(response).await)
    }

    async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let is_problem = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/problem+json"));
        let unexpected = format!("status {status} without a reason");
        if !is_problem {
            return self.protocol(unexpected);
        }
        let body = match self.body(response, PROBLEM_BYTES).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if status == StatusCode::UNAUTHORIZED => {
                ClientError::Unauthenticated(Box::new(problem))
            }
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            // A newer platform has codes that this client does not know.
            Err(_) => match serde_json::from_slice::<serde_json::Value>(&body) {
                Ok(value) if value["detail"].is_string() => {
                    let detail = value["detail"].as_str().unwrap_or_default();
                    self.protocol(format!("status {status}: {detail}"))
                }
                _ => self.protocol(unexpected),
            },
        }
    }

    async fn body(&self, mut response: Response, most: usize) -> Result<BytesMut> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failed(e))? {
            if body.len() + chunk.len() > most {
                return Err(self.protocol(format!("its answer has more than {most} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    pub(crate) fn failed(&self, error: reqwest::Error) -> ClientError {
        if error.is_timeout() {
            return self.timed_out();
        }
        if error.is_body() || error.is_decode() {
            return self.interrupted();
        }
        ClientError::Unreachable {
            url: self.base.to_string(),
            // Without the address: it is named already, and could be long.
            source: Box::new(error.without_url()),
        }
    }

    pub(crate) fn protocol(&self, reason: impl fmt::Display) -> ClientError {
        ClientError::Protocol {
            url: self.base.to_string(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn interrupted(&self) -> ClientError {
        ClientError::Interrupted {
            url: self.base.to_string(),
        }
    }

    fn timed_out(&self) -> ClientError {
        ClientError::TimedOut {
            url: self.base.to_string(),
        }
    }
}

/// The request, to be done only when the object still has this revision.
pub(crate) fn if_match(request: RequestBuilder, expected: Option<u64>) -> RequestBuilder {
    match expected {
        Some(revision) => request.header(IF_MATCH, format!("\"{revision}\"")),
        None => request,
    }
}

/// An object that is to be made or changed, as the API takes it.
#[derive(Serialize)]
pub(crate) struct Input<'a, S> {
    metadata: InputMetadata<'a>,
    spec: &'a S,
}

#[derive(Serialize)]
struct InputMetadata<'a> {
    name: &'a str,
}

impl<'a, S> Input<'a, S> {
    pub(crate) const fn new(name: &'a str, spec: &'a S) -> Self {
        Self {
            metadata: InputMetadata { name },
            spec,
        }
    }
}
