//! Sources.

use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use coracle_builder::git::GitCredentials;
use coracle_builder::template;
use coracle_control::keys;
use coracle_model::build::Source as BuildSource;
use coracle_model::env::Secret;
use coracle_model::name::ProjectName;
use coracle_model::object::{List, Object as Resource};
use coracle_model::problem::{Code, Problem};
use coracle_model::source::{
    GitOrigin, GitRef, GitUrl, Source, SourceId, SourceOrigin, SourcePath, SourceSpec,
    SourceStatus, Template, TemplateName,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::build::{check_kind, check_length};
use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Tagged};
use crate::page::Page;
use crate::state::ApiState;
use crate::view;

/// The most bytes of a JSON body where archives are taken too.
const JSON_BYTES: usize = 1024 * 1024;

type Answer = ApiResult<Tagged<SourceSpec, SourceStatus>>;

/// A source that the platform is to fetch: from a repository, or a template.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSource {
    /// A repository.
    #[serde(default)]
    git: Option<NewGitSource>,
    /// A template, by its name.
    #[serde(default)]
    template: Option<TemplateName>,
}

/// A place in a repository, and who asks for it.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewGitSource {
    /// `https://…` or `http://…`, without credentials.
    url: GitUrl,
    /// A branch, a tag or a whole commit id; the default branch when absent.
    #[serde(default, rename = "ref")]
    reference: Option<GitRef>,
    /// The folder in the repository; all of it when absent.
    #[serde(default)]
    path: Option<SourcePath>,
    /// The user name that the server wants, where a token is not enough.
    #[serde(default)]
    username: Option<String>,
    /// A password or token. It is kept sealed, and no longer than the fetch takes.
    #[serde(default)]
    password: Option<Secret>,
}

impl NewSource {
    fn into_origin(self) -> ApiResult<(SourceOrigin, Option<GitCredentials>)> {
        match (self.git, self.template) {
            (Some(git), None) => {
                let credentials = match (git.username, git.password) {
                    (None, None) => None,
                    (username, password) => Some(GitCredentials {
                        username: username.unwrap_or_default(),
                        password: password.unwrap_or_default(),
                    }),
                };
                let origin = GitOrigin {
                    url: git.url,
                    reference: git.reference,
                    path: git.path,
                };
                Ok((SourceOrigin::Git(origin), credentials))
            }
            (None, Some(name)) if template::template(&name).is_some() => {
                Ok((SourceOrigin::Template { template: name }, None))
            }
            (None, Some(name)) => {
                let detail = format!("there is no template {name}");
                Err(Problem::new(Code::InvalidField, detail)
                    .field("template")
                    .hint("GET /api/v1/templates lists them")
                    .into())
            }
            _ => Err(
                Problem::new(Code::InvalidField, "give either git or template")
                    .field("git")
                    .into(),
            ),
        }
    }
}

/// Is a body JSON, where archives are taken too?
pub(crate) fn is_json(request: &Request) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        })
}

/// A JSON body on a route whose bodies have no bound otherwise.
pub(crate) async fn json<T: DeserializeOwned>(mut request: Request) -> ApiResult<T> {
    DefaultBodyLimit::max(JSON_BYTES).apply(&mut request);
    let Json(value) = Json::<T>::from_request(request, &()).await?;
    Ok(value)
}

/// The sources of a project. One that is not used for an hour goes.
#[utoipa::path(get, path = "/api/v1/projects/{project}/sources", tag = "sources",
    params(("project" = ProjectName, Path), Page),
    responses((status = 200, body = List<Resource<SourceSpec, SourceStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(project): Path<ProjectName>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Source>>> {
    state.control.project(&project).await?;
    let prefix = keys::sources(&project);
    let mut list = state
        .control
        .objects
        .page::<SourceSpec>(&prefix, page.after.as_deref(), page.limit())
        .await?;
    list.items = list
        .items
        .into_iter()
        .map(|source| view::source(source, caller.role))
        .collect();
    Ok(Json(list))
}

/// Make a source: upload a tar, compressed with gzip or zstd or not at all, or name a repository or a template. It is
/// fetched and looked through; what was found is in its status.
#[utoipa::path(post, path = "/api/v1/projects/{project}/sources", tag = "sources",
    params(("project" = ProjectName, Path)),
    request_body(content((Vec<u8> = "application/gzip"), (NewSource = "application/json"))),
    responses((status = 201, body = Resource<SourceSpec, SourceStatus>), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Path(project): Path<ProjectName>,
    request: Request,
) -> Answer {
    let control = &state.control;
    let actor = caller.actor();
    if is_json(&request) {
        let new: NewSource = json(request).await?;
        let (origin, credentials) = new.into_origin()?;
        let source = control
            .create_fetched_source(&project, origin, credentials, &actor)
            .await?;
        return Ok(Tagged(
            StatusCode::CREATED,
            view::source(source, caller.role),
        ));
    }
    check_kind(&request)?;
    check_length(&state, &request)?;
    control.check_room_for_source(&project).await?;
    let body = request.into_body().into_data_stream();
    let upload: BuildSource = control.receive_upload(body).await?;
    let file = upload.file().clone();
    match control
        .create_uploaded_source(&project, upload, &actor)
        .await
    {
        Ok(source) => Ok(Tagged(
            StatusCode::CREATED,
            view::source(source, caller.role),
        )),
        Err(error) => {
            control.remove_file(&file).await;
            Err(error.into())
        }
    }
}

/// A source.
#[utoipa::path(get, path = "/api/v1/projects/{project}/sources/{source}", tag = "sources",
    params(("project" = ProjectName, Path), ("source" = SourceId, Path)),
    responses((status = 200, body = Resource<SourceSpec, SourceStatus>), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, source)): Path<(ProjectName, SourceId)>,
) -> Answer {
    let source = state.control.source(&project, &source).await?;
    Ok(Tagged(StatusCode::OK, view::source(source, caller.role)))
}

/// Remove a source. Builds of it go on.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/sources/{source}", tag = "sources",
    params(("project" = ProjectName, Path), ("source" = SourceId, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, source)): Path<(ProjectName, SourceId)>,
) -> ApiResult<StatusCode> {
    state
        .control
        .delete_source(&project, &source, &caller.actor())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The templates that come with the platform.
#[utoipa::path(get, path = "/api/v1/templates", tag = "sources",
    responses((status = 200, body = List<Template>), (status = "default", body = Problem)))]
pub(crate) async fn templates() -> Json<List<Template>> {
    Json(List {
        items: template::templates(),
        next: None,
    })
}
