//! Looking into pods on any node: logs, commands with and without a terminal, one-off commands, pods of their own.

use std::process::Stdio;

use coracle_e2e::{Cluster, LONG, Source, until};
use serde_json::json;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_exec_terminal_and_run() {
    let cluster = Cluster::start().await;
    let source = Source::page("hello");
    source.write(
        "Dockerfile",
        &format!(
            "FROM {}\nENV WORD=\"a word\"\nCMD [\"/bin/sh\", \"-c\", \"echo started with $WORD; while true; do echo working; sleep 0.2; done & exec /bin/serve\"]\n",
            coracle_e2e::TEST_IMAGE
        ),
    );
    let image = cluster.push(&source, "shop", "1");
    cluster.deploy("shop", &image).await.ok();
    cluster.run(&["scale", "shop", "web=3"]).await.ok();
    cluster.settled().await;

    let logs = cluster.run(&["logs", "shop"]).await;
    assert!(logs.ok().contains("started with a word"), "{logs}");
    let mut follow = cluster.coracle_running(&["-p", cluster.project(), "logs", "shop", "-f"]);
    follow.says("working").await;

    // One after another on all nodes: the streams go by way of each node's kubelet.
    for pod in cluster.pods().await {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let script = "echo out; echo err >&2; exit 7";
        let done = cluster.run(&["exec", name, "--", "sh", "-c", script]).await;
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(7), "out\n"),
            "{done}"
        );
        assert!(done.stderr.contains("err"), "{done}");
        // A command in a running pod learns of its input's end only from Kubernetes 1.30 on: this one need not.
        let read = ["head", "-c", "16"];
        let line = [&["-p", cluster.project(), "exec", name, "--"], &read[..]].concat();
        let done = cluster.coracle_with(&line, b"through and back").await;
        assert_eq!(done.ok(), "through and back");
        terminal(&cluster, name).await;
    }

    let script = "echo $WORD on $(hostname); exit 5";
    let done = cluster
        .run(&["run", "shop", "--", "sh", "-c", script])
        .await;
    assert_eq!(done.code, Some(5), "{done}");
    assert!(done.stdout.starts_with("a word on "), "{done}");
    let line = ["-p", cluster.project(), "run", "shop", "--", "cat"];
    let done = cluster.coracle_with(&line, b"piped").await;
    assert_eq!(done.ok(), "piped");
    cluster.settled().await;
    until("the one-off pods to be gone", LONG, || async {
        !cluster
            .objects()
            .iter()
            .any(|object| object.contains("/Job/"))
    })
    .await;
    assert_eq!(cluster.pods().await.len(), 3);
}

/// By `script`, which gives the command a terminal as a person's has one.
async fn terminal(cluster: &Cluster, pod: &str) {
    let program = cluster.program();
    let line = format!(
        "{} -p {} exec {pod} -- sh -c 'test -t 0 && test -t 1 && stty size && tty'",
        program.display(),
        cluster.project()
    );
    let done = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .envs(cluster.login())
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("/dev/pts/"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_their_own() {
    let cluster = Cluster::start().await;
    let api = cluster.api().await;
    let image = cluster.push(&Source::page("hello"), "alone", "1");
    let spec = json!({"image": image, "env": {"WORD": "bare"}, "port": 8080});
    let wish = json!({"metadata": {"name": "alone"}, "spec": spec});
    let made = api.post(&cluster.at("/pods"), &wish).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = cluster.at("/pods/alone");
    until("the pod to be ready", LONG, || async {
        api.get(&path).await.ok()["status"]["phase"] == "ready"
    })
    .await;
    let script = ["exec", "alone", "--", "sh", "-c", "echo $WORD $PORT; id -u"];
    let said = cluster.run(&script).await;
    assert_eq!(said.ok(), "bare 8080\n10001\n", "never as root");

    // Its process ends: it is started again, in place, and keeps its address.
    let address = api.get(&path).await.ok()["status"]["address"].clone();
    let kill = ["exec", "alone", "--", "sh", "-c", "kill $(pidof httpd)"];
    cluster.run(&kill).await;
    until("the pod to be started again", LONG, || async {
        let status = &api.get(&path).await.ok()["status"];
        status["restarts"].as_u64() > Some(0) && status["phase"] == "ready"
    })
    .await;
    assert_eq!(api.get(&path).await.ok()["status"]["address"], address);
    api.delete(&path).await.ok();
    crate::projects::nothing_left(&cluster).await;
}
