//! A release of one app becomes a release of another.
//!
//! Theory of operation: the image is copied inside the registry, into the repository of the app that it is released to, and
//! without its data: that app's project opens it with its own secret, and the other app may be deleted. An image of
//! another registry is the same for both. Processes come with the release, variables are the app's own.

use coracle_control::image::{NamedImage, Pointer};
use coracle_control::release::Promoted;
use coracle_control::settings::Settings;
use coracle_model::name::{AppName, ImageRef, ProjectName};
use coracle_model::problem::{Code, Problem};
use coracle_model::release::{Release, ReleaseNumber};
use coracle_registry::{Digest, RegistryError, RepositoryName};
use serde::Deserialize;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::image::{failed, need, parse};
use crate::registry_access::{below, needed_to_write};
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
    let image = found(state, from, &release, &pinned.reference).await?;
    let to = RepositoryName::for_app(target.project, target.app);
    need(caller, needed_to_write(&control.settings, &to))?;
    let actor = caller.actor();
    if target.create {
        control
            .ensure_app(target.project, target.app, &actor)
            .await?;
    }
    // Nothing is written to the registry for a release that cannot be.
    control
        .check_releasable(target.project, target.app, target.seen)
        .await?;
    let image = match image {
        Found::Elsewhere(image) => image,
        Found::Here { from, digest } => {
            copy(state, &from, &digest, &to).await?;
            let host = &control.settings.registry_host;
            ImageRef::new(format!("{host}/{to}@{digest}")).map_err(ApiError::internal)?
        }
    };
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

/// Where the image of a release is.
enum Found {
    /// In the registry.
    Here {
        from: RepositoryName,
        digest: Digest,
    },
    /// In another one, which is the same for every app.
    Elsewhere(ImageRef),
}

fn gone(image: &ImageRef) -> ApiError {
    conflict(format!(
        "the registry does not have the image {image} any more"
    ))
}

/// The image of a release that is in the project `project`.
async fn found(
    state: &ApiState,
    project: &ProjectName,
    release: &Release,
    pinned: &ImageRef,
) -> ApiResult<Found> {
    let settings = &state.control.settings;
    let image = if pinned.as_str().starts_with("sha256:") {
        // An engine's own id of an image is nothing that another app could ask for, and a tag may mean another image now.
        let asked = &release.spec.image;
        if !asked.as_str().contains('@') {
            return Err(conflict(format!(
                "release {} was made from the tag {asked}, and which image that was then only one machine's engine knows: release it by its digest, and promote that release",
                release.spec.number
            )));
        }
        asked
    } else {
        pinned
    };
    let own = settings.named(image);
    // The registry may have had another name then: what it has under the same digest is the same.
    let of_project = |named: &NamedImage| below(&named.repository, project.as_str());
    let before = || {
        Settings::named_anywhere(image)
            .filter(|named| of_project(named) && matches!(named.reference, Pointer::Digest(_)))
    };
    let Some(named) = own.clone().or_else(before) else {
        return Ok(Found::Elsewhere(image.clone()));
    };
    if !of_project(&named) {
        return Err(conflict(format!(
            "the image {image} is not one of project {project}"
        )));
    }
    let (from, reference) = parse(&named).map_err(|error| conflict(error.to_string()))?;
    match state.registry.resolve(&from, &reference).await {
        Ok(digest) => Ok(Found::Here { from, digest }),
        Err(RegistryError::ManifestUnknown(_)) if own.is_some() => Err(gone(image)),
        Err(RegistryError::ManifestUnknown(_)) => Ok(Found::Elsewhere(image.clone())),
        Err(error) => Err(failed(error)),
    }
}

/// Copies an image into the repository of the app that it is released to.
async fn copy(
    state: &ApiState,
    from: &RepositoryName,
    digest: &Digest,
    to: &RepositoryName,
) -> ApiResult<()> {
    match state.registry.copy_image(from, digest, to).await {
        Ok(()) => Ok(()),
        Err(
            RegistryError::ManifestUnknown(_)
            | RegistryError::BlobUnknown(_)
            | RegistryError::ManifestBlobUnknown(_),
        ) => Err(conflict(format!(
            "the registry does not have the image {from}@{digest} any more"
        ))),
        Err(error) => Err(failed(error)),
    }
}
