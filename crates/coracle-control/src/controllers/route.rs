//! Routes: publishes where each host goes, as `plan::routes` says.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use coracle_model::app::{App, AppSpec};
use coracle_model::domain::DomainSpec;
use coracle_model::name::{AppName, ProjectName};
use coracle_model::plan::{Knowledge, routes};
use coracle_model::release::{Release, ReleaseSpec};
use coracle_model::workload::ObservedPod;

use crate::controllers::change::Change;
use crate::controllers::drain::SharedLedger;
use crate::controllers::key::Everything;
use crate::controllers::runner::{Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::error::OperationError;
use crate::keys;
use crate::observed::Observed;

/// Publishes the route table.
pub struct RouteController {
    scene: Arc<Scene>,
    ledger: SharedLedger,
}

impl RouteController {
    pub(super) fn new(scene: &Arc<Scene>, ledger: SharedLedger) -> Self {
        Self {
            scene: Arc::clone(scene),
            ledger,
        }
    }
}

struct Read {
    app: App,
    releases: Vec<Release>,
    pods: Vec<Arc<ObservedPod>>,
}

#[async_trait]
impl Reconciler for RouteController {
    type Key = Everything;
    const NAME: &'static str = "route";
    const AT_ONCE: usize = 1;

    async fn keys(&self) -> Result<Vec<Everything>, OperationError> {
        Ok(vec![Everything])
    }

    fn concerns(&self, change: &Change<'_>) -> Option<Everything> {
        let prefixes = [keys::APPS, keys::RELEASES, keys::DOMAINS];
        let web = |change: &Change<'_>| match change {
            Change::Pod(_, Some(owner)) => owner
                .process
                .as_ref()
                .is_some_and(|process| process.is_web()),
            Change::Pod(_, None) => true,
            change => prefixes.iter().any(|prefix| change.is_stored_under(prefix)),
        };
        web(change).then_some(Everything)
    }

    async fn reconcile(&self, _: &Everything) -> Result<Next, OperationError> {
        // Gateways keep their last table until everything is known: a table without pods that just were not
        // told yet would take apps down.
        // Pods are read first: should a release take over just then, the pods of the one before are still seen.
        let (all, knowledge) = self.scene.look(Observed::pods);
        if knowledge == Knowledge::Partial {
            return Ok(self
                .scene
                .look_again(knowledge)
                .map_or(Next::Rest, Next::After));
        }
        let control = &self.scene.control;
        // Before anything of the store is read: the table tells at least what it had then.
        let revision = control.objects.store().revision().await?;
        let mut pods: BTreeMap<(ProjectName, AppName), Vec<Arc<ObservedPod>>> = BTreeMap::new();
        for pod in all {
            if let Some(app) = &pod.owner.app {
                pods.entry((pod.id.project.clone(), app.clone()))
                    .or_default()
                    .push(pod);
            }
        }
        let domains = control.objects.list::<DomainSpec>(keys::DOMAINS).await?;
        let mut releases: BTreeMap<(ProjectName, AppName), Vec<Release>> = BTreeMap::new();
        for release in control.objects.list::<ReleaseSpec>(keys::RELEASES).await? {
            if let Some(project) = release.metadata.project.clone() {
                releases
                    .entry((project, release.spec.app.clone()))
                    .or_default()
                    .push(release);
            }
        }
        let mut read = BTreeMap::new();
        for app in control.objects.list::<AppSpec>(keys::APPS).await? {
            let (Some(project), Ok(name)) = (
                app.metadata.project.clone(),
                AppName::new(app.metadata.name.clone()),
            ) else {
                continue;
            };
            let key = (project, name);
            let releases = releases.remove(&key).unwrap_or_default();
            let pods = pods.remove(&key).unwrap_or_default();
            read.insert(
                key,
                Read {
                    app,
                    releases,
                    pods,
                },
            );
        }
        let seen: BTreeMap<_, Vec<&ObservedPod>> = read
            .iter()
            .map(|(key, read)| (key, read.pods.iter().map(AsRef::as_ref).collect()))
            .collect();
        let facts = read
            .iter()
            .map(|(key, read)| {
                let facts = routes::AppFacts {
                    app: &read.app,
                    releases: &read.releases,
                    pods: seen.get(key).map_or(&[], Vec::as_slice),
                };
                (key.clone(), facts)
            })
            .collect();
        control
            .feed
            .publish(routes::plan(&domains, &facts, &self.scene.policy))
            .await?;
        if let Some(table) = control.feed.subscribe().borrow().as_ref() {
            self.ledger.note(table);
        }
        control.feed.tells(revision);
        Ok(Next::Rest)
    }
}
