//! What this cluster has, asked now and then: what an old one lacks is done without, never guessed from its version.
//!
//! Theory of operation: one asks, the others wait for what comes of it, and nobody asks again at once what was not answered.
//! Who knows something from before neither waits nor fails: it hardly ever changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_engine::EngineError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use tokio::time::Instant;

use crate::client::engine_error;
use crate::state::Core;

/// API groups and their versions.
pub(crate) type Groups = BTreeMap<String, Vec<String>>;

/// For so long what a cluster had is what it has: it may be upgraded, or get a metrics server, while we live.
const FRESH: Duration = Duration::from_mins(10);

/// After a request that failed, what was known before serves for so long.
const AGAIN: Duration = Duration::from_secs(10);

/// The API groups when they were asked for last.
#[derive(Default)]
pub(crate) struct Known {
    last: Mutex<Last>,
    /// Held by whoever asks.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Last {
    groups: Option<Arc<Groups>>,
    /// Until then nobody asks.
    until: Option<Instant>,
}

impl Known {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What counts just now, unless it is to be asked for.
    fn current(&self) -> Option<Result<Arc<Groups>, EngineError>> {
        let last = self.last();
        let counts = last.until.is_some_and(|until| Instant::now() < until);
        let away = || EngineError::Unavailable("it did not answer a moment ago".into());
        counts.then(|| last.groups.clone().ok_or_else(away))
    }

    fn before(&self) -> Option<Arc<Groups>> {
        self.last().groups.clone()
    }

    fn learn(&self, groups: &Arc<Groups>) {
        let mut last = self.last();
        last.groups = Some(Arc::clone(groups));
        last.until = Some(Instant::now() + FRESH);
    }

    fn pause(&self) {
        self.last().until = Some(Instant::now() + AGAIN);
    }
}

/// The API groups, asked for when they are needed and not more often than every [`FRESH`].
pub(crate) async fn groups(core: &Core) -> Result<Arc<Groups>, EngineError> {
    let known = &core.groups;
    if let Some(current) = known.current() {
        return current;
    }
    let before = known.before();
    let _turn = match (known.turn.try_lock(), &before) {
        (Ok(turn), _) => turn,
        (Err(_taken), Some(before)) => return Ok(Arc::clone(before)),
        (Err(_taken), None) => known.turn.lock().await,
    };
    if let Some(current) = known.current() {
        return current;
    }
    match (ask(core).await, before) {
        (Ok(groups), _) => {
            known.learn(&groups);
            Ok(groups)
        }
        (Err(error), Some(before)) => {
            known.pause();
            tracing::warn!(%error, "the cluster does not say what it has: what it had counts");
            Ok(before)
        }
        (Err(error), None) => {
            // What is refused costs little to ask again, and says why.
            if matches!(error, EngineError::Unavailable(_)) {
                known.pause();
            }
            Err(error)
        }
    }
}

async fn ask(core: &Core) -> Result<Arc<Groups>, EngineError> {
    let list = core.client.list_api_groups().await.map_err(engine_error)?;
    let versions = |group: &APIGroup| group.versions.iter().map(|v| v.version.clone()).collect();
    let groups = list.groups.iter();
    let groups: Groups = groups
        .map(|group| (group.name.clone(), versions(group)))
        .collect();
    Ok(Arc::new(groups))
}

/// The version of group `policy` that has disruption budgets.
pub(crate) async fn policy(core: &Core) -> Result<Option<&'static str>, EngineError> {
    let groups = groups(core).await?;
    let Some(versions) = groups.get("policy") else {
        return Ok(None);
    };
    let has = |version: &str| versions.iter().any(|v| v == version);
    Ok(["v1", "v1beta1"].into_iter().find(|version| has(version)))
}

/// Is there the metrics API?
pub(crate) async fn metrics(core: &Core) -> Result<bool, EngineError> {
    Ok(groups(core).await?.contains_key("metrics.k8s.io"))
}

/// Disruption budgets in the version that this cluster has.
pub(crate) fn budgets(core: &Core, namespace: &str, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("policy", version, "PodDisruptionBudget");
    let resource = ApiResource::from_gvk_with_plural(&kind, "poddisruptionbudgets");
    Api::namespaced_with(core.client.clone(), namespace, &resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Patience;
    use crate::simulated::{ApiServer, Fault, Release};

    async fn core(server: &ApiServer) -> Arc<Core> {
        let config = server.config(Patience {
            answer: Duration::from_millis(300),
            ..Patience::default()
        });
        let client = crate::client::client(&config).await.unwrap();
        Core::new(config, client)
    }

    fn asked(server: &ApiServer) -> usize {
        let asked = server.asked();
        asked.iter().filter(|line| *line == "GET /apis").count()
    }

    #[tokio::test]
    async fn nobody_waits_behind_the_silence_of_others() {
        let server = ApiServer::start(Release::Current).await;
        server.fault("GET /apis", Fault::Silence);
        let core = core(&server).await;
        let all = futures::future::join_all((0..4).map(|_| groups(&core))).await;
        for error in all {
            let error = error.unwrap_err();
            assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
        }
        assert_eq!(asked(&server), 1);
        server.mend();
        core.groups.last().until = None;
        assert!(metrics(&core).await.unwrap());
    }

    #[tokio::test]
    async fn what_was_known_counts_while_the_server_is_away() {
        let server = ApiServer::start(Release::Current).await;
        let core = core(&server).await;
        assert!(metrics(&core).await.unwrap());
        server.fault("GET /apis", Fault::Silence);
        core.groups.last().until = None;
        let all = futures::future::join_all((0..4).map(|_| groups(&core))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        assert!(metrics(&core).await.unwrap());
        assert_eq!(asked(&server), 2);
    }
}
