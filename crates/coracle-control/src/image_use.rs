//! Who relies on which image of the registry.
//!
//! Theory of operation: nothing is kept; releases, builds and pods are read when somebody asks. A release is known by the digest
//! that it was pinned to; one that was not pinned yet by whatever it was asked for, which may be a tag. Several names of the
//! registry mean the same, and it may have had others when a release was made, so names are compared behind the host, whatever that is.

use coracle_model::build::BuildSpec;
use coracle_model::image::{ImageUse, Live};
use coracle_model::name::{AppName, ImageRef, PodName, ProjectName};
use coracle_model::pod::PodSpec;
use coracle_model::release::{Release, ReleasePhase, ReleaseSpec};

use crate::control::Control;
use crate::error::OperationError;
use crate::image::{NamedImage, Pointer};
use crate::keys;
use crate::settings::Settings;

/// Something that relies on an image, by the name that it has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUse {
    /// The image.
    pub image: NamedImage,
    /// What relies on it.
    pub by: ImageUse,
}

impl NamedUse {
    /// Is it about the image `digest` of `repository`, which has these tags?
    #[must_use]
    pub fn is_of(&self, repository: &str, digest: &str, tags: &[String]) -> bool {
        self.image.repository == repository
            && match &self.image.reference {
                Pointer::Digest(named) => named == digest,
                Pointer::Tag(named) => tags.contains(named),
            }
    }
}

fn release_use(project: &ProjectName, release: &Release) -> ImageUse {
    let live = match release.status.phase {
        ReleasePhase::Live => Live::Live,
        ReleasePhase::Pending | ReleasePhase::Deploying => Live::Deploying,
        // What never had an image cannot be rolled back to.
        ReleasePhase::Superseded | ReleasePhase::Failed => match release.status.image {
            Some(_) => Live::Earlier,
            None => Live::No,
        },
    };
    ImageUse {
        project: project.clone(),
        app: Some(release.spec.app.clone()),
        release: Some(release.spec.number),
        build: None,
        pod: None,
        live,
    }
}

impl Control {
    /// Everything of a project that relies on an image of the registry, or of all projects.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn image_uses(
        &self,
        project: Option<&ProjectName>,
    ) -> Result<Vec<NamedUse>, OperationError> {
        let below = |prefix: &str| match project {
            Some(project) => format!("{prefix}{project}/"),
            None => prefix.to_owned(),
        };
        let mut uses = Vec::new();
        let mut push = |image: &ImageRef, by: ImageUse| {
            if let Some(image) = Settings::named_anywhere(image) {
                uses.push(NamedUse { image, by });
            }
        };
        let objects = &self.objects;
        let releases = objects.list::<ReleaseSpec>(&below(keys::RELEASES)).await?;
        for release in &releases {
            let Some(project) = &release.metadata.project else {
                continue;
            };
            let by = release_use(project, release);
            let pinned = release.status.image.as_ref().map(|image| &image.reference);
            if let Some(pinned) = pinned {
                push(pinned, by.clone());
            }
            // An engine's own id of an image, or a name elsewhere, says nothing here: what was asked for does.
            if pinned.is_none_or(|image| self.settings.named(image).is_none()) {
                push(&release.spec.image, by);
            }
        }
        for build in objects.list::<BuildSpec>(&below(keys::BUILDS)).await? {
            let Some(project) = &build.metadata.project else {
                continue;
            };
            let live = if build.status.phase.is_final() {
                Live::No
            } else {
                Live::Deploying
            };
            let by = ImageUse {
                project: project.clone(),
                app: Some(build.spec.app.clone()),
                release: None,
                build: Some(build.metadata.name.clone()),
                pod: None,
                live,
            };
            if let Some(image) = &build.status.image {
                push(image, by);
            } else if live == Live::Deploying
                && let Ok(image) = self.settings.build_image(project, &build)
            {
                push(&image, by);
            }
        }
        for pod in objects.list::<PodSpec>(&below(keys::PODS)).await? {
            let (Some(project), Ok(name)) = (
                &pod.metadata.project,
                PodName::new(pod.metadata.name.clone()),
            ) else {
                continue;
            };
            let by = ImageUse {
                project: project.clone(),
                app: pod.spec.app.clone(),
                release: None,
                build: None,
                pod: Some(name),
                live: Live::Live,
            };
            push(&pod.spec.image, by);
        }
        // What runs still although its record is gone.
        for pod in self.observed.pods() {
            let of_project = project.is_none_or(|project| *project == pod.id.project);
            let Ok(image) = ImageRef::new(pod.image.clone()) else {
                continue;
            };
            let known = |app: &Option<AppName>| {
                releases.iter().any(|release| {
                    release.metadata.project.as_ref() == Some(&pod.id.project)
                        && Some(&release.spec.app) == app.as_ref()
                        && Some(release.spec.number) == pod.owner.release
                })
            };
            if of_project && !known(&pod.owner.app) && pod.owner.app.is_some() {
                let by = ImageUse {
                    project: pod.id.project.clone(),
                    app: pod.owner.app.clone(),
                    release: None,
                    build: None,
                    pod: Some(pod.id.name.clone()),
                    live: Live::Live,
                };
                push(&image, by);
            }
        }
        Ok(uses)
    }
}
