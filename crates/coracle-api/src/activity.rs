//! What happened lately.

use axum::extract::State;
use coracle_control::journal::{Order, Wanted};
use coracle_model::event::{Event, EventSpec, EventStatus};
use coracle_model::name::{ProjectName, shown};
use coracle_model::object::{Kind, List, Object as Resource};
use coracle_model::problem::{Code, Problem};
use coracle_model::user::{ProjectScope, Role};
use serde::Deserialize;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Json, Query};
use crate::page::Page;
use crate::state::ApiState;

/// What of all that happened.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivityQuery {
    /// `next` of the page before.
    #[serde(default)]
    after: Option<String>,
    /// The most events on the page, 1 to 500.
    #[serde(default)]
    limit: Option<usize>,
    /// The newest first, or the oldest.
    #[serde(default)]
    #[param(inline)]
    order: OrderQuery,
    /// Of this project.
    #[serde(default)]
    project: Option<ProjectName>,
    /// Of objects of this kind, such as `App`.
    #[serde(default)]
    kind: Option<String>,
    /// Of this object, such as `hello` with its builds and releases, or `hello/v3`.
    #[serde(default)]
    object: Option<String>,
    /// By this user or part of the platform.
    #[serde(default)]
    actor: Option<String>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OrderQuery {
    #[default]
    Newest,
    Oldest,
}

fn parse_kind(word: &str) -> ApiResult<Kind> {
    let found = Kind::ALL
        .into_iter()
        .find(|kind| format!("{kind:?}").eq_ignore_ascii_case(word));
    found.ok_or_else(|| {
        let all = Kind::ALL.map(|kind| format!("{kind:?}")).join(", ");
        let detail = format!("there is no kind {}; there are {all}", shown(word));
        Problem::new(Code::InvalidField, detail)
            .field("kind")
            .into()
    })
}

/// What happened, the newest first unless another order is asked for. What concerns the whole platform is shown to
/// administrators.
#[utoipa::path(get, path = "/api/v1/activity", tag = "platform", params(ActivityQuery), responses(
    (status = 200, body = List<Resource<EventSpec, EventStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<ActivityQuery>,
) -> ApiResult<Json<List<Event>>> {
    let kind = query.kind.as_deref().map(parse_kind).transpose()?;
    if let Some(project) = query
        .project
        .as_ref()
        .filter(|project| !caller.sees(project))
    {
        let detail = format!("there is no project {project}");
        return Err(ApiError::new(Code::NotFound, detail));
    }
    let sees_all = caller.role == Role::Admin && caller.scope() == ProjectScope::All;
    let within = |object: &str, wanted: &str| {
        let rest = object.strip_prefix(wanted);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let wanted = |event: &Event| {
        let project = event.metadata.project.as_ref();
        let spec = &event.spec;
        project.map_or(sees_all, |project| caller.sees(project))
            && (query.project.is_none() || query.project.as_ref() == project)
            && kind.is_none_or(|kind| spec.kind == kind)
            && query
                .object
                .as_ref()
                .is_none_or(|object| within(&spec.object, object))
            && query
                .actor
                .as_ref()
                .is_none_or(|actor| spec.actor == *actor)
    };
    let page = Page {
        after: query.after.clone(),
        limit: query.limit,
    };
    let wanted = Wanted {
        after: page.after.as_deref(),
        limit: page.limit(),
        order: match query.order {
            OrderQuery::Newest => Order::Newest,
            OrderQuery::Oldest => Order::Oldest,
        },
        which: &wanted,
    };
    Ok(Json(state.control.journal.find(wanted).await?))
}
