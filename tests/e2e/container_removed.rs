//! Somebody removes a container behind the platform's back.

use std::time::Instant;

use coracle_e2e::{Load, Platform};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_was_removed_is_replaced() {
    let platform = Platform::start().await;
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "shop"])
        .await
        .ok();
    let docker = platform.docker();
    for round in 1..=3 {
        let old = docker.pods(&platform.id());
        let [pod] = old.as_slice() else {
            panic!("{old:?}")
        };
        let id = docker.container(
            &platform.id(),
            "default",
            pod.trim_start_matches("default/"),
        );
        let began = Instant::now();
        assert!(!docker.run(&["rm", "-f", &id]).is_empty());
        let removed = began.elapsed();
        platform
            .serves("shop.localhost", "/", 200, "coracle-test")
            .await;
        eprintln!(
            "round {round}: `docker rm -f` took {} ms, the app served again {} ms after it",
            removed.as_millis(),
            (began.elapsed() - removed).as_millis()
        );
        platform.settled().await;
        assert_ne!(docker.pods(&platform.id()), old);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_pods_the_other_one_serves_on() {
    let platform = Platform::start().await;
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "shop"])
        .await
        .ok();
    platform.coracle(&["scale", "shop", "web=2"]).await.ok();
    platform.settled().await;
    // Deleted by the platform it is drained first: nobody notices.
    let load = Load::start(platform.http(), "shop.localhost", "/", 20, 200);
    load.more(50).await;
    let api = platform.api().await;
    let pods = api.list("/projects/default/pods").await.unwrap();
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    platform.coracle(&["pods", "delete", name]).await.ok();
    platform.settled().await;
    let pods = api.list("/projects/default/pods").await.unwrap();
    assert!(
        pods.len() == 2 && pods.iter().all(|pod| pod["metadata"]["name"] != name),
        "{pods:?}"
    );
    load.more(50).await;
    load.stop().await.nothing_failed("a pod of two was deleted");
}
