//! What happened lately.

use axum::extract::State;
use coracle_model::event::{Event, EventSpec, EventStatus};
use coracle_model::object::{List, Object as Resource};
use coracle_model::problem::Problem;
use coracle_model::user::{ProjectScope, Role};

use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::{Json, Query};
use crate::page::Page;
use crate::state::ApiState;

/// What happened, the newest first. What concerns the whole platform is shown to administrators.
#[utoipa::path(get, path = "/api/v1/activity", tag = "platform", params(Page), responses(
    (status = 200, body = List<Resource<EventSpec, EventStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Event>>> {
    let mut events = state
        .control
        .journal
        .page(page.after.as_deref(), page.limit())
        .await?;
    let sees_all = caller.role == Role::Admin && caller.scope() == ProjectScope::All;
    events.items.retain(|event| match &event.metadata.project {
        Some(project) => caller.sees(project),
        None => sees_all,
    });
    Ok(Json(events))
}
