//! What is done for a workload of which something cannot be done.

use std::time::Duration;

use coracle_engine::Engine as _;
use serde_json::json;

use crate::KubernetesEngine;
use crate::config::Patience;
use crate::simulated::workload::web;
use crate::simulated::{ApiServer, Fault, Release};

const LONG: Duration = Duration::from_secs(60);

async fn settled(what: &str, is_so: impl Fn() -> bool) {
    let look = async {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        while !is_so() {
            look.tick().await;
        }
    };
    let waited = tokio::time::timeout(LONG, look).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}

/// Once, whatever comes of it; and what else is to be done is done.
#[tokio::test]
async fn a_reminder_that_fails_holds_nothing_up() {
    let set = |generation| {
        format!("/apis/apps/v1/namespaces/coracle-default/deployments/web-g{generation}")
    };
    for refusal in [403, 404, 409, 422] {
        let server = ApiServer::start(Release::Current).await;
        let ready = json!({ "type": "Ready", "status": "True" });
        server.put(
            "/api/v1/nodes/n1",
            json!({ "status": { "conditions": [ready] } }),
        );
        let engine = KubernetesEngine::connect(server.config(Patience::default()));
        let engine = engine.await.unwrap();
        engine.apply(web("web", 1)).await.unwrap();
        let made = |generation| server.object(&set(generation));
        settled("the first is made", || made(1).is_some()).await;
        server.fault(
            "PATCH /api/v1/namespaces/coracle-default/pods/",
            Fault::Status(refusal),
        );
        let mut pod = json!({ "spec": { "nodeName": "n1", "containers": [] } });
        pod["metadata"] = made(1).unwrap()["spec"]["template"]["metadata"].clone();
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:10Z");
        server.put("/api/v1/namespaces/coracle-default/pods/web-g1-x", pod);
        let reminders = || {
            let asked = server.asked();
            let patches = asked.iter().filter(|line| line.starts_with("PATCH"));
            patches
                .filter(|line| line.contains("/pods/web-g1-x"))
                .count()
        };
        settled("the kubelet is reminded", || reminders() > 0).await;
        for generation in 2..5 {
            engine.apply(web("web", generation)).await.unwrap();
            settled("the next is made", || made(generation).is_some()).await;
        }
        assert_eq!(reminders(), 1, "{refusal}");
    }
}
