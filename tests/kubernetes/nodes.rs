//! Nodes that are cordoned, drained, and lost, while users ask.

use std::collections::BTreeMap;

use coracle_e2e::{Cluster, LONG, Load, Machine, ONE_POD, Source, VERY_LONG, until, until_ok};
use serde_json::Value;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Pods that are ready, by their node.
async fn ready(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for pod in cluster.pods().await {
        if pod["status"]["phase"] == "ready" {
            let node = text(&pod["status"]["node"]).to_owned();
            *counts.entry(node).or_default() += 1;
        }
    }
    counts
}

/// A node that is no other's (the first is the machine itself), with a platform whose app has pods on all.
async fn spread() -> (Cluster, Vec<String>) {
    let cluster = Cluster::start().await;
    let image = cluster.push(&Source::page("hello"), "shop", "1");
    cluster.deploy("shop", &image).await.ok();
    let nodes = cluster.kubectl().nodes();
    assert!(nodes.len() > 1, "one node is not enough: {nodes:?}");
    let line = format!("web={}", nodes.len());
    cluster.run(&["scale", "shop", &line]).await.ok();
    cluster.settled().await;
    assert_eq!(ready(&cluster).await.len(), nodes.len());
    (cluster, nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_cordoned_and_drained_under_load() {
    let (cluster, nodes) = spread().await;
    let (node, host) = (nodes.last().unwrap(), cluster.host("shop"));
    // Whatever comes of it, others need the node.
    let _open = Opened(&cluster, node);
    let load = Load::start(cluster.http(), &host, "/", ONE_POD - 3, 100);
    let slow = Load::start(cluster.http(), &host, "/cgi-bin/slow?0.7", 3, 3);
    load.more(50).await;

    cluster.run(&["nodes", "cordon", node]).await.ok();
    let line = format!("web={}", nodes.len() + 3);
    cluster.run(&["scale", "shop", &line]).await.ok();
    cluster.settled().await;
    let counts = ready(&cluster).await;
    assert_eq!(counts.get(node), Some(&1), "what it has, stays: {counts:?}");
    cluster.run(&["nodes", "uncordon", node]).await.ok();
    let line = format!("web={}", nodes.len());
    cluster.run(&["scale", "shop", &line]).await.ok();
    cluster.settled().await;

    let drained = cluster
        .run(&["nodes", "drain", node, "--output", "json"])
        .await;
    let shown: Value = serde_json::from_str(drained.ok()).unwrap();
    assert_eq!(shown["status"]["drain"]["phase"], "drained", "{shown}");
    assert_eq!(shown["status"]["drain"]["left"], 0, "{shown}");
    eprintln!(
        "drained in {} ms; progress:\n{}",
        drained.took.as_millis(),
        drained.stderr
    );
    assert!(drained.stderr.contains("shop"), "no progress: {drained}");
    cluster.settled().await;
    let counts = ready(&cluster).await;
    assert_eq!(counts.get(node), None, "{counts:?}");
    assert_eq!(counts.values().sum::<usize>(), nodes.len(), "{counts:?}");
    let listed = cluster.run(&["nodes"]).await;
    assert!(listed.ok().contains("drained"), "{listed}");

    cluster.run(&["nodes", "uncordon", node]).await.ok();
    assert_eq!(cluster.kubectl().nodes(), nodes);
    load.more(50).await;
    let (tally, slow) = (load.stop().await, slow.stop().await);
    tally.nothing_failed("cordon, scaling, drain, uncordon");
    slow.nothing_failed("the same, for slow requests");
}

struct Opened<'a>(&'a Cluster, &'a str);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        drop(self.0.kubectl().try_run(&["uncordon", self.1]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_lost_and_comes_back() {
    let (cluster, nodes) = spread().await;
    let (node, host) = (nodes.last().unwrap(), cluster.host("shop"));
    let Some(machine) = Machine::of(&cluster, node) else {
        assert!(
            std::env::var_os("CORACLE_TEST_CLUSTER").is_none(),
            "the cluster for tests has nodes that can be stopped"
        );
        eprintln!("skipped: no node of this cluster can be stopped from here");
        return;
    };
    let load = Load::start(cluster.http(), &host, "/", ONE_POD, 50);
    load.more(50).await;

    machine.stop();
    let asked = Load::start(cluster.http(), &host, "/", 5, 10);
    asked.more(20).await;
    let noticed = until("the platform to tell of it", VERY_LONG, || async {
        let nodes = cluster.api().await.list("/nodes").await.unwrap();
        let mut lost = nodes.iter().filter(|n| n["metadata"]["name"] == **node);
        lost.any(|node| node["status"]["ready"] == false)
    })
    .await;
    let (_, replaced) = until_ok("its pods to be replaced", VERY_LONG, || async {
        let counts = ready(&cluster).await;
        let there = counts.iter().filter(|(name, _)| *name != node);
        if there.map(|(_, count)| count).sum::<usize>() == nodes.len() {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    })
    .await;
    eprintln!(
        "a lost node was told of after {} ms, its pod replaced {} ms later",
        noticed.as_millis(),
        replaced.as_millis()
    );
    let (tally, asked) = (load.stop().await, asked.stop().await);
    for (what, tally) in [("before and after", &tally), ("from the loss on", &asked)] {
        eprintln!(
            "{what}: {} requests, {} failed, the slowest {} ms: {:#?}",
            tally.ok + tally.failed,
            tally.failed,
            tally.slowest.as_millis(),
            tally.failures
        );
    }
    // What was under way to the lost machine has no answer; those who come later get theirs.
    assert!(
        tally.failed <= u64::from(ONE_POD),
        "more than one per connection"
    );
    let load = Load::start(cluster.http(), &host, "/", ONE_POD, 100);
    load.more(200).await;
    load.stop().await.nothing_failed("after the replacement");

    machine.start();
    until("the node to be back", VERY_LONG, || async {
        cluster.kubectl().nodes() == nodes
    })
    .await;
    cluster.settled().await;
    // And it takes pods again.
    let line = format!("web={}", nodes.len() * 2);
    cluster.run(&["scale", "shop", &line]).await.ok();
    cluster.settled().await;
    until("pods on the node that came back", LONG, || async {
        ready(&cluster).await.contains_key(node)
    })
    .await;
    load_is_clean(&cluster, &host).await;
}

async fn load_is_clean(cluster: &Cluster, host: &str) {
    let load = Load::start(cluster.http(), host, "/", ONE_POD, 100);
    load.more(100).await;
    load.stop().await.nothing_failed("with all nodes again");
}
