//! What can be done with apps.
//!
//! Theory of operation: an app and the claims to its host names are written together, so that there is never
//! an app without its name or a name without its app. Everything else is a change of the app's object by
//! compare-and-set; the controllers see it and act.
//!
//! Controllers write the app's status into the same object, so its revision moves without anybody's doing. What a
//! caller read is stale only when the *spec* was changed since: `status.spec_after` says after which revision that
//! was ([`check_seen`]). It is the store's revision just before the write: what was read before has at most that
//! one, and the write itself has a greater one.

use std::collections::BTreeSet;

use chrono::Utc;
use coracle_model::app::{App, AppSpec, ScaleChange};
use coracle_model::domain::{Claim, Domain, DomainSpec};
use coracle_model::env::{EnvChange, EnvValue, EnvVars};
use coracle_model::name::{AppName, Hostname, ProjectName};
use coracle_model::object::Kind;
use coracle_model::release::{ProcessSpec, Release};
use coracle_store::{Expected, Revision, StoreError};

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, check_not_deleting, new_object};
use crate::release::Base;

/// The most host names that one app may have beside its own.
const MOST_DOMAINS: usize = 50;

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
    async fn change_app(
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
            let (had, has) = (hosts(&before), hosts(&after));
            let mut batch = Batch::new().update(key.clone(), before.metadata.revision, &after)?;
            for host in has.difference(&had) {
                batch = batch.create(
                    keys::domain(host),
                    &claim(project, name, host, Claim::Added),
                )?;
            }
            for host in had.difference(&has) {
                batch = batch.delete(keys::domain(host), Expected::Any);
            }
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

    /// Changes an app's variables. When it has a release, a new one with the changed variables is made in the
    /// same write.
    ///
    /// # Errors
    /// [`OperationError::Invalid`], [`OperationError::NotFound`].
    pub async fn change_env(
        &self,
        project: &ProjectName,
        name: &AppName,
        change: &EnvChange,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<(App, Option<Release>), OperationError> {
        check_env(change)?;
        let changed = self
            .write_release(project, name, None, |app, base| {
                check_seen(app, revision)?;
                let before = app.spec.env.clone();
                self.apply_env(project, name, &mut app.spec.env, change)?;
                if app.spec.env == before {
                    return Ok(None);
                }
                Ok(base.map(|base| base.with_config(actor)))
            })
            .await?;
        let mut names: Vec<String> = change
            .set
            .keys()
            .chain(change.secret.keys())
            .map(ToString::to_string)
            .collect();
        names.extend(change.unset.iter().map(|name| format!("-{name}")));
        self.record_app(
            actor,
            "app.env_changed",
            project,
            name,
            format!("variables {}", names.join(", ")),
        )
        .await;
        Ok(changed)
    }

    fn apply_env(
        &self,
        project: &ProjectName,
        app: &AppName,
        vars: &mut EnvVars,
        change: &EnvChange,
    ) -> Result<(), OperationError> {
        for name in &change.unset {
            vars.remove(name);
        }
        for (name, value) in &change.set {
            vars.insert(name.clone(), EnvValue::Plain(value.clone()));
        }
        for (name, secret) in &change.secret {
            vars.insert(
                name.clone(),
                self.vault.seal_env(project, app, name, secret)?,
            );
        }
        if vars.len() > EnvChange::VARIABLES {
            let reason = format!("an app has at most {} variables", EnvChange::VARIABLES);
            return Err(OperationError::invalid("set", reason));
        }
        Ok(())
    }

    /// Gives an app one more host name.
    ///
    /// # Errors
    /// [`OperationError::DomainTaken`], [`OperationError::Invalid`], [`OperationError::Stale`].
    pub async fn add_domain(
        &self,
        project: &ProjectName,
        name: &AppName,
        host: &Hostname,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<App, OperationError> {
        let own = self.default_host(project, name)?;
        let app = self
            .change_app(project, name, |app| {
                check_seen(app, revision)?;
                if !app.spec.domains.contains(host) {
                    app.spec.domains.push(host.clone());
                    app.spec.domains.sort();
                }
                check_spec(&app.spec, &own)
            })
            .await?;
        self.record_app(
            actor,
            "app.domain_added",
            project,
            name,
            format!("{host} added"),
        )
        .await;
        Ok(app)
    }

    /// Takes a host name away from an app.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], [`OperationError::Stale`].
    pub async fn remove_domain(
        &self,
        project: &ProjectName,
        name: &AppName,
        host: &Hostname,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<App, OperationError> {
        let app = self
            .change_app(project, name, |app| {
                check_seen(app, revision)?;
                let before = app.spec.domains.len();
                app.spec.domains.retain(|has| has != host);
                if app.spec.domains.len() == before {
                    return Err(OperationError::not_found(Kind::Domain, host));
                }
                Ok(())
            })
            .await?;
        self.record_app(
            actor,
            "app.domain_removed",
            project,
            name,
            format!("{host} removed"),
        )
        .await;
        Ok(app)
    }

    fn default_host(
        &self,
        project: &ProjectName,
        app: &AppName,
    ) -> Result<Hostname, OperationError> {
        Ok(self.settings.default_host(project, app)?)
    }

    async fn record_app(
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

    /// Every host name of an app, its own first.
    ///
    /// # Errors
    /// When its own would be too long.
    pub fn hosts_of(
        &self,
        project: &ProjectName,
        app: &AppName,
        spec: &AppSpec,
    ) -> Result<Vec<Hostname>, OperationError> {
        let mut all = vec![self.settings.default_host(project, app)?];
        all.extend(spec.domains.iter().cloned());
        Ok(all)
    }

    /// The release that a change builds on: the live one, else the newest.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn base_release(&self, app: &App) -> Result<Option<Release>, OperationError> {
        Ok(self.base(app).await?.map(Base::into_release))
    }
}

/// Fails unless the caller, who has read the app at `expected`, has seen its spec as it is.
pub(crate) fn check_seen(app: &App, expected: Option<Revision>) -> Result<(), OperationError> {
    let current = app.metadata.revision;
    let seen = |read: Revision| match app.status.spec_after {
        // Written before this was noted.
        0 => read == current,
        after => read > after && read <= current,
    };
    match expected {
        Some(read) if !seen(read) => Err(OperationError::Stale {
            kind: Kind::App,
            name: app.metadata.name.clone(),
            current,
        }),
        _ => Ok(()),
    }
}

fn hosts(app: &App) -> BTreeSet<Hostname> {
    app.spec.domains.iter().cloned().collect()
}

fn claim(project: &ProjectName, app: &AppName, host: &Hostname, claim: Claim) -> Domain {
    new_object(
        host.as_str(),
        None,
        DomainSpec {
            project: project.clone(),
            app: app.clone(),
            claim,
        },
    )
}

fn taken_domain(error: OperationError) -> OperationError {
    match &error {
        OperationError::Store(StoreError::Conflict { key, .. }) => {
            match key.strip_prefix(keys::DOMAINS) {
                Some(host) => OperationError::DomainTaken {
                    host: host.to_owned(),
                },
                None => error,
            }
        }
        _ => error,
    }
}

fn check_replicas(field: &str, replicas: u32) -> Result<(), OperationError> {
    if replicas > ProcessSpec::MOST_REPLICAS {
        let reason = format!("a process has 0 to {} pods", ProcessSpec::MOST_REPLICAS);
        return Err(OperationError::invalid(field, reason));
    }
    Ok(())
}

/// `own` is the host name that the app has anyway.
fn check_spec(spec: &AppSpec, own: &Hostname) -> Result<(), OperationError> {
    if spec.domains.contains(own) {
        let reason = format!("every app has a host name of its own, and {own} is this one's");
        return Err(OperationError::invalid("spec.domains", reason));
    }
    if spec.domains.len() > MOST_DOMAINS {
        let reason = format!("an app has at most {MOST_DOMAINS} host names beside its own");
        return Err(OperationError::invalid("spec.domains", reason));
    }
    if spec.domains.iter().collect::<BTreeSet<_>>().len() != spec.domains.len() {
        return Err(OperationError::invalid(
            "spec.domains",
            "a host name is there twice",
        ));
    }
    for (process, replicas) in &spec.scale {
        check_replicas(&format!("spec.scale.{process}"), *replicas)?;
    }
    Ok(())
}

fn check_env(change: &EnvChange) -> Result<(), OperationError> {
    let plain = change
        .set
        .iter()
        .map(|(name, value)| (name, value.as_str()));
    let secret = change
        .secret
        .iter()
        .map(|(name, value)| (name, value.expose()));
    for (name, value) in plain.chain(secret) {
        if value.len() > EnvChange::VALUE_BYTES {
            let reason = format!("a value has at most {} bytes", EnvChange::VALUE_BYTES);
            return Err(OperationError::invalid(name.to_string(), reason));
        }
        if value.contains('\0') {
            return Err(OperationError::invalid(
                name.to_string(),
                "a value cannot hold a zero byte",
            ));
        }
    }
    if let Some(twice) = change
        .set
        .keys()
        .find(|name| change.secret.contains_key(*name))
    {
        return Err(OperationError::invalid(
            twice.to_string(),
            "it is set both plain and secret",
        ));
    }
    Ok(())
}
