//! Bodies flow; nothing is held back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::SinkExt as _;
use http::Response;
use http_body_util::BodyExt as _;
use tokio::sync::{Notify, oneshot};

use crate::support::{Server, fed, frame, gateway_for, soon, whole};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_piece_of_an_answer_arrives_before_the_next_is_made() {
    let (feed, body) = fed();
    let body = Arc::new(Mutex::new(Some(body)));
    let pod = Server::start(move |_request| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send("GET /events HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(head.header("transfer-encoding"), "chunked");
    let mut feed = feed;
    for i in 0..5 {
        let text = format!("data: {i}\n\n");
        soon("the pod", feed.send(frame(text.clone())))
            .await
            .unwrap();
        assert_eq!(client.chunk().await, text.as_bytes());
    }
    drop(feed);
    assert_eq!(client.chunk().await, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_piece_of_a_request_arrives_and_is_echoed_at_once() {
    let pod =
        Server::start(|request| async move { Response::new(request.into_body().boxed()) }).await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    for piece in ["one", "two", "three"] {
        client
            .send(&format!("{:x}\r\n{piece}\r\n", piece.len()))
            .await;
        assert_eq!(client.chunk().await, piece.as_bytes());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_go_through_whole() {
    let pod =
        Server::start(|request| async move { Response::new(request.into_body().boxed()) }).await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let size = 8 * 1024 * 1024;
    let stream = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    let tasks = coracle_task::Supervisor::new("test");
    tasks.spawn("client", async move { drop(connection.await) });
    let sent: Bytes = (0..size).map(|i: u32| (i % 251) as u8).collect();
    let request = http::Request::post("/")
        .header("host", "app.example")
        .body(whole(sent.clone()))
        .unwrap();
    let answer = soon("the head", sender.send_request(request))
        .await
        .unwrap();
    let body = soon("the body", answer.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    assert!(body == sent, "{} bytes of {}", body.len(), sent.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_slows_the_pod_down() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let pod = Server::start(move |_request| {
        let count = Arc::clone(&count);
        let frames = futures::stream::repeat_with(move || {
            count.fetch_add(1, Ordering::SeqCst);
            frame(vec![0_u8; 64 * 1024])
        });
        async move { Response::new(http_body_util::StreamBody::new(frames).boxed()) }
    })
    .await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    client.head().await;
    // The endless answer stops being made once every buffer on the way is full, while others are served.
    let mut other = gateway.client().await;
    let mut before = 0;
    loop {
        for _ in 0..200 {
            assert_eq!(other.get("no.example", "/").await.status, 404);
        }
        let now = made.load(Ordering::SeqCst);
        if now > 0 && now == before {
            break;
        }
        assert!(
            now * 64 * 1024 < 64 * 1024 * 1024,
            "{now} pieces were taken in"
        );
        before = now;
    }
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_does_not_stop_the_upload() {
    let (got, told) = oneshot::channel();
    let got = Arc::new(Mutex::new(Some(got)));
    let pod = Server::start(move |request| {
        let got = Arc::clone(&got);
        async move {
            // Answers at once and goes on reading; ends its answer when it read everything.
            let (mut feed, body) = fed();
            coracle_task::Supervisor::new("test").spawn("late reader", async move {
                feed.send(frame("begun")).await.unwrap();
                let all = request.into_body().collect().await.unwrap().to_bytes();
                feed.send(frame("done")).await.unwrap();
                got.lock().unwrap().take().unwrap().send(all.len()).unwrap();
            });
            Response::new(body)
        }
    })
    .await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    client.head().await;
    assert_eq!(client.chunk().await, b"begun");
    client.send_bytes(&vec![b'x'; 1_000_000]).await;
    assert_eq!(soon("the upload", told).await.unwrap(), 1_000_000);
    assert_eq!(client.chunk().await, b"done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_cancels_its_request() {
    let (began, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, end) = (Arc::clone(&began), Arc::clone(&dropped));
    struct Tell(Arc<Notify>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let pod = Server::start(move |_request| {
        let (begin, tell) = (Arc::clone(&begin), Tell(Arc::clone(&end)));
        async move {
            let _tell = tell;
            begin.notify_one();
            std::future::pending().await
        }
    })
    .await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send("GET /long HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    soon("the request", began.notified()).await;
    drop(client);
    soon("its cancellation", dropped.notified()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_continue_is_answered() {
    let pod = Server::start(|request| async move {
        assert!(!request.headers().contains_key("expect"));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(whole(body))
    })
    .await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: app.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status, 100);
    client.send("hello").await;
    assert_eq!(client.answer().await.body, "hello");
    // An app that does not exist says so before anything is sent.
    client
        .send("PUT / HTTP/1.1\r\nHost: no.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_answer_is_not_made_whole() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let tasks = coracle_task::Supervisor::new("test");
    tasks.spawn("pod that dies", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut piece = [0; 4096];
            assert!(stream.read(&mut piece).await.unwrap() > 0);
            let half = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
            stream.write_all(half).await.unwrap();
        }
    });
    let (gateway, _control) = gateway_for(&[addr]).await;
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    let rest = client.rest().await;
    assert!(
        !rest.contains("0\r\n\r\n"),
        "the client must see that the end is missing: {rest:?}"
    );
}
