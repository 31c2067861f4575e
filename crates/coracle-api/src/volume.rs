//! Volumes.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use coracle_model::name::{AppName, PodName, ProjectName, VolumeName};
use coracle_model::object::{Kind, List};
use coracle_model::problem::{Code, Problem};
use coracle_model::quantity::ByteSize;
use serde::Serialize;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Json, Path, Query};
use crate::page::Page;
use crate::state::ApiState;

/// A volume.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Volume {
    /// Its name within the project.
    name: VolumeName,
    /// Its project.
    project: ProjectName,
    /// The size that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<ByteSize>,
    /// The app that it belongs to, as far as a release or a pod says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<AppName>,
    /// When it was made, where the engine knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<DateTime<Utc>>,
    /// Bytes that its data takes, where the engine can tell without reading all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_bytes: Option<u64>,
    /// Pods that mount it.
    used_by: Vec<PodName>,
}

/// The volumes of a project.
#[utoipa::path(get, path = "/api/v1/projects/{project}/volumes", tag = "volumes",
    params(("project" = ProjectName, Path), Page),
    responses((status = 200, body = List<Volume>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Path(project): Path<ProjectName>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Volume>>> {
    let mut volumes = volumes(&state, &project).await?;
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(page.cut(volumes, |volume| volume.name.to_string())))
}

async fn volumes(state: &ApiState, project: &ProjectName) -> ApiResult<Vec<Volume>> {
    state.control.project(project).await?;
    let all = state.control.engine.volumes().await?;
    let apps = state.control.apps_of_volumes(project).await?;
    Ok(all
        .into_iter()
        .filter(|volume| volume.project == *project)
        .map(|volume| Volume {
            app: apps.get(&volume.name).cloned(),
            created: volume.created,
            used_bytes: volume.used_bytes,
            name: volume.name,
            project: volume.project,
            size: volume.size,
            used_by: volume.used_by,
        })
        .collect())
}

/// Delete a volume and its data. Refused while a pod uses it.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/volumes/{volume}", tag = "volumes",
    params(("project" = ProjectName, Path), ("volume" = VolumeName, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, volume)): Path<(ProjectName, VolumeName)>,
) -> ApiResult<StatusCode> {
    let there = volumes(&state, &project).await?;
    let Some(found) = there.into_iter().find(|there| there.name == volume) else {
        let detail = format!("there is no volume {volume}");
        return Err(ApiError::new(Code::NotFound, detail));
    };
    if !found.used_by.is_empty() {
        let pods: Vec<_> = found.used_by.iter().map(ToString::to_string).collect();
        let detail = format!("volume {volume} is used by {}", pods.join(", "));
        return Err(ApiError::new(Code::Conflict, detail)
            .hint("delete the app or the pods that use it first"));
    }
    state
        .control
        .engine
        .remove_volume(&project, &volume)
        .await?;
    let what = (Kind::Volume, volume.as_str());
    let message = format!("volume {volume} deleted with its data");
    state
        .control
        .journal
        .record(
            &caller.actor(),
            "volume.deleted",
            Some(&project),
            what,
            message,
        )
        .await;
    Ok(StatusCode::NO_CONTENT)
}
