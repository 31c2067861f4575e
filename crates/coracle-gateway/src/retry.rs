//! Another pod, when the first did not get the request.
//!
//! Theory of operation: the number of tries is bounded by a limit and by the number of pods; each try picks anew
//! from the table as it is then, so that a table that arrives meanwhile helps. What may be tried again is decided
//! in [`crate::forward`], by whether the request can have been read.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::upgrade::OnUpgrade;

use crate::body::{AnswerBody, RequestBody, Upload, UploadState};
use crate::forward::{self, Failed};
use crate::gateway::Gateway;
use crate::refusal::Refusal;
use crate::traffic::App;
use crate::tunnel;

/// How a request is carried.
pub(crate) enum Way {
    /// As one request and one answer.
    Plain,
    /// As one that may become a tunnel; the client's side of it.
    Tunnel(OnUpgrade),
}

/// An answer, and the app that it counts for.
pub(crate) struct Answered {
    pub(crate) app: Arc<App>,
    pub(crate) response: Response<AnswerBody>,
}

/// Brings `request` to a pod of `host`.
pub(crate) async fn to_a_pod(
    gateway: &Gateway,
    host: &str,
    mut request: Request<RequestBody>,
    upload: Option<Arc<Upload>>,
    mut way: Way,
) -> Result<Answered, Refusal> {
    let mut tried: Vec<SocketAddr> = Vec::new();
    loop {
        let pick = gateway.routes.pick(host, &tried)?;
        let app = Arc::clone(&pick.app);
        let addr = pick.in_flight.endpoint().addr;
        let result = match way {
            Way::Plain => forward::send(gateway, pick, upload.as_ref(), request).await,
            Way::Tunnel(client) => match forward::send_upgrade(gateway, pick, request).await {
                Ok(upgraded) => {
                    let response = tunnel::join(gateway, client, upgraded, upload)?;
                    return Ok(Answered { app, response });
                }
                Err(failed) => {
                    way = Way::Tunnel(client);
                    Err(failed)
                }
            },
        };
        match result {
            Ok(response) => return Ok(Answered { app, response }),
            Err(Failed::NotSent(whole)) => {
                tried.push(addr);
                if tried.len() >= gateway.limits.attempts {
                    return Err(Refusal::Unreachable { app });
                }
                request = *whole;
            }
            Err(Failed::Lost) => {
                return Err(match upload.as_ref().map(|u| u.state()) {
                    Some(UploadState::Broken) => Refusal::BadBody { app },
                    Some(UploadState::Stalled) => Refusal::BodyStalled { app },
                    _ => Refusal::Broken { app },
                });
            }
        }
    }
}
