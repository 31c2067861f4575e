//! What pods, apps, nodes and the platform use, over time.
//!
//! The history is in the memory of the control plane that leads; the others say so.

use axum::extract::State;
use chrono::{DateTime, Utc};
use coracle_control::usage::{Past, UsageHistory};
use coracle_model::name::{AppName, PodName, ProjectName};
use coracle_model::problem::{Code, Problem};
use coracle_model::usage::{Usage, UsageRange, UsageSample};
use coracle_model::user::ProjectScope;
use coracle_model::workload::PodId;
use serde::Deserialize;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Json, Path, Query};
use crate::state::ApiState;

/// Which part of the past.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageQuery {
    /// How much of it: an hour with a value for every 15 s, or 6 or 24 hours with one for every five minutes.
    #[serde(default)]
    #[param(inline)]
    range: UsageRange,
}

impl UsageQuery {
    fn past(self, since: Option<DateTime<Utc>>) -> Past {
        Past {
            range: self.range,
            now: Utc::now(),
            since,
        }
    }
}

/// Of which project.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleQuery {
    /// Of this one only; of all that the caller may see, and of the nodes, when absent.
    #[serde(default)]
    project: Option<ProjectName>,
}

/// What was used, where it is known.
pub(crate) fn history(state: &ApiState) -> ApiResult<&UsageHistory> {
    if state.control.leading.holds() {
        return Ok(&state.control.usage);
    }
    let detail = "what was used is known to the control plane that leads, and this one does not";
    Err(Problem::new(Code::NotLeader, detail)
        .hint("ask another one")
        .into())
}

/// What an app used: its pods together, and what was asked of it.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}/usage", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), UsageQuery),
    responses((status = 200, body = Usage), (status = "default", body = Problem)))]
pub(crate) async fn of_app(
    State(state): State<ApiState>,
    Path((project, app)): Path<(ProjectName, AppName)>,
    Query(query): Query<UsageQuery>,
) -> ApiResult<Json<Usage>> {
    let found = state.control.app(&project, &app).await?;
    let past = query.past(Some(found.metadata.created));
    Ok(Json(history(&state)?.of_app(&project, &app, past)))
}

/// What a pod used.
#[utoipa::path(get, path = "/api/v1/projects/{project}/pods/{pod}/usage", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path), UsageQuery),
    responses((status = 200, body = Usage), (status = "default", body = Problem)))]
pub(crate) async fn of_pod(
    State(state): State<ApiState>,
    Path((project, pod)): Path<(ProjectName, PodName)>,
    Query(query): Query<UsageQuery>,
) -> ApiResult<Json<Usage>> {
    let found = state.control.pod(&project, &pod).await?;
    let past = query.past(Some(found.metadata.created));
    let id = PodId { project, name: pod };
    Ok(Json(history(&state)?.of_pod(&id, past)))
}

/// What a node used: all that runs on it.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/usage", tag = "nodes",
    params(("node" = String, Path), UsageQuery),
    responses((status = 200, body = Usage), (status = "default", body = Problem)))]
pub(crate) async fn of_node(
    State(state): State<ApiState>,
    Path(node): Path<String>,
    Query(query): Query<UsageQuery>,
) -> ApiResult<Json<Usage>> {
    let nodes = state.control.observed.nodes();
    if !nodes.iter().any(|found| found.metadata.name == node) {
        // With its words for one that there is not.
        state.control.node(&node).await?;
    }
    Ok(Json(history(&state)?.of_node(&node, query.past(None))))
}

/// What the whole platform used: its nodes, and what was asked of all apps.
#[utoipa::path(get, path = "/api/v1/system/usage", tag = "platform", params(UsageQuery),
    responses((status = 200, body = Usage), (status = "default", body = Problem)))]
pub(crate) async fn of_platform(
    State(state): State<ApiState>,
    Query(query): Query<UsageQuery>,
) -> ApiResult<Json<Usage>> {
    Ok(Json(history(&state)?.of_platform(query.past(None))))
}

/// What everything that the caller may see uses now, as it was sampled last: nothing where nothing runs.
#[utoipa::path(get, path = "/api/v1/usage", tag = "platform", params(SampleQuery),
    responses((status = 200, body = UsageSample), (status = "default", body = Problem)))]
pub(crate) async fn now(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<SampleQuery>,
) -> ApiResult<Json<UsageSample>> {
    if let Some(project) = &query.project {
        if !caller.sees(project) {
            let detail = format!("there is no project {project}");
            return Err(ApiError::new(Code::NotFound, detail));
        }
        state.control.project(project).await?;
    }
    let latest = history(&state)?.samples().borrow().clone();
    let only = query.project.as_ref();
    let sees = |project: &ProjectName| caller.sees(project) && only.is_none_or(|o| o == project);
    let nodes = match (only, caller.scope()) {
        (None, ProjectScope::All) => Nodes::Shown,
        _ => Nodes::Hidden,
    };
    Ok(Json(match latest {
        Some(sample) => seen(&sample, sees, nodes),
        None => UsageSample {
            at: Utc::now(),
            pods: Vec::new(),
            apps: Vec::new(),
            nodes: Vec::new(),
        },
    }))
}

/// As much of a sample as somebody sees: of which projects, and whether of the nodes.
pub(crate) fn seen(
    sample: &UsageSample,
    sees: impl Fn(&ProjectName) -> bool,
    nodes: Nodes,
) -> UsageSample {
    let pods = sample.pods.iter().filter(|pod| sees(&pod.project));
    let apps = sample.apps.iter().filter(|app| sees(&app.project));
    UsageSample {
        at: sample.at,
        pods: pods.cloned().collect(),
        apps: apps.cloned().collect(),
        nodes: match nodes {
            Nodes::Shown => sample.nodes.clone(),
            Nodes::Hidden => Vec::new(),
        },
    }
}

/// Are nodes seen?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nodes {
    Shown,
    Hidden,
}
