//! Connections to the API.
//!
//! Theory of operation: one loop accepts; each connection is one task. A permit bounds how many there are: without one
//! nothing is accepted, and the kernel's queue holds new ones back. A client that sends its request's head too
//! slowly, or nothing on a connection that it keeps open, is cut: the codec's clock runs whenever a head is waited
//! for. A request whose head has come is not under that clock, so streams and uploads last as long as they take.
//!
//! At a stop nothing new is accepted, unused connections are closed and requests under way end by themselves or at the
//! caller's deadline; what goes on without end (events, logs) hears of the stop from its supervisor.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use coracle_task::{CancellationToken, Supervisor};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Of the files that the process may have open, connections may be one in so many: the store, the registry and the
/// engine need some too.
const FILES_PER_CONNECTION: u64 = 2;

/// Bounds of the API's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open at the same time; less where the process may not have so many files open.
    pub connections: usize,
    /// For a request's head to come, and for a kept connection to be used again.
    pub head: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            head: Duration::from_secs(30),
            head_bytes: 64 * 1024,
        }
    }
}

impl ConnectionLimits {
    fn permits(&self) -> usize {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = usize::try_from(files / FILES_PER_CONNECTION).unwrap_or(usize::MAX);
        self.connections.min(most).max(1)
    }
}

/// The place that a connection takes. Whoever takes the connection over (a WebSocket) keeps it as long.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Accepts connections and serves them with `router`, each as a task of `connections`, until `stop`.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    limits: &ConnectionLimits,
    stop: &CancellationToken,
    connections: &Supervisor,
) -> std::io::Result<()> {
    let permits = Arc::new(Semaphore::new(limits.permits()));
    let mut codec = Builder::new();
    codec
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_header_size(limits.head_bytes);
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            next = next => next,
        };
        match (permit, accepted) {
            (Ok(permit), Ok((stream, remote))) => {
                let (codec, router, closing) = (codec.clone(), router.clone(), stop.clone());
                let seat = Seat {
                    _permit: Arc::new(permit),
                };
                connections.spawn_graceful("API connection", async move {
                    run(&codec, stream, remote, router, &closing, seat).await;
                });
            }
            (_, Err(error)) if is_passing(&error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (_, Err(error)) => return Err(error),
            // The semaphore is never closed.
            (Err(_closed), _) => return Ok(()),
        }
    }
}

/// Is it about one connection, or about room that comes back? A listener that is broken for good is not.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, NotConnected, Unsupported};
    !matches!(error.kind(), InvalidInput | NotConnected | Unsupported)
}

async fn run(
    codec: &Builder,
    stream: TcpStream,
    remote: SocketAddr,
    router: Router,
    closing: &CancellationToken,
    seat: Seat,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers may be delayed");
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(remote));
        request.extensions_mut().insert(seat.clone());
        router.clone().oneshot(request)
    });
    let connection = codec.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection.with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients that go away are everyday life.
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
}
