//! Connections from clients.
//!
//! Theory of operation: one loop accepts; each connection is one task that runs the HTTP codec and, within it, the
//! request's whole way through the layers. A permit bounds how many there are: without one nothing is accepted, and
//! the kernel's queue holds new connections back. This is also where TLS and the choice of HTTP version will sit:
//! everything above deals in requests.
//!
//! Shutdown has three steps, so that no client sees a closed connection for a request it had reason to send: what
//! the kernel has queued is accepted and the socket closed; kept-alive connections get a moment to bring one more
//! request, answered with `Connection: close`; then unused ones are closed and requests in flight are waited for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use coracle_task::CancellationToken;
use http::HeaderValue;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::gateway::Gateway;
use crate::service;

/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is known of a client's connection before its first request.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Our end.
    pub(crate) local: SocketAddr,
    /// The client's address, ready to be a header's value.
    pub(crate) address_text: HeaderValue,
    /// Is it a proxy whose forwarding headers are believed?
    pub(crate) trusted: bool,
    /// `http`, until there is TLS.
    pub(crate) scheme: HeaderValue,
}

impl Peer {
    fn new(gateway: &Gateway, remote: SocketAddr, local: SocketAddr) -> Self {
        // A client of an IPv6 socket that came over IPv4 is an IPv4 client to everybody else.
        let address = remote.ip().to_canonical();
        Self {
            local: SocketAddr::new(local.ip().to_canonical(), local.port()),
            address_text: HeaderValue::from_str(&address.to_string())
                .unwrap_or(HeaderValue::from_static("unknown")),
            trusted: gateway.trusted_proxies.contains(&address),
            scheme: HeaderValue::from_static("http"),
        }
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            local: SocketAddr::from(([127, 0, 0, 1], 8080)),
            address_text: HeaderValue::from_static("192.0.2.7"),
            trusted: false,
            scheme: HeaderValue::from_static("http"),
        }
    }
}

/// Accepts connections until `shutdown`, then what is queued, and gives the address free.
pub(crate) async fn accept(
    gateway: &Arc<Gateway>,
    listener: TcpListener,
    shutdown: &CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(gateway.limits.connections));
    let mut stop = pin!(shutdown.cancelled());
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = &mut stop => break,
            next = next => next,
        };
        match (permit, accepted) {
            (Ok(permit), Ok((stream, remote))) => start(gateway, stream, remote, permit),
            (_, Err(error)) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // The semaphore is never closed.
            (Err(_closed), _) => break,
        }
    }
    if let Err(error) = accept_queued(gateway, listener, &permits) {
        tracing::warn!(%error, "cannot take the connections that were queued");
    }
}

/// Takes the connections that the kernel has queued: closing the socket would reset them. Asks the kernel itself,
/// because the runtime may not have heard of the last ones yet.
fn accept_queued(
    gateway: &Arc<Gateway>,
    listener: TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<()> {
    let listener = listener.into_std()?;
    while let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        match listener.accept() {
            Ok((stream, remote)) => {
                stream.set_nonblocking(true)?;
                start(gateway, TcpStream::from_std(stream)?, remote, permit);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn start(
    gateway: &Arc<Gateway>,
    stream: TcpStream,
    remote: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let peer = Arc::new(Peer::new(gateway, remote, local));
    let shared = Arc::clone(gateway);
    gateway
        .connections
        .spawn_graceful("client connection", async move {
            run(shared, stream, peer).await;
            drop(permit);
        });
}

async fn run(gateway: Arc<Gateway>, stream: TcpStream, peer: Arc<Peer>) {
    let closing = gateway.connections.token();
    let linger = gateway.limits.linger;
    let codec = codec(&gateway.limits);
    let service = service_fn(move |request| {
        let (gateway, peer) = (Arc::clone(&gateway), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(service::serve(gateway, peer, request).await) }
    });
    let mut connection = pin!(
        codec
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let wind_up = async {
        closing.cancelled().await;
        tokio::time::sleep(linger).await;
    };
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = wind_up => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients that go away are everyday life.
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "client connection ended"
        );
    }
}

fn codec(limits: &Limits) -> Builder {
    let mut codec = Builder::new();
    codec
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.buffer_bytes.max(Limits::MIN_BUFFER));
    // The codec's own bound is 100 and needs no allocation per request: only set another.
    if limits.headers != 100 {
        codec.max_headers(limits.headers);
    }
    codec
}
