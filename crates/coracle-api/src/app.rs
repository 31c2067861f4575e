//! Apps, their scale and their domains.

use axum::extract::State;
use axum::http::StatusCode;
use coracle_control::{OperationError, keys};
use coracle_model::app::{App, AppSpec, AppStatus, ScaleChange};
use coracle_model::name::{AppName, Hostname, ProjectName};
use coracle_model::object::{Kind, List, Object as Resource};
use coracle_model::problem::Problem;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::{IfMatch, Input, Json, Path, Query, Tagged};
use crate::page::Page;
use crate::state::ApiState;
use crate::view;

type Answer = ApiResult<Tagged<AppSpec, AppStatus>>;

/// A domain of an app.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppDomain {
    /// The host name.
    host: Hostname,
    /// Where people reach it.
    #[serde(default)]
    url: String,
}

/// The apps of a project.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps", tag = "apps", params(("project" = ProjectName, Path), Page),
    responses((status = 200, body = List<Resource<AppSpec, AppStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Path(project): Path<ProjectName>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<App>>> {
    state.control.project(&project).await?;
    let mut apps = state
        .control
        .objects
        .page::<AppSpec>(&keys::apps(&project), page.after.as_deref(), page.limit())
        .await?;
    apps.items = apps.items.into_iter().map(view::app).collect();
    Ok(Json(apps))
}

/// Make an app. Its variables are set by their own route.
#[utoipa::path(post, path = "/api/v1/projects/{project}/apps", tag = "apps", params(("project" = ProjectName, Path)),
    request_body = Input<AppSpec>, responses((status = 201, body = Resource<AppSpec, AppStatus>), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Path(project): Path<ProjectName>,
    Json(input): Json<Input<AppSpec>>,
) -> Answer {
    let (name, spec) = input
        .in_project(&project)?
        .into_new_or_default::<AppName>(Kind::App)?;
    refuse_env(&spec)?;
    let app = state
        .control
        .create_app(&project, &name, spec, &caller.actor())
        .await?;
    Ok(Tagged(StatusCode::CREATED, view::app(app)))
}

fn refuse_env(spec: &AppSpec) -> Result<(), OperationError> {
    if spec.env.is_empty() {
        return Ok(());
    }
    Err(OperationError::invalid(
        "spec.env",
        "variables are set by PATCH …/apps/{app}/env",
    ))
}

/// An app.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path)),
    responses((status = 200, body = Resource<AppSpec, AppStatus>), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    Path((project, app)): Path<(ProjectName, AppName)>,
) -> Answer {
    Ok(Tagged(
        StatusCode::OK,
        view::app(state.control.app(&project, &app).await?),
    ))
}

/// Change an app. Its variables stay as they are.
#[utoipa::path(put, path = "/api/v1/projects/{project}/apps/{app}", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path)),
    request_body = Input<AppSpec>, responses((status = 200, body = Resource<AppSpec, AppStatus>), (status = "default", body = Problem)))]
pub(crate) async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    header: IfMatch,
    Json(input): Json<Input<AppSpec>>,
) -> Answer {
    let (spec, revision) =
        input
            .in_project(&project)?
            .into_change(Kind::App, app.as_str(), &header)?;
    refuse_env(&spec)?;
    let app = state
        .control
        .update_app(&project, &app, spec, revision, &caller.actor())
        .await?;
    Ok(Tagged(StatusCode::OK, view::app(app)))
}

/// Delete an app with all that it has.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/apps/{app}", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path)),
    responses((status = 202, body = Resource<AppSpec, AppStatus>), (status = "default", body = Problem)))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    header: IfMatch,
) -> Answer {
    let app = state
        .control
        .delete_app(&project, &app, header.0, &caller.actor())
        .await?;
    Ok(Tagged(StatusCode::ACCEPTED, view::app(app)))
}

/// How many pods each process should have.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}/scale", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path)),
    responses((status = 200, body = ScaleChange), (status = "default", body = Problem)))]
pub(crate) async fn read_scale(
    State(state): State<ApiState>,
    Path((project, app)): Path<(ProjectName, AppName)>,
) -> ApiResult<Json<ScaleChange>> {
    let app = state.control.app(&project, &app).await?;
    let mut processes: std::collections::BTreeMap<_, _> =
        match state.control.base_release(&app).await? {
            Some(release) => release
                .spec
                .config
                .processes
                .iter()
                .map(|(name, spec)| (name.clone(), spec.replicas))
                .collect(),
            None => std::collections::BTreeMap::new(),
        };
    processes.extend(app.spec.scale);
    Ok(Json(ScaleChange { processes }))
}

/// Change how many pods processes have.
#[utoipa::path(put, path = "/api/v1/projects/{project}/apps/{app}/scale", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path)),
    request_body = ScaleChange, responses((status = 200, body = Resource<AppSpec, AppStatus>), (status = "default", body = Problem)))]
pub(crate) async fn scale(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    header: IfMatch,
    Json(change): Json<ScaleChange>,
) -> Answer {
    let app = state
        .control
        .scale_app(&project, &app, &change, header.0, &caller.actor())
        .await?;
    Ok(Tagged(StatusCode::OK, view::app(app)))
}

/// The host names of an app, its own first.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}/domains", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path)),
    responses((status = 200, body = List<AppDomain>), (status = "default", body = Problem)))]
pub(crate) async fn domains(
    State(state): State<ApiState>,
    Path((project, app)): Path<(ProjectName, AppName)>,
) -> ApiResult<Json<List<AppDomain>>> {
    let object = state.control.app(&project, &app).await?;
    let hosts = state.control.hosts_of(&project, &app, &object.spec)?;
    let items = hosts
        .into_iter()
        .map(|host| AppDomain {
            url: state.control.settings.url(&host),
            host,
        })
        .collect();
    Ok(Json(List { items, next: None }))
}

/// Give an app one more host name.
#[utoipa::path(post, path = "/api/v1/projects/{project}/apps/{app}/domains", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path)),
    request_body = AppDomain, responses((status = 201, body = Resource<AppSpec, AppStatus>), (status = "default", body = Problem)))]
pub(crate) async fn add_domain(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    header: IfMatch,
    Json(domain): Json<AppDomain>,
) -> Answer {
    let app = state
        .control
        .add_domain(&project, &app, &domain.host, header.0, &caller.actor())
        .await?;
    Ok(Tagged(StatusCode::CREATED, view::app(app)))
}

/// Take a host name away from an app.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/apps/{app}/domains/{host}", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), ("host" = Hostname, Path)),
    responses((status = 200, body = Resource<AppSpec, AppStatus>), (status = "default", body = Problem)))]
pub(crate) async fn remove_domain(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app, host)): Path<(ProjectName, AppName, Hostname)>,
    header: IfMatch,
) -> Answer {
    let app = state
        .control
        .remove_domain(&project, &app, &host, header.0, &caller.actor())
        .await?;
    Ok(Tagged(StatusCode::OK, view::app(app)))
}
