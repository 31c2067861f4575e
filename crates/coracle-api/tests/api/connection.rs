//! Clients that are slow, idle or many.

use std::time::Duration;

use coracle_api::ConnectionLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Options, Platform, soon};

fn limits(connections: usize) -> Options {
    Options {
        connections: ConnectionLimits {
            connections,
            head: Duration::from_millis(300),
            head_bytes: 16 * 1024,
        },
        ..Options::default()
    }
}

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

/// Reads until the server closes; what came.
async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ended = soon("the end of a connection", socket.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn who_sends_no_head_is_cut() {
    let platform = Platform::with(limits(100)).await;
    for begin in [&b""[..], b"GET /healthz HTTP/1.1\r\nHo", b"\r\n"] {
        let mut socket = TcpStream::connect(platform.address).await.unwrap();
        socket.write_all(begin).await.unwrap();
        let came = rest(&mut socket).await;
        assert!(!came.contains("200"), "{came}");
    }
    // One that is used, and then kept for nothing.
    let mut socket = TcpStream::connect(platform.address).await.unwrap();
    for _ in 0..2 {
        socket.write_all(HEALTH).await.unwrap();
    }
    let came = rest(&mut socket).await;
    assert_eq!(came.matches("HTTP/1.1 200").count(), 2, "{came}");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let platform = Platform::with(limits(100)).await;
    let mut socket = TcpStream::connect(platform.address).await.unwrap();
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    // The server may close before all of it was sent.
    let _refused = socket.write_all(long.as_bytes()).await;
    assert!(!rest(&mut socket).await.contains(" 200 "));
    let answer = platform.nobody().get("/healthz").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_stream_outlives_the_limit_of_heads() {
    let platform = Platform::with(limits(100)).await;
    let admin = platform.admin().await;
    let mut stream = admin.stream("events").await;
    stream.until_synced().await;
    // Until somebody who is idle was cut, which is as long as the stream would have had.
    let mut idle = TcpStream::connect(platform.address).await.unwrap();
    rest(&mut idle).await;
    admin.make_app("default", "hello").await;
    assert_eq!(stream.event().await.unwrap().data["kind"], "App");
}

#[tokio::test]
async fn more_than_may_be_open_wait_for_their_turn() {
    let platform = Platform::with(limits(2)).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(platform.address).await.unwrap();
        socket.write_all(HEALTH).await.unwrap();
        let mut head = [0; 12];
        soon("an answer", socket.read_exact(&mut head))
            .await
            .unwrap();
        held.push(socket);
    }
    // The kernel takes it; it is answered once one of the others is cut for being idle.
    let mut third = TcpStream::connect(platform.address).await.unwrap();
    third.write_all(HEALTH).await.unwrap();
    assert!(rest(&mut third).await.starts_with("HTTP/1.1 200"));
    drop(held);
}
