//! Nodes: looked at, cordoned, drained.

use coracle_control::controllers::{Controllers, Options as Work};
use coracle_model::user::{ProjectScope, Role};
use serde_json::{Value, json};

use crate::support::{As, IMAGE, Options, Platform, soon};

const A: &str = "node-a";

async fn with_nodes(nodes: u8) -> (Platform, Controllers, As) {
    let platform = Platform::with(Options {
        nodes,
        ..Options::default()
    })
    .await;
    let controllers = Controllers::start(
        platform.control.clone(),
        Work::default(),
        &platform.supervisor,
    );
    let admin = platform.admin().await;
    (platform, controllers, admin)
}

/// Makes a bare pod and waits until it is ready; answers where.
async fn a_box(platform: &Platform, admin: &As) -> String {
    let spec = json!({"image": IMAGE, "command": ["sleep", "1000"]});
    let new = json!({"metadata": {"name": "box"}, "spec": spec});
    admin.post("projects/default/pods", &new).await.ok(201);
    let observed = &platform.control.observed;
    let mut changes = observed.subscribe();
    soon("the pod is ready", async {
        loop {
            let pod = observed.pods().pop();
            if let Some(pod) = pod.filter(|pod| pod.status.phase.can_serve()) {
                return pod.status.node.clone().unwrap();
            }
            changes.changed().await.unwrap();
        }
    })
    .await
}

/// Waits until the stream of events tells that a node is so.
async fn told(admin: &As, name: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut stream = admin.stream("events?kinds=Node").await;
    soon("the events tell of it", async {
        loop {
            let sent = stream.event().await.expect("the stream goes on");
            if sent.data["metadata"]["name"] == name && is(&sent.data) {
                return sent.data;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_node_is_cordoned_and_uncordoned() {
    let (_platform, _controllers, admin) = with_nodes(2).await;
    let before = admin.get("nodes/node-a").await.ok(200);
    assert_eq!(before["spec"], json!({"scheduling": "open"}));
    let cordoned = admin.post("nodes/node-a/cordon", &json!({})).await.ok(202);
    assert_eq!(cordoned["spec"]["scheduling"], "cordoned");
    let is_made_so = |node: &Value| {
        node["spec"]["scheduling"] == "cordoned" && node["metadata"]["revision"] == 0
    };
    told(&admin, A, is_made_so).await;
    admin.post("nodes/node-a/cordon", &json!({})).await.ok(202);
    let list = admin.get("nodes").await.ok(200);
    assert_eq!(list["items"][0]["spec"]["scheduling"], "cordoned");
    assert_eq!(list["items"][1]["spec"]["scheduling"], "open");
    admin
        .post("nodes/node-a/uncordon", &json!({}))
        .await
        .ok(202);
    told(&admin, A, |node| node["spec"]["scheduling"] == "open").await;
    let log = admin.get("activity").await.ok(200);
    let actions: Vec<&str> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["spec"]["kind"] == "Node")
        .map(|event| event["spec"]["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["node.uncordoned", "node.cordoned"], "each once");
    assert_eq!(log["items"][0]["spec"]["actor"], "root");
}

#[tokio::test]
async fn a_node_is_drained_and_tells_how_far_it_is() {
    let (platform, _controllers, admin) = with_nodes(2).await;
    let pods = &platform.control.observed;
    let ready = |not_on: Option<&str>| {
        pods.pods()
            .into_iter()
            .find(|pod| pod.status.phase.can_serve() && pod.status.node.as_deref() != not_on)
    };
    let first = a_box(&platform, &admin).await;
    let on = first;
    let begun = admin
        .post(&format!("nodes/{on}/drain"), &json!({}))
        .await
        .ok(202);
    assert_eq!(begun["spec"]["drain"]["mode"], "gentle");
    assert!(begun["status"]["drain"]["phase"].is_string(), "{begun}");
    let drained = told(&admin, &on, |node| {
        node["status"]["drain"]["phase"] == "drained"
    })
    .await;
    assert_eq!(drained["status"]["drain"]["left"], 0);
    assert_eq!(drained["spec"]["scheduling"], "cordoned");
    let mut changes = pods.subscribe();
    soon("it is ready elsewhere", async {
        while ready(Some(&on)).is_none() {
            changes.changed().await.unwrap();
        }
    })
    .await;
    let path = format!("nodes/{on}/drain");
    let cancelled = admin.delete(&path).await.ok(202);
    assert_eq!(cancelled["status"].get("drain"), None);
    assert_eq!(cancelled["spec"], json!({"scheduling": "cordoned"}));
    let problem = admin.delete(&path).await.problem(409, "conflict");
    assert_eq!(problem["detail"], format!("node {on} is not being drained"));
}

#[tokio::test]
async fn what_cannot_be_is_said_and_changes_nothing() {
    let (platform, _controllers, admin) = with_nodes(1).await;
    a_box(&platform, &admin).await;
    let problem = admin
        .post("nodes/node-a/drain", &json!({}))
        .await
        .problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("default/box"));
    assert!(problem["hint"].as_str().unwrap().contains("--force"));
    for (body, field) in [
        (json!({"mode": "now"}), "mode"),
        (json!({"force": true}), "force"),
    ] {
        let refused = admin.post("nodes/node-a/drain", &body).await;
        let code = if field == "mode" {
            "invalid_field"
        } else {
            "unknown_field"
        };
        refused.about(422, code, field);
    }
    for verb in ["cordon", "uncordon", "drain"] {
        admin
            .post(&format!("nodes/nobody/{verb}"), &json!({}))
            .await
            .problem(404, "not_found");
    }
    admin
        .delete("nodes/nobody/drain")
        .await
        .problem(404, "not_found");
    let node = admin.get("nodes/node-a").await.ok(200);
    assert_eq!(node["spec"], json!({"scheduling": "open"}));
    let viewer = platform
        .user("ann", Role::Developer, ProjectScope::All)
        .await;
    viewer.get("nodes/node-a").await.ok(200);
    viewer
        .post("nodes/node-a/cordon", &json!({}))
        .await
        .problem(403, "forbidden");
}
