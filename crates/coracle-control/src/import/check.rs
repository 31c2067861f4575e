//! Records that no platform could have written are refused: what is in them goes into the store as it is.

use std::collections::BTreeSet;

use coracle_model::env::{EnvChange, EnvValue, EnvVars};
use coracle_model::name::shown;
use coracle_model::release::Release;

use crate::archive::bounds::Record;
use crate::archive::{AppRecord, Archive, MOST_RELEASES, ProjectRecord, UserRecord, refused};
use crate::env::check_value;
use crate::error::OperationError;
use crate::project;

impl Archive {
    /// Fails for the first two records that cannot be together. Each by itself was checked when it was read ([`Record`]).
    ///
    /// # Errors
    /// [`OperationError::InvalidSource`], naming the thing.
    pub(super) fn check(&self) -> Result<(), OperationError> {
        let mut projects = BTreeSet::new();
        for record in &self.projects {
            let name = &record.name;
            if !projects.insert(name) {
                return Err(refused(format!("project {name} is there twice")));
            }
        }
        let mut apps = BTreeSet::new();
        let mut hosts = BTreeSet::new();
        for app in &self.apps {
            let wrong = |what: String| refused(format!("app {}/{}: {what}", app.project, app.name));
            if !projects.contains(&app.project) {
                return Err(wrong("its project is not in the export".to_owned()));
            }
            if !apps.insert((&app.project, &app.name)) {
                return Err(wrong("it is there twice".to_owned()));
            }
            if let Some(twice) = app.domains.iter().find(|host| !hosts.insert(*host)) {
                return Err(wrong(format!("the host name {twice} is there twice")));
            }
        }
        Ok(())
    }
}

/// The most that releases and builds of one app were counted to: no counter comes to its end here.
const MOST_COUNTED: u32 = 1_000_000_000;

impl Record for AppRecord {
    fn check(&self) -> Result<(), OperationError> {
        let (project, name) = (&self.project, &self.name);
        check_app(self).map_err(|what| refused(format!("app {project}/{name}: {what}")))
    }
}

impl Record for Vec<ProjectRecord> {
    fn check(&self) -> Result<(), OperationError> {
        self.iter().try_for_each(|record| {
            project::check(&record.spec())
                .map_err(|error| refused(format!("project {}: {error}", record.name)))
        })
    }
}

impl Record for Vec<UserRecord> {
    /// Names, roles and projects are parsed: what can be read can be.
    fn check(&self) -> Result<(), OperationError> {
        Ok(())
    }
}

fn check_app(app: &AppRecord) -> Result<(), String> {
    let (releases, images) = (app.releases.len(), app.images.len());
    if releases.max(images) > MOST_RELEASES {
        return Err(format!(
            "it has more than {MOST_RELEASES} releases or images"
        ));
    }
    if app.last_release > MOST_COUNTED || app.last_build > MOST_COUNTED {
        return Err(format!(
            "releases and builds are counted to {MOST_COUNTED} at most"
        ));
    }
    check_env(&app.env)?;
    for image in &app.images {
        check_repository(app, &image.repository)?;
    }
    let mut numbers = BTreeSet::new();
    for release in &app.releases {
        let number = release.spec.number;
        if !numbers.insert(number) {
            return Err(format!("release {number} is there twice"));
        }
        check_release(app, release).map_err(|what| format!("release {number}: {what}"))?;
    }
    match app.live {
        Some(live) if !numbers.contains(&live) => {
            Err(format!("its live release {live} is not in the export"))
        }
        _ => Ok(()),
    }
}

/// A project has images of its own part of the registry only.
fn check_repository(app: &AppRecord, repository: &str) -> Result<(), String> {
    let first = repository.split_once('/').map(|(first, _)| first);
    if first != Some(app.project.as_str()) {
        return Err(format!(
            "image {} is not one of project {}",
            shown(repository),
            app.project
        ));
    }
    Ok(())
}

fn check_release(app: &AppRecord, release: &Release) -> Result<(), String> {
    let number = release.spec.number;
    if release.spec.app != app.name {
        return Err(format!("it is one of app {}", release.spec.app));
    }
    if release.metadata.name != number.to_string() {
        return Err("its name is not its number".to_owned());
    }
    if number.0 == 0 || number.0 > app.last_release {
        return Err(format!("releases are numbered v1 to v{}", app.last_release));
    }
    check_env(&release.spec.env)?;
    release.spec.config.check().map_err(|wrong| {
        let first = wrong.first();
        first.map_or_else(String::new, |value| {
            format!("{}: {}", value.field, value.message)
        })
    })
}

fn check_env(vars: &EnvVars) -> Result<(), String> {
    let most = EnvChange::VARIABLES;
    if vars.len() > most {
        return Err(format!("it has more than {most} variables"));
    }
    for (name, value) in vars {
        // A secret one when it is opened.
        if let EnvValue::Plain(text) = value {
            check_value(name, text).map_err(|error| format!("the variable {name}: {error}"))?;
        }
    }
    Ok(())
}
