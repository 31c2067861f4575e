//! The gateway's side of its talk with the control plane.
//!
//! Theory of operation: one connection brings tables ([`feed`]), short ones take reports ([`report`]). Both read the
//! token from its file at every connect. Nothing here is on the way of a request: when the control plane is gone,
//! the table in force stays in force.
//!
//! There may be several control planes, of which one leads. They are the addresses that the URLs' names have at the
//! moment, tried in order, and the first that does not refuse is the one. Reports follow the feed: the control plane
//! that sent a table is the one that waits for word of it. A feed that ends is asked for elsewhere first, because
//! what ended it is likely to refuse or hang for a while.

pub(crate) mod feed;
pub(crate) mod report;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use coracle_task::Supervisor;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::{ControlEndpoint, TokenSource};
use crate::error::GatewayError;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// Time to the head of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest token file.
const TOKEN_BYTES: u64 = 4096;

/// Most addresses that are tried in one round: names with more than that are not a control plane's.
const MOST_ADDRESSES: usize = 16;

/// The control plane, as a server of a few requests.
#[derive(Debug)]
pub(crate) struct Control {
    /// `host:port` of each URL.
    authorities: Vec<String>,
    token: TokenSource,
    pub(crate) id: String,
    /// Who sends tables, or did so last.
    feeder: Mutex<Option<SocketAddr>>,
    tasks: Supervisor,
}

/// Which control plane a request is for, where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefer {
    /// The one that sends tables.
    Feeder,
    /// Another than the one that sent tables before.
    Another,
}

/// One address of a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    authority: String,
    address: SocketAddr,
}

/// Why a request to the control plane failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("cannot read the token file")]
    Token(#[source] std::io::Error),
    #[error("the token file does not hold a token")]
    TokenForm,
    #[error("the control plane's name has no address")]
    Resolve(#[source] std::io::Error),
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
        if endpoint.urls.is_empty() {
            return Err(GatewayError::NoControlUrl);
        }
        let authorities = endpoint.urls.iter().map(|url| authority(url));
        let fits = (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !fits {
            return Err(GatewayError::Id { id: id.to_owned() });
        }
        Ok(Self {
            authorities: authorities.collect::<Result<_, _>>()?,
            token: endpoint.token.clone(),
            id: id.to_owned(),
            feeder: Mutex::new(None),
            tasks,
        })
    }

    /// Sends one request, each try on a connection of its own, and returns the first good answer and whose it is.
    async fn ask(
        &self,
        prefer: Prefer,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, SocketAddr), ControlError> {
        let token = self.token().await?;
        let mut failed = None;
        for candidate in self.candidates(prefer).await? {
            let asked = self.ask_one(&candidate, &token, method.clone(), path, body.clone());
            match asked.await {
                Ok(answer) => return Ok((answer, candidate.address)),
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        address = %candidate.address,
                        "a control plane does not answer well"
                    );
                    failed = Some(error);
                }
            }
        }
        let none = || ControlError::Resolve(std::io::ErrorKind::NotFound.into());
        Err(failed.unwrap_or_else(none))
    }

    /// The addresses to try, in order.
    async fn candidates(&self, prefer: Prefer) -> Result<Vec<Candidate>, ControlError> {
        let mut found = Vec::new();
        let mut failed = None;
        for authority in &self.authorities {
            let looked_up = tokio::time::timeout(CONNECT, tokio::net::lookup_host(authority)).await;
            match looked_up {
                Ok(Ok(addresses)) => found.extend(addresses.map(|address| Candidate {
                    authority: authority.clone(),
                    address,
                })),
                Ok(Err(error)) => failed = Some(ControlError::Resolve(error)),
                Err(_elapsed) => failed = Some(ControlError::Slow),
            }
        }
        match failed {
            Some(error) if found.is_empty() => Err(error),
            _ => {
                let feeder = *self.feeder.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(in_order(found, feeder, prefer))
            }
        }
    }

    /// From now on reports go to `address` first.
    fn fed_by(&self, address: SocketAddr) {
        *self.feeder.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    async fn ask_one(
        &self,
        candidate: &Candidate,
        token: &HeaderValue,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ControlError> {
        let connecting = TcpStream::connect(candidate.address);
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
            .header(HOST, &candidate.authority)
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
        let mut text = String::new();
        match &self.token {
            TokenSource::Value(value) => text.push_str(value.expose()),
            TokenSource::File(path) => {
                let file = tokio::fs::File::open(path)
                    .await
                    .map_err(ControlError::Token)?;
                file.take(TOKEN_BYTES)
                    .read_to_string(&mut text)
                    .await
                    .map_err(ControlError::Token)?;
            }
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
            .map_err(|_invalid| ControlError::TokenForm)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// `host:port` of `url`.
fn authority(url: &str) -> Result<String, GatewayError> {
    let bad_url = || GatewayError::ControlUrl {
        url: url.to_owned(),
    };
    let uri: http::Uri = url.parse().map_err(|_invalid| bad_url())?;
    if uri.scheme_str() != Some("http") || uri.path() != "/" || uri.query().is_some() {
        return Err(bad_url());
    }
    let host = uri.host().filter(|h| !h.is_empty()).ok_or_else(bad_url)?;
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(80)))
}

/// `found` without repetitions, and beginning where `prefer` says.
fn in_order(found: Vec<Candidate>, feeder: Option<SocketAddr>, prefer: Prefer) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    let mut order: Vec<_> = found
        .into_iter()
        .filter(|candidate| seen.insert(candidate.address))
        .take(MOST_ADDRESSES)
        .collect();
    if let Some(at) = order
        .iter()
        .position(|candidate| Some(candidate.address) == feeder)
    {
        let first = match prefer {
            Prefer::Feeder => at,
            Prefer::Another => (at + 1) % order.len(),
        };
        // In a circle, so that none is forgotten whoever came first.
        order.rotate_left(first);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        let new = |url: &str, id: &str| {
            let endpoint = ControlEndpoint {
                urls: vec!["http://first".into(), url.into()],
                token: TokenSource::File("token".into()),
            };
            Control::new(&endpoint, id, Supervisor::new("test")).map(|c| c.authorities[1].clone())
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

    #[test]
    fn nobody_is_forgotten_and_reports_follow_the_feed() {
        let candidate = |n: u8| Candidate {
            authority: "control:7070".into(),
            address: SocketAddr::from(([10, 0, 0, n], 7070)),
        };
        let all = || vec![candidate(1), candidate(2), candidate(2), candidate(3)];
        let order = |feeder: Option<u8>, prefer| {
            in_order(all(), feeder.map(|n| candidate(n).address), prefer)
                .into_iter()
                .map(|c| match c.address.ip() {
                    std::net::IpAddr::V4(ip) => ip.octets()[3],
                    std::net::IpAddr::V6(_) => 0,
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(order(None, Prefer::Feeder), [1, 2, 3]);
        assert_eq!(order(None, Prefer::Another), [1, 2, 3]);
        assert_eq!(order(Some(2), Prefer::Feeder), [2, 3, 1]);
        assert_eq!(order(Some(2), Prefer::Another), [3, 1, 2]);
        assert_eq!(order(Some(3), Prefer::Another), [1, 2, 3]);
        assert_eq!(
            order(Some(9), Prefer::Feeder),
            [1, 2, 3],
            "an address that is gone"
        );
    }
}
