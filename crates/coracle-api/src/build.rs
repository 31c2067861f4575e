//! Builds.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use coracle_control::build::WantedBuild;
use coracle_control::build_log::{BuildKey, BuildLogLine, BuildLogReader};
use coracle_control::objects::check_not_deleting;
use coracle_model::build::{Build, BuildSpec, BuildStatus};
use coracle_model::name::{AppName, InvalidName, ProjectName};
use coracle_model::object::{List, Object as Resource};
use coracle_model::problem::{Code, Problem};
use coracle_model::release::RunChange;
use coracle_model::source::SourceId;
use futures::stream;
use serde::Deserialize;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{IfMatch, Json, Path, Query, Tagged};
use crate::page::Page;
use crate::release::of_config;
use crate::source::{is_json, json};
use crate::state::ApiState;
use crate::tenure::Tenure;
use crate::view;
use coracle_control::{OperationError, keys};

type Answer = ApiResult<Tagged<BuildSpec, BuildStatus>>;

/// The number of a build in a path: `3` or `b3`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct BuildNumber(u32);

impl TryFrom<String> for BuildNumber {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix('b').unwrap_or(&text);
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())
            .flatten()
            .map(Self)
            .ok_or_else(|| InvalidName {
                what: "build",
                shown: coracle_model::name::shown(&text),
                rule: "use a number such as b3".to_owned(),
            })
    }
}

/// May the app be made when there is none?
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MayCreate {
    /// `true`: an app that does not exist is made.
    #[serde(default)]
    pub(crate) create: bool,
}

/// Which part of a log.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuildLogQuery {
    /// `true`: server-sent events, until the build ends.
    #[serde(default)]
    follow: bool,
}

/// The builds of an app, the oldest first.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}/builds", tag = "builds",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), Page),
    responses((status = 200, body = List<Resource<BuildSpec, BuildStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Build>>> {
    state.control.app(&project, &app).await?;
    let prefix = keys::builds(&project, &app);
    let mut list = state
        .control
        .objects
        .page::<BuildSpec>(&prefix, page.after.as_deref(), page.limit())
        .await?;
    list.items = list
        .items
        .into_iter()
        .map(|build| view::build(build, caller.role))
        .collect();
    Ok(Json(list))
}

/// A build of a source that is there.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBuild {
    /// The source.
    source: SourceId,
    /// What is to be run otherwise than the source says.
    #[serde(default)]
    config: RunChange,
}

/// Upload source as a tar, compressed with gzip or zstd or not at all, and build it; or build a source that is there.
#[utoipa::path(post, path = "/api/v1/projects/{project}/apps/{app}/builds", tag = "builds",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), MayCreate),
    request_body(content((Vec<u8> = "application/gzip"), (NewBuild = "application/json"))),
    responses((status = 202, body = Resource<BuildSpec, BuildStatus>), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app)): Path<(ProjectName, AppName)>,
    Query(may): Query<MayCreate>,
    seen: IfMatch,
    request: Request,
) -> Answer {
    if is_json(&request) {
        let new: NewBuild = json(request).await?;
        return build_source(&state, &caller, (project, app), may, seen, new).await;
    }
    check_kind(&request)?;
    check_length(&state, &request)?;
    // Before the upload, so that nobody sends gigabytes to be told that there is no such app.
    match state.control.app(&project, &app).await {
        Ok(there) => {
            check_not_deleting(&there)?;
            state.control.check_app(&project, &app, seen.0).await?;
        }
        // Made after the upload: one that is refused changes nothing.
        Err(OperationError::NotFound { .. }) if may.create => {
            state.control.live_project(&project).await?;
        }
        Err(error) => return Err(error.into()),
    }
    let source = state
        .control
        .receive_upload(request.into_body().into_data_stream())
        .await?;
    let id = source.file().clone();
    let submit = async {
        if may.create {
            state
                .control
                .ensure_app(&project, &app, &caller.actor())
                .await?;
        }
        state
            .control
            .submit_build(&project, &app, source, seen.0, &caller.actor())
            .await
    };
    match submit.await {
        Ok(build) => Ok(Tagged(StatusCode::ACCEPTED, build)),
        Err(error) => {
            state.control.remove_file(&id).await;
            Err(error.into())
        }
    }
}

async fn build_source(
    state: &ApiState,
    caller: &Caller,
    (project, app): (ProjectName, AppName),
    may: MayCreate,
    seen: IfMatch,
    new: NewBuild,
) -> Answer {
    let control = &state.control;
    let actor = caller.actor();
    new.config.check().map_err(|wrong| of_config(&wrong))?;
    let taken = control.take_source(&project, &new.source).await?;
    let file = taken.source.file().clone();
    let submit = async {
        if may.create {
            control.ensure_app(&project, &app, &actor).await?;
        }
        let wanted = WantedBuild::of(taken, new.config);
        control
            .submit_build_of(&project, &app, wanted, seen.0, &actor)
            .await
    };
    match submit.await {
        Ok(build) => Ok(Tagged(
            StatusCode::ACCEPTED,
            view::build(build, caller.role),
        )),
        Err(error) => {
            control.remove_file(&file).await;
            Err(error.into())
        }
    }
}

/// Types of bodies that may be an archive. What it is in truth is told by its first bytes; this is for those who
/// send something else by mistake.
const ARCHIVES: [&str; 9] = [
    "application/gzip",
    "application/x-gzip",
    "application/x-tar+gzip",
    "application/x-gtar",
    "application/x-tar",
    "application/tar",
    "application/zstd",
    "application/x-tar+zstd",
    "application/octet-stream",
];

pub(crate) fn check_kind(request: &Request) -> ApiResult<()> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .ok()
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if ARCHIVES.contains(&essence.as_str()) {
        return Ok(());
    }
    Err(ApiError::new(
        Code::UnsupportedMediaType,
        "the body must be a tar, plain or compressed with gzip or zstd",
    )
    .hint("send it with Content-Type: application/gzip"))
}

pub(crate) fn check_length(state: &ApiState, request: &Request) -> ApiResult<()> {
    let most = state.control.settings.limits.upload_bytes;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > most) {
        let limit = coracle_model::quantity::ByteSize(most).to_string();
        return Err(OperationError::TooLarge {
            what: "the upload",
            limit,
        }
        .into());
    }
    Ok(())
}

/// A build.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}/builds/{build}", tag = "builds",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), ("build" = String, Path)),
    responses((status = 200, body = Resource<BuildSpec, BuildStatus>), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app, build)): Path<(ProjectName, AppName, BuildNumber)>,
) -> Answer {
    let build = state.control.build(&project, &app, build.0).await?;
    Ok(Tagged(StatusCode::OK, view::build(build, caller.role)))
}

/// End a build that has not ended.
#[utoipa::path(post, path = "/api/v1/projects/{project}/apps/{app}/builds/{build}/cancel", tag = "builds",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), ("build" = String, Path)),
    responses((status = 202, body = Resource<BuildSpec, BuildStatus>), (status = "default", body = Problem)))]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app, build)): Path<(ProjectName, AppName, BuildNumber)>,
) -> Answer {
    let build = state
        .control
        .cancel_build(&project, &app, build.0, &caller.actor())
        .await?;
    Ok(Tagged(StatusCode::ACCEPTED, build))
}

/// A build's log: as text, or followed as server-sent events with one JSON line each, until the build ends.
#[utoipa::path(get, path = "/api/v1/projects/{project}/apps/{app}/builds/{build}/log", tag = "builds",
    params(("project" = ProjectName, Path), ("app" = AppName, Path), ("build" = String, Path), BuildLogQuery),
    responses((status = 200, description = "text/plain, or text/event-stream"), (status = "default", body = Problem)))]
pub(crate) async fn log(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, app, build)): Path<(ProjectName, AppName, BuildNumber)>,
    Query(query): Query<BuildLogQuery>,
) -> ApiResult<Response> {
    let object = state.control.build(&project, &app, build.0).await?;
    let key = BuildKey {
        project,
        app,
        number: object.spec.number,
    };
    if query.follow {
        return Ok(follow(state, key, caller));
    }
    let lines = match state
        .control
        .build_logs
        .read(&key)
        .await
        .map_err(ApiError::internal)?
    {
        Some(reader) => text(reader),
        None if object.status.phase.is_final() => {
            return Err(ApiError::new(
                Code::NotFound,
                "the log of this build is not kept any more",
            ));
        }
        None => Body::empty(),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response())
}

fn text(reader: BuildLogReader) -> Body {
    Body::from_stream(stream::unfold(reader, |mut reader| async move {
        let line = reader.next_written().await.transpose()?;
        Some((line.map(|line| format!("{}\n", line.text)), reader))
    }))
}

/// A followed log waits for a queued build to begin.
fn follow(state: ApiState, key: BuildKey, caller: Caller) -> Response {
    enum At {
        Waiting(ApiState, BuildKey),
        Reading(ApiState, BuildKey, Box<BuildLogReader>),
        Done,
    }
    let tenure = Tenure::new(&state, caller);
    let lines = stream::unfold(At::Waiting(state, key), |mut at| async move {
        loop {
            match at {
                At::Waiting(state, key) => match wait_for_log(&state, &key).await {
                    Some(reader) => at = At::Reading(state, key, Box::new(reader)),
                    None => at = At::Done,
                },
                At::Reading(state, key, mut reader) => {
                    let stop = state.supervisor.token();
                    let line = stop
                        .run_until_cancelled(next_line(&state, &key, &mut reader))
                        .await?;
                    return match line {
                        Ok(Some(line)) => {
                            let event = Event::default().event("line").json_data(&line).ok()?;
                            Some((Ok::<_, Infallible>(event), At::Reading(state, key, reader)))
                        }
                        Ok(None) => Some((Ok(Event::default().event("end").data("{}")), At::Done)),
                        Err(error) => {
                            tracing::error!(%error, "a build's log could not be read");
                            None
                        }
                    };
                }
                At::Done => return None,
            }
        }
    });
    Sse::new(tenure.bound(lines))
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// The next line of a log. Where several control planes share it, another may write: then it has ended when the build has.
async fn next_line(
    state: &ApiState,
    key: &BuildKey,
    reader: &mut BuildLogReader,
) -> std::io::Result<Option<BuildLogLine>> {
    loop {
        // Looked at before the end of the log is: what was written until the build ended is read after it.
        let build = async {
            let build = state
                .control
                .build(&key.project, &key.app, key.number)
                .await;
            build.is_ok_and(|build| !build.status.phase.is_final())
        };
        let goes_on = state.control.leading.is_one_of_several() && build.await;
        match reader.next().await? {
            None if goes_on => reader.pause().await?,
            line => return Ok(line),
        }
    }
}

/// The log of a build once it has begun; `None` when the build ended without one.
async fn wait_for_log(state: &ApiState, key: &BuildKey) -> Option<BuildLogReader> {
    let object = keys::build(&key.project, &key.app, key.number);
    let (_, mut changes) = state.control.objects.list_and_watch(&object).await.ok()?;
    loop {
        if let Ok(Some(reader)) = state.control.build_logs.read(key).await {
            return Some(reader);
        }
        let build = state
            .control
            .build(&key.project, &key.app, key.number)
            .await
            .ok()?;
        if build.status.phase.is_final() {
            return None;
        }
        let stop = state.supervisor.token();
        stop.run_until_cancelled(futures::StreamExt::next(&mut changes))
            .await??
            .ok()?;
    }
}
