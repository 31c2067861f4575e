//! Namespaces that somebody else deletes or takes over while we remember them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coracle_engine::Engine as _;
use serde_json::json;

use super::*;
use crate::KubernetesEngine;
use crate::config::Patience;
use crate::simulated::{ApiServer, Release};

const LONG: Duration = Duration::from_secs(60);
const SPACE: &str = "/api/v1/namespaces/coracle-shop";

struct Bed {
    server: ApiServer,
    core: Arc<Core>,
    shop: ProjectName,
}

impl Bed {
    async fn new() -> Self {
        let server = ApiServer::start(Release::Current).await;
        let core = server.core().await;
        let bed = Self {
            server,
            core,
            shop: ProjectName::new("shop").unwrap(),
        };
        bed.settled("the watch on namespaces runs", |bed| {
            bed.server
                .asked()
                .iter()
                .any(|line| line.contains("v1/namespaces?") && line.contains("watch=true"))
        })
        .await;
        bed
    }

    async fn settled(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let look = async {
            let mut look = tokio::time::interval(Duration::from_millis(10));
            while !is_so(self) {
                look.tick().await;
            }
        };
        let waited = tokio::time::timeout(LONG, look).await;
        assert!(waited.is_ok(), "waited in vain until {what}");
    }

    fn remembered(&self) -> usize {
        self.core.projects.known().len()
    }
}

#[tokio::test]
async fn a_namespace_that_somebody_deletes_is_forgotten_and_made_again() {
    let bed = Bed::new().await;
    ensure(&bed.core, &bed.shop).await.unwrap();
    assert_eq!(bed.remembered(), 1);
    bed.server.delete(SPACE);
    bed.settled("nothing is remembered of it", |bed| bed.remembered() == 0)
        .await;
    ensure(&bed.core, &bed.shop).await.unwrap();
    let policy = "/apis/networking.k8s.io/v1/namespaces/coracle-shop/networkpolicies";
    let policy = format!("{policy}/{NETWORK_POLICY}");
    assert!(bed.server.object(SPACE).is_some() && bed.server.object(&policy).is_some());
}

/// Nothing is put into a namespace that is not ours any more, though it was when we looked.
#[tokio::test]
async fn a_namespace_that_lost_our_label_is_somebody_elses() {
    let bed = Bed::new().await;
    ensure(&bed.core, &bed.shop).await.unwrap();
    bed.server.delete(SPACE);
    bed.server.put(
        SPACE,
        json!({ "metadata": { "labels": { "team": "other" } } }),
    );
    bed.settled("nothing is remembered of it", |bed| bed.remembered() == 0)
        .await;
    let refused = ensure(&bed.core, &bed.shop).await;
    assert!(
        matches!(refused, Err(EngineError::Foreign(_))),
        "{refused:?}"
    );
}

/// Projects that come and go leave nothing behind in memory, removed by us or asked for in vain.
#[tokio::test]
async fn projects_that_are_gone_take_no_memory() {
    let bed = Bed::new().await;
    for number in 0..20 {
        let project = ProjectName::new(format!("p{number}")).unwrap();
        ensure(&bed.core, &project).await.unwrap();
        let remove = remove(&bed.core, &project);
        tokio::time::timeout(LONG, remove).await.unwrap().unwrap();
        sweep(&bed.core, &project).await.unwrap();
    }
    bed.settled("nothing is remembered", |bed| bed.remembered() == 0)
        .await;
    assert!(bed.core.projects.pulls().is_empty());
}

/// A watch that missed the end of one reads it off the next list.
#[test]
fn what_a_list_does_not_name_is_forgotten() {
    let projects = Projects::default();
    let name = |name: &str| ProjectName::new(name).unwrap();
    for project in ["a", "b"] {
        let mut all = projects.known();
        all.entry(name(project)).or_default().made = true;
    }
    projects.keep(&BTreeSet::from([name("b")]));
    let left: Vec<ProjectName> = projects.known().keys().cloned().collect();
    assert_eq!(left, [name("b")]);
}

/// The engine of the current API groups makes what it makes by them, and by none that is gone.
#[tokio::test]
async fn what_a_cluster_has_decides_by_which_groups_it_is_asked() {
    for (release, version) in [
        (Release::Old, "policy/v1beta1"),
        (Release::Current, "policy/v1"),
    ] {
        let server = ApiServer::start(release).await;
        let engine = KubernetesEngine::connect(server.config(Patience::default())).await;
        let engine = engine.unwrap();
        engine
            .ensure_project(&ProjectName::new("shop").unwrap())
            .await
            .unwrap();
        let asked = server.asked();
        let budgets: Vec<_> = asked
            .iter()
            .filter(|line| line.contains("poddisruptionbudgets"))
            .collect();
        assert!(!budgets.is_empty(), "what a former life left is looked for");
        let path = format!("/apis/{version}/");
        assert!(
            budgets.iter().all(|line| line.contains(&path)),
            "{budgets:?}"
        );
    }
}
