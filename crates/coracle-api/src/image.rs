//! Images in the registry.

use async_trait::async_trait;
use axum::extract::State;
use coracle_control::image::{ImageTags, PushedImage, PushedTag, TagError};
use coracle_model::object::List;
use coracle_model::problem::{Code, Problem};
use coracle_registry::{Digest, Registry, RegistryError, RepositoryName, Tag};
use serde::Serialize;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Json, Path, Query, ReachedAs};
use crate::page::Page;
use crate::state::ApiState;

/// The tags of the platform's registry, for builds.
#[derive(Debug)]
pub struct BuildTags(
    /// The registry.
    pub Registry,
);

#[async_trait]
impl ImageTags for BuildTags {
    async fn publish(&self, pushed: PushedImage<'_>, tag: &str) -> Result<(), TagError> {
        let repository = RepositoryName::for_app(pushed.at.project, pushed.at.app);
        let digest: Digest = pushed.digest.parse().map_err(absent)?;
        let tag = Tag::new(tag).map_err(absent)?;
        let put = self.0.put_tag(&repository, &tag, &digest).await;
        put.map_err(|error| match error {
            RegistryError::ManifestUnknown(_) => absent(error),
            error => TagError::Failed(Box::new(error)),
        })
    }

    async fn withdraw(&self, pushed: PushedTag<'_>, digest: Option<&str>) -> Result<(), TagError> {
        let repository = RepositoryName::for_app(pushed.project, pushed.app);
        // No tag is what cannot be one.
        let Ok(tag) = Tag::new(pushed.tag) else {
            return Ok(());
        };
        let withdrawn = async {
            let means = self.0.resolve(&repository, &tag.clone().into()).await?;
            if digest.is_some_and(|digest| means.to_string() != digest) {
                return Ok(());
            }
            self.0.delete_tag(&repository, &tag).await
        };
        match withdrawn.await {
            Ok(()) | Err(RegistryError::ManifestUnknown(_)) => Ok(()),
            Err(error) => Err(TagError::Failed(Box::new(error))),
        }
    }
}

fn absent(error: impl std::error::Error + Send + Sync + 'static) -> TagError {
    TagError::Absent(Box::new(error))
}

/// A repository of the registry.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Repository {
    /// Its name, such as `default/hello`.
    name: String,
    /// What `docker pull` takes, without a tag.
    reference: String,
}

/// A tag of a repository.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ImageTag {
    /// The tag.
    tag: String,
    /// What `docker pull` takes.
    reference: String,
}

fn failed(error: RegistryError) -> ApiError {
    match error {
        RegistryError::NameUnknown => ApiError::new(Code::NotFound, "there is no such repository"),
        other => ApiError::internal(other),
    }
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
    let host = reached
        .as_ref()
        .unwrap_or(&state.control.settings.registry_host);
    let items = found
        .items
        .into_iter()
        .filter(|name| caller.sees_repository(name))
        .map(|name| Repository {
            reference: format!("{host}/{name}"),
            name: name.to_string(),
        })
        .collect();
    Ok(Json(List { items, next }))
}

/// The tags of a repository.
#[utoipa::path(get, path = "/api/v1/images/{*repository}", tag = "images", params(("repository" = String, Path), Page),
    responses((status = 200, body = List<ImageTag>), (status = "default", body = Problem)))]
pub(crate) async fn tags(
    State(state): State<ApiState>,
    caller: Caller,
    ReachedAs(reached): ReachedAs,
    Path(repository): Path<String>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<ImageTag>>> {
    let name = RepositoryName::new(&repository)
        .ok()
        .filter(|name| caller.sees_repository(name))
        .ok_or_else(|| ApiError::new(Code::NotFound, "there is no such repository"))?;
    let found = state
        .registry
        .tags(&name, page.after.as_deref(), page.limit())
        .await
        .map_err(failed)?;
    let next = found
        .more
        .then(|| found.items.last().map(ToString::to_string))
        .flatten();
    let host = reached
        .as_ref()
        .unwrap_or(&state.control.settings.registry_host);
    let items = found
        .items
        .into_iter()
        .map(|tag| ImageTag {
            reference: format!("{host}/{name}:{tag}"),
            tag: tag.to_string(),
        })
        .collect();
    Ok(Json(List { items, next }))
}
