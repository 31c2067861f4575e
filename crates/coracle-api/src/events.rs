//! Live changes of objects, as server-sent events.
//!
//! Theory of operation: a follower first gets everything that exists (`applied` each), then `synced`, then each change.
//! Changes of the store, and the `synced` after everything, carry the store's revision as their id: a browser that
//! was cut off says the last one it saw (`Last-Event-ID`) and gets only what changed since. What is told before
//! `synced` has no id: it comes by name and not by revision, so it is no place to go on from. Several objects can
//! change in one revision, of which a follower may have seen a part: that revision is told again, which does no harm
//! to somebody who takes each object as a whole. Pods and nodes are the engine's and have no revision: they are
//! told anew. A follower that is too slow, or whose revision is not known here, gets `reset` and everything again.
//! A stream ends when the credentials end that it was opened with, or the rights of their user change
//! ([`Tenure`]).
//! What was deleted is told with its uid where the stream has told of it, or the object was there at a resumption:
//! the store's log of changes does not have it.
//!
//! What is told, and to whom, is the table [`kinds::STORED`]: a kind of the store's records is one line there.
//! `filter` decides what a follower gets, `follower` is the loop, `stored` and `observed` are its two sources, and `usage`
//! a third for those who ask for it.

mod filter;
mod follower;
mod kinds;
mod observed;
mod stored;
mod usage;

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use coracle_model::name::ProjectName;
use coracle_model::problem::{Code, Problem};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::Query;
use crate::state::ApiState;
use crate::tenure::Tenure;
use filter::{Asked, Filter, parse_kinds};
use follower::{Follower, Gone};

/// Events between the source and a follower.
const BUFFER: usize = 64;

/// Which changes.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventQuery {
    /// Of this project only.
    #[serde(default)]
    project: Option<ProjectName>,
    /// Of these kinds only, such as `App,Pod`.
    #[serde(default)]
    kinds: Option<String>,
}

/// Follow changes of what the caller may see.
///
/// Of `Event` only what happens from now on is told, and of `Volume` and
/// `Image` only the name of what was changed: `{"kind", "metadata": {"name", "project"}}`.
///
/// With `Usage` among `kinds`, and not otherwise, `usage` tells of what everything uses, a `UsageSample`: the newest one at
/// once, and each that comes. A control plane that does not lead has none, and refuses a request for nothing else.
#[utoipa::path(get, path = "/api/v1/events", tag = "platform", params(EventQuery), responses(
    (status = 200, description = "text/event-stream: applied, deleted, synced, reset, usage"), (status = "default", body = Problem)))]
pub(crate) async fn follow(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<EventQuery>,
) -> ApiResult<Response> {
    let last_seen = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let asked = query.kinds.as_deref().map(parse_kinds).transpose()?;
    if asked.as_ref().is_some_and(Asked::is_samples_alone) {
        crate::usage::history(&state)?;
    }
    if let Some(project) = &query.project {
        if !caller.sees(project) {
            let detail = format!("there is no project {project}");
            return Err(ApiError::new(Code::NotFound, detail));
        }
        state.control.project(project).await?;
    }
    let tenure = Tenure::new(&state, caller);
    let (out, events) = mpsc::channel(BUFFER);
    let filter = Filter::new(tenure.clone(), query.project, asked);
    let follower = Follower::new(state.clone(), filter, out);
    state.supervisor.spawn("event stream", async move {
        // An end without an error is a follower that left.
        let _left = tokio::select! {
            left = follower.run(last_seen) => left,
            () = tenure.ended() => Err(Gone),
        };
    });
    let stream = ReceiverStream::new(events).map(Ok::<_, Infallible>);
    Ok(Sse::new(stream)
        .keep_alive(KeepAlive::default())
        .into_response())
}
