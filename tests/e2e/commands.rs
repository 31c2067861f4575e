//! What people do beside deploying: looking into logs, running commands, pods of their own.

use coracle_e2e::{LONG, Platform, Source, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_exec_and_run() {
    let platform = Platform::start().await;
    let source = Source::page("hello");
    source.write("Procfile", "web: echo started with $WORD; exec serve\nworker: while true; do echo working; sleep 0.2; done\n");
    source.write("coracle.toml", "[env]\nWORD = \"a word\"\n");
    platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await
        .ok();

    let logs = platform.coracle(&["logs", "shop"]).await;
    assert!(logs.ok().contains("started with a word"), "{logs}");
    let mut follow = platform.coracle_running(&["logs", "shop", "-f"]);
    follow.says("working").await;
    let pods = platform
        .api()
        .await
        .list("/projects/default/pods")
        .await
        .unwrap();
    let web = pods
        .iter()
        .find(|pod| pod["spec"]["process"] == "web")
        .unwrap()["metadata"]["name"]
        .as_str()
        .unwrap();
    let listed = platform.coracle(&["ps", "shop"]).await;
    assert!(listed.ok().contains(web), "{listed}");

    let done = platform
        .coracle(&[
            "exec",
            web,
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 7",
        ])
        .await;
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(7), "out\n"),
        "{done}"
    );
    assert!(done.stderr.contains("err"), "{done}");
    let done = platform
        .coracle_with(&["exec", web, "--", "cat"], b"through and back")
        .await;
    assert_eq!(done.ok(), "through and back");
    // What a command writes stands in the pod until the pod goes.
    platform
        .coracle(&[
            "exec",
            web,
            "--",
            "sh",
            "-c",
            "echo changed > /www/index.html",
        ])
        .await
        .ok();
    platform.serves("shop.localhost", "/", 200, "changed").await;

    let done = platform
        .coracle(&[
            "run",
            "shop",
            "--",
            "sh",
            "-c",
            "echo $WORD on $(hostname); exit 5",
        ])
        .await;
    assert_eq!(done.code, Some(5), "{done}");
    assert!(done.stdout.starts_with("a word on "), "{done}");
    let done = platform
        .coracle_with(&["run", "shop", "--", "cat"], b"piped")
        .await;
    assert_eq!(done.ok(), "piped");
    platform.settled().await;
    let left = platform.docker().pods(&platform.id());
    assert_eq!(left.len(), 2, "one-off pods are left: {left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_their_own() {
    let platform = Platform::start().await;
    let api = platform.api().await;
    let spec = json!({"image": "coracle-test:1", "env": {"WORD": "bare"}, "port": 8080});
    let pod = api
        .post(
            "/projects/default/pods",
            &json!({"metadata": {"name": "alone"}, "spec": spec}),
        )
        .await;
    assert_eq!(pod.status, 201, "{pod:?}");
    let path = "/projects/default/pods/alone";
    until("the pod to be ready", LONG, || async {
        api.get(path).await.ok()["status"]["phase"] == "ready"
    })
    .await;
    let shown = platform.coracle(&["pods", "--output", "json"]).await.json();
    assert_eq!(shown["items"][0]["metadata"]["name"], "alone");
    let said = platform
        .coracle(&["exec", "alone", "--", "sh", "-c", "echo $WORD $PORT"])
        .await;
    assert_eq!(said.ok().trim(), "bare 8080");
    let stats = api.get(&format!("{path}/stats")).await.ok();
    assert!(stats["memory_bytes"].as_u64().unwrap() > 0, "{stats}");

    // Its process ends: it is started again, in place, and keeps its address.
    let address = api.get(path).await.ok()["status"]["address"].clone();
    platform
        .coracle(&["exec", "alone", "--", "sh", "-c", "kill $(pidof httpd)"])
        .await;
    until("the pod to be started again", LONG, || async {
        let status = &api.get(path).await.ok()["status"];
        status["restarts"].as_u64() > Some(0) && status["phase"] == "ready"
    })
    .await;
    assert_eq!(api.get(path).await.ok()["status"]["address"], address);

    api.delete(path).await.ok();
    until("the pod to be gone", LONG, || async {
        api.get(path).await.status == 404
    })
    .await;
    platform.nothing_left().await;
}
