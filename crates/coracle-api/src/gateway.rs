//! The feed of the gateways: route tables out, reports in. Not for people: it has a token of its own, which
//! [`guard`](crate::access::guard) checks.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use coracle_control::feed::{Connection, Published};
use coracle_model::problem::{Code, Problem};
use coracle_model::route::GatewayReport;
use futures::stream;
use serde::Deserialize;
use tokio::sync::watch;

use crate::error::ApiResult;
use crate::extract::{Json, Path, Query};
use crate::state::ApiState;

/// An empty line is sent this often when there is nothing to tell.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The longest id of a gateway, in bytes.
const MOST_ID: usize = 64;

/// Which gateway.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichGateway {
    /// Its id: while the stream is open it counts as there.
    #[serde(default)]
    gateway: Option<String>,
}

fn check_id(id: &str) -> ApiResult<()> {
    let ok = !id.is_empty()
        && id.len() <= MOST_ID
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if ok {
        return Ok(());
    }
    let detail =
        format!("a gateway's id has 1 to {MOST_ID} letters, digits, dots, hyphens and underscores");
    Err(Problem::new(Code::InvalidField, detail)
        .field("gateway")
        .into())
}

/// One control plane feeds all gateways: that which knows which pods are about to stop, and waits for their requests.
fn check_leads(state: &ApiState) -> ApiResult<()> {
    if state.control.leading.holds() {
        return Ok(());
    }
    Err(
        Problem::new(Code::NotLeader, "this control plane does not lead")
            .hint("ask another one")
            .into(),
    )
}

/// Route tables, one JSON object a line; an empty line now and then.
#[utoipa::path(get, path = "/internal/v1/routes", tag = "gateways", params(WhichGateway), responses(
    (status = 200, description = "application/x-ndjson"), (status = "default", body = Problem)))]
pub(crate) async fn routes(
    State(state): State<ApiState>,
    Query(which): Query<WhichGateway>,
) -> ApiResult<Response> {
    check_leads(&state)?;
    struct Feed {
        tables: watch::Receiver<Published>,
        state: ApiState,
        told: u64,
        _there: Option<Connection>,
    }
    let there = match &which.gateway {
        Some(id) => {
            check_id(id)?;
            Some(state.control.feed.connected(id))
        }
        None => None,
    };
    let feed = Feed {
        tables: state.control.feed.subscribe(),
        state,
        told: 0,
        _there: there,
    };
    let lines = stream::unfold(feed, |mut feed| async move {
        loop {
            let current = feed.tables.borrow_and_update().clone();
            if let Some(table) = current.filter(|table| table.generation != feed.told) {
                feed.told = table.generation;
                let mut line = serde_json::to_vec(&*table).ok()?;
                line.push(b'\n');
                return Some((Ok::<_, Infallible>(Bytes::from(line)), feed));
            }
            let stop = feed.state.supervisor.token();
            let leading = feed.state.control.leading.clone();
            tokio::select! {
                changed = feed.tables.changed() => changed.ok()?,
                () = tokio::time::sleep(HEARTBEAT) => return Some((Ok(Bytes::from_static(b"\n")), feed)),
                () = stop.cancelled() => return None,
                () = leading.ended() => return None,
            }
        }
    });
    let kind = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((kind, Body::from_stream(lines)).into_response())
}

/// What a gateway reports.
#[utoipa::path(post, path = "/internal/v1/gateways/{gateway}", tag = "gateways", params(("gateway" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn report(
    State(state): State<ApiState>,
    Path(gateway): Path<String>,
    Json(report): Json<GatewayReport>,
) -> ApiResult<StatusCode> {
    check_id(&gateway)?;
    check_leads(&state)?;
    state.control.feed.report(&gateway, report).await?;
    Ok(StatusCode::NO_CONTENT)
}
