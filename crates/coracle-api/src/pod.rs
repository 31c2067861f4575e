//! Pods.

use axum::extract::State;
use axum::http::StatusCode;
use coracle_control::objects::check_revision;
use coracle_model::name::{AppName, PodName, ProjectName};
use coracle_model::object::{Kind, List, Object as Resource};
use coracle_model::pod::{Pod, PodSpec, PodStart, PodStats, PodStatus};
use coracle_model::problem::Problem;
use coracle_model::workload::PodId;
use serde::Deserialize;

use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::{IfMatch, Input, Json, Path, Query, ReachedAs, Tagged};
use crate::page::Page;
use crate::state::ApiState;
use crate::view;

type Answer = ApiResult<Tagged<PodSpec, PodStatus>>;

/// A one-off command.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCommand {
    /// The program and its arguments; no shell.
    command: Vec<String>,
    /// The size of the terminal to run it in; plain streams when absent.
    #[serde(default)]
    tty: Option<TerminalSize>,
}

/// The size of a terminal.
#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TerminalSize {
    /// Columns.
    columns: u16,
    /// Rows.
    rows: u16,
}

/// Where a pod's image is said.
const FIELD: &str = "spec.image";

/// The pods of a project.
#[utoipa::path(get, path = "/api/v1/projects/{project}/pods", tag = "pods", params(("project" = ProjectName, Path), Page),
    responses((status = 200, body = List<Resource<PodSpec, PodStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(project): Path<ProjectName>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Pod>>> {
    state.control.project(&project).await?;
    let pods = state.control.pods(&project).await?;
    let page = page.cut(pods, |pod| pod.metadata.name.clone());
    Ok(Json(shown(page, &caller)))
}

/// The pods of all projects that the caller may see.
#[utoipa::path(get, path = "/api/v1/pods", tag = "pods", params(Page), responses(
    (status = 200, body = List<Resource<PodSpec, PodStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list_all(
    State(state): State<ApiState>,
    caller: Caller,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Pod>>> {
    let mut pods = state.control.all_pods().await?;
    pods.retain(|pod| {
        pod.metadata
            .project
            .as_ref()
            .is_some_and(|project| caller.sees(project))
    });
    let cursor = |pod: &Pod| {
        let project = pod
            .metadata
            .project
            .as_ref()
            .map(ProjectName::as_str)
            .unwrap_or_default();
        format!("{project}/{}", pod.metadata.name)
    };
    pods.sort_by_key(cursor);
    Ok(Json(shown(page.cut(pods, cursor), &caller)))
}

fn shown(mut page: List<Pod>, caller: &Caller) -> List<Pod> {
    let pods = page.items.into_iter();
    page.items = pods.map(|pod| view::pod(pod, caller.role)).collect();
    page
}

/// Make a bare pod.
#[utoipa::path(post, path = "/api/v1/projects/{project}/pods", tag = "pods", params(("project" = ProjectName, Path)),
    request_body = Input<PodSpec>, responses((status = 201, body = Resource<PodSpec, PodStatus>), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Path(project): Path<ProjectName>,
    ReachedAs(reached): ReachedAs,
    Json(input): Json<Input<PodSpec>>,
) -> Answer {
    let (name, mut spec) = input.in_project(&project)?.into_new::<PodName>(Kind::Pod)?;
    let settings = &state.control.settings;
    spec.image = settings.named_image(&project, FIELD, &spec.image, reached.as_deref())?;
    Ok(Tagged(
        StatusCode::CREATED,
        state
            .control
            .create_pod(&project, &name, spec, &caller.actor())
            .await?,
    ))
}

/// A pod.
#[utoipa::path(get, path = "/api/v1/projects/{project}/pods/{pod}", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path)),
    responses((status = 200, body = Resource<PodSpec, PodStatus>), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, pod)): Path<(ProjectName, PodName)>,
) -> Answer {
    let pod = state.control.pod(&project, &pod).await?;
    Ok(Tagged(StatusCode::OK, view::pod(pod, caller.role)))
}

/// Change a bare pod: it is replaced.
#[utoipa::path(put, path = "/api/v1/projects/{project}/pods/{pod}", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path)),
    request_body = Input<PodSpec>, responses((status = 200, body = Resource<PodSpec, PodStatus>), (status = "default", body = Problem)))]
pub(crate) async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, pod)): Path<(ProjectName, PodName)>,
    header: IfMatch,
    ReachedAs(reached): ReachedAs,
    Json(input): Json<Input<PodSpec>>,
) -> Answer {
    let (mut spec, revision) =
        input
            .in_project(&project)?
            .into_change(Kind::Pod, pod.as_str(), &header)?;
    let settings = &state.control.settings;
    spec.image = settings.named_image(&project, FIELD, &spec.image, reached.as_deref())?;
    Ok(Tagged(
        StatusCode::OK,
        state
            .control
            .update_pod(&project, &pod, spec, revision, &caller.actor())
            .await?,
    ))
}

/// Delete a pod. An app's pod gets a new one in its place.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/pods/{pod}", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path)),
    responses((status = 202, body = Resource<PodSpec, PodStatus>), (status = "default", body = Problem)))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, pod)): Path<(ProjectName, PodName)>,
    header: IfMatch,
) -> Answer {
    Ok(Tagged(
        StatusCode::ACCEPTED,
        state
            .control
            .delete_pod(&project, &pod, header.0, &caller.actor())
            .await?,
    ))
}

/// Stop a pod and start it again in place. `If-Match` is of its app, or of the pod itself when it has none.
#[utoipa::path(post, path = "/api/v1/projects/{project}/pods/{pod}/restart", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path)),
    responses((status = 202, body = Resource<PodSpec, PodStatus>), (status = "default", body = Problem)))]
pub(crate) async fn restart(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, pod)): Path<(ProjectName, PodName)>,
    IfMatch(seen): IfMatch,
) -> Answer {
    let id = PodId {
        project: project.clone(),
        name: pod.clone(),
    };
    if seen.is_some() {
        let there = state.control.pod(&project, &pod).await?;
        match &there.spec.app {
            Some(app) => state.control.check_app(&project, app, seen).await?,
            None => check_revision(&there, seen)?,
        }
    }
    state.control.restart_pod(&id).await?;
    let what = (Kind::Pod, pod.as_str());
    let message = format!("restart of pod {pod} asked for");
    state
        .control
        .journal
        .record(
            &caller.actor(),
            "pod.restarted",
            Some(&project),
            what,
            message,
        )
        .await;
    Ok(Tagged(
        StatusCode::ACCEPTED,
        state.control.pod(&project, &pod).await?,
    ))
}

/// What a pod uses now.
#[utoipa::path(get, path = "/api/v1/projects/{project}/pods/{pod}/stats", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path)),
    responses((status = 200, body = PodStats), (status = "default", body = Problem)))]
pub(crate) async fn stats(
    State(state): State<ApiState>,
    Path((project, pod)): Path<(ProjectName, PodName)>,
) -> ApiResult<Json<PodStats>> {
    Ok(Json(
        state
            .control
            .engine
            .stats(&PodId { project, name: pod })
            .await?,
    ))
}

/// Prepare a one-off command with the image and the environment of an app's live release. It starts when
/// somebody attaches to the pod that is answered.
#[utoipa::path(post, path = "/api/v1/projects/{project}/apps/{app}/run", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path)),
    request_body = NewCommand, responses((status = 201, body = Resource<PodSpec, PodStatus>), (status = "default", body = Problem)))]
pub(crate) async fn run(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    Json(new): Json<NewCommand>,
) -> Answer {
    let start = match new.tty {
        Some(TerminalSize { columns, rows }) => PodStart::Terminal { columns, rows },
        None => PodStart::Attached,
    };
    let pod = state
        .control
        .run_once(&project, &app, new.command, start, &caller.actor())
        .await?;
    Ok(Tagged(StatusCode::CREATED, pod))
}
