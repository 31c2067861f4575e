//! Connections to ports of pods over WebSockets.

use std::time::Duration;

use coracle_api::ConnectLimits;
use coracle_model::user::{ProjectScope, Role};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::console::{self, Socket};
use crate::support::{As, Options, Platform, only, soon};

/// Sends back what comes on port 8080.
pub(crate) const ECHO: &[&str] = &["nc", "-ll", "-p", "8080", "-e", "cat"];

/// A connection to a pod.
pub(crate) struct Stream {
    sink: SplitSink<Socket, Message>,
    messages: SplitStream<Socket>,
    read: Vec<u8>,
}

/// Connects, or is refused with this status and problem.
pub(crate) async fn open(
    caller: &As,
    project: &str,
    pod: &str,
    query: &str,
) -> Result<Stream, (u16, Value)> {
    let path = format!("projects/{project}/pods/{pod}/connect?{query}");
    let socket = console::open(caller, &path, "coracle.connect.v1").await?;
    let (sink, messages) = socket.split();
    Ok(Stream {
        sink,
        messages,
        read: Vec::new(),
    })
}

impl Stream {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let message = Message::Binary(bytes.to_vec().into());
        self.sink.send(message).await.unwrap();
    }

    async fn say(&mut self, what: &Value) {
        let message = Message::text(what.to_string());
        self.sink.send(message).await.unwrap();
    }

    /// The next message that is none of the WebSocket's own.
    async fn next(&mut self) -> Message {
        loop {
            let message = soon("a message", self.messages.next()).await;
            match message.expect("no end without a close").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next so many bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            match self.next().await {
                Message::Binary(bytes) => self.read.extend_from_slice(&bytes),
                other => panic!("{other:?}"),
            }
        }
        self.read.drain(..count).collect()
    }

    /// What the platform says last, and the code that it closes with.
    pub(crate) async fn last_words(&mut self) -> (Value, u16) {
        let mut said = Value::Null;
        loop {
            match self.next().await {
                Message::Text(text) => said = serde_json::from_str(&text).unwrap(),
                Message::Close(Some(frame)) => return (said, frame.code.into()),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_direction_ends_by_itself() {
    let platform = Platform::new().await;
    let dora = platform
        .user("dora", Role::Developer, only(&["default"]))
        .await;
    platform.run_command("default", None, "box", ECHO).await;
    let mut stream = open(&dora, "default", "box", "port=8080").await.unwrap();
    stream.send(b"hello ").await;
    stream.send(b"").await;
    // What is not understood is of a later version.
    stream.say(&json!({"later": 1})).await;
    stream.say(&json!("nonsense")).await;
    stream.send(b"you").await;
    assert_eq!(stream.bytes(9).await, b"hello you");
    stream.send(b"last").await;
    stream.say(&json!({"end": true})).await;
    assert_eq!(stream.bytes(4).await, b"last");
    assert_eq!(stream.last_words().await, (json!({"end": true}), 1000));

    // The pod ends first: a web server answers and closes.
    platform.run_pod("default", None, "web").await;
    let mut stream = open(&dora, "default", "web", "port=8080").await.unwrap();
    stream.send(b"GET /cgi-bin/whoami HTTP/1.0\r\n\r\n").await;
    let head = stream.bytes(8).await;
    assert_eq!(head, b"HTTP/1.0");
    loop {
        match stream.next().await {
            Message::Binary(_) => {}
            Message::Text(text) => break assert_eq!(text, r#"{"end":true}"#),
            other => panic!("{other:?}"),
        }
    }
    stream.say(&json!({"end": true})).await;
    assert_eq!(stream.last_words().await.1, 1000);
}

#[tokio::test]
async fn what_a_pod_sends_waits_for_its_reader() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    platform.run_command("default", None, "box", ECHO).await;
    let stream = open(&admin, "default", "box", "port=8080").await.unwrap();
    let Stream {
        mut sink,
        mut messages,
        ..
    } = stream;
    // Far more than all the buffers on the way: nobody reads, so the sender is held back in the end.
    let piece = Message::Binary(vec![b'x'; 64 * 1024].into());
    let mut sent = 0_usize;
    let held = async {
        loop {
            let sending = tokio::time::timeout(Duration::from_secs(2), sink.send(piece.clone()));
            match sending.await {
                Ok(done) => done.unwrap(),
                Err(_held_back) => return,
            }
            sent += 64 * 1024;
            assert!(sent < 256 << 20, "somebody gathers all of it");
        }
    };
    soon("a sender that is held back", held).await;
    let mut read = 0;
    while read < sent {
        match soon("a message", messages.next()).await.unwrap().unwrap() {
            Message::Binary(bytes) => read += bytes.len(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn who_may_not_and_what_cannot_be_is_refused_before_the_upgrade() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("other").await;
    platform.run_command("default", None, "box", ECHO).await;
    let vera = platform.user("vera", Role::Viewer, ProjectScope::All).await;
    let oscar = platform
        .user("oscar", Role::Developer, only(&["other"]))
        .await;
    let nobody = platform.nobody();
    let refused = async |caller: &As, pod: &str, query: &str| {
        let refused = open(caller, "default", pod, query).await;
        refused.err().expect("a refusal")
    };
    assert_eq!(refused(&vera, "box", "port=8080").await.0, 403);
    assert_eq!(refused(&nobody, "box", "port=8080").await.0, 401);
    assert_eq!(refused(&oscar, "box", "port=8080").await.0, 404);
    admin
        .get("projects/default/pods/box/connect?port=8080")
        .await
        .problem(400, "invalid_request");
    for (pod, query, status, code) in [
        ("never", "port=8080", 404, "not_found"),
        ("box", "port=81", 422, "invalid_field"),
        ("box", "port=0", 422, "invalid_field"),
        ("box", "port=65536", 422, "invalid_field"),
        ("box", "", 422, "invalid_field"),
        ("box", "port=8080&host=10.0.0.1", 422, "unknown_field"),
        ("box", "port=81&any_port=true", 502, "port_unreachable"),
    ] {
        let (got, problem) = refused(&admin, pod, query).await;
        let known = (got, problem["code"].as_str().unwrap_or_default());
        assert_eq!(known, (status, code), "{pod}?{query}: {problem}");
    }
    let (_, problem) = refused(&admin, "box", "port=81").await;
    let detail = "pod default/box declares port 8080, and not 81";
    assert_eq!(
        (&problem["field"], &problem["detail"]),
        (&json!("port"), &json!(detail))
    );
    let actions = admin.get("activity").await.ok(200).to_string();
    assert!(!actions.contains("pod.connect"), "{actions}");
}

#[tokio::test]
async fn who_connected_where_is_recorded_once_and_not_what_was_sent() {
    let platform = Platform::new().await;
    let dora = platform
        .user("dora", Role::Developer, ProjectScope::All)
        .await;
    platform.run_command("default", None, "box", ECHO).await;
    for _ in 0..3 {
        let mut stream = open(&dora, "default", "box", "port=8080").await.unwrap();
        stream.send(b"a secret").await;
        assert_eq!(stream.bytes(8).await, b"a secret");
    }
    let actions = dora.get("activity").await.ok(200);
    let actions = actions["items"].as_array().unwrap();
    let told: Vec<&Value> = actions
        .iter()
        .map(|event| &event["spec"])
        .filter(|spec| spec["action"] == "pod.connect")
        .collect();
    let expected = json!({"actor": "dora", "action": "pod.connect", "kind": "Pod", "object": "box",
        "message": "connected to port 8080"});
    assert_eq!(told, [&expected]);
}

#[tokio::test]
async fn connections_are_bounded_and_end_when_nothing_is_sent() {
    let options = Options {
        connect: ConnectLimits {
            per_project: 2,
            idle: Duration::from_millis(500),
            ..ConnectLimits::default()
        },
        ..Options::default()
    };
    let platform = Platform::with(options).await;
    let admin = platform.admin().await;
    platform.run_command("default", None, "box", ECHO).await;
    let connect = || open(&admin, "default", "box", "port=8080");
    let mut first = connect().await.unwrap();
    let _second = connect().await.unwrap();
    let (status, problem) = connect().await.err().expect("a refusal");
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
    let (told, code) = first.last_words().await;
    assert_eq!((&told["problem"]["code"], code), (&json!("idle"), 1008));
    drop(first);
    let free = async { while connect().await.is_err() {} };
    Box::pin(soon("a place that was given back", free)).await;
}

#[tokio::test]
async fn a_stream_ends_with_its_pod() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let pod = platform.run_command("default", None, "box", ECHO).await;
    let mut stream = open(&admin, "default", "box", "port=8080").await.unwrap();
    stream.send(b"here").await;
    assert_eq!(stream.bytes(4).await, b"here");
    platform.sim.kill(&pod);
    match stream.next().await {
        Message::Text(text) => assert_eq!(text, r#"{"end":true}"#),
        other => panic!("{other:?}"),
    }
}
