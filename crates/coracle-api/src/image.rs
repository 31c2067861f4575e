//! Images in the registry.
//!
//! Theory of operation: what is shown is read when somebody asks. A repository that the caller may not see is not there. What the
//! makers of images wrote is passed on as text of bounded length; nothing in it is interpreted.

mod notices;
mod tags;
mod uses;

use axum::extract::State;
use axum::http::StatusCode;
use coracle_model::image::{
    ImageDetail, ImageLayer, ImagePlatform, ImageStep, ImageTag, Repository,
};
use coracle_model::name::ProjectName;
use coracle_model::object::{Kind, List};
use coracle_model::problem::{Code, Problem};
use coracle_model::user::Role;
use coracle_registry::{
    Digest, ImageEntry, Reference, RegistryError, RepositoryName, RepositorySummary,
};
use serde::Deserialize;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Json, Path, Query, ReachedAs};
use crate::page::Page;
use crate::registry_access::needed_to_write;
use crate::state::ApiState;

pub(crate) use self::notices::follow;
pub use self::tags::BuildTags;
pub(crate) use self::tags::{Translated, parse};
pub(crate) use self::uses::{Insisting, Uses, in_the_way};

use self::uses::check_deletable;

/// Which image.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageQuery {
    /// Its repository, such as `default/hello`.
    repository: String,
    /// A tag or a digest.
    reference: String,
}

/// Which image is to go.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    /// Its repository, such as `default/hello`.
    repository: String,
    /// A tag, which alone goes then, or a digest: the image goes with its tags.
    reference: String,
    /// `true`: also an image that releases can be rolled back to. One that runs is never deleted.
    #[serde(default)]
    force: bool,
}

/// What the registry could not do, as people are told.
pub(crate) fn failed(error: RegistryError) -> ApiError {
    match error {
        RegistryError::NameUnknown => ApiError::new(Code::NotFound, "there is no such repository"),
        RegistryError::ManifestUnknown(_) => {
            ApiError::new(Code::NotFound, "there is no such image")
        }
        RegistryError::InUse(who) => ApiError::new(Code::Conflict, who),
        other => ApiError::internal(other),
    }
}

/// A repository that the caller may see.
fn seen(caller: &Caller, repository: &str) -> ApiResult<RepositoryName> {
    RepositoryName::new(repository)
        .ok()
        .filter(|name| caller.sees_repository(name))
        .ok_or_else(|| failed(RegistryError::NameUnknown))
}

fn reference(text: &str) -> ApiResult<Reference> {
    text.parse()
        .map_err(|error: coracle_registry::InvalidReference| {
            Problem::new(Code::InvalidField, error.to_string())
                .field("reference")
                .into()
        })
}

/// The registry as whoever asks reached it.
fn host<'a>(state: &'a ApiState, reached: Option<&'a String>) -> &'a str {
    reached.unwrap_or(&state.control.settings.registry_host)
}

fn project_of(repository: &RepositoryName) -> Option<ProjectName> {
    let (first, _) = repository.as_str().split_once('/')?;
    ProjectName::new(first).ok()
}

/// The repositories of the registry that the caller may see.
#[utoipa::path(get, path = "/api/v1/images", tag = "images", params(Page), responses(
    (status = 200, body = List<Repository>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    ReachedAs(reached): ReachedAs,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Repository>>> {
    let found = state
        .registry
        .repositories(page.after.as_deref(), page.limit())
        .await
        .map_err(failed)?;
    let next = found
        .more
        .then(|| found.items.last().map(ToString::to_string))
        .flatten();
    let host = host(&state, reached.as_ref());
    let mut items = Vec::new();
    for name in found.items {
        if !caller.sees_repository(&name) {
            continue;
        }
        let RepositorySummary {
            tags,
            bytes,
            updated,
        } = state
            .registry
            .repository_summary(&name)
            .await
            .map_err(failed)?;
        items.push(Repository {
            reference: format!("{host}/{name}"),
            project: project_of(&name),
            name: name.to_string(),
            tags: tags as u64,
            bytes,
            updated,
        });
    }
    Ok(Json(List { items, next }))
}

/// The tags of a repository, and then its images without one.
#[utoipa::path(get, path = "/api/v1/images/{*repository}", tag = "images", params(("repository" = String, Path), Page),
    responses((status = 200, body = List<ImageTag>), (status = "default", body = Problem)))]
pub(crate) async fn tags(
    State(state): State<ApiState>,
    caller: Caller,
    ReachedAs(reached): ReachedAs,
    Path(repository): Path<String>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<ImageTag>>> {
    let name = seen(&caller, &repository)?;
    let found = state
        .registry
        .images(&name, page.after.as_deref(), page.limit())
        .await
        .map_err(failed)?;
    let next = found
        .more
        .then(|| found.items.last().map(ImageEntry::key))
        .flatten();
    let uses = Uses::of(&state.control, &name).await?;
    let host = host(&state, reached.as_ref());
    let items = found
        .items
        .into_iter()
        .map(|entry| image_tag(entry, host, &name, &uses))
        .collect();
    Ok(Json(List { items, next }))
}

fn image_tag(entry: ImageEntry, host: &str, name: &RepositoryName, uses: &Uses) -> ImageTag {
    let ImageEntry {
        tag,
        digest,
        pushed,
        summary,
    } = entry;
    let reference = match &tag {
        Some(tag) => format!("{host}/{name}:{tag}"),
        None => format!("{host}/{name}@{digest}"),
    };
    let used_by = uses.about(&digest, tag.as_slice());
    let (bytes, platforms, config) = summary.map_or((0, Vec::new(), None), |summary| {
        (summary.size, summary.platforms, summary.config)
    });
    let created = config.and_then(|config| config.created);
    ImageTag {
        tag: tag.map(|tag| tag.to_string()),
        reference,
        digest: digest.to_string(),
        bytes,
        created: created.unwrap_or_else(|| pushed.to_rfc3339()),
        platforms: platforms.iter().map(ToString::to_string).collect(),
        used_by,
    }
}

/// An image: its layers, its history, and who relies on it.
#[utoipa::path(get, path = "/api/v1/image", tag = "images", params(ImageQuery), responses(
    (status = 200, body = ImageDetail), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<ImageQuery>,
) -> ApiResult<Json<ImageDetail>> {
    let name = seen(&caller, &query.repository)?;
    let reference = reference(&query.reference)?;
    let detail = state.registry.image_detail(&name, &reference).await;
    let detail = detail.map_err(failed)?;
    let uses = Uses::of(&state.control, &name).await?;
    let used_by = uses.about(&detail.digest, &detail.tags);
    let config = detail.config;
    Ok(Json(ImageDetail {
        repository: name.to_string(),
        digest: detail.digest.to_string(),
        media_type: detail.media_type.to_string(),
        bytes: detail.bytes,
        created: config.created,
        architecture: detail.platform.as_ref().map(|p| p.architecture.clone()),
        os: detail.platform.map(|p| p.os),
        platforms: detail
            .platforms
            .into_iter()
            .map(|one| ImagePlatform {
                platform: one.platform.to_string(),
                digest: one.digest.to_string(),
                bytes: one.bytes,
            })
            .collect(),
        tags: detail.tags.iter().map(ToString::to_string).collect(),
        labels: config.labels,
        env: config.env_names,
        entrypoint: config.entrypoint,
        cmd: config.command,
        user: config.user,
        ports: config.exposed_ports,
        volumes: config.volumes,
        workdir: config.working_dir,
        layers: detail
            .layers
            .into_iter()
            .map(|layer| ImageLayer {
                digest: layer.digest.to_string(),
                bytes: layer.bytes,
                media_type: layer.media_type,
            })
            .collect(),
        history: detail
            .history
            .into_iter()
            .map(|step| ImageStep {
                created: step.created,
                created_by: step.created_by,
                comment: step.comment,
                empty_layer: step.empty_layer,
                bytes: step.bytes,
            })
            .collect(),
        used_by,
    }))
}

/// Delete a tag, or an image with its tags. Refused where a release or a pod needs it.
#[utoipa::path(delete, path = "/api/v1/image", tag = "images", params(DeleteQuery), responses(
    (status = 204), (status = "default", body = Problem)))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<DeleteQuery>,
) -> ApiResult<StatusCode> {
    let name = seen(&caller, &query.repository)?;
    let needed = match project_of(&name) {
        Some(project) if state.control.project(&project).await.is_ok() => {
            needed_to_write(&state.control.settings, &name)
        }
        // What belongs to no project.
        _ => Role::Admin,
    };
    need(&caller, needed)?;
    let reference = reference(&query.reference)?;
    let seen = state.registry.look(&name, &reference).await;
    let seen = seen.map_err(failed)?;
    let insisting = if query.force {
        Insisting::Yes
    } else {
        Insisting::No
    };
    check(&state, &name, &seen.digest, insisting).await?;
    if let Reference::Digest(digest) = &reference {
        part_of_nothing(&state, &name, digest).await?;
    }
    let deleted = state.registry.delete_seen(&name, &reference, &seen).await;
    deleted.map_err(failed)?;
    let what = match &reference {
        Reference::Tag(tag) => format!("tag {tag} of {name} deleted"),
        Reference::Digest(digest) => format!("image {} of {name} deleted", digest.short()),
    };
    let project = project_of(&name);
    state
        .control
        .journal
        .record(
            &caller.actor(),
            "image.deleted",
            project.as_ref(),
            (Kind::Image, name.as_str()),
            what,
        )
        .await;
    Ok(StatusCode::NO_CONTENT)
}

/// Fails when the caller's role is not enough to write what is asked for.
pub(crate) fn need(caller: &Caller, needed: Role) -> ApiResult<()> {
    if caller.role >= needed {
        return Ok(());
    }
    let role = match needed {
        Role::Admin => "admin",
        _ => "developer",
    };
    let detail = format!("this needs the role {role}");
    Err(ApiError::new(Code::Forbidden, detail))
}

/// Fails when the image, or an index that it is a part of, may not be deleted.
async fn check(
    state: &ApiState,
    name: &RepositoryName,
    digest: &Digest,
    insisting: Insisting,
) -> ApiResult<()> {
    let uses = Uses::of(&state.control, name).await?;
    let manifests = state.registry.manifests(name).await.map_err(failed)?;
    let indexes = state.registry.indexes_of(name, digest).await;
    let mut relied_on = indexes.map_err(failed)?;
    relied_on.push(digest.clone());
    for entry in manifests {
        if relied_on.contains(&entry.digest) {
            check_deletable(&uses.about(&entry.digest, &entry.tags), insisting)?;
        }
    }
    Ok(())
}

/// Fails for a platform of an image for several: without it that image would be broken.
async fn part_of_nothing(
    state: &ApiState,
    name: &RepositoryName,
    digest: &Digest,
) -> ApiResult<()> {
    let indexes = state.registry.indexes_of(name, digest).await;
    match indexes.map_err(failed)?.first() {
        None => Ok(()),
        Some(index) => Err(Problem::new(
            Code::Conflict,
            format!("it is a part of the image {index}"),
        )
        .hint("delete that one")
        .into()),
    }
}
