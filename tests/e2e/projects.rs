//! Scale, addresses, names, and the boundary between projects.

use std::collections::BTreeSet;
use std::sync::Mutex;

use coracle_e2e::{Finished, LONG, Platform, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_have_addresses_of_their_own_and_find_each_other() {
    let platform = Platform::start().await;
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "shop"])
        .await
        .ok();
    let scaled = platform.coracle(&["scale", "shop", "web=3"]).await;
    scaled.ok();
    platform.settled().await;
    eprintln!(
        "scale from 1 to 3: {} ms for the command",
        scaled.took.as_millis()
    );

    let pods = platform
        .api()
        .await
        .list("/projects/default/pods")
        .await
        .unwrap();
    assert_eq!(pods.len(), 3);
    assert!(
        pods.iter().all(|pod| pod["status"]["phase"] == "ready"),
        "{pods:?}"
    );
    let addresses: BTreeSet<&str> = pods
        .iter()
        .map(|pod| pod["status"]["address"].as_str().unwrap())
        .collect();
    assert_eq!(addresses.len(), 3, "{addresses:?}");

    // The gateway sends requests to all of them.
    let hosts = Mutex::new(BTreeSet::new());
    until("all three to answer", LONG, || async {
        let host = platform.get("shop.localhost", "/cgi-bin/whoami").await.body;
        let mut hosts = hosts.lock().unwrap();
        hosts.insert(host);
        hosts.len() == 3
    })
    .await;

    let pod = pods[0]["metadata"]["name"].as_str().unwrap();
    for name in ["shop", "shop.default.internal"] {
        let found = addresses_of(&platform, "default", pod, name).await;
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, addresses, "{name}");
    }

    // By a name that any of them may answer to, and straight by address.
    let places = ["shop", "shop.default.internal"].into_iter();
    for place in places.chain(addresses.iter().copied()) {
        let done = fetch(&platform, "default", pod, place).await;
        assert!(done.ok().contains("coracle-test"), "{place}: {done}");
    }

    // Nothing of it is published on the host, nothing is privileged, nobody has Docker's socket.
    let id = platform.docker().container(&platform.id(), "default", pod);
    let facts = platform.docker().inspect(&id);
    assert!(
        facts["HostConfig"]["PortBindings"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty),
        "{facts}"
    );
    assert_eq!(facts["HostConfig"]["Privileged"], false);
    assert_eq!(facts["HostConfig"]["CapDrop"], json!(["ALL"]));
    assert!(!facts["Mounts"].to_string().contains("docker.sock"));

    platform.coracle(&["scale", "shop", "web=0"]).await.ok();
    platform.settled().await;
    assert!(platform.docker().pods(&platform.id()).is_empty());
    assert_ne!(platform.get("shop.localhost", "/").await.status, 200);
    platform.coracle(&["scale", "shop", "web=1"]).await.ok();
    platform
        .serves("shop.localhost", "/", 200, "coracle-test")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn projects_are_apart() {
    let platform = Platform::start().await;
    let api = platform.api().await;
    api.post(
        "/projects",
        &json!({"metadata": {"name": "blue"}, "spec": {}}),
    )
    .await
    .ok();
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "shop"])
        .await
        .ok();
    let deployed = platform
        .coracle(&[
            "deploy",
            "--image",
            "coracle-test:1",
            "--app",
            "shop",
            "--project",
            "blue",
        ])
        .await;
    assert_eq!(deployed.last_line(), platform.url("shop-blue"));

    let here = &api.list("/projects/default/pods").await.unwrap()[0];
    let there = &api.list("/projects/blue/pods").await.unwrap()[0];
    let (pod, address) = (
        here["metadata"]["name"].as_str().unwrap(),
        there["status"]["address"].as_str().unwrap(),
    );

    // Each project's name for `shop` means its own, and no project knows the other's.
    let own = there["metadata"]["name"].as_str().unwrap();
    assert_eq!(
        addresses_of(&platform, "blue", own, "shop").await,
        [address]
    );
    assert_ne!(
        addresses_of(&platform, "default", pod, "shop").await,
        [address]
    );
    let crossed = addresses_of(&platform, "default", pod, "shop.blue.internal").await;
    assert!(
        crossed.is_empty(),
        "a name of another project resolves: {crossed:?}"
    );
    let crossed = fetch(&platform, "default", pod, address).await;
    assert_ne!(
        crossed.code,
        Some(0),
        "a pod of another project is reached by its address: {crossed}"
    );

    let refused = api.delete("/projects/blue").await;
    assert_eq!(
        refused.problem(409),
        "conflict",
        "a project that has apps is not deleted"
    );
    api.delete("/projects/blue/apps/shop").await.ok();
    until("the app to be gone", LONG, || async {
        api.get("/projects/blue/apps/shop").await.status == 404
    })
    .await;
    // Gone with all that it has, and its network too.
    api.delete("/projects/blue").await.ok();
    until("the project to be gone", LONG, || async {
        api.get("/projects/blue").await.status == 404
    })
    .await;
    platform.settled().await;
    assert_eq!(platform.docker().networks(&platform.id()), ["default"]);
    assert_eq!(platform.get("shop.localhost", "/").await.status, 200);
}

/// Asks a pod for a page of another. By `timeout`: BusyBox's static `wget` crashes with a time limit of its own.
async fn fetch(platform: &Platform, project: &str, pod: &str, place: &str) -> Finished {
    let url = format!("http://{place}:8080/");
    let line = ["exec", pod, "--project", project, "--"];
    let command = ["timeout", "5", "wget", "-q", "-O", "-", &url];
    platform.coracle(&[&line[..], &command[..]].concat()).await
}

/// What a name means inside a pod.
async fn addresses_of(platform: &Platform, project: &str, pod: &str, name: &str) -> Vec<String> {
    let line = ["exec", pod, "--project", project, "--", "nslookup", name];
    let done = platform.coracle(&line).await;
    // The first address is that of the name server.
    let answer = done
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("Name:"));
    answer
        .filter_map(|line| line.strip_prefix("Address:"))
        .map(|rest| rest.trim().to_owned())
        .collect()
}
