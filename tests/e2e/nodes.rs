//! The one machine, cordoned and drained: what runs goes on, what is new waits, and it is said what will not come back.

use std::time::Duration;

use coracle_e2e::{LONG, Load, Part, Platform, Source, until};
use serde_json::{Value, json};

const HOST: &str = "shop.localhost";

async fn node(platform: &Platform) -> Value {
    let nodes = platform.api().await.list("/nodes").await.unwrap();
    nodes.into_iter().next().unwrap()
}

async fn pod(platform: &Platform, name: &str) -> Option<Value> {
    let pods = platform.api().await.list("/projects/default/pods").await;
    let mut pods = pods.unwrap_or_default().into_iter();
    pods.find(|pod| pod["metadata"]["name"] == name)
}

async fn phase(platform: &Platform, name: &str, phase: &str) -> Duration {
    until(&format!("{name} is {phase}"), LONG, || async {
        pod(platform, name)
            .await
            .is_some_and(|pod| pod["status"]["phase"] == phase)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_node_is_cordoned_and_drained_by_force() {
    let platform = Platform::start().await;
    let source = Source::page("hello");
    platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await
        .ok();
    let found = node(&platform).await;
    let name = found["metadata"]["name"].as_str().unwrap().to_owned();
    let load = Load::start(platform.http(), HOST, "/", 20, 100);

    platform.coracle(&["nodes", "cordon", &name]).await.ok();
    let listed = platform.coracle(&["nodes"]).await;
    assert!(listed.ok().contains("ready, cordoned"), "{listed}");
    let new =
        json!({"metadata": {"name": "late"}, "spec": {"image": "coracle-test:1", "port": 8080}});
    let api = platform.api().await;
    api.post("/projects/default/pods", &new).await.ok();
    let waits = || async {
        let late = pod(&platform, "late").await;
        late.is_some_and(|late| {
            let reason = late["status"]["reason"].as_str().unwrap_or_default();
            late["status"]["phase"] == "pending"
                && reason.contains(&format!("coracle nodes uncordon {name}"))
        })
    };
    until("the new pod waits and says why", LONG, waits).await;

    // Neither a kill nor a restart makes anything of it forgotten.
    platform.kill9(Part::Serve).await;
    platform.up().await;
    until("it still waits", LONG, waits).await;
    assert_eq!(node(&platform).await["spec"]["scheduling"], "cordoned");

    let refused = platform.coracle(&["nodes", "drain", &name]).await;
    refused.refused_with(
        1,
        &["default/shop-web-v1", "until", "uncordoned", "--force"],
    );
    platform.coracle(&["nodes", "uncordon", &name]).await.ok();
    phase(&platform, "late", "ready").await;
    load.more(100).await;
    let tally = load.stop().await;
    tally.nothing_failed("cordon, kill -9 of the control plane, refused drain, uncordon");

    let drained = platform
        .coracle(&["nodes", "drain", &name, "--force", "--output", "json"])
        .await;
    let shown: Value = serde_json::from_str(drained.ok()).unwrap();
    assert_eq!(shown["status"]["drain"]["phase"], "drained");
    assert_eq!(shown["status"]["drain"]["left"], 0);
    eprintln!("drained by force in {} ms", drained.took.as_millis());
    let pods = platform
        .api()
        .await
        .list("/projects/default/pods")
        .await
        .unwrap();
    for pod in &pods {
        assert_eq!(pod["status"]["phase"], "pending", "{pod}");
    }
    let shown = platform.coracle(&["nodes", "show", &name]).await;
    assert!(shown.ok().contains("ready, drained"), "{shown}");
    platform.coracle(&["nodes", "uncordon", &name]).await.ok();
    phase(&platform, "late", "ready").await;
    platform.serves(HOST, "/", 200, "hello").await;
    let after = node(&platform).await;
    assert_eq!(after["spec"], json!({"scheduling": "open"}));
}
