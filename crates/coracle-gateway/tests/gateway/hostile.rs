//! Clients that mean harm, or nothing good.

use std::time::Duration;

use http::Response;
use http_body_util::BodyExt as _;

use crate::support::{ControlPlane, Running, Server, gateway_for, named_pod, table, whole};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_heads_are_refused_and_harm_nobody() {
    let pod = named_pod("pod").await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let many: String = (0..101).map(|i| format!("X-{i}: 1\r\n")).collect();
    let long = "x".repeat(33 * 1024);
    for (what, head, status) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("two hosts", "GET / HTTP/1.1\r\nHost: app.example\r\nHost: app.example\r\n\r\n".into(), 400),
        ("user in host", "GET / HTTP/1.1\r\nHost: app.example@evil.example\r\n\r\n".into(), 400),
        ("path in host", "GET / HTTP/1.1\r\nHost: app.example/../\r\n\r\n".into(), 400),
        ("look-alike host", "GET / HTTP/1.1\r\nHost: аpp.example\r\n\r\n".into(), 400),
        ("host list", "GET / HTTP/1.1\r\nHost: app.example, evil.example\r\n\r\n".into(), 400),
        ("bad port", "GET / HTTP/1.1\r\nHost: app.example:8o\r\n\r\n".into(), 400),
        ("scheme", "GET gopher://app.example/ HTTP/1.1\r\nHost: app.example\r\n\r\n".into(), 400),
        ("nonsense", "\u{1}\u{2}\u{3} / HTTP/1.1\r\n\r\n".into(), 400),
        ("space before colon", "GET / HTTP/1.1\r\nHost : app.example\r\n\r\n".into(), 400),
        ("folded header", "GET / HTTP/1.1\r\nHost: app.example\r\nA: b\r\n c\r\n\r\n".into(), 400),
        ("connect", "CONNECT app.example:80 HTTP/1.1\r\nHost: app.example\r\n\r\n".into(), 405),
        ("too many headers", format!("GET / HTTP/1.1\r\nHost: app.example\r\n{many}\r\n"), 431),
        ("too long header", format!("GET / HTTP/1.1\r\nHost: app.example\r\nA: {long}\r\n\r\n"), 431),
        ("odd coding", "POST / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".into(), 501),
        ("coding not last", "POST / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked, gzip\r\n\r\n".into(), 400),
        ("two lengths", "POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".into(), 400),
        ("signed length", "POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: +1\r\n\r\na".into(), 400),
        ("bad chunk", "POST / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".into(), 400),
    ] {
        let mut client = gateway.client().await;
        client.send(&head).await;
        assert_eq!(client.head().await.status, status, "{what}");
    }
    assert_eq!(gateway.get("app.example", "/").await.body, "pod");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_framings_become_one() {
    let pod = Server::start(|request| async move {
        let framing = format!(
            "{:?} {:?} ",
            request.headers().get("content-length"),
            request.headers().get("transfer-encoding")
        );
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(whole(framing + std::str::from_utf8(&body).unwrap()))
    })
    .await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.body, "None Some(\"chunked\") hello");
    assert_eq!(
        client.rest().await,
        "",
        "nothing behind it is taken for a request"
    );
    // A GET with a chunked body keeps its body.
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.body, "None Some(\"chunked\") hi");
    client.send("DELETE / HTTP/1.1\r\nHost: app.example\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nhi").await;
    assert_eq!(client.answer().await.body, "Some(\"2\") None hi");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_and_bodies_are_cut() {
    let pod = Server::start(|request| async move {
        drop(request.into_body().collect().await);
        Response::new(whole("read"))
    })
    .await;
    let control = ControlPlane::start().await;
    let gateway = Running::start_with(control.server.addr, |config| {
        config.limits.head_timeout = Duration::from_millis(200);
        config.limits.body_pause = Duration::from_millis(200);
    })
    .await;
    control
        .switch(table(1, &[("app.example", &[pod.addr])]))
        .await;
    let mut head = gateway.client().await;
    head.send("GET / HTTP/1.1\r\nHost: app.ex").await;
    let end = head.rest().await;
    assert!(end.is_empty() || end.starts_with("HTTP/1.1 408"), "{end}");
    let mut unused = gateway.client().await;
    assert_eq!(unused.get("app.example", "/").await.status, 200);
    let end = unused.rest().await;
    assert_eq!(end, "", "an unused connection ends quietly");
    let mut body = gateway.client().await;
    body.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 10\r\n\r\nab")
        .await;
    let answer = body.head().await;
    assert_eq!(
        (answer.status, answer.header("x-coracle-error")),
        (408, "request_body_stalled")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_and_the_rest_waits() {
    let pod = named_pod("pod").await;
    let control = ControlPlane::start().await;
    let gateway =
        Running::start_with(control.server.addr, |config| config.limits.connections = 2).await;
    control
        .switch(table(1, &[("app.example", &[pod.addr])]))
        .await;
    let mut first = gateway.client().await;
    let mut second = gateway.client().await;
    assert_eq!(first.get("app.example", "/").await.status, 200);
    assert_eq!(second.get("app.example", "/").await.status, 200);
    let mut third = gateway.client().await;
    third
        .send("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    assert_eq!(
        first.get("app.example", "/").await.status,
        200,
        "those inside are served"
    );
    let mut byte = [0];
    let early = third.stream.try_read(&mut byte);
    assert!(early.is_err(), "the third waits");
    drop(second);
    assert_eq!(third.answer().await.status, 200);
}
