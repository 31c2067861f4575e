//! WebSocket and other protocols behind an upgrade.

use futures::{SinkExt as _, StreamExt as _};
use http::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::{Server, gateway_for, soon, table, whole};

/// Echoes WebSocket messages on /ws, raw bytes on /raw, and refuses elsewhere.
async fn upgrading_pod() -> Server {
    Server::start(|mut request| async move {
        let path = request.uri().path().to_owned();
        if request.headers().get("upgrade").is_none() || path == "/no" {
            let mut answer = Response::new(whole("no upgrade"));
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            return answer;
        }
        let mut answer = Response::builder()
            .status(101)
            .header("connection", "upgrade");
        if let Some(key) = request.headers().get("sec-websocket-key") {
            answer = answer
                .header("upgrade", "websocket")
                .header("sec-websocket-accept", derive_accept_key(key.as_bytes()));
        } else {
            answer = answer.header("upgrade", "raw");
        }
        let upgrade = hyper::upgrade::on(&mut request);
        coracle_task::Supervisor::new("test").spawn("echo", async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            if path == "/ws" {
                let mut socket =
                    tokio_tungstenite::WebSocketStream::from_raw_socket(io, Role::Server, None)
                        .await;
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() {
                        break;
                    }
                    socket.send(message).await.unwrap();
                }
            } else {
                let (mut read, mut write) = tokio::io::split(&mut io);
                drop(tokio::io::copy(&mut read, &mut write).await);
                drop(write.shutdown().await);
            }
        });
        answer.body(whole("")).unwrap()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_echo_and_count_as_in_flight() {
    let pod = upgrading_pod().await;
    let (gateway, control) = gateway_for(&[pod.addr]).await;
    let stream = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let (mut socket, answer) = soon(
        "the handshake",
        tokio_tungstenite::client_async("ws://app.example/ws", stream),
    )
    .await
    .unwrap();
    assert_eq!(answer.status(), 101);
    for text in ["hello", "", &"long ".repeat(100_000)] {
        soon("sending", socket.send(Message::text(text)))
            .await
            .unwrap();
        let echo = soon("the echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(echo.into_text().unwrap(), text);
    }
    let report = control.switch(table(2, &[])).await;
    assert_eq!(
        report.draining.get(&pod.addr),
        Some(&1),
        "an open socket holds its pod"
    );
    soon("sending", socket.send(Message::text("still here")))
        .await
        .unwrap();
    assert!(soon("the echo", socket.next()).await.unwrap().is_ok());
    soon("the close", socket.close(None)).await.unwrap();
    while soon("the end", socket.next()).await.is_some() {}
    control
        .report("the drain's end", |r| {
            r.generation == 2 && r.draining.is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_protocol_is_carried_with_backpressure_and_half_close() {
    let pod = upgrading_pod().await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send(
            "GET /raw HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n",
        )
        .await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("upgrade")), (101, "raw"));
    let sent: Vec<u8> = (0..4_000_000_u32).map(|i| (i % 249) as u8).collect();
    let (mut read, mut write) = client.stream.split();
    let mut got = Vec::new();
    let (up, down) = soon("the echo", async {
        tokio::join!(
            async {
                write.write_all(&sent).await?;
                write.shutdown().await
            },
            read.read_to_end(&mut got)
        )
    })
    .await;
    up.unwrap();
    down.unwrap();
    assert!(
        got == sent,
        "{} of {} bytes came back",
        got.len(),
        sent.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let pod = upgrading_pod().await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    client
        .send(
            "GET /no HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (400, "no upgrade"));
    // HTTP/2 in the clear would be a way around every rule.
    client
        .send("GET /raw HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 400, "the pod saw no upgrade");
}
