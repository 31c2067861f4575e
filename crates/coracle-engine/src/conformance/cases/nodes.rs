//! Laws 8 and 9: cordons, and where pods come to be.

use std::collections::BTreeSet;

use coracle_model::node::Scheduling;
use coracle_model::pod::PodPhase;
use coracle_model::workload::ObservedPod;

use crate::conformance::bench::{Bench, Given as _};
use crate::engine::Support;
use crate::error::EngineError;

/// The nodes that can run pods; nothing when others use them too.
async fn own_nodes(t: &Bench) -> Vec<String> {
    if t.world().owns_nodes() == Support::No {
        return Vec::new();
    }
    let nodes = t.engine().nodes().await.given("nodes");
    let names: Vec<String> = nodes
        .into_iter()
        .filter(|node| node.status.ready && node.status.taints.is_empty())
        .map(|node| node.metadata.name)
        .collect();
    assert!(!names.is_empty(), "a node is ready");
    names
}

async fn cordon(t: &Bench, nodes: &[String]) {
    for node in nodes {
        t.engine().cordon(node).await.given("cordon");
    }
    scheduled(t, nodes, Scheduling::Cordoned).await;
}

async fn uncordon(t: &Bench, nodes: &[String]) {
    for node in nodes {
        t.engine().uncordon(node).await.given("uncordon");
    }
    scheduled(t, nodes, Scheduling::Open).await;
}

/// Waits until the watch tells it of these nodes, and asks whether a look says the same.
async fn scheduled(t: &Bench, names: &[String], as_wished: Scheduling) {
    t.until("the watch tells whether they get new pods", |seen| {
        let told = |name: &String| seen.nodes.get(name).map(|node| node.spec.scheduling);
        names
            .iter()
            .all(|name| told(name) == Some(as_wished))
            .then_some(())
    })
    .await;
    for node in t.engine().nodes().await.given("nodes") {
        if names.contains(&node.metadata.name) {
            assert_eq!(
                node.spec.scheduling, as_wished,
                "{} by a look",
                node.metadata.name
            );
        }
    }
}

/// Waits until the only pod of a workload waits because of a cordon.
async fn held(t: &Bench, workload: &coracle_model::workload::Workload) -> ObservedPod {
    t.until("its pod waits and says that nodes are cordoned", |seen| {
        let pod = seen.all_in(&workload.id, 1, PodPhase::Pending)?.pop()?;
        let reason = pod.status.reason.as_ref()?;
        (reason.contains("cordoned") && reason.contains("coracle nodes uncordon")).then_some(pod)
    })
    .await
}

/// With all nodes cordoned a new pod waits and says why; it comes up by itself afterwards.
pub async fn a_cordoned_node_gets_no_new_pods(t: &Bench) {
    let nodes = own_nodes(t).await;
    if nodes.is_empty() {
        return;
    }
    cordon(t, &nodes).await;
    let web = t.serving("web", 1);
    t.apply(&web).await;
    let pod = held(t, &web).await;
    assert_eq!(pod.status.address, None, "it has nothing of a node yet");
    assert_eq!(pod.status.node, None, "it is nowhere yet");
    // And not when it is wished again either.
    t.apply(&web).await;
    held(t, &web).await;
    uncordon(t, &nodes).await;
    t.ready(&web).await;
}

/// Nothing of what runs is touched, and what crashes is started again where it is. What is lost is not replaced.
pub async fn the_pods_of_a_cordoned_node_stay(t: &Bench) {
    let nodes = own_nodes(t).await;
    if nodes.is_empty() {
        return;
    }
    let web = t.serving("web", 1);
    let before = t.running(&web).await.remove(0);
    cordon(t, &nodes).await;
    t.world().kill(&before.id).await;
    let after = t
        .until("it was started again in place", |seen| {
            let pod = seen.all_in(&web.id, 1, PodPhase::Ready)?.pop()?;
            (pod.status.restarts > before.status.restarts).then_some(pod)
        })
        .await;
    assert_eq!(after.id, before.id);
    assert_eq!(after.status.node, before.status.node);
    t.world().vanish(&before.id).await;
    let waiting = held(t, &web).await;
    assert_ne!(waiting.id, before.id);
    uncordon(t, &nodes).await;
    t.ready(&web).await;
}

/// Twice is as good as once, and a new engine knows of it.
pub async fn a_cordon_is_idempotent_and_outlives_the_engine(t: &Bench) {
    let nodes = own_nodes(t).await;
    if nodes.is_empty() {
        return;
    }
    uncordon(t, &nodes).await;
    let web = t.serving("web", 1);
    let before = t.running(&web).await.remove(0);
    cordon(t, &nodes).await;
    cordon(t, &nodes).await;
    t.begin_anew().await;
    scheduled(t, &nodes, Scheduling::Cordoned).await;
    let late = t.serving("late", 1);
    t.apply(&late).await;
    t.apply(&web).await;
    held(t, &late).await;
    let after = t.ready(&web).await.remove(0);
    assert_eq!(after.id, before.id);
    assert_eq!(after.status.started, before.status.started);
    uncordon(t, &nodes).await;
    uncordon(t, &nodes).await;
    t.ready(&late).await;
    t.begin_anew().await;
    scheduled(t, &nodes, Scheduling::Open).await;
}

/// A node that nobody knows is named.
pub async fn an_unknown_node_cannot_be_cordoned(t: &Bench) {
    const NOBODY: &str = "nobody-has-this-node";
    let engine = t.engine();
    for result in [engine.cordon(NOBODY).await, engine.uncordon(NOBODY).await] {
        match result {
            Err(EngineError::NoSuchNode(name)) => assert_eq!(name, NOBODY),
            other => panic!("{other:?}"),
        }
    }
}

/// Where there are several nodes, no node has all replicas.
pub async fn replicas_are_spread(t: &Bench) {
    let nodes = own_nodes(t).await;
    let Ok(count) = u32::try_from(nodes.len()) else {
        return;
    };
    if count < 2 {
        return;
    }
    let pods = t.running(&t.serving("web", count)).await;
    let on: BTreeSet<_> = pods.iter().map(|pod| pod.status.node.clone()).collect();
    assert!(on.len() > 1, "{count} replicas, all on {on:?}");
}

/// Where there are several nodes, a pod that is deleted on a cordoned one is replaced on another.
pub async fn a_pod_deleted_on_a_cordoned_node_comes_up_elsewhere(t: &Bench) {
    let nodes = own_nodes(t).await;
    if nodes.len() < 2 {
        return;
    }
    let web = t.serving("web", 2);
    let pods = t.running(&web).await;
    let node = pods[0].status.node.clone().given("a node");
    cordon(t, std::slice::from_ref(&node)).await;
    for pod in pods
        .iter()
        .filter(|pod| pod.status.node.as_ref() == Some(&node))
    {
        t.engine().delete_pod(&pod.id).await.given("delete_pod");
    }
    t.until("all of them are ready elsewhere", |seen| {
        let pods = seen.all_in(&web.id, 2, PodPhase::Ready)?;
        pods.iter()
            .all(|pod| pod.status.node.as_ref() != Some(&node))
            .then_some(())
    })
    .await;
    uncordon(t, &[node]).await;
}
