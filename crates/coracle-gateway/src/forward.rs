//! One try at one pod.
//!
//! Theory of operation: a try ends with an answer's head, or with what is known about how far the request came.
//! That knowledge is all that the retry layer may act on:
//! - the request was never written (no connection, or the codec gave it back whole): any pod may have it;
//! - it was written on a *reused* connection that the pod had closed or was closing, and there is no answer: when the
//!   request is idempotent and has no body, it is sent again on a fresh connection (RFC 9110, section 9.2.2);
//! - otherwise it may have been acted on: it is not sent twice.
//!
//! Requests that are not idempotent use only connections that were in use a moment ago, which no pod closes for
//! being idle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::body::{AnswerBody, Driver, PodBody, RequestBody, Upload, UploadState};
use crate::config::Limits;
use crate::endpoint::Endpoint;
use crate::gateway::Gateway;
use crate::headers;
use crate::pod_connection::{PodConnection, SendFailed};
use crate::table::Pick;

/// How recently a connection must have been used to carry a request that cannot be repeated.
const FRESH: Duration = Duration::from_secs(1);

/// How a try failed.
pub(crate) enum Failed {
    /// The request did not reach the pod: another may have it.
    NotSent(Box<Request<RequestBody>>),
    /// The request may have reached the pod.
    Lost,
}

/// Sends an ordinary request to the picked pod.
pub(crate) async fn send(
    gateway: &Gateway,
    pick: Pick,
    upload: Option<&Arc<Upload>>,
    mut request: Request<RequestBody>,
) -> Result<Response<AnswerBody>, Failed> {
    let endpoint = Arc::clone(pick.in_flight.endpoint());
    let limits = &gateway.limits;
    let repeatable = upload.is_none() && request.method().is_idempotent();
    let freshness = if request.method().is_idempotent() {
        Duration::MAX
    } else {
        FRESH
    };
    while let Some(mut connection) = endpoint.take_idle(freshness) {
        let spare = repeatable.then(|| copy(&request));
        match connection.send(request).await {
            Ok(answer) => return Ok(carry(gateway, connection, pick, upload, answer)),
            Err(SendFailed {
                unsent: Some(whole),
                ..
            }) => request = *whole,
            Err(SendFailed {
                unsent: None,
                error,
            }) => {
                let Some(spare) = spare else {
                    log_lost(&endpoint, &error);
                    return Err(Failed::Lost);
                };
                request = spare;
                // What else is unused was most likely closed with it.
                break;
            }
        }
    }
    let Some(stream) = connect(&endpoint, limits).await else {
        return Err(Failed::NotSent(Box::new(request)));
    };
    let mut connection = match PodConnection::start(stream, limits).await {
        Ok(connection) => connection,
        Err(error) => {
            log_lost(&endpoint, &error);
            return Err(Failed::NotSent(Box::new(request)));
        }
    };
    match connection.send(request).await {
        Ok(answer) => Ok(carry(gateway, connection, pick, upload, answer)),
        Err(SendFailed {
            unsent: Some(whole),
            ..
        }) => Err(Failed::NotSent(whole)),
        Err(SendFailed {
            unsent: None,
            error,
        }) => {
            log_lost(&endpoint, &error);
            Err(Failed::Lost)
        }
    }
}

/// An answer of a pod and, if it left HTTP, what is needed to carry the rest.
pub(crate) struct UpgradeAnswer {
    pub(crate) answer: Response<Incoming>,
    pub(crate) driver: Driver,
    pub(crate) pick: Pick,
}

/// Sends a request that asks to leave HTTP, on a connection of its own.
pub(crate) async fn send_upgrade(
    gateway: &Gateway,
    pick: Pick,
    request: Request<RequestBody>,
) -> Result<UpgradeAnswer, Failed> {
    let endpoint = Arc::clone(pick.in_flight.endpoint());
    let limits = &gateway.limits;
    let Some(stream) = connect(&endpoint, limits).await else {
        return Err(Failed::NotSent(Box::new(request)));
    };
    let started = Builder::new()
        .max_buf_size(limits.buffer_bytes.max(Limits::MIN_BUFFER))
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = match started {
        Ok(started) => started,
        Err(error) => {
            log_lost(&endpoint, &error);
            return Err(Failed::NotSent(Box::new(request)));
        }
    };
    let (driver, end) = Driver::elsewhere();
    gateway
        .connections
        .spawn_graceful("upgrading connection", async move {
            if let Some(Err(error)) = end.run_until_cancelled(connection.with_upgrades()).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "connection to a pod ended"
                );
            }
        });
    match sender.try_send_request(request).await {
        Ok(answer) => Ok(UpgradeAnswer {
            answer,
            driver,
            pick,
        }),
        Err(mut failed) => match failed.take_message() {
            Some(whole) => Err(Failed::NotSent(Box::new(whole))),
            None => {
                log_lost(&endpoint, failed.error());
                Err(Failed::Lost)
            }
        },
    }
}

/// Wraps a pod's answer so that reading it moves the connection.
fn carry(
    gateway: &Gateway,
    mut connection: Box<PodConnection>,
    pick: Pick,
    upload: Option<&Arc<Upload>>,
    mut answer: Response<Incoming>,
) -> Response<AnswerBody> {
    if let Some(kept) = headers::for_client(answer.headers_mut()) {
        connection.set_idle_for(kept);
    }
    let driver = if upload.is_some_and(|u| u.state() == UploadState::Open) {
        // The pod answers before it has the whole request. Reading and sending must not wait for each other, so the
        // connection needs a task of its own.
        let (driver, end) = Driver::elsewhere();
        let rest = connection.into_driver();
        gateway
            .connections
            .spawn_graceful("early answer", async move {
                if let Some(Err(error)) = end.run_until_cancelled(rest).await {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "connection to a pod ended"
                    );
                }
            });
        driver
    } else {
        Driver::Reader(connection)
    };
    wrap(gateway, answer, driver, pick, upload.cloned())
}

/// Puts everything that has to last as long as the answer's body into it.
pub(crate) fn wrap(
    gateway: &Gateway,
    answer: Response<Incoming>,
    driver: Driver,
    pick: Pick,
    upload: Option<Arc<Upload>>,
) -> Response<AnswerBody> {
    let keep = gateway.limits.pool_per_pod;
    answer.map(|incoming| {
        AnswerBody::Pod(PodBody::new(
            incoming,
            driver,
            pick.in_flight,
            keep,
            pick.app,
            upload,
        ))
    })
}

async fn connect(endpoint: &Endpoint, limits: &Limits) -> Option<TcpStream> {
    match tokio::time::timeout(limits.connect_timeout, TcpStream::connect(endpoint.addr)).await {
        Ok(Ok(stream)) => {
            endpoint.ejection.accepted();
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot switch off delay of small segments");
            }
            Some(stream)
        }
        Ok(Err(error)) => {
            if is_pods_fault(&error) {
                endpoint.ejection.refused(Instant::now());
            }
            tracing::debug!(pod = %endpoint.addr, %error, "cannot connect");
            None
        }
        Err(_elapsed) => {
            endpoint.ejection.refused(Instant::now());
            tracing::debug!(pod = %endpoint.addr, "connecting took too long");
            None
        }
    }
}

/// Our own lack of sockets or ports says nothing about the pod.
fn is_pods_fault(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionRefused
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::TimedOut
    )
}

fn log_lost(endpoint: &Endpoint, error: &hyper::Error) {
    tracing::debug!(
        pod = %endpoint.addr,
        error = error as &dyn std::error::Error,
        "no answer to a request that may have been read"
    );
}

fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut spare = Request::new(RequestBody::empty());
    spare.method_mut().clone_from(request.method());
    spare.uri_mut().clone_from(request.uri());
    *spare.version_mut() = request.version();
    spare.headers_mut().clone_from(request.headers());
    spare
}
