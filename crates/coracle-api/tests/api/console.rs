//! Commands in pods over WebSockets.

use coracle_model::pod::PodPhase;
use coracle_model::user::{ProjectScope, Role};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::{As, Platform, soon};

pub(crate) type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

pub(crate) async fn connect(caller: &As, path: &str) -> Result<Socket, (u16, Value)> {
    open(caller, path, "coracle.exec.v1").await
}

/// A WebSocket that speaks `protocol`, or the status and problem of the refusal.
pub(crate) async fn open(
    caller: &As,
    path: &str,
    protocol: &'static str,
) -> Result<Socket, (u16, Value)> {
    let url = format!("{}/api/v1/{path}", caller.base.replace("http://", "ws://"));
    let mut request = url.into_client_request().unwrap();
    let headers = request.headers_mut();
    if let Some(authorization) = &caller.authorization {
        headers.insert("authorization", authorization.parse().unwrap());
    }
    headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
    match soon("a WebSocket", tokio_tungstenite::connect_async(request)).await {
        Ok((socket, response)) => {
            assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
            Ok(socket)
        }
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            let problem = serde_json::from_slice(&body).unwrap_or_default();
            Err((response.status().as_u16(), problem))
        }
        Err(error) => panic!("{error}"),
    }
}

async fn send(socket: &mut Socket, channel: u8, data: &[u8]) {
    let mut frame = vec![channel];
    frame.extend_from_slice(data);
    socket.send(Message::Binary(frame.into())).await.unwrap();
}

/// The next message: its channel and its text.
pub(crate) async fn next(socket: &mut Socket) -> Option<(u8, String)> {
    loop {
        match soon("a message", socket.next()).await? {
            Ok(Message::Binary(bytes)) => {
                let text = String::from_utf8_lossy(&bytes[1..]).into_owned();
                return Some((bytes[0], text));
            }
            Ok(Message::Close(_)) => return None,
            Err(error) => panic!("{error:?}"),
            Ok(_) => {}
        }
    }
}

/// All that a command writes, by channel, and how it ended.
async fn run(socket: &mut Socket) -> (String, String, Value) {
    let (mut out, mut err) = (String::new(), String::new());
    while let Some((channel, text)) = next(socket).await {
        match channel {
            1 => out += &text,
            2 => err += &text,
            3 => {
                assert_eq!(next(socket).await, None, "nothing follows the exit");
                return (out, err, serde_json::from_str(&text).unwrap());
            }
            other => panic!("channel {other}"),
        }
    }
    panic!("no exit: {out:?} {err:?}");
}

const EXEC: &str = "projects/default/pods/box/exec";

fn query(words: &[&str]) -> String {
    let pairs: Vec<(&str, &str)> = words.iter().map(|word| ("command", *word)).collect();
    format!("{EXEC}?{}", serde_urlencoded::to_string(pairs).unwrap())
}

#[tokio::test]
async fn a_command_runs_and_its_streams_and_status_come_back() {
    let platform = Platform::new().await;
    let dora = platform
        .user("dora", Role::Developer, ProjectScope::All)
        .await;
    platform.run_pod("default", None, "box").await;
    let words = query(&["sh", "-c", "echo out; echo err >&2; exit 7"]);
    let mut socket = connect(&dora, &words).await.unwrap();
    let (out, err, exit) = run(&mut socket).await;
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    assert_eq!(exit, json!({"code": 7}));

    // Input, until its end; what is no message of the protocol is passed over.
    let mut socket = connect(&dora, &query(&["cat"])).await.unwrap();
    socket.send(Message::text("not binary")).await.unwrap();
    send(&mut socket, 9, b"unknown channel").await;
    socket
        .send(Message::Binary(Vec::new().into()))
        .await
        .unwrap();
    send(&mut socket, 0, b"hello ").await;
    send(&mut socket, 0, b"you\n").await;
    send(&mut socket, 5, b"").await;
    let (out, _, exit) = run(&mut socket).await;
    assert_eq!((out.as_str(), exit), ("hello you\n", json!({"code": 0})));

    let mut socket = connect(&dora, &query(&["no-such-tool"])).await.unwrap();
    let (_, err, exit) = run(&mut socket).await;
    assert_eq!(
        (err.as_str(), exit),
        ("sh: no-such-tool: not found\n", json!({"code": 127}))
    );
    // Who ran what is known afterwards; with what words is not told to everybody.
    let activity = dora.get("activity?limit=1").await;
    let event = activity.ok(200)["items"][0]["spec"].clone();
    assert_eq!(
        (&event["actor"], &event["action"], &event["message"]),
        (
            &json!("dora"),
            &json!("pod.exec"),
            &json!("ran \"no-such-tool\"")
        )
    );
}

#[tokio::test]
async fn a_terminal_has_a_size_that_changes() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    platform.run_pod("default", None, "box").await;
    let words = query(&["sh", "-c", "stty size; cat; stty size"]);
    let mut socket = connect(&admin, &format!("{words}&tty=true&columns=100&rows=30"))
        .await
        .unwrap();
    let (channel, first) = next(&mut socket).await.unwrap();
    assert_eq!((channel, first.trim_end()), (1, "30 100"));
    send(&mut socket, 4, br#"{"columns":132,"rows":43}"#).await;
    send(&mut socket, 4, b"nonsense").await;
    send(&mut socket, 5, b"").await;
    let (out, err, exit) = run(&mut socket).await;
    assert!(out.contains("43 132"), "{out:?}");
    assert_eq!((err.as_str(), exit), ("", json!({"code": 0})));
}

#[tokio::test]
async fn who_may_not_and_what_cannot_be_is_refused_before_the_upgrade() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    platform.run_pod("default", None, "box").await;
    let vera = platform.user("vera", Role::Viewer, ProjectScope::All).await;
    for path in [
        query(&["id"]),
        "projects/default/pods/box/attach".to_owned(),
    ] {
        assert_eq!(connect(&vera, &path).await.unwrap_err().0, 403);
        assert_eq!(connect(&platform.nobody(), &path).await.unwrap_err().0, 401);
        // Without an upgrade it is a problem as everywhere.
        admin.get(&path).await.problem(400, "invalid_request");
    }
    for (path, status, field) in [
        (EXEC.to_owned(), 422, json!("command")),
        (format!("{EXEC}?command="), 422, json!("command")),
        (format!("{EXEC}?command=a%00b"), 422, json!("command")),
        (format!("{EXEC}?command=a&columns=0"), 422, json!("columns")),
        (format!("{EXEC}?command=a&rows=65536"), 422, json!("rows")),
        (format!("{EXEC}?command=a&tty=perhaps"), 422, json!("tty")),
        (
            format!("{EXEC}?command=a&privileged=true"),
            422,
            json!("\"privileged\""),
        ),
        (
            "projects/default/pods/never/exec?command=a".to_owned(),
            404,
            Value::Null,
        ),
        (
            "projects/default/pods/never/attach".to_owned(),
            404,
            Value::Null,
        ),
    ] {
        let (got, problem) = connect(&admin, &path).await.unwrap_err();
        assert_eq!(
            (got, &problem["field"]),
            (status, &field),
            "{path}: {problem}"
        );
    }
    let journal = platform.sim.journal_text();
    assert!(!journal.contains("privileged"), "{journal}");
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_session() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    platform.run_pod("default", None, "box").await;
    let mut socket = connect(&admin, &query(&["cat"])).await.unwrap();
    send(&mut socket, 0, &vec![b'x'; 300 * 1024]).await;
    let ended = async {
        while let Some(Ok(message)) = socket.next().await {
            let exit = matches!(&message, Message::Binary(bytes) if bytes.first() == Some(&3));
            assert!(!exit, "the command did not end by itself");
        }
    };
    soon("the session's end", ended).await;
    assert!(
        platform
            .control
            .observed
            .pod(&crate::support::pod_id("default", "box"))
            .is_some_and(|pod| pod.status.phase == PodPhase::Ready)
    );
}

/// Output and end of a session from its beginning to its end.
pub(crate) async fn whole(caller: &As, path: &str) -> (String, Value) {
    let mut socket = connect(caller, path).await.unwrap();
    let (out, _, exit) = run(&mut socket).await;
    (out, exit)
}
