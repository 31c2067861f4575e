//! What happens after "101 Switching Protocols".
//!
//! Theory of operation: once both sides agreed to leave HTTP, bytes go both ways until both are done or one breaks.
//! Each direction has one small buffer, so a slow reader slows its writer down. The tunnel counts as one request in
//! flight, and as work that a shutdown waits for.

use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::body::{AnswerBody, Upload};
use crate::forward::{self, Upgraded};
use crate::gateway::Gateway;
use crate::headers;
use crate::refusal::Refusal;

/// Bytes on their way in each direction.
const BUFFER: usize = 8 * 1024;

/// Answers the client as the pod did and, if the pod agreed, starts the tunnel.
pub(crate) fn join(
    gateway: &Gateway,
    client: OnUpgrade,
    upgraded: Upgraded,
    upload: Option<Arc<Upload>>,
) -> Result<Response<AnswerBody>, Refusal> {
    let Upgraded {
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
            Ok((client, pod)) => {
                let (mut client, mut pod) = (TokioIo::new(client), TokioIo::new(pod));
                let copied =
                    tokio::io::copy_bidirectional_with_sizes(&mut client, &mut pod, BUFFER, BUFFER)
                        .await;
                match copied {
                    Ok((up, down)) => pick.app.carried(up, down),
                    Err(error) => tracing::debug!(%error, "tunnel broke"),
                }
            }
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
