//! What would become of everything in an archive. Changes nothing.

use std::collections::BTreeMap;

use coracle_model::app::{App, AppSpec};
use coracle_model::domain::DomainSpec;
use coracle_model::env::{EnvValue, EnvVars, Secret};
use coracle_model::import::{ImportItem, ImportOutcome, ImportReport, OnConflict, VouchedBy};
use coracle_model::name::{AppName, EnvName, Hostname, ProjectName};
use coracle_model::object::Kind;
use coracle_model::project::ProjectSpec;
use coracle_model::release::Release;
use coracle_model::user::UserSpec;
use coracle_store::Expected;

use crate::app::check_spec;
use crate::archive::{AppRecord, Archive, ProjectRecord, UserRecord, portable_image, refused};
use crate::control::Control;
use crate::error::OperationError;
use crate::import::arrival::Arrival;
use crate::journal::Actor;
use crate::keys;
use crate::objects::check_not_deleting;
use crate::vault::Vault;

/// What becomes of a thing, and why where that is not plain.
type Verdict = (ImportOutcome, Option<String>);

/// Variables as they are: secret or not, and the value.
type Opened = BTreeMap<EnvName, (bool, Secret)>;

impl Control {
    /// What would become of each thing in an archive, in its order: projects, users, apps.
    ///
    /// # Errors
    /// [`OperationError::InvalidSource`] for records that cannot be, or when the store fails.
    pub async fn plan_import(
        &self,
        archive: &Archive,
        on_conflict: OnConflict,
    ) -> Result<ImportReport, OperationError> {
        archive.check()?;
        let mut report = ImportReport::default();
        let mut item = |kind, project: Option<&ProjectName>, name: &str, verdict: Verdict| {
            report.items.push(ImportItem {
                kind,
                project: project.cloned(),
                name: name.to_owned(),
                outcome: verdict.0,
                reason: verdict.1,
            });
        };
        for project in &archive.projects {
            let verdict = self.plan_project(project).await?;
            item(Kind::Project, None, project.name.as_str(), verdict);
        }
        for user in &archive.users {
            let verdict = self.plan_user(user).await?;
            item(Kind::User, None, user.name.as_str(), verdict);
        }
        for app in &archive.apps {
            let verdict = self.plan_app(archive, app, on_conflict).await?;
            item(Kind::App, Some(&app.project), app.name.as_str(), verdict);
        }
        report.vouched_by = match archive.seal {
            Some(_) => VouchedBy::Passphrase,
            None => VouchedBy::Nobody,
        };
        let arrivals = archive.apps.iter().map(|app| Arrival {
            control: self,
            archive,
            app,
        });
        report.notes = arrivals.flat_map(notes).collect();
        Ok(report)
    }

    async fn plan_project(&self, record: &ProjectRecord) -> Result<Verdict, OperationError> {
        let key = keys::project(&record.name);
        Ok(match self.objects.get::<ProjectSpec>(&key).await? {
            None => (ImportOutcome::Created, None),
            Some(here) if here.spec == record.spec() => (ImportOutcome::Unchanged, None),
            Some(_) => {
                let reason = "the project here has another description, and keeps it";
                (ImportOutcome::Skipped, Some(reason.to_owned()))
            }
        })
    }

    /// A user who is here is left alone, whatever the archive says of their rights.
    async fn plan_user(&self, record: &UserRecord) -> Result<Verdict, OperationError> {
        let key = keys::user(&record.name);
        Ok(match self.objects.get::<UserSpec>(&key).await? {
            None => {
                let reason = "without a password: an administrator sets one";
                (ImportOutcome::Created, Some(reason.to_owned()))
            }
            Some(here) if here.spec == record.spec => (ImportOutcome::Unchanged, None),
            Some(_) => {
                let reason = "the user here has other rights, and keeps them";
                (ImportOutcome::Skipped, Some(reason.to_owned()))
            }
        })
    }

    async fn plan_app(
        &self,
        archive: &Archive,
        record: &AppRecord,
        on_conflict: OnConflict,
    ) -> Result<Verdict, OperationError> {
        let (project, name) = (&record.project, &record.name);
        let arrival = Arrival {
            control: self,
            archive,
            app: record,
        };
        let in_the_way = |reason: String| match on_conflict {
            OnConflict::Skip => (ImportOutcome::Skipped, Some(reason)),
            OnConflict::Fail | OnConflict::Replace => (ImportOutcome::Conflict, Some(reason)),
        };
        if let Some(hindrance) = arrival.hindrance() {
            return Ok(in_the_way(hindrance));
        }
        let own = self.default_host(project, name)?;
        let spec = arrival.spec()?;
        let wrong =
            |error: &dyn std::fmt::Display| refused(format!("app {project}/{name}: {error}"));
        check_spec(&spec, &own).map_err(|error| wrong(&error))?;
        // Sealed and written as it would be, so that what no store takes is told before anything is changed.
        arrival
            .creation(Expected::Any, 0, &Actor::Platform("import"))
            .map_err(|error| wrong(&error))?
            .check_size()
            .map_err(|error| wrong(&error))?;
        // Project and app are named by others too: a host name is never taken from anybody.
        for host in record.domains.iter().chain(std::iter::once(&own)) {
            if let Some(owner) = self.other_owner(project, name, host).await? {
                return Ok(in_the_way(format!("{host} belongs to app {owner}")));
            }
        }
        let home = keys::project(project);
        let home = self.objects.get::<ProjectSpec>(&home).await?;
        if home.is_some_and(|home| home.metadata.deleting.is_some()) {
            return Ok(in_the_way(format!("project {project} is being deleted")));
        }
        let key = keys::app(project, name);
        let Some(here) = self.objects.get::<AppSpec>(&key).await? else {
            return Ok((ImportOutcome::Created, None));
        };
        if check_not_deleting(&here).is_err() {
            return Ok(in_the_way("the app here is being deleted".to_owned()));
        }
        if self.is_same(arrival, &here, &spec).await? {
            return Ok((ImportOutcome::Unchanged, None));
        }
        Ok(match on_conflict {
            OnConflict::Replace => (ImportOutcome::Replaced, None),
            OnConflict::Fail | OnConflict::Skip => {
                in_the_way("there is an app of this name, and it is not the same".to_owned())
            }
        })
    }

    async fn other_owner(
        &self,
        project: &ProjectName,
        name: &AppName,
        host: &Hostname,
    ) -> Result<Option<String>, OperationError> {
        let claimed = self.objects.get::<DomainSpec>(&keys::domain(host)).await?;
        Ok(claimed
            .filter(|claim| (&claim.spec.project, &claim.spec.app) != (project, name))
            .map(|claim| format!("{}/{}", claim.spec.project, claim.spec.app)))
    }

    /// Is the app here what the archive has? Its newest release counts: an older one may be live while that deploys.
    pub(super) async fn is_same(
        &self,
        arrival: Arrival<'_>,
        here: &App,
        spec: &AppSpec,
    ) -> Result<bool, OperationError> {
        let (project, name) = (&arrival.app.project, &arrival.app.name);
        let same = |here: &EnvVars, arriving: &EnvVars| {
            let here = opened(&self.vault, project, name, here)?;
            Ok::<_, OperationError>(here == opened(&self.vault, project, name, arriving)?)
        };
        if here.spec.scale != spec.scale
            || here.spec.domains != spec.domains
            || !same(&here.spec.env, &spec.env)?
        {
            return Ok(false);
        }
        let history = self.releases(project, name).await?;
        let newest = history.iter().max_by_key(|release| release.spec.number);
        match (newest, arrival.app.live()) {
            (None, None) => Ok(true),
            (Some(newest), Some(live)) => Ok(newest.spec.config == live.spec.config
                && has_image(newest, &history, &arrival.image(live)?)
                && same(&newest.spec.env, &arrival.env(&live.spec.env)?)?),
            // Nothing was live there, so nothing is to be live here.
            (Some(_), None) => Ok(here.status.last_release == arrival.app.last_release),
            (None, Some(_)) => Ok(false),
        }
    }
}

fn has_image(
    release: &Release,
    history: &[Release],
    image: &coracle_model::name::ImageRef,
) -> bool {
    release.spec.image == *image || portable_image(release, history) == *image
}

fn opened(
    vault: &Vault,
    project: &ProjectName,
    app: &AppName,
    vars: &EnvVars,
) -> Result<Opened, OperationError> {
    vars.iter()
        .map(|(name, value)| {
            let secret = matches!(value, EnvValue::Sealed(_));
            let value = vault.open_env(project, app, name, value)?;
            Ok((name.clone(), (secret, value)))
        })
        .collect()
}

/// What the archive cannot carry of an app.
fn notes(arrival: Arrival<'_>) -> Vec<String> {
    let (archive, record) = (arrival.archive, arrival.app);
    let app = format!("app {}/{}", record.project, record.name);
    let mut notes: Vec<String> = record
        .volumes
        .iter()
        .map(|volume| format!("{app}: volume {volume} arrives empty; copy its data yourself"))
        .collect();
    let behind: Vec<_> = record
        .releases
        .iter()
        .filter(|release| arrival.stays_behind(release))
        .map(|release| release.spec.number.to_string())
        .collect();
    if !behind.is_empty() {
        notes.push(format!(
            "{app}: {} not imported, with images that are not of project {}",
            behind.join(", "),
            record.project
        ));
    }
    if let Some(live) = record.live() {
        let image = portable_image(live, &record.releases);
        if !archive.has_image(record, &image) {
            notes.push(format!(
                "{app}: image {image} is not in the export, and must be reachable from here"
            ));
        }
    }
    notes
}
