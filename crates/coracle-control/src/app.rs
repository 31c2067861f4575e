//! What can be done with apps.
//!
//! Theory of operation: an app and the claims to its host names are written together, so that there is never
//! an app without its name or a name without its app. Everything else is a change of the app's object by
//! compare-and-set; the controllers see it and act.

use std::collections::BTreeSet;

use chrono::Utc;
use coracle_model::app::{App, AppSpec, ScaleChange};
use coracle_model::domain::Claim;
use coracle_model::name::{AppName, Hostname, ProjectName};
use coracle_model::object::Kind;
use coracle_model::release::ProcessSpec;
use coracle_store::{Expected, Revision, StoreError};

use crate::control::Control;
use crate::domain::{check_domains, claim, taken_domain};
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, check_not_deleting, new_object};
use crate::stale::check_seen;

impl Control {
    /// An app.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn app(&self, project: &ProjectName, app: &AppName) -> Result<App, OperationError> {
        self.objects
            .need::<AppSpec>(&keys::app(project, app), app)
            .await
    }

    /// Makes an app, with its host name.
    ///
    /// # Errors
    /// [`OperationError::AlreadyExists`], [`OperationError::DomainTaken`], [`OperationError::NotFound`] for
    /// its project, [`OperationError::Invalid`].
    pub async fn create_app(
        &self,
        project: &ProjectName,
        name: &AppName,
        spec: AppSpec,
        actor: &Actor,
    ) -> Result<App, OperationError> {
        let host = self.default_host(project, name)?;
        check_spec(&spec, &host)?;
        let home = self.live_project(project).await?;
        let mut app: App = new_object(name.as_str(), Some(project.clone()), spec);
        app.status.url = Some(self.settings.url(&host));
        app.status.spec_after = self.objects.store().revision().await?;
        let key = keys::app(project, name);
        let mut batch = Batch::new()
            .check(
                keys::project(project),
                Expected::Revision(home.metadata.revision),
            )
            .create(key.clone(), &app)?
            .create(
                keys::domain(&host),
                &claim(project, name, &host, Claim::Default),
            )?;
        for extra in &app.spec.domains {
            batch = batch.create(
                keys::domain(extra),
                &claim(project, name, extra, Claim::Added),
            )?;
        }
        match self.objects.write(batch).await {
            Ok(revision) => app.metadata.revision = revision,
            Err(OperationError::Store(StoreError::Conflict { key: taken, .. })) if taken == key => {
                return Err(OperationError::AlreadyExists {
                    kind: Kind::App,
                    name: name.to_string(),
                });
            }
            Err(error) => return Err(taken_domain(error)),
        }
        self.record_app(
            actor,
            "app.created",
            project,
            name,
            format!("app {name} created"),
        )
        .await;
        Ok(app)
    }

    /// The app, which is made when it does not exist.
    ///
    /// # Errors
    /// As [`Control::create_app`], and [`OperationError::Conflict`] while it is being deleted.
    pub async fn ensure_app(
        &self,
        project: &ProjectName,
        name: &AppName,
        actor: &Actor,
    ) -> Result<App, OperationError> {
        if let Some(app) = self
            .objects
            .get::<AppSpec>(&keys::app(project, name))
            .await?
        {
            check_not_deleting(&app)?;
            return Ok(app);
        }
        match self
            .create_app(project, name, AppSpec::default(), actor)
            .await
        {
            Err(OperationError::AlreadyExists { .. }) => self.app(project, name).await,
            other => other,
        }
    }

    /// Changes what an app is asked to be. Its variables have an operation of their own and stay.
    ///
    /// # Errors
    /// [`OperationError::Stale`], [`OperationError::DomainTaken`], [`OperationError::Invalid`].
    pub async fn update_app(
        &self,
        project: &ProjectName,
        name: &AppName,
        spec: AppSpec,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<App, OperationError> {
        check_spec(&spec, &self.default_host(project, name)?)?;
        let app = self
            .change_app(project, name, |app| {
                check_seen(app, revision)?;
                let env = std::mem::take(&mut app.spec.env);
                app.spec = AppSpec {
                    env,
                    ..spec.clone()
                };
                Ok(())
            })
            .await?;
        self.record_app(
            actor,
            "app.changed",
            project,
            name,
            format!("app {name} changed"),
        )
        .await;
        Ok(app)
    }

    /// Applies `change` and writes the app together with the claims to the host names that it won or lost.
    pub(crate) async fn change_app(
        &self,
        project: &ProjectName,
        name: &AppName,
        mut change: impl FnMut(&mut App) -> Result<(), OperationError> + Send,
    ) -> Result<App, OperationError> {
        let key = keys::app(project, name);
        loop {
            let before = self.app(project, name).await?;
            check_not_deleting(&before)?;
            let mut after = before.clone();
            change(&mut after)?;
            if after == before {
                return Ok(before);
            }
            self.note_change(&before, &mut after).await?;
            let batch = with_claims(project, name, &before, &after)?;
            match self.objects.write(batch).await {
                Ok(revision) => {
                    after.metadata.revision = revision;
                    return Ok(after);
                }
                Err(OperationError::Store(StoreError::Conflict { key: at, .. })) if at == key => {}
                Err(error) => return Err(taken_domain(error)),
            }
        }
    }

    /// Notes in `after`, which is about to be written, when its spec was changed, if it was. After the read of `before`.
    pub(crate) async fn note_change(
        &self,
        before: &App,
        after: &mut App,
    ) -> Result<(), OperationError> {
        if after.spec != before.spec {
            after.status.spec_after = self.objects.store().revision().await?;
        }
        Ok(())
    }

    /// Fails when an app is not as the caller, who has its `revision`, has seen it.
    ///
    /// # Errors
    /// [`OperationError::Stale`], [`OperationError::NotFound`].
    pub async fn check_app(
        &self,
        project: &ProjectName,
        name: &AppName,
        revision: Option<Revision>,
    ) -> Result<(), OperationError> {
        if revision.is_none() {
            return Ok(());
        }
        check_seen(&self.app(project, name).await?, revision)
    }

    /// Asks for the end of an app and of all that it has.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], [`OperationError::Stale`].
    pub async fn delete_app(
        &self,
        project: &ProjectName,
        name: &AppName,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<App, OperationError> {
        let app = self
            .objects
            .modify::<AppSpec>(&keys::app(project, name), name, |app| {
                check_seen(app, revision)?;
                app.metadata.deleting.get_or_insert_with(Utc::now);
                Ok(())
            })
            .await?;
        self.record_app(
            actor,
            "app.deleted",
            project,
            name,
            format!("deletion of {name} asked for"),
        )
        .await;
        Ok(app)
    }

    /// Changes how many pods processes have.
    ///
    /// # Errors
    /// [`OperationError::Invalid`] for a process that the app does not have, or too many pods.
    pub async fn scale_app(
        &self,
        project: &ProjectName,
        name: &AppName,
        change: &ScaleChange,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<App, OperationError> {
        let app = self.app(project, name).await?;
        let Some(release) = self.base_release(&app).await? else {
            return Err(OperationError::Conflict {
                reason: format!("app {name} has no release yet, so there is nothing to scale"),
                hint: Some("deploy it first".to_owned()),
            });
        };
        for (process, replicas) in &change.processes {
            let field = format!("processes.{process}");
            if !release.spec.config.processes.contains_key(process) {
                let known: Vec<_> = release
                    .spec
                    .config
                    .processes
                    .keys()
                    .map(ToString::to_string)
                    .collect();
                let reason = format!(
                    "app {name} has no process {process}; it has {}",
                    known.join(", ")
                );
                return Err(OperationError::invalid(field, reason));
            }
            check_replicas(&field, *replicas)?;
        }
        let app = self
            .change_app(project, name, |app| {
                check_seen(app, revision)?;
                app.spec.scale.extend(change.processes.clone());
                Ok(())
            })
            .await?;
        let words: Vec<_> = change
            .processes
            .iter()
            .map(|(process, n)| format!("{process}={n}"))
            .collect();
        self.record_app(
            actor,
            "app.scaled",
            project,
            name,
            format!("scaled to {}", words.join(" ")),
        )
        .await;
        Ok(app)
    }

    pub(crate) async fn record_app(
        &self,
        actor: &Actor,
        action: &str,
        project: &ProjectName,
        name: &AppName,
        message: String,
    ) {
        let app = (Kind::App, name.as_str());
        self.journal
            .record(actor, action, Some(project), app, message)
            .await;
    }
}

/// One write of an app that was read as `before`, with the claims to the host names that it wins or loses.
pub(crate) fn with_claims(
    project: &ProjectName,
    name: &AppName,
    before: &App,
    after: &App,
) -> Result<Batch, OperationError> {
    let key = keys::app(project, name);
    let (had, has) = (hosts(before), hosts(after));
    let mut batch = Batch::new().update(key, before.metadata.revision, after)?;
    for host in has.difference(&had) {
        let claim = claim(project, name, host, Claim::Added);
        batch = batch.create(keys::domain(host), &claim)?;
    }
    for host in had.difference(&has) {
        batch = batch.delete(keys::domain(host), Expected::Any);
    }
    Ok(batch)
}

fn hosts(app: &App) -> BTreeSet<Hostname> {
    app.spec.domains.iter().cloned().collect()
}

fn check_replicas(field: &str, replicas: u32) -> Result<(), OperationError> {
    if replicas > ProcessSpec::MOST_REPLICAS {
        let reason = format!("a process has 0 to {} pods", ProcessSpec::MOST_REPLICAS);
        return Err(OperationError::invalid(field, reason));
    }
    Ok(())
}

/// Is this a spec that an app may have? `own` is the host name that it has anyway.
pub(crate) fn check_spec(spec: &AppSpec, own: &Hostname) -> Result<(), OperationError> {
    check_domains(&spec.domains, own)?;
    for (process, replicas) in &spec.scale {
        check_replicas(&format!("spec.scale.{process}"), *replicas)?;
    }
    Ok(())
}
