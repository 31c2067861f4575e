//! Ports of pods on any node, reached from this machine.

use coracle_e2e::{Cluster, Forward, LONG, Source, token_of, until};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_this_machine_leads_to_pods_of_any_node() {
    let cluster = Cluster::start().await;
    let api = cluster.api().await;
    let image = cluster.push(&Source::page("hello"), "echo", "1");
    let command = ["nc", "-ll", "-p", "9000", "-e", "cat"];
    let spec = json!({"image": image, "command": command, "port": 9000});
    let wish = json!({"metadata": {"name": "echo"}, "spec": spec});
    let made = api.post(&cluster.at("/pods"), &wish).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = cluster.at("/pods/echo");
    until("the pod to be ready", LONG, || async {
        api.get(&path).await.ok()["status"]["phase"] == "ready"
    })
    .await;
    let project = cluster.project();
    let line = [
        "-p", project, "forward", "pod/echo", "0:9000", "--output", "json",
    ];
    let forward = Forward::listening(cluster.coracle_running(&line)).await;
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let many = (0..10).map(|_| forward.echoes(&large));
    let all = futures::future::join_all(many).await;
    assert!(all.into_iter().all(|same| same));

    // The pod is not told that nothing more comes, and what it answers comes whole all the same.
    let mut stream = forward.connect().await;
    stream.write_all(b"to the end").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "to the end");

    // Nothing listens: the connection breaks, and the command goes on.
    let line = [
        "-p",
        project,
        "forward",
        "echo",
        "0:81",
        "--any-port",
        "--output",
        "json",
    ];
    let closed = Forward::listening(cluster.coracle_running(&line)).await;
    assert!(!closed.echoes(b"x").await);
    assert_eq!(closed.interrupt().await, Some(0));

    let viewer = token_of(&cluster, "vera", "viewer").await;
    let line = ["-p", project, "forward", "echo", "--output", "json"];
    let refused = cluster.coracle_running_as(&viewer, &line);
    assert_eq!(refused.ends().await, Some(1));

    let token = token_of(&cluster, "dora", "developer").await;
    let line = [
        "-p", project, "forward", "echo", "0:9000", "--output", "json",
    ];
    let theirs = Forward::listening(cluster.coracle_running_as(&token, &line)).await;
    let mut stream = theirs.connect().await;
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    api.delete("/users/dora").await.ok();
    let end = tokio::time::timeout(LONG, stream.read(&mut [0])).await;
    assert!(!matches!(end.unwrap(), Ok(1..)), "bytes after the end");
    assert_eq!(theirs.ends().await, Some(1));
    assert_eq!(forward.interrupt().await, Some(0));
}
