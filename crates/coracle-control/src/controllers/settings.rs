//! Does what a change of the platform's settings asks for.
//!
//! Theory of operation: two things follow from the settings and are kept apart from them. The host name that every app has
//! is a claim of its own, so a change of the domain moves each app by one write: the new claim, the URL, and the end of
//! the old one. What another app has already stays with that, and the app keeps its old name. And engines are told with
//! what other registries' images are pulled; they keep that in memory, so a leader tells it once in its life and after each
//! change. It is told for each project, with the project's own password (`project` does that for new ones).
//!
//! What was done is known: later rounds look at nothing but the apps that were left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    done: Mutex<Done>,
}

type AppId = (ProjectName, AppName);

/// What this leader did.
#[derive(Clone, Debug, Default)]
struct Done {
    /// The revision of the settings of which engines were told.
    told: Option<u64>,
    moved: Option<Moved>,
}

/// Where apps were moved.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moved {
    revision: u64,
    domain: Hostname,
    /// How often all apps were looked at. An app that was being made while the domain was changed has a name under the
    /// old one, so all are looked at once more.
    rounds: u8,
    /// Apps that keep an old name, and why.
    left: BTreeMap<AppId, Left>,
}

/// All apps are looked at so often after a change.
const ROUNDS: u8 = 2;

/// Why an app keeps its old name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It was changed in the same moment: the next round moves it.
    Changed,
    /// Another app has the name.
    Taken,
}

impl Left {
    const fn why(self) -> &'static str {
        match self {
            Self::Changed => "it was changed meanwhile; it is tried again",
            Self::Taken => "another app has the name",
        }
    }
}

impl SettingsController {
    pub(super) fn new(scene: &Arc<Scene>) -> Self {
        Self {
            scene: Arc::clone(scene),
            done: Mutex::default(),
        }
    }

    /// Names that apps have by themselves, by app.
    async fn own_names(&self) -> Result<BTreeMap<AppId, Vec<Hostname>>, OperationError> {
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

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves all apps after a change, later those that were left.
    async fn move_apps(&self, revision: u64, domain: &Hostname) -> Result<(), OperationError> {
        let before = self.done().moved.clone();
        let before = before.filter(|moved| moved.revision == revision && moved.domain == *domain);
        let (rounds, left) =
            before.map_or_else(Default::default, |moved| (moved.rounds, moved.left));
        let all = rounds < ROUNDS;
        if !all && left.is_empty() {
            return Ok(());
        }
        let still = self.move_some(domain, &left, all).await?;
        self.done().moved = Some(Moved {
            revision,
            domain: domain.clone(),
            rounds: rounds.saturating_add(1).min(ROUNDS),
            left: still,
        });
        Ok(())
    }

    /// Moves `all` apps, or those that were `left`. Answers those that keep their old names.
    async fn move_some(
        &self,
        domain: &Hostname,
        left: &BTreeMap<AppId, Left>,
        all: bool,
    ) -> Result<BTreeMap<AppId, Left>, OperationError> {
        let control = &self.scene.control;
        let mut own = self.own_names().await?;
        let mut still = BTreeMap::new();
        for app in control.objects.list::<AppSpec>(keys::APPS).await? {
            let project = app.metadata.project.clone();
            let (Some(project), Ok(name), None) = (
                project,
                AppName::new(app.metadata.name.clone()),
                app.metadata.deleting,
            ) else {
                continue;
            };
            let id = (project, name);
            if !all && !left.contains_key(&id) {
                continue;
            }
            let had = own.remove(&id).unwrap_or_default();
            let (project, name) = &id;
            match self.move_app(app, project, name, domain, &had).await {
                Err(error) if error.is_race() => {
                    let why = self.why_left(&id, domain).await?;
                    // Once: it stays so until somebody does something about it.
                    if left.get(&id) != Some(&why) {
                        let why = why.why();
                        tracing::warn!(%project, app = %name, why, "an app keeps its host name for now");
                    }
                    still.insert(id, why);
                }
                other => other?,
            }
        }
        Ok(still)
    }

    async fn why_left(&self, app: &AppId, domain: &Hostname) -> Result<Left, OperationError> {
        let (project, name) = app;
        let Ok(host) = default_host(project, name, domain) else {
            return Ok(Left::Changed);
        };
        let objects = &self.scene.control.objects;
        let has = objects.get::<DomainSpec>(&keys::domain(&host)).await?;
        let others = has.is_some_and(|has| has.spec.project != *project || has.spec.app != *name);
        Ok(if others { Left::Taken } else { Left::Changed })
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
        self.move_apps(revision, &domain).await?;
        let told = self.done().told;
        if told != Some(revision) {
            self.tell_engine().await?;
            self.done().told = Some(revision);
        }
        Ok(Next::Rest)
    }
}
