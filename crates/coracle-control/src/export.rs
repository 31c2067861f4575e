//! What an export takes from here.
//!
//! Theory of operation: one app at a time is read, so that an export needs the memory of its largest app. What an archive is
//! made of is in [`archive`](crate::archive); the API writes it and adds the images.

use std::collections::BTreeSet;

use chrono::Utc;
use coracle_model::app::{AppSpec, AppStatus};
use coracle_model::env::{EnvValue, EnvVars};
use coracle_model::name::{AppName, EnvName, ProjectName, UserName};
use coracle_model::project::ProjectSpec;
use coracle_model::release::ReleaseSpec;

use crate::archive::{
    AppRecord, FORMAT, Header, ProjectRecord, SealParameters, UserRecord, VERSION, that_fit,
};
use crate::control::Control;
use crate::error::OperationError;
use crate::keys;
use crate::vault::Vault;

/// The variables with `reseal` done to those that are secret.
pub(crate) fn resealed(
    vars: &EnvVars,
    reseal: impl Fn(&EnvName, &EnvValue) -> Result<EnvValue, OperationError>,
) -> Result<EnvVars, OperationError> {
    vars.iter()
        .map(|(name, value)| {
            let value = match value {
                EnvValue::Plain(_) => value.clone(),
                EnvValue::Sealed(_) => reseal(name, value)?,
            };
            Ok((name.clone(), value))
        })
        .collect()
}

fn needs_passphrase() -> OperationError {
    OperationError::invalid(
        "passphrase",
        "there are secrets among the variables: a passphrase is needed to seal or open them",
    )
}

impl Control {
    /// What an export is: its first record.
    #[must_use]
    pub fn export_header(&self, platform: &str, seal: Option<SealParameters>) -> Header {
        Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            made: Utc::now(),
            platform: platform.to_owned(),
            registry_host: self.settings.registry_host.clone(),
            seal,
        }
    }

    /// The projects of an export: `only`, or all.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] for one that is not there.
    pub async fn export_projects(
        &self,
        only: Option<&BTreeSet<ProjectName>>,
    ) -> Result<Vec<ProjectRecord>, OperationError> {
        let mut records = Vec::new();
        match only {
            Some(names) => {
                for name in names {
                    records.push((name.clone(), self.live_project(name).await?));
                }
            }
            None => {
                for project in self.projects().await? {
                    if project.metadata.deleting.is_none() {
                        let name = ProjectName::new(project.metadata.name.clone())?;
                        records.push((name, project));
                    }
                }
            }
        }
        let record = |(name, project): (_, coracle_model::project::Project)| {
            let ProjectSpec { description } = project.spec;
            ProjectRecord { name, description }
        };
        Ok(records.into_iter().map(record).collect())
    }

    /// Every user, without what opens anything.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn export_users(&self) -> Result<Vec<UserRecord>, OperationError> {
        let users = self.users().await?;
        let record = |user: coracle_model::user::User| {
            Ok(UserRecord {
                name: UserName::new(user.metadata.name)?,
                spec: user.spec,
            })
        };
        users.into_iter().map(record).collect()
    }

    /// The apps of a project, and whether a passphrase is needed for their secrets.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn export_apps(
        &self,
        project: &ProjectName,
    ) -> Result<(Vec<AppName>, bool), OperationError> {
        let sealed = |vars: &EnvVars| {
            vars.values()
                .any(|value| matches!(value, EnvValue::Sealed(_)))
        };
        let mut names = Vec::new();
        let mut secrets = false;
        for app in self.objects.list::<AppSpec>(&keys::apps(project)).await? {
            if app.metadata.deleting.is_some() {
                continue;
            }
            let name = AppName::new(app.metadata.name)?;
            let releases = self.releases(project, &name).await?;
            secrets |= sealed(&app.spec.env) || releases.iter().any(|r| sealed(&r.spec.env));
            names.push(name);
        }
        Ok((names, secrets))
    }

    /// An app with its releases; the images are to be added. `None` when it was deleted meanwhile.
    ///
    /// # Errors
    /// [`OperationError::Invalid`] for secrets without a seal, or when the store fails.
    pub async fn export_app(
        &self,
        project: &ProjectName,
        name: &AppName,
        seal: Option<&Vault>,
    ) -> Result<Option<AppRecord>, OperationError> {
        let found = self
            .objects
            .get::<AppSpec>(&keys::app(project, name))
            .await?;
        let Some(app) = found.filter(|app| app.metadata.deleting.is_none()) else {
            return Ok(None);
        };
        // Each field by its name: one that is added must be exported, or left out on purpose.
        let AppSpec {
            scale,
            env,
            domains,
        } = app.spec;
        let AppStatus {
            release: live,
            last_release,
            last_build,
            // The other platform tells its own.
            phase: _,
            url: _,
            spec_after: _,
            reason: _,
            processes: _,
        } = app.status;
        let prefix = keys::releases(project, name);
        let mut releases = self.objects.list::<ReleaseSpec>(&prefix).await?;
        // One that was made between the two reads would have a number that the app does not know.
        releases.retain(|release| release.spec.number.0 <= last_release);
        let sealed = |vars: &EnvVars| {
            resealed(vars, |variable, value| {
                let secret = self.vault.open_env(project, name, variable, value)?;
                let seal = seal.ok_or_else(needs_passphrase)?;
                seal.seal_env(project, name, variable, &secret)
            })
        };
        for release in &mut releases {
            release.spec.env = sealed(&release.spec.env)?;
            // Lines of a pod's log are nobody's configuration.
            release.status.log.clear();
        }
        let releases = that_fit(releases, live);
        let live = releases
            .iter()
            .find(|release| Some(release.spec.number) == live);
        let volumes = live
            .iter()
            .flat_map(|release| &release.spec.config.volumes)
            .map(|mount| mount.name.clone())
            .collect();
        Ok(Some(AppRecord {
            project: project.clone(),
            name: name.clone(),
            env: sealed(&env)?,
            scale,
            domains,
            live: live.map(|release| release.spec.number),
            last_release,
            last_build,
            releases,
            images: Vec::new(),
            volumes,
        }))
    }
}
