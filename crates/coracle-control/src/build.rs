//! What can be done with builds.

use coracle_model::build::{Build, BuildSpec, Cancel, Source};
use coracle_model::name::{AppName, ProjectName};
use coracle_model::object::Kind;
use coracle_model::release::RunChange;
use coracle_model::source::SourceId;
use coracle_store::Revision;

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, check_not_deleting, new_object};
use crate::source::TakenSource;

/// A build that somebody wants.
#[derive(Clone, Debug)]
pub struct WantedBuild {
    /// Of what.
    source: Source,
    /// The source that this is taken from.
    taken: Option<SourceId>,
    /// What is to be run otherwise than it says.
    config: RunChange,
}

impl WantedBuild {
    /// Of a source, with changes.
    #[must_use]
    pub fn of(taken: TakenSource, config: RunChange) -> Self {
        Self {
            source: taken.source,
            taken: Some(taken.id),
            config,
        }
    }
}

impl Control {
    /// A build.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn build(
        &self,
        project: &ProjectName,
        app: &AppName,
        number: u32,
    ) -> Result<Build, OperationError> {
        self.objects
            .need::<BuildSpec>(
                &keys::build(project, app, number),
                format!("{app}/b{number}"),
            )
            .await
    }

    /// Queues a build of an archive that was received, as [`Control::submit_build_of`] does.
    ///
    /// # Errors
    /// As there.
    pub async fn submit_build(
        &self,
        project: &ProjectName,
        name: &AppName,
        source: Source,
        seen: Option<Revision>,
        actor: &Actor,
    ) -> Result<Build, OperationError> {
        let wanted = WantedBuild {
            source,
            taken: None,
            config: RunChange::default(),
        };
        self.submit_build_of(project, name, wanted, seen, actor)
            .await
    }

    /// Queues a build of an app's source. `seen` is the revision at which the caller read the app.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] for the app or the source, [`OperationError::Stale`].
    pub async fn submit_build_of(
        &self,
        project: &ProjectName,
        name: &AppName,
        wanted: WantedBuild,
        seen: Option<Revision>,
        actor: &Actor,
    ) -> Result<Build, OperationError> {
        let build = loop {
            let mut app = self.app(project, name).await?;
            check_not_deleting(&app)?;
            self.check_newest(project, name, &app, seen).await?;
            app.status.last_build += 1;
            let number = app.status.last_build;
            let spec = BuildSpec {
                app: name.clone(),
                number,
                source: wanted.source.clone(),
                config: wanted.config.clone(),
                created_by: actor.to_string(),
                cancel: Cancel::No,
            };
            let mut build: Build = new_object(format!("b{number}"), Some(project.clone()), spec);
            let mut batch = Batch::new()
                .update(keys::app(project, name), app.metadata.revision, &app)?
                .create(keys::build(project, name, number), &build)?;
            if let Some(id) = &wanted.taken {
                // In the same write: a sweep that judged it to be old loses.
                let mut source = self.source(project, id).await?;
                source.status.used = Some(chrono::Utc::now());
                let at = keys::source(project, id);
                batch = batch.update(at, source.metadata.revision, &source)?;
            }
            match self.objects.write(batch).await {
                Ok(revision) => {
                    build.metadata.revision = revision;
                    break build;
                }
                Err(error) if error.is_race() => {}
                Err(error) => return Err(error),
            }
        };
        let object = format!("{name}/b{}", build.spec.number);
        let message = format!("build {} of {name} queued", build.spec.number);
        self.journal
            .record(
                actor,
                "build.created",
                Some(project),
                (Kind::Build, &object),
                message,
            )
            .await;
        Ok(build)
    }

    /// Asks for the end of a build. One that has ended stays as it is.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn cancel_build(
        &self,
        project: &ProjectName,
        app: &AppName,
        number: u32,
        actor: &Actor,
    ) -> Result<Build, OperationError> {
        let object = format!("{app}/b{number}");
        let build = self
            .objects
            .modify::<BuildSpec>(&keys::build(project, app, number), &object, |build| {
                if !build.status.phase.is_final() {
                    build.spec.cancel = Cancel::Requested;
                }
                Ok(())
            })
            .await?;
        self.journal
            .record(
                actor,
                "build.cancelled",
                Some(project),
                (Kind::Build, &object),
                "end asked for",
            )
            .await;
        Ok(build)
    }
}
