//! Ports of pods that no gateway serves, reached from this machine.

use coracle_e2e::{Forward, LONG, Platform, Source, token_of, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// An app whose process `db` sends back what it is sent, on port 9000.
fn source() -> Source {
    let source = Source::page("hello");
    source.write(
        "coracle.toml",
        "[process.web]\nport = 8080\n[process.db]\ncommand = \"exec nc -ll -p 9000 -e cat\"\nport = 9000\n",
    );
    source
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_this_machine_leads_to_a_pod_and_to_its_successor() {
    let platform = Platform::start().await;
    let source = source();
    let deploy = ["deploy", source.arg(), "--app", "shop"];
    platform.coracle(&deploy).await.ok();
    let line = ["forward", "shop", "0:9000", "--output", "json"];
    let forward = Forward::listening(platform.coracle_running(&line)).await;

    let large: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let many = (0..20).map(|_| forward.echoes(&large));
    assert!(
        futures::future::join_all(many)
            .await
            .into_iter()
            .all(|same| same)
    );
    // The end of what is sent reaches the pod, and its answer comes whole.
    let mut stream = forward.connect().await;
    stream.write_all(b"to the end").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "to the end");

    // What cannot be is said before anything is opened.
    let done = platform.coracle(&["forward", "shop", "0:9001"]).await;
    assert_eq!(done.code, Some(1), "{done}");
    let said = "app shop does not declare port 9001, but 8080, 9000";
    assert!(done.stderr.contains(said), "{done}");
    let unknown = platform.coracle(&["forward", "shpo", "80"]).await;
    assert!(unknown.stderr.contains("did you mean shop?"), "{unknown}");

    // Another pod takes the place of the one that is deleted.
    let pods = platform.api().await.list("/projects/default/pods").await;
    let db = pods
        .unwrap()
        .into_iter()
        .find(|pod| pod["spec"]["process"] == "db");
    let name = db.unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    let mut old = forward.connect().await;
    old.write_all(b"x").await.unwrap();
    old.read_exact(&mut [0]).await.unwrap();
    platform.coracle(&["pods", "delete", &name]).await.ok();
    let mut rest = Vec::new();
    // It ends with its pod, whole or broken.
    drop(old.read_to_end(&mut rest).await);
    until("the next pod to answer", LONG, || forward.echoes(b"again")).await;

    // A port that is not declared, where somebody means it; a web server answers and closes.
    let line = [
        "forward",
        "shop",
        "0:8080",
        "--any-port",
        "--output",
        "json",
    ];
    let web = Forward::listening(platform.coracle_running(&line)).await;
    let mut stream = web.connect().await;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.contains("hello"), "{page}");
    assert_eq!(web.interrupt().await, Some(0));
    assert_eq!(forward.interrupt().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_refused_and_who_may_no_more_is_cut() {
    let platform = Platform::start().await;
    let source = source();
    let deploy = ["deploy", source.arg(), "--app", "shop"];
    platform.coracle(&deploy).await.ok();
    let line = ["forward", "shop", "0:9000", "--output", "json"];
    let viewer = token_of(&platform, "vera", "viewer").await;
    let refused = platform.coracle_running_as(&viewer, &line);
    assert_eq!(refused.ends().await, Some(1));

    let token = token_of(&platform, "dora", "developer").await;
    let forward = Forward::listening(platform.coracle_running_as(&token, &line)).await;
    let mut stream = forward.connect().await;
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    platform.api().await.delete("/users/dora").await.ok();
    let end = tokio::time::timeout(LONG, stream.read(&mut [0])).await;
    assert!(!matches!(end.unwrap(), Ok(1..)), "bytes after the end");
    assert_eq!(forward.ends().await, Some(1));
}
