//! Logs of pods and apps, as newline-delimited JSON.
//!
//! Theory of operation: a log of an app is the logs of its pods side by side. When it is followed, pods that
//! appear later join in: each is read by a task of its own that ends when the reader goes away, because
//! the channel between them closes. The one who asked gets no more once their credentials end.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use coracle_engine::stream::{Channel, Follow, LogLine, LogRequest, LogStream};
use coracle_model::name::{AppName, PodName, ProcessName, ProjectName};
use coracle_model::problem::{Code, Problem};
use coracle_model::quantity::Span;
use coracle_model::workload::{ObservedPod, PodId};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::{Path, Query};
use crate::state::ApiState;
use crate::tenure::Tenure;

/// Lines between the pods' readers and the one who asked.
const LINES_BUFFER: usize = 256;

/// The most lines of each pod that can be asked for.
const MOST_TAIL: u32 = 100_000;

/// Which lines.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogQuery {
    /// `true`: wait for more.
    #[serde(default)]
    follow: bool,
    /// The last so many lines of each pod.
    #[serde(default)]
    tail: Option<u32>,
    /// From this moment on (RFC 3339), or the last so long, such as `5m`.
    #[serde(default)]
    since: Option<String>,
    /// Of this process only.
    #[serde(default)]
    process: Option<ProcessName>,
    /// Of this pod only.
    #[serde(default)]
    pod: Option<PodName>,
}

impl LogQuery {
    fn request(&self) -> ApiResult<LogRequest> {
        let since = self.since.as_deref().map(parse_since).transpose()?;
        let follow = if self.follow { Follow::Yes } else { Follow::No };
        Ok(LogRequest {
            tail: self.tail.map(|tail| tail.min(MOST_TAIL)),
            since,
            follow,
        })
    }
}

fn parse_since(text: &str) -> ApiResult<DateTime<Utc>> {
    if let Ok(at) = text.parse::<DateTime<Utc>>() {
        return Ok(at);
    }
    let span = text
        .parse::<Span>()
        .ok()
        .and_then(|span| chrono::Duration::from_std(span.0).ok());
    let at = span.and_then(|span| Utc::now().checked_sub_signed(span));
    at.ok_or_else(|| {
        let detail = "use a time such as 2026-01-31T12:00:00Z, or how long ago, such as 5m";
        Problem::new(Code::InvalidField, detail)
            .field("since")
            .into()
    })
}

#[derive(Serialize)]
struct OutLine<'a> {
    pod: &'a PodName,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'a ProcessName>,
    at: DateTime<Utc>,
    channel: &'static str,
    text: &'a str,
}

fn encode(pod: &ObservedPod, line: &LogLine) -> Bytes {
    let out = OutLine {
        pod: &pod.id.name,
        process: pod.owner.process.as_ref(),
        at: line.at,
        channel: match line.channel {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
        },
        text: &line.text,
    };
    let mut bytes = serde_json::to_vec(&out).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

fn answer(lines: mpsc::Receiver<Bytes>, tenure: Tenure) -> Response {
    let lines = tenure.bound(ReceiverStream::new(lines));
    let body = Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>));
    (
        [
            (header::CONTENT_TYPE, "application/x-ndjson"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        body,
    )
        .into_response()
}

/// A pod's log.
#[utoipa::path(get, path = "/api/v1/projects/{project}/pods/{pod}/log", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path), LogQuery),
    responses((status = 200, description = "application/x-ndjson"), (status = "default", body = Problem)))]
pub(crate) async fn of_pod(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, pod)): Path<(ProjectName, PodName)>,
    Query(query): Query<LogQuery>,
) -> ApiResult<Response> {
    let request = query.request()?;
    let id = PodId { project, name: pod };
    // Asked before the answer begins, so that an error is an error and not an empty log.
    let stream = state.control.engine.logs(&id, request).await?;
    let Some(seen) = state.control.observed.pod(&id) else {
        return Err(coracle_engine::EngineError::NoSuchPod(id).into());
    };
    let (sender, lines) = mpsc::channel(LINES_BUFFER);
    state.supervisor.spawn("log of a pod", async move {
        relay(&seen, stream, &sender).await;
    });
    Ok(answer(lines, Tenure::new(&state, caller)))
}

/// The logs of an app's pods.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}/logs", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), LogQuery),
    responses((status = 200, description = "application/x-ndjson"), (status = "default", body = Problem)))]
pub(crate) async fn of_app(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    Query(query): Query<LogQuery>,
) -> ApiResult<Response> {
    state.control.app(&project, &app).await?;
    let request = query.request()?;
    let (sender, lines) = mpsc::channel(LINES_BUFFER);
    let follower = state.clone();
    state.supervisor.spawn("log of an app", async move {
        if query.follow {
            follow_app(follower, project, app, query, request, sender).await;
        } else {
            for pod in wanted(&follower, &project, &app, &query) {
                read_pod(&follower, pod, request.clone(), &sender).await;
            }
        }
    });
    Ok(answer(lines, Tenure::new(&state, caller)))
}

fn wanted(
    state: &ApiState,
    project: &ProjectName,
    app: &AppName,
    query: &LogQuery,
) -> Vec<Arc<ObservedPod>> {
    let mut pods = state.control.observed.pods_of_app(project, app);
    pods.retain(|pod| {
        query
            .process
            .as_ref()
            .is_none_or(|process| pod.owner.process.as_ref() == Some(process))
            && query.pod.as_ref().is_none_or(|name| pod.id.name == *name)
    });
    pods.sort_by_key(|pod| pod.created);
    pods
}

async fn follow_app(
    state: ApiState,
    project: ProjectName,
    app: AppName,
    query: LogQuery,
    request: LogRequest,
    sender: mpsc::Sender<Bytes>,
) {
    let mut changes = state.control.observed.subscribe();
    let mut joined = BTreeSet::new();
    let mut request = request;
    loop {
        changes.mark_unchanged();
        let pods = wanted(&state, &project, &app, &query);
        joined.retain(|name| pods.iter().any(|pod| pod.id.name == *name));
        for pod in pods {
            if joined.insert(pod.id.name.clone()) {
                let (reader, request, sender) = (state.clone(), request.clone(), sender.clone());
                state.supervisor.spawn("log of an app's pod", async move {
                    read_pod(&reader, pod, request, &sender).await;
                });
            }
        }
        // Pods that join later are read from their start.
        request = LogRequest {
            tail: None,
            since: None,
            follow: Follow::Yes,
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
        }
    }
}

async fn read_pod(
    state: &ApiState,
    pod: Arc<ObservedPod>,
    request: LogRequest,
    sender: &mpsc::Sender<Bytes>,
) {
    match state.control.engine.logs(&pod.id, request).await {
        Ok(stream) => relay(&pod, stream, sender).await,
        Err(error) => tracing::debug!(%error, pod = %pod.id, "no log"),
    }
}

/// Carries lines over until the log ends or its reader goes away, also while no line comes.
async fn relay(pod: &ObservedPod, mut stream: LogStream, sender: &mpsc::Sender<Bytes>) {
    loop {
        let line = tokio::select! {
            line = stream.next() => line,
            () = sender.closed() => return,
        };
        let Some(Ok(line)) = line else { return };
        if sender.send(encode(pod, &line)).await.is_err() {
            return;
        }
    }
}
