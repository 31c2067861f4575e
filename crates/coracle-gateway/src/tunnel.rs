//! What happens after "101 Switching Protocols".
//!
//! Theory of operation: once both sides agreed to leave HTTP, bytes go both ways until both are done or one breaks.
//! Each direction has one small buffer, so a slow reader slows its writer down. A client may end its direction and go
//! on listening; when the pod ends its own the tunnel is over, because a client that never closes must not keep a pod
//! that is gone in flight. The tunnel counts as one request in flight, and as work that a shutdown waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::body::{AnswerBody, Upload};
use crate::forward::{self, UpgradeAnswer};
use crate::gateway::Gateway;
use crate::headers;
use crate::refusal::Refusal;
use crate::traffic::App;

/// Bytes on their way in each direction.
const BUFFER: usize = 8 * 1024;

/// Answers the client as the pod did and, if the pod agreed, starts the tunnel.
pub(crate) fn join(
    gateway: &Gateway,
    client: OnUpgrade,
    upgraded: UpgradeAnswer,
    upload: Option<Arc<Upload>>,
) -> Result<Response<AnswerBody>, Refusal> {
    let UpgradeAnswer {
        mut answer,
        driver,
        pick,
    } = upgraded;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        headers::for_client(answer.headers_mut());
        return Ok(forward::wrap(gateway, answer, driver, pick, upload));
    }
    let pod = hyper::upgrade::on(&mut answer);
    let protocol = answer.headers().get(UPGRADE).cloned();
    headers::for_client(answer.headers_mut());
    let Some(protocol) = protocol else {
        return Err(Refusal::Broken { app: pick.app });
    };
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, protocol);
    gateway.connections.spawn_graceful("tunnel", async move {
        // Held till the end: the pod's connection, and the place in flight.
        let (_driver, pick) = (driver, pick);
        match futures::future::try_join(client, pod).await {
            Ok((client, pod)) => carry(client, pod, &pick.app).await,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "upgrade came to nothing"
                );
            }
        }
    });
    Ok(answer.map(|_none| AnswerBody::Whole(Full::default())))
}

async fn carry(client: Upgraded, pod: Upgraded, app: &App) {
    let (client_reads, client_writes) = tokio::io::split(TokioIo::new(client));
    let (pod_reads, pod_writes) = tokio::io::split(TokioIo::new(pod));
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let upward = async {
        match pour(client_reads, pod_writes, &up).await {
            // The client has said everything; the pod may still answer.
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    };
    tokio::select! {
        ended = pour(pod_reads, client_writes, &down) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "tunnel broke");
            }
        }
        error = upward => tracing::debug!(%error, "tunnel broke"),
    }
    app.carried(up.load(Ordering::Relaxed), down.load(Ordering::Relaxed));
}

/// Copies until the end and hands the end on.
async fn pour(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes: &AtomicU64,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
}
