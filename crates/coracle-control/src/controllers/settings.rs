//! Does what a change of the platform's settings asks for.
//!
//! Theory of operation: two things follow from the settings and are kept apart from them. The host name that every app has
//! is a claim of its own, so a change of the domain moves each app by one write: the new claim, the URL, and the end of
//! the old one. What another app has already stays with that, and the app keeps its old name. And engines are told with
//! what other registries' images are pulled; they keep that in memory, so a leader tells it once in its life and after each
//! change. It is told for each project, with the project's own password (`project` does that for new ones).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use coracle_model::app::{App, AppSpec};
use coracle_model::domain::{Claim, DomainSpec};
use coracle_model::name::{AppName, Hostname, ProjectName};
use coracle_model::project::ProjectSpec;
use coracle_model::settings::SettingsSpec;
use coracle_store::Expected;

use crate::controllers::change::Change;
use crate::controllers::key::Everything;
use crate::controllers::runner::{Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::domain::claim;
use crate::error::OperationError;
use crate::keys;
use crate::objects::Batch;
use crate::settings::default_host;

/// Moves apps to the domain, and tells engines how to pull.
pub struct SettingsController {
    scene: Arc<Scene>,
    /// The revision of the settings that was done.
    done: Mutex<Option<u64>>,
}

impl SettingsController {
    pub(super) fn new(scene: &Arc<Scene>) -> Self {
        Self {
            scene: Arc::clone(scene),
            done: Mutex::default(),
        }
    }

    /// Names that apps have by themselves, by app.
    async fn own_names(
        &self,
    ) -> Result<BTreeMap<(ProjectName, AppName), Vec<Hostname>>, OperationError> {
        let objects = &self.scene.control.objects;
        let mut own: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for domain in objects.list::<DomainSpec>(keys::DOMAINS).await? {
            if domain.spec.claim == Claim::Default
                && let Ok(host) = Hostname::new(domain.metadata.name)
            {
                let app = (domain.spec.project, domain.spec.app);
                own.entry(app).or_default().push(host);
            }
        }
        Ok(own)
    }

    async fn move_apps(&self, domain: &Hostname) -> Result<(), OperationError> {
        let control = &self.scene.control;
        let mut own = self.own_names().await?;
        for app in control.objects.list::<AppSpec>(keys::APPS).await? {
            let project = app.metadata.project.clone();
            let (Some(project), Ok(name), None) = (
                project,
                AppName::new(app.metadata.name.clone()),
                app.metadata.deleting,
            ) else {
                continue;
            };
            let had = own
                .remove(&(project.clone(), name.clone()))
                .unwrap_or_default();
            match self.move_app(app, &project, &name, domain, &had).await {
                Err(error) if error.is_race() => {
                    let why = "it was changed meanwhile, or another app has the name";
                    tracing::warn!(%project, app = %name, why, "an app keeps its host name for now");
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn move_app(
        &self,
        mut app: App,
        project: &ProjectName,
        name: &AppName,
        domain: &Hostname,
        had: &[Hostname],
    ) -> Result<(), OperationError> {
        let control = &self.scene.control;
        let host = match default_host(project, name, domain) {
            Ok(host) => host,
            Err(error) => {
                tracing::warn!(%project, app = %name, %error, "an app keeps its host name");
                return Ok(());
            }
        };
        let url = control.settings.url(&host);
        let is_own = had.contains(&host) || app.spec.domains.contains(&host);
        if is_own && had.len() <= 1 && app.status.url.as_ref() == Some(&url) {
            return Ok(());
        }
        app.status.url = Some(url);
        let mut batch =
            Batch::new().update(keys::app(project, name), app.metadata.revision, &app)?;
        if !is_own {
            let claim = claim(project, name, &host, Claim::Default);
            batch = batch.create(keys::domain(&host), &claim)?;
        }
        for old in had.iter().filter(|old| **old != host) {
            batch = batch.delete(keys::domain(old), Expected::Any);
        }
        control.objects.write(batch).await.map(drop)
    }

    async fn tell_engine(&self) -> Result<(), OperationError> {
        let control = &self.scene.control;
        for project in control.objects.list::<ProjectSpec>(keys::PROJECTS).await? {
            if project.metadata.deleting.is_some() {
                continue;
            }
            let name = ProjectName::new(project.metadata.name)?;
            let pull = control.pull_credentials(&name).await?;
            control.engine.set_pull_credentials(&name, &pull).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Reconciler for SettingsController {
    type Key = Everything;
    const NAME: &'static str = "settings";
    const AT_ONCE: usize = 1;

    async fn keys(&self) -> Result<Vec<Everything>, OperationError> {
        Ok(vec![Everything])
    }

    fn concerns(&self, change: &Change<'_>) -> Option<Everything> {
        matches!(change, Change::Stored(key) if *key == keys::SETTINGS).then_some(Everything)
    }

    async fn reconcile(&self, _: &Everything) -> Result<Next, OperationError> {
        let control = &self.scene.control;
        let stored = control.objects.get::<SettingsSpec>(keys::SETTINGS).await?;
        let revision = stored.as_ref().map_or(0, |stored| stored.metadata.revision);
        let set = stored.and_then(|stored| stored.spec.domain);
        let domain = set.unwrap_or_else(|| control.settings.domain.clone());
        if revision == 0 {
            // Nothing was ever set: apps have had their names since they were made, and projects are told their own
            // passwords when they are first seen.
            return Ok(Next::Rest);
        }
        self.move_apps(&domain).await?;
        let done = *self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.is_none_or(|done| done != revision) {
            self.tell_engine().await?;
            *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(revision);
        }
        Ok(Next::Rest)
    }
}
