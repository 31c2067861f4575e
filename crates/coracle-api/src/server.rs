//! The routes, and the layers around them.
//!
//! From the outside in: the request's id (so that everything after can be found by it), the log line, panics turned
//! into answers (so that the log line has their status), headers against being framed or sniffed, the limit of
//! bodies, and [`guard`](crate::access::guard).

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use coracle_control::objects::new_uid;
use coracle_model::problem::Code;
use coracle_task::{CancellationToken, Drain, Supervisor};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::access::guard;
use crate::connection::{self, ConnectionLimits};
use crate::describe;
use crate::error::{ApiError, REQUEST_ID, name_request};
use crate::routes::{Routes, routes};
use crate::settings;
use crate::state::ApiState;
use crate::{
    activity, app, build, build_source, connect, dashboard, env, events, exec, export, gateway,
    health, image, import, logs, metrics, node, openapi, pod, project, registry, release, session,
    source, system, token, usage, user, volume,
};

/// The largest JSON body, in bytes.
const BODY_BYTES: usize = 1024 * 1024;

/// The longest request id that is taken over from a caller, in bytes.
const MOST_REQUEST_ID: usize = 64;

/// How long requests under way have to end at a stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the API does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Accepting connections failed.
    #[error("the API's listener failed")]
    Listen(#[source] std::io::Error),
}

/// The routes whose bodies are small.
pub(crate) fn bounded<R: Routes>(into: R) -> R {
    into.routes(routes!(dashboard::index))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::read))
        .routes(routes!(openapi::read))
        .routes(routes!(gateway::routes))
        .routes(routes!(gateway::report))
        .routes(routes!(build_source::read))
        .routes(routes!(
            session::log_in,
            session::who_am_i,
            session::log_out
        ))
        .routes(routes!(user::list, user::create))
        .routes(routes!(user::read, user::update, user::delete))
        .routes(routes!(user::set_password))
        .routes(routes!(token::list, token::create))
        .routes(routes!(token::delete))
        .routes(routes!(project::list, project::create))
        .routes(routes!(project::read, project::update, project::delete))
        .routes(routes!(app::list, app::create))
        .routes(routes!(app::read, app::update, app::delete))
        .routes(routes!(app::read_scale, app::scale))
        .routes(routes!(app::domains, app::add_domain))
        .routes(routes!(app::remove_domain))
        .routes(routes!(env::read, env::change))
        .routes(routes!(logs::of_app))
        .routes(routes!(pod::run))
        .routes(routes!(source::list))
        .routes(routes!(source::read, source::delete))
        .routes(routes!(source::templates))
        .routes(routes!(build::list))
        .routes(routes!(build::read))
        .routes(routes!(build::cancel))
        .routes(routes!(build::log))
        .routes(routes!(release::list, release::create))
        .routes(routes!(release::read))
        .routes(routes!(pod::list, pod::create))
        .routes(routes!(pod::read, pod::update, pod::delete))
        .routes(routes!(pod::restart))
        .routes(routes!(describe::read))
        .routes(routes!(pod::stats))
        .routes(routes!(logs::of_pod))
        .routes(routes!(exec::exec))
        .routes(routes!(exec::attach))
        .routes(routes!(connect::connect))
        .routes(routes!(pod::list_all))
        .routes(routes!(volume::list))
        .routes(routes!(volume::delete))
        .routes(routes!(node::list))
        .routes(routes!(node::read))
        .routes(routes!(node::cordon))
        .routes(routes!(node::uncordon))
        .routes(routes!(node::drain, node::cancel_drain))
        .routes(routes!(image::list))
        .routes(routes!(image::tags))
        .routes(routes!(image::read, image::delete))
        .routes(routes!(registry::read))
        .routes(routes!(registry::collect))
        .routes(routes!(events::follow))
        .routes(routes!(activity::list))
        .routes(routes!(system::read))
        .routes(routes!(settings::read, settings::update))
        .routes(routes!(usage::of_app))
        .routes(routes!(usage::of_pod))
        .routes(routes!(usage::of_node))
        .routes(routes!(usage::of_platform))
        .routes(routes!(usage::now))
        .routes(routes!(export::read))
}

/// The routes of uploads, which have a bound of their own: it is kept while they are streamed.
pub(crate) fn streamed<R: Routes>(into: R) -> R {
    into.routes(routes!(build::create))
        .routes(routes!(source::create))
        .routes(routes!(import::create))
}

fn router(state: ApiState) -> Router {
    let api = bounded(Router::new())
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .merge(streamed(Router::new()).layer(DefaultBodyLimit::disable()))
        .layer(from_fn_with_state(state.clone(), guard))
        .fallback(dashboard::rest);
    around(api.with_state(state.clone()).merge(state.registry.router()))
}

/// The layers that every answer passes, whoever gives it.
fn around(routes: Router) -> Router {
    let plain = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    routes
        .layer(plain(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(plain(header::X_FRAME_OPTIONS, "DENY"))
        .layer(plain(header::REFERRER_POLICY, "no-referrer"))
        .layer(CatchPanicLayer::custom(
            |_panic: Box<dyn std::any::Any + Send>| {
                ApiError::new(Code::Internal, "the platform could not do it")
                    .hint("the log of the platform has the cause under the request id")
                    .into_response()
            },
        ))
        .layer(from_fn(log))
}

/// The id that the caller gave the request, where it is one that can be put into a log and an answer.
fn given_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(&REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=MOST_REQUEST_ID)
        .contains(&id.len())
        .then_some(id)
        .filter(|id| id.bytes().all(plain))
}

/// Gives each request an id, and one line in the log. The path without its query: that may hold what is nobody's
/// business.
async fn log(request: Request, next: Next) -> Response {
    use tracing::Instrument as _;
    let id = given_id(request.headers()).map_or_else(new_uid, str::to_owned);
    let span =
        tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    async move {
        let started = std::time::Instant::now();
        let mut response = next.run(request).await;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(status = response.status().as_u16(), micros, "answered");
        name_request(&mut response, &id);
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID.clone(), value);
        }
        response
    }
    .instrument(span)
    .await
}

/// Serves the API and the registry until `state`'s supervisor is told to end; then gives requests under way a
/// bounded time.
///
/// # Errors
/// When accepting connections fails.
pub async fn serve(listener: TcpListener, state: ApiState) -> Result<(), ServeError> {
    serve_within(listener, state, ConnectionLimits::default()).await
}

/// As [`serve`], within bounds of one's own.
///
/// # Errors
/// When accepting connections fails.
pub async fn serve_within(
    listener: TcpListener,
    state: ApiState,
    limits: ConnectionLimits,
) -> Result<(), ServeError> {
    let stop = state.supervisor.token();
    accept(listener, router(state), limits, stop).await
}

/// Serves the registry alone, for nodes of a cluster: they pull from an address that more can reach than the API's.
/// Ends as [`serve`] does.
///
/// # Errors
/// When accepting connections fails.
pub async fn serve_registry(listener: TcpListener, state: ApiState) -> Result<(), ServeError> {
    let routes = around(state.registry.router());
    accept(
        listener,
        routes,
        ConnectionLimits::default(),
        state.supervisor.token(),
    )
    .await
}

async fn accept(
    listener: TcpListener,
    routes: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let connections = Supervisor::new("API connections");
    let ended = connection::accept(listener, routes, &limits, &stop, &connections).await;
    if let Drain::Aborted(left) = connections.shutdown(DRAIN).await {
        tracing::warn!(left, "connections were cut at the drain deadline");
    }
    ended.map_err(ServeError::Listen)
}
