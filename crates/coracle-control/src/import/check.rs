//! Records that no platform could have written are refused: what is in them goes into the store as it is.

use std::collections::BTreeSet;

use coracle_model::env::{EnvChange, EnvValue, EnvVars};
use coracle_model::name::shown;
use coracle_model::release::Release;

use crate::archive::{AppRecord, Archive, refused};
use crate::error::OperationError;
use crate::project;

impl Archive {
    /// Fails for the first record that cannot be.
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
            project::check(&record.spec())
                .map_err(|error| refused(format!("project {name}: {error}")))?;
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
            check_app(app, &self.header.registry_host).map_err(wrong)?;
        }
        Ok(())
    }
}

/// The most that releases and builds of one app were counted to: no counter comes to its end here.
const MOST_COUNTED: u32 = 1_000_000_000;

/// `registry` is the registry there.
fn check_app(app: &AppRecord, registry: &str) -> Result<(), String> {
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
        let images = std::iter::once(&release.spec.image)
            .chain(release.status.image.as_ref().map(|image| &image.reference));
        images
            .filter_map(|image| image.as_str().strip_prefix(registry)?.strip_prefix('/'))
            .try_for_each(|repository| check_repository(app, repository))
            .and_then(|()| check_release(app, release))
            .map_err(|what| format!("release {number}: {what}"))?;
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
    let (most, bytes) = (EnvChange::VARIABLES, EnvChange::VALUE_BYTES);
    if vars.len() > most {
        return Err(format!("it has more than {most} variables"));
    }
    for (name, value) in vars {
        if let EnvValue::Plain(text) = value
            && (text.len() > bytes || text.contains('\0'))
        {
            return Err(format!(
                "the value of {name} has more than {bytes} bytes or a zero byte"
            ));
        }
    }
    Ok(())
}
