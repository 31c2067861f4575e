//! What the engine itself says of a pod, for people who look for a fault.

use axum::extract::State;
use coracle_model::name::{PodName, ProjectName};
use coracle_model::problem::Problem;
use coracle_model::workload::PodId;
use serde::Serialize;
use serde_json::Value;

use crate::error::ApiResult;
use crate::extract::{Json, Path};
use crate::state::ApiState;

/// What the engine itself says of a pod.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PodDescription {
    /// The engine, such as `docker` or `kubernetes`.
    engine: &'static str,
    /// Its own words: the inspection of a container, or the pod's object with its events. Values of variables and
    /// credentials are hidden in it.
    #[schema(value_type = Object)]
    raw: Value,
}

/// What the engine itself says of a pod. Values of variables and credentials are hidden.
#[utoipa::path(get, path = "/api/v1/projects/{project}/pods/{pod}/description", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path)),
    responses((status = 200, body = PodDescription), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    Path((project, name)): Path<(ProjectName, PodName)>,
) -> ApiResult<Json<PodDescription>> {
    let engine = &state.control.engine;
    let raw = engine.describe(&PodId { project, name }).await?;
    Ok(Json(PodDescription {
        engine: engine.capabilities().name,
        raw,
    }))
}
