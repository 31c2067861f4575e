//! An app of an archive as it is to be here.
//!
//! Theory of operation: what was live there is to be deployed here, as its newest release; what came before is history.
//! Secrets get this platform's seal, and images that were in the registry there are named as in the one here.

use coracle_model::app::{App, AppSpec};
use coracle_model::domain::Claim;
use coracle_model::env::EnvVars;
use coracle_model::name::ImageRef;
use coracle_model::object::Kind;
use coracle_model::release::{Origin, Release, ReleasePhase, ReleaseStatus};
use coracle_store::{Expected, Revision};

use crate::archive::{AppRecord, Archive, portable_image, refused, that_fit};
use crate::control::Control;
use crate::domain::claim;
use crate::env::check_value;
use crate::error::OperationError;
use crate::export::resealed;
use crate::image::is_engine_id;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, new_object, new_uid};
use crate::release::{Draft, number};

/// An app on its way from an archive to a platform.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) control: &'a Control,
    pub(super) archive: &'a Archive,
    pub(super) app: &'a AppRecord,
}

impl Arrival<'_> {
    /// Variables with this platform's seal. What was sealed is held to the rules of what is set, now that it can be read.
    pub(super) fn env(&self, vars: &EnvVars) -> Result<EnvVars, OperationError> {
        let (project, name) = (&self.app.project, &self.app.name);
        let wrong = |what: &str| refused(format!("app {project}/{name}: {what}"));
        resealed(vars, |variable, value| {
            let Some(seal) = &self.archive.seal else {
                return Err(wrong("it has secrets, and the export no seal"));
            };
            let secret = seal
                .secrets
                .open_env(project, name, variable, value)
                .map_err(|_opaque| wrong("a secret of it does not open"))?;
            check_value(variable, secret.expose())
                .map_err(|error| wrong(&format!("the secret {variable}: {error}")))?;
            let vault = &self.control.vault;
            vault.seal_env(project, name, variable, &secret)
        })
    }

    pub(super) fn spec(&self) -> Result<AppSpec, OperationError> {
        Ok(AppSpec {
            scale: self.app.scale.clone(),
            env: self.env(&self.app.env)?,
            domains: self.app.domains.clone(),
        })
    }

    /// A reference as it is here. Whatever the archive calls its registry, what is named here must be the project's own.
    fn renamed(&self, image: &ImageRef) -> Result<ImageRef, OperationError> {
        let there = format!("{}/", self.archive.header.registry_host);
        let settings = &self.control.settings;
        let here = match image.as_str().strip_prefix(&there) {
            Some(rest) => ImageRef::new(format!("{}/{rest}", settings.registry_host))?,
            None => image.clone(),
        };
        settings.named_image(&self.app.project, "image", &here, None)
    }

    /// Why the release that was live there cannot be deployed here, if it cannot, and what to do about it.
    pub(super) fn hindrance(&self) -> Option<String> {
        let live = self.app.live()?;
        let image = portable_image(live, &self.app.releases);
        let number = live.spec.number;
        if is_engine_id(&image) {
            return Some(format!(
                "its live release {number} has the image {image}, an id that only the other machine's engine knows: deploy it there by a name, or from the registry, and export again"
            ));
        }
        self.stays_behind(live).then(|| {
            format!(
                "its live release {number} has the image {image}, which is not one of project {}: push it there into the project's own part of the registry, deploy that, and export again",
                self.app.project
            )
        })
    }

    /// Releases with images of another project stay behind: a project runs its own only. Older platforms took them.
    pub(super) fn stays_behind(&self, release: &Release) -> bool {
        let pinned = release.status.image.as_ref().map(|image| &image.reference);
        let mut named = std::iter::once(&release.spec.image).chain(pinned);
        named.any(|image| self.renamed(image).is_err()) || self.image(release).is_err()
    }

    /// The image that a release asks for here.
    pub(super) fn image(&self, release: &Release) -> Result<ImageRef, OperationError> {
        self.renamed(&portable_image(release, &self.app.releases))
    }

    /// The live release once more, as the newest.
    pub(super) fn redeployed(
        &self,
        live: &Release,
        origin: Origin,
        actor: &Actor,
    ) -> Result<Draft, OperationError> {
        Ok(Draft {
            image: self.image(live)?,
            config: live.spec.config.clone(),
            origin,
            created_by: actor.to_string(),
            env: Some(self.env(&live.spec.env)?),
        })
    }

    /// Everything that makes the app, where it is not: itself, its releases and its host names, or nothing of it.
    /// `home` is the revision of its project.
    pub(super) fn creation(
        &self,
        home: Expected,
        now: Revision,
        actor: &Actor,
    ) -> Result<Batch, OperationError> {
        let (project, name) = (&self.app.project, &self.app.name);
        let own = self.control.default_host(project, name)?;
        let mut app: App = new_object(name.as_str(), Some(project.clone()), self.spec()?);
        app.status.url = Some(self.control.settings.url(&own));
        app.status.spec_after = now;
        app.status.last_release = self.app.last_release;
        app.status.last_build = self.app.last_build;
        let mut deployed = self.app.live;
        let mut releases = self.releases()?;
        if let Some(live) = self.app.live().filter(|live| !self.is_newest(live)) {
            // Newer ones did not come to be live there: it is deployed as the newest here.
            let origin = Origin::Rollback {
                release: live.spec.number,
            };
            let draft = self.redeployed(live, origin, actor)?;
            let release = number(project, name, &mut app, draft);
            deployed = Some(release.spec.number);
            releases.push(release);
        }
        let mut batch = Batch::new()
            .check(keys::project(project), home)
            .create(keys::app(project, name), &app)?
            .create(
                keys::domain(&own),
                &claim(project, name, &own, Claim::Default),
            )?;
        for host in &self.app.domains {
            let claim = claim(project, name, host, Claim::Added);
            batch = batch.create(keys::domain(host), &claim)?;
        }
        for release in that_fit(releases, deployed) {
            let key = keys::release(project, name, release.spec.number);
            batch = batch.create(key, &release)?;
        }
        Ok(batch)
    }

    /// Releases as they arrive: history is history, and what was live is to be deployed.
    fn releases(&self) -> Result<Vec<Release>, OperationError> {
        let mut releases = Vec::with_capacity(self.app.releases.len());
        for there in &self.app.releases {
            if self.stays_behind(there) {
                continue;
            }
            let mut release = there.clone();
            release.kind = Kind::Release;
            release.metadata.project = Some(self.app.project.clone());
            release.metadata.uid = new_uid();
            release.metadata.revision = 0;
            release.metadata.deleting = None;
            release.spec.env = self.env(&there.spec.env)?;
            release.spec.image = self.renamed(&there.spec.image)?;
            release.status.log.clear();
            if let Some(image) = &mut release.status.image {
                // What it was pinned to in an engine's own store is known to nobody else.
                image.reference = self.image(there)?;
            }
            if self.app.live == Some(there.spec.number) && self.is_newest(there) {
                release.spec.image = self.image(there)?;
                release.status = ReleaseStatus::default();
            } else {
                end(&mut release.status);
            }
            releases.push(release);
        }
        Ok(releases)
    }

    fn is_newest(&self, release: &Release) -> bool {
        let mut all = self.app.releases.iter();
        all.all(|other| other.spec.number <= release.spec.number)
    }
}

/// A release that is not live here.
fn end(status: &mut ReleaseStatus) {
    match status.phase {
        ReleasePhase::Pending | ReleasePhase::Deploying => {
            status.phase = ReleasePhase::Failed;
            status.reason = Some("it was under way when it was exported".to_owned());
        }
        ReleasePhase::Live => status.phase = ReleasePhase::Superseded,
        ReleasePhase::Superseded | ReleasePhase::Failed => {}
    }
}
