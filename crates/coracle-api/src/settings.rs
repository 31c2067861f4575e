//! What administrators set for the whole platform.

use axum::extract::State;
use axum::http::StatusCode;
use coracle_model::object::{Kind, Object as Resource};
use coracle_model::problem::Problem;
use coracle_model::settings::{SettingsSpec, SettingsStatus};

use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::{IfMatch, Input, Json, Tagged};
use crate::state::ApiState;
use crate::view;

type Answer = ApiResult<Tagged<SettingsSpec, SettingsStatus>>;

/// What is set for the whole platform, and what holds. Passwords are left out.
#[utoipa::path(get, path = "/api/v1/settings", tag = "platform", responses(
    (status = 200, body = Resource<SettingsSpec, SettingsStatus>), (status = "default", body = Problem)))]
pub(crate) async fn read(State(state): State<ApiState>) -> Answer {
    let settings = state.control.platform_settings().await?;
    Ok(Tagged(StatusCode::OK, view::settings(settings)))
}

/// Set all of it. A registry whose password is left out keeps the one that it has.
#[utoipa::path(put, path = "/api/v1/settings", tag = "platform", request_body = Input<SettingsSpec>, responses(
    (status = 200, body = Resource<SettingsSpec, SettingsStatus>), (status = "default", body = Problem)))]
pub(crate) async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    header: IfMatch,
    Json(input): Json<Input<SettingsSpec>>,
) -> Answer {
    let (spec, revision) = input.into_change(Kind::Settings, "platform", &header)?;
    let settings = state
        .control
        .update_settings(spec, revision, &caller.actor())
        .await?;
    Ok(Tagged(StatusCode::OK, view::settings(settings)))
}
