//! Pods that leave the table, and the gateway's own end.

use std::sync::Arc;

use http::Response;
use tokio::sync::{Notify, Semaphore};

use crate::support::{
    ControlPlane, Running, Server, config, gateway_for, named_pod, soon, table, whole,
};

/// A pod that answers `/held` only when it gets a permit, and tells when such a request arrived.
async fn holding_pod() -> (Server, Arc<Semaphore>, Arc<Notify>) {
    let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (wait, tell) = (Arc::clone(&gate), Arc::clone(&arrived));
    let pod = Server::start(move |request| {
        let (wait, tell) = (Arc::clone(&wait), Arc::clone(&tell));
        async move {
            if request.uri().path() == "/held" {
                tell.notify_one();
                wait.acquire().await.unwrap().forget();
            }
            Response::new(whole("held"))
        }
    })
    .await;
    (pod, gate, arrived)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_reported_until_its_end() {
    let (old, gate, arrived) = holding_pod().await;
    let new = named_pod("new").await;
    let (gateway, control) = gateway_for(&[old.addr]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.client().await;
        client
            .send("GET /held HTTP/1.1\r\nHost: app.example\r\n\r\n")
            .await;
        soon("the request at the pod", arrived.notified()).await;
        clients.push(client);
    }
    let report = control
        .switch(table(2, &[("app.example", &[new.addr])]))
        .await;
    assert_eq!(report.draining.get(&old.addr), Some(&3));
    assert_eq!(gateway.get("app.example", "/").await.body, "new");
    for (left, mut client) in [2, 1, 0].into_iter().zip(clients) {
        gate.add_permits(1);
        // Any of the three may get the permit: wait for the count, then for the answers at the end.
        control
            .report("one request less", |r| {
                r.draining.get(&old.addr).copied().unwrap_or(0) == left
            })
            .await;
        if left == 0 {
            assert_eq!(client.answer().await.body, "held");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_comes_back_keeps_its_count() {
    let (pod, gate, arrived) = holding_pod().await;
    let (gateway, control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send("GET /held HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    soon("the request at the pod", arrived.notified()).await;
    let out = control.switch(table(2, &[])).await;
    assert_eq!(out.draining.get(&pod.addr), Some(&1));
    let back = control
        .switch(table(3, &[("app.example", &[pod.addr])]))
        .await;
    assert!(back.draining.is_empty(), "it is in the table");
    let again = control.switch(table(4, &[])).await;
    assert_eq!(again.draining.get(&pod.addr), Some(&1));
    gate.add_permits(1);
    assert_eq!(client.answer().await.body, "held");
    control
        .report("the drain's end", |r| {
            r.generation == 4 && r.draining.is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unused_connections_close_when_their_pod_leaves() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let closed = Arc::new(Notify::new());
    let tell = Arc::clone(&closed);
    let tasks = coracle_task::Supervisor::new("test");
    tasks.spawn("pod", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut piece = [0; 4096];
        while stream.read(&mut piece).await.unwrap() > 0 {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
        }
        tell.notify_one();
    });
    let (gateway, control) = gateway_for(&[addr]).await;
    assert_eq!(gateway.get("app.example", "/").await.status, 200);
    control.switch(table(2, &[])).await;
    soon("the connection's end", closed.notified()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_ends_after_its_requests() {
    let (pod, gate, arrived) = holding_pod().await;
    let (gateway, control) = gateway_for(&[pod.addr]).await;
    let addr = gateway.addr;
    let mut unused = gateway.client().await;
    assert_eq!(unused.get("app.example", "/").await.body, "held");
    let mut client = gateway.client().await;
    client
        .send("GET /held HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    soon("the request at the pod", arrived.notified()).await;
    gateway.shutdown.cancel();
    soon("the closed listener", async {
        while tokio::net::TcpStream::connect(addr).await.is_ok() {}
    })
    .await;
    assert_eq!(unused.rest().await, "", "an unused connection ends quietly");
    // Drains are still reported: the control plane waits for them.
    let report = control.switch(table(2, &[])).await;
    assert_eq!(report.draining.get(&pod.addr), Some(&1));
    gate.add_permits(1);
    let answer = client.answer().await;
    assert_eq!(
        (answer.body.as_str(), answer.header("connection")),
        ("held", "close")
    );
    assert_eq!(client.rest().await, "");
    gateway.stop().await;
    control
        .report("the drain's end", |r| {
            r.generation == 2 && r.draining.is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_has_a_deadline() {
    let (pod, _gate, arrived) = holding_pod().await;
    let control = ControlPlane::start().await;
    let gateway = Running::start_with(control.server.addr, |config| {
        config.drain = std::time::Duration::from_millis(200);
    })
    .await;
    control
        .switch(table(1, &[("app.example", &[pod.addr])]))
        .await;
    let mut client = gateway.client().await;
    client
        .send("GET /held HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    soon("the request at the pod", arrived.notified()).await;
    gateway.stop().await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_gateway_takes_over_the_address() {
    let pod = named_pod("pod").await;
    let (first, control) = gateway_for(&[pod.addr]).await;
    let addr = first.addr;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(control.server.addr, folder.path());
    config.http = addr;
    let second = Running::start_in(folder, config).await;
    assert_eq!(second.addr, addr);
    soon("the second one's feed", async {
        while control.feeds.load(std::sync::atomic::Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    first.stop().await;
    soon("the second one's table", async {
        while second.get("app.example", "/").await.status != 200 {}
    })
    .await;
    for _ in 0..50 {
        assert_eq!(second.get("app.example", "/").await.body, "pod");
    }
}
