//! Hosts to pods, and what pods and clients see.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use crate::support::{
    ControlPlane, Running, Server, gateway_for, named_pod, refusing, table, whole,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_lead_to_their_apps() {
    let (one, two) = (named_pod("one").await, named_pod("two").await);
    let control = ControlPlane::start().await;
    let gateway = Running::start(control.server.addr).await;
    control
        .switch(table(
            1,
            &[("one.example", &[one.addr]), ("two.example", &[two.addr])],
        ))
        .await;
    for (host, want) in [
        ("one.example", "one"),
        ("TWO.Example.:8080", "two"),
        ("one.example:80", "one"),
    ] {
        let answer = gateway.get(host, "/").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, want), "{host}");
    }
    let mut absolute = gateway.client().await;
    absolute
        .send("GET http://two.example/a HTTP/1.1\r\nHost: one.example\r\n\r\n")
        .await;
    assert_eq!(
        absolute.answer().await.body,
        "two",
        "the target wins over the header"
    );
    let none = gateway.get("three.example", "/").await;
    assert_eq!(
        (none.status, none.header("x-coracle-error")),
        (404, "no_such_app")
    );
    assert!(none.body.contains("three.example"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_on_both_sides() {
    let pod = named_pod("pod").await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("app.example", "/").await.body, "pod");
    }
    assert_eq!(pod.connections(), 1, "one connection served them all");
    let mut other = gateway.client().await;
    assert_eq!(other.get("app.example", "/").await.body, "pod");
    assert_eq!(pod.connections(), 1, "another client uses it, too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_wish_to_close_is_heard() {
    let pod = Server::start(|_request| async {
        Response::builder()
            .header("connection", "close")
            .body(whole("bye"))
            .unwrap()
    })
    .await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    for expected in 1..=3 {
        let answer = client.get("app.example", "/").await;
        assert_eq!((answer.status, answer.header("connection")), (200, ""));
        assert_eq!(pod.connections(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_see_clean_headers() {
    let pod = Server::start(|request| async move {
        let mut lines: Vec<_> = request
            .headers()
            .iter()
            .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
            .collect();
        lines.sort();
        let first = format!(
            "{} {} {:?}\n",
            request.method(),
            request.uri(),
            request.version()
        );
        Response::new(whole(first + &lines.join("\n")))
    })
    .await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send(
            "GET /a?b=%20c HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
             X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nKeep-Alive: timeout=9\r\nTE: trailers\r\n\
             X-Request-Id: my-id\r\nCookie: a=b\r\n\r\n",
        )
        .await;
    assert_eq!(
        client.answer().await.body,
        "GET /a?b=%20c HTTP/1.1\ncookie: a=b\nhost: app.example\nx-forwarded-for: 127.0.0.1\n\
         x-forwarded-host: app.example\nx-forwarded-proto: http\nx-request-id: my-id"
    );
    client
        .send("GET / HTTP/1.0\r\nHost: app.example\r\n\r\n")
        .await;
    let old = client.answer().await;
    assert!(old.body.starts_with("GET / HTTP/1.1\n"), "{old:?}");
    assert_eq!(
        client.rest().await,
        "",
        "an HTTP/1.0 connection ends after its answer"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_bodies_keep_their_framing() {
    let pod = Server::start(|request| async move {
        let status = match request.uri().path() {
            "/204" => StatusCode::NO_CONTENT,
            "/304" => StatusCode::NOT_MODIFIED,
            _ => StatusCode::OK,
        };
        let mut answer = Response::new(whole(if status == StatusCode::OK {
            "12345"
        } else {
            ""
        }));
        *answer.status_mut() = status;
        answer
    })
    .await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send("HEAD / HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-length")), (200, "5"));
    for path in ["/204", "/304"] {
        let answer = client.get("app.example", path).await;
        assert_eq!(answer.status.to_string(), path[1..]);
        assert_eq!(answer.header("transfer-encoding"), "");
    }
    // The same connection is still in step.
    assert_eq!(client.get("app.example", "/").await.body, "12345");
    assert_eq!(pod.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusing_pod_is_passed_over() {
    let pod = named_pod("alive").await;
    let (_held, dead) = refusing();
    let (gateway, _control) = gateway_for(&[dead, pod.addr]).await;
    let mut client = gateway.client().await;
    for _ in 0..100 {
        client
            .send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 2\r\n\r\nhi")
            .await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "alive"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_cannot_be_reached_is_told_and_tried_again() {
    let (held, dead) = refusing();
    let (gateway, _control) = gateway_for(&[dead]).await;
    let answer = gateway.get("app.example", "/").await;
    assert_eq!(
        (answer.status, answer.header("x-coracle-error")),
        (502, "app_unreachable")
    );
    drop(held);
    let _pod = Server::start_at(dead, |_request| async { Response::new(whole("back")) }).await;
    assert_eq!(
        gateway.get("app.example", "/").await.body,
        "back",
        "the last pod is never given up"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_read_is_not_sent_twice() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    // Reads the request, then closes the connection without an answer.
    let pod = Server::start(move |request| {
        let count = Arc::clone(&count);
        async move {
            if request.uri().path() == "/good" {
                return Response::new(whole("good"));
            }
            drop(request.into_body().collect().await);
            count.fetch_add(1, Ordering::SeqCst);
            panic!("the pod dies of this request");
        }
    })
    .await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    // So that there is a connection to reuse.
    assert_eq!(gateway.get("app.example", "/good").await.body, "good");
    let mut client = gateway.client().await;
    client
        .send("POST /pay HTTP/1.1\r\nHost: app.example\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.header("x-coracle-error")),
        (502, "app_broke_off")
    );
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    // Without a body, but not idempotent.
    assert_eq!(gateway.get("app.example", "/good").await.body, "good");
    client
        .send("POST /pay HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 502);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_answers_nonsense_is_a_bad_gateway() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let tasks = coracle_task::Supervisor::new("test");
    tasks.spawn("odd pod", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut piece = [0; 4096];
            assert!(stream.read(&mut piece).await.unwrap() > 0);
            stream
                .write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
                .await
                .unwrap();
        }
    });
    let (gateway, _control) = gateway_for(&[addr]).await;
    let answer = gateway.get("app.example", "/").await;
    assert_eq!(
        (answer.status, answer.header("x-coracle-error")),
        (502, "app_broke_off")
    );
}
