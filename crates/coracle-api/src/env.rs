//! Variables and secrets of apps.

use std::collections::BTreeMap;

use axum::extract::State;
use coracle_model::env::{EnvChange, EnvVars, EnvView};
use coracle_model::name::{AppName, EnvName, ProjectName};
use coracle_model::problem::Problem;
use serde::Serialize;

use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::{IfMatch, Json, Path};
use crate::state::ApiState;

/// An app's variables.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Env {
    /// By name. Secret ones have no value here.
    vars: BTreeMap<EnvName, EnvView>,
    /// The release that was made for the change, such as `v4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
}

fn view(vars: &EnvVars) -> BTreeMap<EnvName, EnvView> {
    vars.iter()
        .map(|(name, value)| (name.clone(), value.into()))
        .collect()
}

/// An app's variables; secret ones without their value.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}/env", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path)),
    responses((status = 200, body = Env), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    Path((project, app)): Path<(ProjectName, AppName)>,
) -> ApiResult<Json<Env>> {
    let app = state.control.app(&project, &app).await?;
    Ok(Json(Env {
        vars: view(&app.spec.env),
        release: None,
    }))
}

/// Change an app's variables. An app that has a release gets a new one.
#[utoipa::path(patch, path = "/api/v1/projects/{project}/apps/{app}/env", tag = "apps",
    params(("project" = ProjectName, Path), ("app" = AppName, Path)),
    request_body = EnvChange, responses((status = 200, body = Env), (status = "default", body = Problem)))]
pub(crate) async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    header: IfMatch,
    Json(change): Json<EnvChange>,
) -> ApiResult<Json<Env>> {
    let (app, release) = state
        .control
        .change_env(&project, &app, &change, header.0, &caller.actor())
        .await?;
    Ok(Json(Env {
        vars: view(&app.spec.env),
        release: release.map(|release| release.spec.number.to_string()),
    }))
}
