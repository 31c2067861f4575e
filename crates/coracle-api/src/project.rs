//! Projects.

use axum::extract::State;
use axum::http::StatusCode;
use coracle_model::name::ProjectName;
use coracle_model::object::{Kind, List, Object as Resource};
use coracle_model::problem::Problem;
use coracle_model::project::{Project, ProjectSpec, ProjectStatus};

use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::{IfMatch, Input, Json, Path, Query, Tagged};
use crate::page::Page;
use crate::state::ApiState;

type Answer = ApiResult<Tagged<ProjectSpec, ProjectStatus>>;

/// The projects that the caller may see.
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", params(Page), responses(
    (status = 200, body = List<Resource<ProjectSpec, ProjectStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Project>>> {
    let mut projects = state.control.projects().await?;
    projects.retain(|project| {
        ProjectName::new(project.metadata.name.clone()).is_ok_and(|name| caller.sees(&name))
    });
    Ok(Json(
        page.cut(projects, |project| project.metadata.name.clone()),
    ))
}

/// Make a project.
#[utoipa::path(post, path = "/api/v1/projects", tag = "projects", request_body = Input<ProjectSpec>, responses(
    (status = 201, body = Resource<ProjectSpec, ProjectStatus>), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Json(input): Json<Input<ProjectSpec>>,
) -> Answer {
    let (name, spec) = input.into_new_or_default::<ProjectName>(Kind::Project)?;
    Ok(Tagged(
        StatusCode::CREATED,
        state
            .control
            .create_project(&name, spec, &caller.actor())
            .await?,
    ))
}

/// A project.
#[utoipa::path(get, path = "/api/v1/projects/{project}", tag = "projects", params(("project" = ProjectName, Path)),
    responses((status = 200, body = Resource<ProjectSpec, ProjectStatus>), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    Path(project): Path<ProjectName>,
) -> Answer {
    Ok(Tagged(
        StatusCode::OK,
        state.control.project(&project).await?,
    ))
}

/// Change a project.
#[utoipa::path(put, path = "/api/v1/projects/{project}", tag = "projects", params(("project" = ProjectName, Path)),
    request_body = Input<ProjectSpec>, responses((status = 200, body = Resource<ProjectSpec, ProjectStatus>), (status = "default", body = Problem)))]
pub(crate) async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Path(project): Path<ProjectName>,
    header: IfMatch,
    Json(input): Json<Input<ProjectSpec>>,
) -> Answer {
    let (spec, revision) = input.into_change(Kind::Project, project.as_str(), &header)?;
    Ok(Tagged(
        StatusCode::OK,
        state
            .control
            .update_project(&project, spec, revision, &caller.actor())
            .await?,
    ))
}

/// Delete a project that has no apps and no pods any more.
#[utoipa::path(delete, path = "/api/v1/projects/{project}", tag = "projects", params(("project" = ProjectName, Path)),
    responses((status = 202, body = Resource<ProjectSpec, ProjectStatus>), (status = "default", body = Problem)))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path(project): Path<ProjectName>,
    header: IfMatch,
) -> Answer {
    Ok(Tagged(
        StatusCode::ACCEPTED,
        state
            .control
            .delete_project(&project, header.0, &caller.actor())
            .await?,
    ))
}
