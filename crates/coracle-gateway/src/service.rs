//! The layers that a request goes through, outermost first.
//!
//! 1. **Request id.** Outermost, so that every answer and every log line below can carry it.
//! 2. **Goodbye.** A gateway that shuts down tells the client to connect anew; outside of the errors, because
//!    their connections have to end too.
//! 3. **Errors into answers.** Everything below returns `Result<_, Refusal>`; only this layer knows pages, forms and
//!    counters of answers. It looks at `Accept` before the layers below change the headers.
//! 4. **Host.** Before anything that depends on whose request it is; hostile hosts end here, and never touch the
//!    table.
//! 5. **Health.** Inside of host, because it exists only where no app can be: at a literal address.
//! 6. **Headers.** After host, which needs the target as it came; before the pods, which must see only clean ones.
//! 7. **Retry**, and inside of it, once per try:
//! 8. **Pick and count**, one step for the drain law's sake ([`crate::table`]); then
//! 9. **Forward** on a connection ([`crate::forward`]), or through a tunnel ([`crate::tunnel`]).
//!
//! TLS and HTTP/2 come below 1 (in [`crate::connection`]); holding requests while an app wakes comes between
//! 6 and 7.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::body::{AnswerBody, RequestBody};
use crate::connection::Peer;
use crate::gateway::Gateway;
use crate::headers::{self, Wish};
use crate::host::{self, Host};
use crate::page::{self, Form};
use crate::refusal::Refusal;
use crate::request_id;
use crate::retry::{self, Way};

/// Path of the gateway's own health, answered only where the host is the address that the client connected to.
pub(crate) const HEALTH: &str = "/-/coracle/healthz";

/// Answers one request.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    peer: Arc<Peer>,
    mut request: Request<Incoming>,
) -> Response<AnswerBody> {
    let id = request_id::of(request.headers_mut());
    let mut response = explain(&gateway, &peer, &id, request).await;
    if gateway.is_closing() && !response.headers().contains_key(CONNECTION) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Layer 3.
async fn explain(
    gateway: &Gateway,
    peer: &Peer,
    id: &HeaderValue,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let came = Instant::now();
    let form = Form::of(request.headers());
    match route(gateway, peer, request, came).await {
        Ok(response) => response,
        Err(refusal) => {
            let response = page::answer(&refusal, form, id);
            if let Some(app) = refusal.app() {
                app.answered(response.status(), came.elapsed());
            }
            tracing::debug!(
                code = refusal.code(),
                id = id.to_str().unwrap_or_default(),
                "refused"
            );
            response
        }
    }
}

/// Layers 4 to 6, then the pods.
async fn route(
    gateway: &Gateway,
    peer: &Peer,
    mut request: Request<Incoming>,
    came: Instant,
) -> Result<Response<AnswerBody>, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::MethodNotAllowed);
    }
    let host = match host::of(&mut request)? {
        Host::Name(name) => name,
        Host::Address(address) if address == peer.local.ip() && request.uri().path() == HEALTH => {
            return Ok(healthy());
        }
        Host::Address(address) => {
            return Err(Refusal::NoSuchApp {
                host: address.to_string(),
            });
        }
    };
    let way = match headers::for_pod(request.headers_mut(), peer)? {
        Wish::Upgrade(_) => Way::Tunnel(hyper::upgrade::on(&mut request)),
        Wish::Stay => Way::Plain,
    };
    *request.version_mut() = Version::HTTP_11;
    let (head, incoming) = request.into_parts();
    let (body, upload) = RequestBody::new(incoming, gateway.limits.body_pause);
    let request = Request::from_parts(head, body);
    let answered = retry::to_a_pod(gateway, host.as_str(), request, upload, way).await?;
    answered
        .app
        .answered(answered.response.status(), came.elapsed());
    Ok(answered.response)
}

fn healthy() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Whole(Full::new(Bytes::from_static(b"ok\n"))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
