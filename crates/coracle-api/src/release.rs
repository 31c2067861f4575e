//! Releases.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use coracle_control::feed::Reached;
use coracle_control::image::check_findable;
use coracle_control::keys;
use coracle_control::release::RollbackTo;
use coracle_model::manifest::rules::InvalidValue;
use coracle_model::name::{AppName, ImageRef, ProjectName};
use coracle_model::object::{List, Object as Resource};
use coracle_model::problem::{Code, Problem};
use coracle_model::release::{
    Release, ReleaseNumber, ReleasePhase, ReleaseSpec, ReleaseStatus, RunConfig,
};
use serde::Deserialize;

use crate::build::MayCreate;
use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::{IfMatch, Json, Path, Query, ReachedAs, Tagged};
use crate::page::Page;
use crate::promote::{Promote, Target, promote};
use crate::state::ApiState;
use crate::view;

/// How long an answer waits for the gateways.
const GATEWAYS_WAIT: Duration = Duration::from_secs(5);

/// When to answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhenServed {
    /// `true`: a release that is live is answered once every gateway sends requests to it, or after 5 seconds.
    #[serde(default)]
    served: bool,
}

type Answer = ApiResult<Tagged<ReleaseSpec, ReleaseStatus>>;

/// A release to be made: of an image, of an earlier release, or of another app's release.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRelease {
    /// An image that exists.
    #[serde(default)]
    image: Option<ImageRef>,
    /// What runs; that of the present release when absent. With `image` only.
    #[serde(default)]
    config: Option<RunConfig>,
    /// The release to go back to, such as `v3`, or `previous`.
    #[serde(default)]
    rollback: Option<String>,
    /// The release of another app, with this app's own variables.
    #[serde(default)]
    promote: Option<Promote>,
}

/// The releases of an app, the oldest first.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}/releases", tag = "releases",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), Page),
    responses((status = 200, body = List<Resource<ReleaseSpec, ReleaseStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Release>>> {
    state.control.app(&project, &app).await?;
    let prefix = keys::releases(&project, &app);
    let mut list = state
        .control
        .objects
        .page::<ReleaseSpec>(&prefix, page.after.as_deref(), page.limit())
        .await?;
    list.items = list
        .items
        .into_iter()
        .map(|release| view::release(release, caller.role))
        .collect();
    Ok(Json(list))
}

/// Release an image, an earlier release again, or a release of another app.
#[utoipa::path(post, path = "/api/v1/projects/{project}/apps/{app}/releases", tag = "releases",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), MayCreate),
    request_body = NewRelease, responses((status = 202, body = Resource<ReleaseSpec, ReleaseStatus>), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    Query(may): Query<MayCreate>,
    IfMatch(seen): IfMatch,
    ReachedAs(reached): ReachedAs,
    Json(new): Json<NewRelease>,
) -> Answer {
    let actor = caller.actor();
    let release = match (new.image, new.rollback, new.promote) {
        (Some(image), None, None) => {
            if let Some(config) = &new.config {
                check(config)?;
            }
            let settings = &state.control.settings;
            check_findable("image", &image)?;
            let image = settings.named_image(&project, "image", &image, reached.as_deref())?;
            if may.create {
                state.control.ensure_app(&project, &app, &actor).await?;
            }
            state
                .control
                .release_image(&project, &app, &image, new.config.as_ref(), seen, &actor)
                .await?
        }
        (None, Some(to), None) if new.config.is_none() => {
            let to = match to.as_str() {
                "previous" => RollbackTo::Previous,
                number => RollbackTo::Number(number.parse::<ReleaseNumber>().map_err(|error| {
                    Problem::new(Code::InvalidField, error.to_string()).field("rollback")
                })?),
            };
            state
                .control
                .rollback(&project, &app, to, seen, &actor)
                .await?
        }
        (None, None, Some(other)) if new.config.is_none() => {
            let target = Target {
                project: &project,
                app: &app,
                seen,
                create: may.create,
            };
            promote(&state, &caller, &other, target).await?
        }
        _ => {
            let detail =
                "give either an image (with or without a config), a rollback or a promotion";
            return Err(Problem::new(Code::InvalidField, detail)
                .field("image")
                .into());
        }
    };
    Ok(Tagged(
        StatusCode::ACCEPTED,
        view::release(release, caller.role),
    ))
}

fn check(config: &RunConfig) -> ApiResult<()> {
    config.check().map_err(|wrong| of_config(&wrong).into())
}

/// Every field of a configuration whose value is not allowed.
pub(crate) fn of_config(wrong: &[InvalidValue]) -> Problem {
    let all: Vec<_> = wrong
        .iter()
        .map(|value| format!("{}: {}", value.field, value.message))
        .collect();
    let first = wrong
        .first()
        .map(|value| format!("config.{}", value.field))
        .unwrap_or_default();
    Problem::new(Code::InvalidField, all.join("; ")).field(first)
}

/// A release.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}/releases/{release}", tag = "releases",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), ("release" = String, Path), WhenServed),
    responses((status = 200, body = Resource<ReleaseSpec, ReleaseStatus>), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app, release)): Path<(ProjectName, AppName, String)>,
    Query(when): Query<WhenServed>,
) -> Answer {
    let number: ReleaseNumber = release.parse()?;
    let release = state.control.release(&project, &app, number).await?;
    if when.served && release.status.phase == ReleasePhase::Live {
        let revision = release.metadata.revision;
        let reached = state.control.reached_gateways(revision, GATEWAYS_WAIT);
        if reached.await == Reached::NotInTime {
            tracing::warn!(%project, %app, %number, "not every gateway has the release yet");
        }
    }
    Ok(Tagged(StatusCode::OK, view::release(release, caller.role)))
}
