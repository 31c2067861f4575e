//! What a control plane answers as long as it cannot serve: that it lives, and what it waits for.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use coracle_model::problem::{Code, Problem};
use coracle_task::{CancellationToken, Supervisor};
use tokio::net::TcpListener;

use crate::awaited::Reason;
use crate::connection::{self, ConnectionLimits};
use crate::health;
use crate::server::ServeError;

/// How long answers under way have to end.
const DRAIN: Duration = Duration::from_secs(1);

/// Tells everybody who asks that this control plane waits, until `stop`: `/healthz` that it lives, `/readyz` and
/// everything else why it cannot do anything yet.
///
/// # Errors
/// When accepting connections fails.
pub async fn serve_waiting(
    listener: TcpListener,
    reason: Reason,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let routes = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(readyz))
        .fallback(everything)
        .with_state(reason);
    let connections = Supervisor::new("waiting API connections");
    let limits = ConnectionLimits::default();
    let ended = connection::accept(listener, routes, &limits, &stop, &connections).await;
    connections.shutdown(DRAIN).await;
    ended.map_err(ServeError::Listen)
}

async fn readyz(State(reason): State<Reason>) -> Response {
    let reason = format!("not ready: {}\n", reason.borrow().words());
    (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
}

async fn everything(State(reason): State<Reason>) -> Response {
    let problem = Problem::new(Code::StoreUnavailable, reason.borrow().words())
        .hint("nothing was changed; try again once it is mended");
    // Not as an error of the API: those are logged one by one, and here everybody asks again and again.
    let kind = [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::RETRY_AFTER, "1"),
    ];
    (StatusCode::SERVICE_UNAVAILABLE, kind, Json(problem)).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::awaited::Awaited;

    #[tokio::test]
    async fn it_lives_and_says_what_it_waits_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (say, reason) = watch::channel(Awaited::Start);
        let stop = CancellationToken::new();
        let serving = serve_waiting(listener, reason, stop.clone());
        let asking = async {
            let get = async |path: &str| {
                let answer = reqwest::get(format!("{base}{path}")).await.unwrap();
                let status = answer.status().as_u16();
                (status, answer.text().await.unwrap())
            };
            assert_eq!(get("/healthz").await.0, 200);
            let starting = "not ready: the control plane is starting\n";
            assert_eq!(get("/readyz").await, (503, starting.to_owned()));
            say.send_replace(Awaited::Store);
            let (status, text) = get("/api/v1/projects").await;
            let problem: Problem = serde_json::from_str(&text).unwrap();
            assert_eq!((status, problem.code), (503, Code::StoreUnavailable));
            assert_eq!(problem.detail, Awaited::Store.words());
            stop.cancel();
        };
        let (served, ()) = tokio::join!(serving, asking);
        served.unwrap();
    }
}
