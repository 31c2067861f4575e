//! What can be done with releases.
//!
//! Theory of operation: a release is made in one write with the app's counter of releases, so that numbers
//! have no gaps and no doubles, whoever makes them (a person, a build, a change of variables). What happens
//! to it then is the controller's.

use coracle_model::app::App;
use coracle_model::name::{AppName, ImageRef, ProjectName};
use coracle_model::object::Kind;
use coracle_model::release::{
    Origin, Release, ReleaseNumber, ReleasePhase, ReleaseSpec, RunConfig,
};

use coracle_store::Revision;

use crate::control::Control;
use crate::error::OperationError;
use crate::image::TagError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, check_not_deleting, new_object};
use crate::stale::check_seen;

/// A release in the making: everything but its number and its app's variables.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its image.
    pub image: ImageRef,
    /// What runs.
    pub config: RunConfig,
    /// Where it comes from.
    pub origin: Origin,
    /// Who asked for it.
    pub created_by: String,
    /// Variables to use instead of the app's present ones (rollbacks).
    pub env: Option<coracle_model::env::EnvVars>,
}

/// The release that a change builds on.
#[derive(Clone, Debug)]
pub struct Base(Release);

impl Base {
    /// The same release again, with the app's present variables.
    #[must_use]
    pub fn with_config(&self, actor: &Actor) -> Draft {
        Draft {
            image: pinned(&self.0),
            config: self.0.spec.config.clone(),
            origin: Origin::Config {
                release: self.0.spec.number,
            },
            created_by: actor.to_string(),
            env: None,
        }
    }

    /// The release itself.
    #[must_use]
    pub fn into_release(self) -> Release {
        self.0
    }
}

/// A release of another app.
#[derive(Clone, Copy, Debug)]
pub struct Promoted<'a> {
    /// The project of that app.
    pub project: &'a ProjectName,
    /// Its release.
    pub release: &'a Release,
    /// The image, where the app that it is released to has it.
    pub image: &'a ImageRef,
}

/// To which release an app is rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackTo {
    /// The one that was live before the present one.
    Previous,
    /// This one.
    Number(ReleaseNumber),
}

/// The image that a release runs: what it was pinned to, or what it asked for where it never came to that.
#[must_use]
pub fn pinned(release: &Release) -> ImageRef {
    release.status.image.as_ref().map_or_else(
        || release.spec.image.clone(),
        |image| image.reference.clone(),
    )
}

/// Gives a draft the next number of `app`, and counts it there.
#[must_use]
pub fn number(project: &ProjectName, name: &AppName, app: &mut App, draft: Draft) -> Release {
    app.status.last_release += 1;
    let number = ReleaseNumber(app.status.last_release);
    let spec = ReleaseSpec {
        app: name.clone(),
        number,
        image: draft.image,
        config: draft.config,
        env: draft.env.unwrap_or_else(|| app.spec.env.clone()),
        origin: draft.origin,
        created_by: draft.created_by,
    };
    new_object(number.to_string(), Some(project.clone()), spec)
}

impl Control {
    /// A release.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn release(
        &self,
        project: &ProjectName,
        app: &AppName,
        number: ReleaseNumber,
    ) -> Result<Release, OperationError> {
        self.objects
            .need::<ReleaseSpec>(
                &keys::release(project, app, number),
                format!("{app}/{number}"),
            )
            .await
    }

    /// Every release of an app, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn releases(
        &self,
        project: &ProjectName,
        app: &AppName,
    ) -> Result<Vec<Release>, OperationError> {
        self.objects
            .list::<ReleaseSpec>(&keys::releases(project, app))
            .await
    }

    /// The release that a change builds on: the live one, else the newest.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn base_release(&self, app: &App) -> Result<Option<Release>, OperationError> {
        Ok(self.base(app).await?.map(Base::into_release))
    }

    pub(crate) async fn base(&self, app: &App) -> Result<Option<Base>, OperationError> {
        let (Some(project), Ok(name)) = (
            &app.metadata.project,
            AppName::new(app.metadata.name.clone()),
        ) else {
            return Ok(None);
        };
        let number = app
            .status
            .release
            .or((app.status.last_release > 0).then_some(ReleaseNumber(app.status.last_release)));
        let Some(number) = number else {
            return Ok(None);
        };
        let release = self
            .objects
            .get::<ReleaseSpec>(&keys::release(project, &name, number))
            .await?;
        Ok(release.map(Base))
    }

    /// Fails when the app's spec was changed, or a release of it made, since the caller read the app at `seen`.
    pub(crate) async fn check_newest(
        &self,
        project: &ProjectName,
        name: &AppName,
        app: &App,
        seen: Option<Revision>,
    ) -> Result<(), OperationError> {
        let Some(read) = seen else {
            return Ok(());
        };
        check_seen(app, seen)?;
        let newest = ReleaseNumber(app.status.last_release);
        let entry = self
            .objects
            .store()
            .get(&keys::release(project, name, newest))
            .await?;
        if entry.is_some_and(|entry| entry.created > read) {
            return Err(OperationError::Stale {
                kind: Kind::App,
                name: app.metadata.name.clone(),
                current: app.metadata.revision,
            });
        }
        Ok(())
    }

    /// Changes an app and, when `change` answers with a draft, makes a release of it in the same write. `seen` is the
    /// revision at which the caller read the app, where it matters to them that nobody was faster.
    ///
    /// # Errors
    /// [`OperationError::Stale`], what `change` answers, or when the store fails.
    pub async fn write_release(
        &self,
        project: &ProjectName,
        name: &AppName,
        seen: Option<Revision>,
        change: impl Fn(&mut App, Option<&Base>) -> Result<Option<Draft>, OperationError> + Send + Sync,
    ) -> Result<(App, Option<Release>), OperationError> {
        let key = keys::app(project, name);
        loop {
            let before = self.app(project, name).await?;
            check_not_deleting(&before)?;
            self.check_newest(project, name, &before, seen).await?;
            let base = self.base(&before).await?;
            let mut app = before.clone();
            let draft = change(&mut app, base.as_ref())?;
            let mut release = draft.map(|draft| number(project, name, &mut app, draft));
            if app == before {
                return Ok((before, None));
            }
            if let Some(release) = &release {
                self.keep_image(&release.spec.image).await;
            }
            self.note_change(&before, &mut app).await?;
            let mut batch = Batch::new().update(key.clone(), before.metadata.revision, &app)?;
            if let Some(release) = &release {
                batch = batch.create(keys::release(project, name, release.spec.number), release)?;
            }
            match self.objects.write(batch).await {
                Ok(revision) => {
                    app.metadata.revision = revision;
                    if let Some(release) = &mut release {
                        release.metadata.revision = revision;
                    }
                    return Ok((app, release));
                }
                Err(error) if error.is_race() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps an image of the registry from being collected before the release is written that needs it.
    async fn keep_image(&self, image: &ImageRef) {
        let (Some(tags), Some(named)) = (&self.image_tags, self.settings.named(image)) else {
            return;
        };
        match tags.keep(&named).await {
            // What is not there fails the release when it is fetched, in words about that.
            Ok(()) | Err(TagError::Absent(_)) => {}
            Err(TagError::Failed(error)) => {
                tracing::warn!(%image, %error, "an image could not be kept from a collection");
            }
        }
    }

    /// Fails where [`Control::release_promoted`] would: before anything is copied for it.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] for the app, [`OperationError::Stale`], [`OperationError::Conflict`] while it is being deleted.
    pub async fn check_releasable(
        &self,
        project: &ProjectName,
        name: &AppName,
        seen: Option<Revision>,
    ) -> Result<(), OperationError> {
        let app = self.app(project, name).await?;
        check_not_deleting(&app)?;
        self.check_newest(project, name, &app, seen).await
    }

    /// Releases what another app released: its image, which `image` names in this app's own part of the registry, and its
    /// processes, with this app's variables.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] for the app, [`OperationError::Stale`].
    pub async fn release_promoted(
        &self,
        project: &ProjectName,
        app: &AppName,
        promoted: &Promoted<'_>,
        seen: Option<Revision>,
        actor: &Actor,
    ) -> Result<Release, OperationError> {
        let origin = Origin::Promotion {
            project: promoted.project.clone(),
            app: promoted.release.spec.app.clone(),
            release: promoted.release.spec.number,
        };
        let (_, release) = self
            .write_release(project, app, seen, |_, _| {
                Ok(Some(Draft {
                    image: promoted.image.clone(),
                    config: promoted.release.spec.config.clone(),
                    origin: origin.clone(),
                    created_by: actor.to_string(),
                    env: None,
                }))
            })
            .await?;
        let what = format!(
            "{} of {} in project {} promoted",
            promoted.release.spec.number, promoted.release.spec.app, promoted.project
        );
        self.released(project, app, release, actor, &what).await
    }

    /// Releases an image that exists. Without a configuration, that of the present release goes on.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] for the app, [`OperationError::Stale`].
    pub async fn release_image(
        &self,
        project: &ProjectName,
        app: &AppName,
        image: &ImageRef,
        config: Option<&RunConfig>,
        seen: Option<Revision>,
        actor: &Actor,
    ) -> Result<Release, OperationError> {
        let defaults = self.platform_settings().await?.spec.defaults;
        let (_, release) = self
            .write_release(project, app, seen, |_, base| {
                let mut config = config
                    .cloned()
                    .or_else(|| base.map(|base| base.0.spec.config.clone()))
                    .unwrap_or_default();
                defaults.fill(&mut config);
                Ok(Some(Draft {
                    image: image.clone(),
                    config,
                    origin: Origin::Image,
                    created_by: actor.to_string(),
                    env: None,
                }))
            })
            .await?;
        self.released(project, app, release, actor, &format!("image {image}"))
            .await
    }

    /// Makes a new release that is an earlier one again: its image, processes and variables.
    ///
    /// # Errors
    /// [`OperationError::NotFound`]; [`OperationError::Conflict`] when there is none to go back to, or it
    /// never was live and has no pinned image.
    pub async fn rollback(
        &self,
        project: &ProjectName,
        app: &AppName,
        to: RollbackTo,
        seen: Option<Revision>,
        actor: &Actor,
    ) -> Result<Release, OperationError> {
        let earlier = match to {
            RollbackTo::Number(number) => self.release(project, app, number).await?,
            RollbackTo::Previous => self.previous_release(project, app).await?,
        };
        if earlier.status.image.is_none() {
            let reason = format!(
                "release {} never came so far that it had an image",
                earlier.spec.number
            );
            return Err(OperationError::conflict(reason));
        }
        let number = earlier.spec.number;
        let (_, release) = self
            .write_release(project, app, seen, |_, _| {
                Ok(Some(Draft {
                    image: pinned(&earlier),
                    config: earlier.spec.config.clone(),
                    origin: Origin::Rollback { release: number },
                    created_by: actor.to_string(),
                    env: Some(earlier.spec.env.clone()),
                }))
            })
            .await?;
        self.released(
            project,
            app,
            release,
            actor,
            &format!("rollback to {number}"),
        )
        .await
    }

    async fn previous_release(
        &self,
        project: &ProjectName,
        app: &AppName,
    ) -> Result<Release, OperationError> {
        let live = self.app(project, app).await?.status.release;
        let all = self.releases(project, app).await?;
        all.into_iter()
            .rev()
            .find(|r| {
                r.status.phase == ReleasePhase::Superseded
                    && r.status.image.is_some()
                    && Some(r.spec.number) < live.or(Some(ReleaseNumber(u32::MAX)))
            })
            .ok_or_else(|| OperationError::Conflict {
                reason: format!("app {app} has no earlier release to go back to"),
                hint: Some(format!("`coracle releases {app}` lists what there is")),
            })
    }

    async fn released(
        &self,
        project: &ProjectName,
        app: &AppName,
        release: Option<Release>,
        actor: &Actor,
        what: &str,
    ) -> Result<Release, OperationError> {
        let release = release.ok_or_else(|| OperationError::conflict("nothing changed"))?;
        let object = format!("{app}/{}", release.spec.number);
        let message = format!("release {} made: {what}", release.spec.number);
        self.journal
            .record(
                actor,
                "release.created",
                Some(project),
                (Kind::Release, &object),
                message,
            )
            .await;
        Ok(release)
    }
}
