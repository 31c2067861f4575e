//! Whether this process lives and is ready, for those who watch it.
//!
//! Theory of operation: probes have an address of their own, so that no host name of an app can hide them, users
//! cannot ask, and they are answered when users' connections are at their bound. `/healthz` is about the process
//! alone. `/readyz` says whether requests should be sent here: after the first table, from disk or from the control
//! plane, and until the gateway is asked to end. A control plane that is away makes no gateway unready: it serves.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::gateway::Gateway;

/// Probes that are answered at once. More wait.
const PROBES: usize = 16;
/// How long one connection of a prober may last.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Longest head of a probe, in bytes.
const HEAD_BYTES: usize = 8 * 1024;

/// Listens for probes.
pub(crate) async fn bind(addr: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

/// Answers probes until it is dropped.
pub(crate) async fn answer(gateway: Arc<Gateway>, listener: TcpListener) {
    let permits = Arc::new(Semaphore::new(PROBES));
    let tasks = coracle_task::Supervisor::new("gateway probes");
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _prober)) => {
                let gateway = Arc::clone(&gateway);
                tasks.spawn("probe", async move {
                    let served = tokio::time::timeout(PATIENCE, serve(gateway, stream)).await;
                    if let Ok(Err(error)) = served {
                        tracing::debug!(%error, "a probe broke off");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept probes");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(gateway: Arc<Gateway>, stream: TcpStream) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = said(&request, gateway.is_ready());
        async move { Ok::<_, Infallible>(answer) }
    });
    Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn said<B>(request: &Request<B>, ready: bool) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "ok\n"),
        (&Method::GET | &Method::HEAD, "/readyz") if ready => (StatusCode::OK, "ready\n"),
        (&Method::GET | &Method::HEAD, "/readyz") => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no route table yet, or asked to end\n",
        ),
        _ => (StatusCode::NOT_FOUND, "there are /healthz and /readyz\n"),
    };
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_told_apart() {
        let status = |method: &str, path: &str, ready| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .body(())
                .unwrap();
            said(&request, ready).status().as_u16()
        };
        assert_eq!(status("GET", "/healthz", false), 200);
        assert_eq!(status("GET", "/readyz", false), 503);
        assert_eq!(status("HEAD", "/readyz", true), 200);
        assert_eq!(status("POST", "/readyz", true), 404);
        assert_eq!(status("GET", "/", true), 404);
    }
}
