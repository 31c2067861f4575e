//! The gateway's side of its talk with the control plane.
//!
//! Theory of operation: one connection brings tables ([`feed`]), short ones take reports ([`report`]). Both read the
//! token from its file at every connect. Nothing here is on the way of a request: when the control plane is gone,
//! the table in force stays in force.

pub(crate) mod feed;
pub(crate) mod report;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use coracle_task::Supervisor;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::ControlEndpoint;
use crate::error::GatewayError;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// Time to the head of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest token file.
const TOKEN_BYTES: u64 = 4096;

/// The control plane, as a server of a few requests.
#[derive(Debug)]
pub(crate) struct Control {
    /// `host:port`.
    authority: String,
    token_file: PathBuf,
    pub(crate) id: String,
    tasks: Supervisor,
}

/// Why a request to the control plane failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("cannot read the token file")]
    Token(#[source] std::io::Error),
    #[error("the token file does not hold a token")]
    TokenForm,
    #[error("cannot connect to the control plane")]
    Connect(#[source] std::io::Error),
    #[error("the control plane took too long")]
    Slow,
    #[error("the talk with the control plane broke")]
    Talk(#[source] hyper::Error),
    #[error("the control plane answered {0}")]
    Status(StatusCode),
    #[error("the control plane sent nothing, not even a heartbeat")]
    Silent,
    #[error("the control plane sent a table that is too large")]
    TooLarge,
    #[error("the control plane sent something that is not a table")]
    Parse(#[source] serde_json::Error),
    #[error("a request could not be made")]
    Request(#[source] http::Error),
    #[error("the control plane ended the stream")]
    Ended,
}

impl Control {
    /// Checks the endpoint's form.
    pub(crate) fn new(
        endpoint: &ControlEndpoint,
        id: &str,
        tasks: Supervisor,
    ) -> Result<Self, GatewayError> {
        let bad_url = || GatewayError::ControlUrl {
            url: endpoint.url.clone(),
        };
        let uri: http::Uri = endpoint.url.parse().map_err(|_invalid| bad_url())?;
        if uri.scheme_str() != Some("http") || uri.path() != "/" || uri.query().is_some() {
            return Err(bad_url());
        }
        let host = uri.host().filter(|h| !h.is_empty()).ok_or_else(bad_url)?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        let fits = (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !fits {
            return Err(GatewayError::Id { id: id.to_owned() });
        }
        Ok(Self {
            authority,
            token_file: endpoint.token_file.clone(),
            id: id.to_owned(),
            tasks,
        })
    }

    /// Sends one request on a connection of its own and returns a good answer.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ControlError> {
        let token = self.token().await?;
        let connecting = TcpStream::connect(&self.authority);
        let stream = tokio::time::timeout(CONNECT, connecting)
            .await
            .map_err(|_elapsed| ControlError::Slow)?
            .map_err(ControlError::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ControlError::Talk)?;
        self.tasks.spawn("control connection", async move {
            if let Err(error) = connection.await {
                // Whoever asked gets the error too.
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "control connection ended"
                );
            }
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(AUTHORIZATION, token)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(ControlError::Request)?;
        let answer = tokio::time::timeout(ANSWER, sender.send_request(request))
            .await
            .map_err(|_elapsed| ControlError::Slow)?
            .map_err(ControlError::Talk)?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(ControlError::Status(answer.status()))
        }
    }

    async fn token(&self) -> Result<HeaderValue, ControlError> {
        use tokio::io::AsyncReadExt as _;
        let file = tokio::fs::File::open(&self.token_file)
            .await
            .map_err(ControlError::Token)?;
        let mut text = String::new();
        file.take(TOKEN_BYTES)
            .read_to_string(&mut text)
            .await
            .map_err(ControlError::Token)?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
            .map_err(|_invalid| ControlError::TokenForm)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        let new = |url: &str, id: &str| {
            let endpoint = ControlEndpoint {
                url: url.into(),
                token_file: "token".into(),
            };
            Control::new(&endpoint, id, Supervisor::new("test")).map(|c| c.authority)
        };
        assert_eq!(new("http://127.0.0.1:7070", "a").unwrap(), "127.0.0.1:7070");
        assert_eq!(new("http://[::1]:7070/", "a").unwrap(), "[::1]:7070");
        for bad in [
            "",
            "127.0.0.1:7070",
            "https://a",
            "http://a/b",
            "http://",
            "ftp://a",
        ] {
            assert!(
                matches!(new(bad, "a"), Err(GatewayError::ControlUrl { .. })),
                "{bad}"
            );
        }
        for bad in ["", "a/b", "a b", &"a".repeat(65)] {
            assert!(
                matches!(new("http://a", bad), Err(GatewayError::Id { .. })),
                "{bad}"
            );
        }
    }
}
