//! On a simulated API server, whose kubelets tell what they are given.

use coracle_model::name::{PodName, ProjectName};
use serde_json::{Value, json};

use super::*;
use crate::facts::{FACTS, PLATFORM, PROJECT};
use crate::simulated::{ApiServer, Fault, Release};

const LONG: Duration = Duration::from_secs(60);
const SUMMARY_A: &str = "/api/v1/nodes/a/proxy/stats/summary";
const SUMMARY_B: &str = "/api/v1/nodes/b/proxy/stats/summary";

struct Bed {
    server: ApiServer,
    core: Arc<Core>,
}

impl Bed {
    /// Nodes `a` and `b` are ready, `c` is not; `web-1` runs on `a`, `web-2` on `b`, `web-3` has ended.
    async fn new(release: Release) -> Self {
        let server = ApiServer::start(release).await;
        for (node, ready) in [("a", "True"), ("b", "True"), ("c", "False")] {
            let ready = json!({ "type": "Ready", "status": ready });
            let node = format!("/api/v1/nodes/{node}");
            server.put(&node, json!({ "status": { "conditions": [ready] } }));
        }
        for (pod, node, phase) in [
            ("web-1", "a", "Running"),
            ("web-2", "b", "Running"),
            ("web-3", "b", "Failed"),
        ] {
            server.put(
                &format!("/api/v1/namespaces/coracle-shop/pods/{pod}"),
                object(node, phase),
            );
        }
        let core = server.core().await;
        let seen = core.when(|state| {
            let all = state
                .groups
                .values()
                .map(|group| group.pods.len())
                .sum::<usize>();
            (state.is_synced() && all == 3 && state.nodes.len() == 3).then_some(())
        });
        tokio::time::timeout(LONG, seen).await.expect("all of it");
        Self { server, core }
    }

    async fn look(&self) -> Result<EngineUsage, EngineError> {
        tokio::time::timeout(LONG, usage(&self.core))
            .await
            .expect("an answer")
    }

    fn asked(&self, what: &str) -> usize {
        self.server
            .asked()
            .iter()
            .filter(|line| line.contains(what))
            .count()
    }
}

fn object(node: &str, phase: &str) -> Value {
    let facts = json!({
        "project": "shop", "workload": "web", "generation": 1, "kind": "replicated", "image": "i:1", "drain_ms": 0,
    });
    json!({
        "metadata": {
            "labels": { PLATFORM: "p1", PROJECT: "shop", MANAGED_BY: MANAGER },
            "annotations": { FACTS: facts.to_string() },
        },
        "spec": { "nodeName": node, "containers": [
            { "name": CONTAINER, "resources": { "limits": { "memory": "64Mi" } } },
        ]},
        "status": { "phase": phase, "containerStatuses": [{
            "name": CONTAINER, "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } },
            "ready": true, "restartCount": 0, "image": "", "imageID": "",
        }]},
    })
}

/// What a kubelet tells: its node and pods `namespace/name`, all measured at the same second.
fn summary(second: u32, pods: &[&str]) -> Value {
    let time = format!("2026-01-01T00:00:{second:02}Z");
    let cpu = json!({ "time": time, "usageNanoCores": 5_000_000, "usageCoreNanoSeconds": 1_000_000_000_u64 * u64::from(second) });
    let network =
        json!({ "time": time, "name": "eth0", "rxBytes": 1000 * second, "txBytes": 10 * second });
    let pod = |name: &&str| {
        let (namespace, name) = name.split_once('/').unwrap();
        json!({
            "podRef": { "name": name, "namespace": namespace, "uid": "u" },
            "containers": [
                { "name": "beside", "cpu": cpu, "memory": { "workingSetBytes": 1 } },
                { "name": CONTAINER, "cpu": cpu, "memory": { "time": time, "workingSetBytes": 5 << 20 } },
            ],
            "network": network,
        })
    };
    json!({
        "node": {
            "nodeName": "a", "cpu": cpu, "memory": { "workingSetBytes": 1_u64 << 30 },
            "network": network, "fs": { "usedBytes": 7_u64 << 30 },
        },
        "pods": pods.iter().map(pod).collect::<Vec<_>>(),
    })
}

fn id(name: &str) -> PodId {
    PodId {
        project: ProjectName::new("shop").unwrap(),
        name: PodName::new(name).unwrap(),
    }
}

fn total(second: u32, amount: u64) -> Total {
    let at = Duration::from_secs(u64::from(second))
        + Duration::from_secs(
            "2026-01-01T00:00:00Z"
                .parse::<DateTime<Utc>>()
                .unwrap()
                .timestamp()
                .unsigned_abs(),
        );
    Total { at, amount }
}

#[tokio::test]
async fn each_kubelet_is_asked_once_for_all_its_pods() {
    let bed = Bed::new(Release::Current).await;
    let strange = [
        "kube-system/dns",
        "coracle-shop/web-1",
        "coracle-shop/web-3",
        "other/web-2",
    ];
    bed.server.document(SUMMARY_A, summary(10, &strange));
    bed.server
        .document(SUMMARY_B, summary(20, &["coracle-shop/web-2"]));
    let usage = bed.look().await.unwrap();
    let expected = |second: u32| Reading {
        cpu: Some(Processor::Time(total(
            second,
            1_000_000_000 * u64::from(second),
        ))),
        memory_bytes: Some(5 << 20),
        memory_limit_bytes: Some(64 << 20),
        network_in: Some(total(second, 1000 * u64::from(second))),
        network_out: Some(total(second, 10 * u64::from(second))),
        disk_bytes: None,
    };
    assert_eq!(
        usage.pods,
        [(id("web-1"), expected(10)), (id("web-2"), expected(20))]
    );
    let names: Vec<&str> = usage.nodes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(usage.nodes[0].1.memory_bytes, Some(1 << 30));
    assert_eq!(usage.nodes[0].1.disk_bytes, Some(7 << 30));
    assert_eq!(bed.asked("/proxy/stats/summary"), 2);
    assert_eq!(bed.asked("nodes/c/proxy"), 0, "it is not ready");
    assert_eq!(bed.asked("metrics.k8s.io"), 0, "kubelets have told all");
}

#[tokio::test]
async fn the_metrics_api_fills_in_for_kubelets_that_may_not_be_asked() {
    let bed = Bed::new(Release::Current).await;
    bed.server
        .document(SUMMARY_A, summary(10, &["coracle-shop/web-1"]));
    bed.server.fault("nodes/b/proxy", Fault::Status(403));
    const API: &str = "/apis/metrics.k8s.io/v1beta1";
    let used = json!({ "cpu": "250m", "memory": "6Mi" });
    for pod in ["web-1", "web-2", "web-9"] {
        let path = format!("{API}/namespaces/coracle-shop/pods/{pod}");
        let labels = json!({ MANAGED_BY: MANAGER });
        let container = json!({ "name": CONTAINER, "usage": used });
        bed.server.put(
            &path,
            json!({ "metadata": { "labels": labels }, "containers": [container] }),
        );
    }
    for node in ["a", "b"] {
        bed.server
            .put(&format!("{API}/nodes/{node}"), json!({ "usage": used }));
    }
    let usage = bed.look().await.unwrap();
    let measured = |limit| Reading {
        cpu: Some(Processor::Cores(0.25)),
        memory_bytes: Some(6 << 20),
        memory_limit_bytes: limit,
        ..Reading::default()
    };
    let ids: Vec<&PodId> = usage.pods.iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [&id("web-1"), &id("web-2")]);
    assert_eq!(
        usage.pods[0].1.memory_bytes,
        Some(5 << 20),
        "its kubelet told"
    );
    assert_eq!(usage.pods[1].1, measured(Some(64 << 20)));
    assert_eq!(usage.nodes[1], ("b".to_owned(), measured(None)));
    assert_eq!(bed.asked("metrics.k8s.io/v1beta1/"), 2);
}

#[tokio::test]
async fn kubelets_that_refuse_are_left_alone_where_there_is_somebody_else_to_ask() {
    for (release, asked) in [(Release::Current, 0), (Release::Old, 2)] {
        let bed = Bed::new(release).await;
        bed.server.document(SUMMARY_A, summary(10, &[]));
        bed.server.document(SUMMARY_B, summary(10, &[]));
        let node = "/apis/metrics.k8s.io/v1beta1/nodes/a";
        let used = json!({ "cpu": "250m", "memory": "6Mi" });
        bed.server.put(node, json!({ "usage": used }));
        bed.core.kubelets.have_refused();
        let usage = bed.look().await.unwrap();
        assert!(!usage.nodes.is_empty());
        assert_eq!(bed.asked("/proxy/stats/summary"), asked, "{release:?}");
    }
}

#[tokio::test]
async fn one_kubelet_that_fails_keeps_no_other_from_telling() {
    let bed = Bed::new(Release::Old).await;
    bed.server
        .document(SUMMARY_A, summary(10, &["coracle-shop/web-1"]));
    for fault in [Fault::Status(500), Fault::Status(404), Fault::Silence] {
        bed.server.fault("nodes/b/proxy", fault);
        let usage = bed.look().await.unwrap();
        assert_eq!(usage.pods.len(), 1, "{fault:?}");
        assert_eq!(usage.nodes.len(), 1, "{fault:?}");
        bed.server.mend();
    }
}

#[tokio::test]
async fn when_nobody_tells_anything_it_is_said_why() {
    let bed = Bed::new(Release::Old).await;
    bed.server.fault("/proxy/stats/summary", Fault::Status(403));
    let error = bed.look().await.unwrap_err();
    assert!(matches!(error, EngineError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn what_a_kubelet_has_not_measured_yet_is_left_out() {
    let bed = Bed::new(Release::Old).await;
    let young = json!({ "podRef": { "name": "web-1", "namespace": "coracle-shop" }, "containers": [{ "name": CONTAINER }] });
    bed.server
        .document(SUMMARY_A, json!({ "node": {}, "pods": [young] }));
    let mut late = summary(10, &["coracle-shop/web-2"]);
    late["pods"][0]["containers"][1]["cpu"]["time"] = json!("no time");
    late["pods"][0].as_object_mut().unwrap().remove("network");
    bed.server.document(SUMMARY_B, late);
    let usage = bed.look().await.unwrap();
    let (_, reading) = &usage.pods[0];
    assert_eq!(usage.pods.len(), 1);
    assert_eq!(reading.cpu, Some(Processor::Cores(0.005)));
    assert_eq!((reading.network_in, reading.network_out), (None, None));
    assert_eq!(usage.nodes[0].1, Reading::default());
}
