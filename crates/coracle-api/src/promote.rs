//! A release of one app becomes a release of another.
//!
//! Theory of operation: the image is copied inside the registry, into the repository of the app that it is released to, and
//! without its data: that app's project opens it with its own secret, and the other app may be deleted. An image of
//! another registry is the same for both. Processes come with the release, variables are the app's own.

use coracle_control::release::Promoted;
use coracle_model::name::{AppName, ImageRef, ProjectName};
use coracle_model::problem::{Code, Problem};
use coracle_model::release::{Release, ReleaseNumber};
use coracle_registry::{RegistryError, RepositoryName};
use serde::Deserialize;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::image::{failed, parse};
use crate::state::ApiState;

/// The release of another app that is to be released here.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promote {
    /// The project of that app; the same as here when absent.
    #[serde(default)]
    project: Option<ProjectName>,
    /// That app.
    app: AppName,
    /// Its release, such as `v3`; the live one when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    release: Option<String>,
}

/// Where a release goes to.
pub(crate) struct Target<'a> {
    pub(crate) project: &'a ProjectName,
    pub(crate) app: &'a AppName,
    pub(crate) seen: Option<u64>,
    /// May the app be made?
    pub(crate) create: bool,
}

fn conflict(detail: String) -> ApiError {
    ApiError::new(Code::Conflict, detail)
}

/// Releases it.
pub(crate) async fn promote(
    state: &ApiState,
    caller: &Caller,
    promote: &Promote,
    target: Target<'_>,
) -> ApiResult<Release> {
    let from = promote.project.as_ref().unwrap_or(target.project);
    // A project that somebody may not see does not exist for them.
    if !caller.sees(from) {
        let detail = format!("there is no project {from}");
        return Err(ApiError::new(Code::NotFound, detail));
    }
    let control = &state.control;
    let release = origin(state, from, promote).await?;
    let Some(pinned) = &release.status.image else {
        let number = release.spec.number;
        return Err(conflict(format!(
            "release {number} of {} never came so far that it had an image",
            promote.app
        )));
    };
    let image = copied(state, &release, &pinned.reference, &target).await?;
    let actor = caller.actor();
    if target.create {
        control
            .ensure_app(target.project, target.app, &actor)
            .await?;
    }
    let promoted = Promoted {
        project: from,
        release: &release,
        image: &image,
    };
    Ok(control
        .release_promoted(target.project, target.app, &promoted, target.seen, &actor)
        .await?)
}

async fn origin(state: &ApiState, from: &ProjectName, promote: &Promote) -> ApiResult<Release> {
    let app = state.control.app(from, &promote.app).await?;
    let number = match &promote.release {
        Some(text) => text.parse::<ReleaseNumber>().map_err(|error| {
            Problem::new(Code::InvalidField, error.to_string()).field("promote.release")
        })?,
        None => app
            .status
            .release
            .ok_or_else(|| conflict(format!("app {} has no live release", promote.app)))?,
    };
    Ok(state.control.release(from, &promote.app, number).await?)
}

/// The image as the app has it that it is released to.
async fn copied(
    state: &ApiState,
    release: &Release,
    pinned: &ImageRef,
    target: &Target<'_>,
) -> ApiResult<ImageRef> {
    let settings = &state.control.settings;
    // An engine's own id of an image is nothing that another app could ask for.
    let image = match settings.named(pinned) {
        None if pinned.as_str().starts_with("sha256:") => &release.spec.image,
        _ => pinned,
    };
    let Some(named) = settings.named(image) else {
        return Ok(image.clone());
    };
    let gone = |_error| {
        conflict(format!(
            "the registry does not have the image {image} any more"
        ))
    };
    let (from, reference) = parse(&named).map_err(|error| conflict(error.to_string()))?;
    let to = RepositoryName::for_app(target.project, target.app);
    let registry = &state.registry;
    let digest = match registry.resolve(&from, &reference).await {
        Ok(digest) => digest,
        Err(error @ RegistryError::ManifestUnknown(_)) => return Err(gone(error)),
        Err(error) => return Err(failed(error)),
    };
    match registry.copy_image(&from, &digest, &to).await {
        Ok(()) => {}
        Err(
            error @ (RegistryError::ManifestUnknown(_)
            | RegistryError::BlobUnknown(_)
            | RegistryError::ManifestBlobUnknown(_)),
        ) => return Err(gone(error)),
        Err(error) => return Err(failed(error)),
    }
    let host = &settings.registry_host;
    ImageRef::new(format!("{host}/{to}@{digest}")).map_err(ApiError::internal)
}
