//! The client against a small server that speaks as the platform does, and against some that do not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, RawQuery, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router};
use coracle_builder::{Limits, PackProgress, scan, unpack};
use coracle_client::build::BuildLogLine;
use coracle_client::events::{AnyObject, Change, EventQuery, Gone};
use coracle_client::exec::Output;
use coracle_client::logs::LogQuery;
use coracle_client::pod::TerminalSize;
use coracle_client::release::{MissingApp, NewRelease};
use coracle_client::{Client, ClientError};
use coracle_model::app::{AppPhase, ScaleChange};
use coracle_model::env::{EnvChange, Secret};
use coracle_model::name::{AppName, EnvName, PodName, ProcessName, ProjectName};
use coracle_model::object::Kind;
use coracle_model::problem::{Code, Problem};
use coracle_model::release::{ReleaseNumber, ReleasePhase};
use coracle_task::Supervisor;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

/// Nothing here takes longer, even on a busy machine.
const SOON: Duration = Duration::from_secs(30);

struct Server {
    address: SocketAddr,
    tasks: Supervisor,
}

impl Server {
    async fn start(router: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Supervisor::new("test server");
        tasks.spawn("serve", async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, tasks }
    }

    fn client(&self) -> Client {
        Client::new(
            &format!("http://{}/", self.address),
            Some(&Secret::new("sesame")),
        )
        .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

fn project() -> ProjectName {
    ProjectName::default_project()
}

fn hello() -> AppName {
    AppName::new("hello").unwrap()
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "project": "default", "uid": "u", "revision": 7, "created": "2026-01-31T12:00:00Z" })
}

fn app(name: &str) -> Value {
    json!({ "kind": "App", "metadata": metadata(name), "spec": {}, "status": { "phase": "running", "last_release": 1, "last_build": 0, "future": "field" } })
}

fn app_in(name: &str, phase: &str) -> Value {
    let mut app = app(name);
    app["status"]["phase"] = phase.into();
    app
}

fn release(number: u32, phase: &str) -> Value {
    json!({
        "kind": "Release", "metadata": metadata(&format!("v{number}")),
        "spec": { "app": "hello", "number": number, "image": "x:1", "config": {}, "origin": { "from": "image" }, "created_by": "admin" },
        "status": { "phase": phase },
    })
}

fn build(phase: &str) -> Value {
    json!({
        "kind": "Build", "metadata": metadata("b3"),
        "spec": { "app": "hello", "number": 3, "source": { "type": "upload", "id": "x", "bytes": 1 }, "created_by": "admin" },
        "status": { "phase": phase },
    })
}

fn pod(name: &str, release: u32) -> Value {
    json!({
        "kind": "Pod", "metadata": metadata(name),
        "spec": { "image": "x:1", "app": "hello", "process": "web", "release": release },
        "status": { "phase": "ready" },
    })
}

fn problem(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap();
    let mut response = (status, Json(problem)).into_response();
    let kind = header::HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn sse(events: &[(&str, Value)]) -> String {
    let mut text = String::from(": hello\n\n");
    for (name, data) in events {
        text.push_str(&format!("event: {name}\nid: 5\ndata: {data}\n\n"));
    }
    text
}

/// An answer that begins with `text` and then breaks off, as when the platform is killed.
fn broken(text: String) -> Body {
    let killed = async {
        // The server sends what it has when there is nothing more for the moment.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("killed"))
    };
    let pieces = stream::iter([Ok(Bytes::from(text))]).chain(stream::once(killed));
    Body::from_stream(pieces)
}

/// An answer that begins with `text` and then says nothing more.
fn open(text: String) -> Body {
    Body::from_stream(
        stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]).chain(stream::pending()),
    )
}

#[tokio::test]
async fn lists_are_read_to_their_last_page() {
    let handler = |headers: HeaderMap, query: Query<Vec<(String, String)>>| async move {
        assert_eq!(headers["authorization"], "Bearer sesame");
        assert!(
            headers["user-agent"]
                .to_str()
                .unwrap()
                .starts_with("coracle/")
        );
        let after = query
            .iter()
            .find(|(k, _)| k == "after")
            .map(|(_, v)| v.as_str());
        let (items, next) = match after {
            None => (vec![app("a"), app("b")], Some("b")),
            Some("b") => (vec![app("c")], Some("c")),
            Some("c") => (vec![], None),
            Some(other) => panic!("{other}"),
        };
        Json(json!({ "items": items, "next": next }))
    };
    let endless = || async { Json(json!({ "items": [], "next": "x" })) };
    let server = Server::start(
        Router::new()
            .route("/api/v1/projects/default/apps", get(handler))
            .route("/api/v1/nodes", get(endless)),
    )
    .await;
    let client = server.client();
    let apps = client.apps(&project()).await.unwrap();
    let names: Vec<_> = apps.iter().map(|app| app.metadata.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(matches!(
        client.nodes().await,
        Err(ClientError::Protocol { .. })
    ));
    assert!(!format!("{client:?}").contains("sesame"));
}

#[tokio::test]
async fn writes_carry_their_condition_and_bodies() {
    let scale = |headers: HeaderMap, Json(body): Json<Value>| async move {
        assert_eq!(body, json!({ "processes": { "web": 3 } }));
        match headers.get("if-match").map(|v| v.to_str().unwrap()) {
            Some("\"7\"") => Json(app("hello")).into_response(),
            _ => problem(
                Problem::new(Code::StaleRevision, "it was changed").field("metadata.revision"),
            ),
        }
    };
    let env = |Json(body): Json<Value>| async move {
        assert_eq!(
            body,
            json!({ "set": { "A": "1" }, "secret": { "B": "hidden" }, "unset": ["C"] })
        );
        Json(
            json!({ "vars": { "A": { "value": "1", "secret": false }, "B": { "secret": true } }, "release": "v4" }),
        )
    };
    let releases = |RawQuery(query): RawQuery, Json(body): Json<Value>| async move {
        assert_eq!(query.as_deref(), Some("create=true"));
        assert_eq!(body, json!({ "rollback": "previous" }));
        (StatusCode::ACCEPTED, Json(release(4, "pending")))
    };
    let server = Server::start(
        Router::new()
            .route("/api/v1/projects/default/apps/hello/scale", put(scale))
            .route(
                "/api/v1/projects/default/apps/hello/env",
                axum::routing::patch(env),
            )
            .route(
                "/api/v1/projects/default/apps/hello/releases",
                post(releases),
            ),
    )
    .await;
    let client = server.client();
    let change = ScaleChange {
        processes: [(ProcessName::web(), 3)].into(),
    };
    client
        .change_scale(&project(), &hello(), &change, Some(7))
        .await
        .unwrap();
    let error = client
        .change_scale(&project(), &hello(), &change, Some(6))
        .await
        .unwrap_err();
    assert_eq!(error.problem().unwrap().code, Code::StaleRevision);
    assert_eq!(error.to_string(), "metadata.revision: it was changed");

    let name = |n: &str| EnvName::new(n).unwrap();
    let change = EnvChange {
        set: [(name("A"), "1".to_owned())].into(),
        secret: [(name("B"), Secret::new("hidden"))].into(),
        unset: vec![name("C")],
    };
    let env = client
        .change_env(&project(), &hello(), &change, None)
        .await
        .unwrap();
    assert_eq!(env.release, Some(ReleaseNumber(4)));
    assert!(env.vars[&name("B")].secret);
    let made = client
        .create_release(
            &project(),
            &hello(),
            &NewRelease::Previous,
            MissingApp::Create,
        )
        .await
        .unwrap();
    assert_eq!(made.spec.number, ReleaseNumber(4));
}

#[tokio::test]
async fn refusals_and_strangers_are_told_apart() {
    let elsewhere_hits = Arc::new(AtomicUsize::new(0));
    let hits = Arc::clone(&elsewhere_hits);
    let elsewhere = Server::start(Router::new().fallback(any(move || async move {
        hits.fetch_add(1, Ordering::SeqCst);
        "stolen"
    })))
    .await;
    let to = format!("http://{}/", elsewhere.address);
    let redirect =
        move || async move { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)], "") };
    let server = Server::start(
        Router::new()
            .route("/api/v1/session", get(|| async { problem(Problem::new(Code::Unauthenticated, "who are you?")) }))
            .route("/api/v1/system", get(|| async { (StatusCode::BAD_GATEWAY, "<html>proxy</html>") }))
            .route("/api/v1/tokens", get(redirect))
            .route("/api/v1/users", get(|| async { "{\"items\": [" }))
            .route("/api/v1/pods", get(|| async {
                let body = json!({ "type": "x", "title": "x", "status": 418, "detail": "of the future", "code": "teapot" });
                (StatusCode::IM_A_TEAPOT, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string())
            })),
    )
    .await;
    let client = server.client();
    let error = client.who_am_i().await.unwrap_err();
    assert!(matches!(error, ClientError::Unauthenticated(_)));
    assert_eq!(error.hint().unwrap(), "log in with `coracle login`");
    assert!(matches!(
        client.system().await,
        Err(ClientError::Protocol { .. })
    ));
    assert!(matches!(
        client.users().await,
        Err(ClientError::Protocol { .. })
    ));
    let error = client.all_pods().await.unwrap_err();
    assert!(error.to_string().contains("of the future"), "{error}");
    assert!(matches!(
        client.tokens().await,
        Err(ClientError::Redirected { .. })
    ));
    assert_eq!(
        elsewhere_hits.load(Ordering::SeqCst),
        0,
        "the token stays here"
    );

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let nobody = Client::new(&format!("http://{address}"), None).unwrap();
    let error = nobody.system().await.unwrap_err();
    assert!(error.is_passing());
    let told = error.explain();
    assert!(
        told.contains("cannot be reached") && told.contains("refused"),
        "{told}"
    );
    assert!(error.hint().unwrap().contains("coracle up"));
}

#[test]
fn addresses_and_tokens_are_checked() {
    for bad in [
        "",
        "localhost:7070",
        "ftp://x",
        "http://",
        "http://user:secret@host",
        "http://host?x",
        "http://host/#x",
    ] {
        let error = Client::new(bad, None).unwrap_err();
        assert!(matches!(error, ClientError::BadUrl { .. }), "{bad}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert_eq!(
        Client::new("http://host:1/", None).unwrap().url(),
        "http://host:1"
    );
    assert!(Client::new("https://host/prefix", None).is_ok());
    let error = Client::new("http://host", Some(&Secret::new("a\nb"))).unwrap_err();
    assert!(matches!(error, ClientError::BadToken));
}

#[tokio::test]
async fn a_folder_arrives_whole() {
    let received = tempfile::tempdir().unwrap();
    let target = received.path().join("source");
    let to = target.clone();
    let receive = move |RawQuery(query): RawQuery, request: Request| async move {
        assert_eq!(query.as_deref(), Some("create=true"));
        assert_eq!(request.headers()["content-type"], "application/zstd");
        let body = request
            .into_body()
            .into_data_stream()
            .map_err(std::io::Error::other);
        let reader = tokio_util::io::StreamReader::new(body);
        match unpack(reader, &to, Limits::default()).await {
            Ok(_) => (StatusCode::ACCEPTED, Json(build("queued"))).into_response(),
            Err(error) => problem(error.to_problem()),
        }
    };
    let server = Server::start(
        Router::new().route("/api/v1/projects/default/apps/hello/builds", post(receive)),
    )
    .await;
    let client = server.client();

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Dockerfile"), "FROM x").unwrap();
    std::fs::write(folder.path().join("big"), vec![7; 3_000_000]).unwrap();
    let found = scan(folder.path(), &Limits::default()).unwrap();
    let total = found.bytes;
    let last = Arc::new(Mutex::new(PackProgress::default()));
    let told = Arc::clone(&last);
    let progress = move |now| *told.lock().unwrap() = now;
    let made = client
        .upload(&project(), &hello(), found, MissingApp::Create, progress)
        .await
        .unwrap();
    assert_eq!(made.spec.number, 3);
    assert_eq!(
        *last.lock().unwrap(),
        PackProgress {
            files: 2,
            bytes: total
        }
    );
    assert_eq!(
        std::fs::read(target.join("big")).unwrap(),
        vec![7; 3_000_000]
    );

    std::fs::remove_dir_all(&target).unwrap();
    let found = scan(folder.path(), &Limits::default()).unwrap();
    std::fs::remove_file(folder.path().join("big")).unwrap();
    let error = client
        .upload(&project(), &hello(), found, MissingApp::Create, |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Source(_)), "{error:?}");
    assert!(
        error.explain().starts_with("\"big\" cannot be read"),
        "{}",
        error.explain()
    );
    let gone = async {
        while target.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_heard() {
    let refuse = |request: Request| async move {
        let mut body = request.into_body().into_data_stream();
        let _first = body.next().await.unwrap().unwrap();
        problem(Problem::new(
            Code::TooLarge,
            "the upload is larger than 1Mi",
        ))
    };
    let server = Server::start(
        Router::new().route("/api/v1/projects/default/apps/hello/builds", post(refuse)),
    )
    .await;
    let client = server.client();
    for _ in 0..10 {
        let pieces = (0..1000).map(|_| Ok(Bytes::from(vec![7; 64 << 10])));
        let error = client
            .upload_stream(
                &project(),
                &hello(),
                stream::iter(pieces),
                "application/x-tar",
                MissingApp::Refuse,
            )
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the upload is larger than 1Mi");
    }
}

#[tokio::test]
async fn log_lines_come_until_the_end_or_the_loss() {
    let line = |text: &str| {
        json!({ "pod": "hello-web-1", "process": "web", "at": "2026-01-31T12:00:00Z", "channel": "stderr", "text": text }).to_string()
    };
    let whole = format!("{}\n\n{}\r\n{}", line("one"), line("two"), line("three"));
    let cut = format!("{}\n", line("one"));
    let endless = |query: RawQuery| async move {
        assert_eq!(query.0.as_deref(), Some("follow=true&tail=10&process=web"));
        Body::from_stream(stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1 << 20]))
        }))
    };
    let server = Server::start(
        Router::new()
            .route("/api/v1/projects/default/apps/hello/logs", get(endless))
            .route(
                "/api/v1/projects/default/pods/a/log",
                get(move || async { whole }),
            )
            .route(
                "/api/v1/projects/default/pods/b/log",
                get(move || async { broken(cut) }),
            ),
    )
    .await;
    let client = server.client();
    let name = |n: &str| PodName::new(n).unwrap();
    let lines = client
        .pod_log(&project(), &name("a"), &LogQuery::default())
        .await
        .unwrap();
    let texts: Vec<_> = lines.map_ok(|line| line.text).try_collect().await.unwrap();
    assert_eq!(texts, ["one", "two", "three"]);

    let mut lines = client
        .pod_log(&project(), &name("b"), &LogQuery::default())
        .await
        .unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().text, "one");
    assert!(matches!(
        lines.next().await,
        Some(Err(ClientError::Interrupted { .. }))
    ));
    assert!(lines.next().await.is_none());

    let query = LogQuery {
        follow: true,
        tail: Some(10),
        process: Some(ProcessName::web()),
        ..LogQuery::default()
    };
    let mut lines = client.app_logs(&project(), &hello(), &query).await.unwrap();
    let error = lines.next().await.unwrap().unwrap_err();
    assert!(
        error.to_string().contains("a line has more than"),
        "{error}"
    );
}

#[tokio::test]
async fn events_are_typed() {
    let text = sse(&[
        ("applied", app("hello")),
        ("synced", json!({})),
        ("applied", json!({ "kind": "Desktop", "metadata": {} })),
        ("future", json!({})),
        (
            "deleted",
            json!({ "kind": "Release", "metadata": { "name": "v3", "project": "default" }, "spec": { "app": "hello" } }),
        ),
        ("reset", json!({})),
    ]);
    let handler = move |headers: HeaderMap, query: RawQuery| async move {
        assert_eq!(
            query.0.as_deref(),
            Some("project=default&kinds=App%2CRelease")
        );
        assert_eq!(headers["last-event-id"], "41");
        text
    };
    let server = Server::start(Router::new().route("/api/v1/events", get(handler))).await;
    let query = EventQuery {
        project: Some(project()),
        kinds: vec![Kind::App, Kind::Release],
        after: Some(41),
    };
    let events = server.client().events(&query).await.unwrap();
    let events: Vec<_> = events.try_collect().await.unwrap();
    let [
        Change::Applied(AnyObject::App(app)),
        Change::Synced,
        Change::Applied(AnyObject::Other(_)),
        Change::Deleted(gone),
        Change::Reset,
    ] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!(app.metadata.name, "hello");
    let expected = Gone {
        kind: Kind::Release,
        name: "v3".into(),
        project: Some(project()),
        app: Some(hello()),
    };
    assert_eq!(*gone, expected);
}

#[tokio::test]
async fn waiting_for_a_release_outlives_the_control_plane() {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let handler = move || {
        let call = seen.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0 => broken(sse(&[
                    ("applied", release(1, "live")),
                    ("applied", release(2, "pending")),
                    ("applied", pod("old", 1)),
                    ("applied", pod("gone-meanwhile", 2)),
                    ("synced", json!({})),
                ]))
                .into_response(),
                1 => problem(Problem::new(Code::EngineUnavailable, "starting")),
                _ => open(sse(&[
                    ("applied", release(2, "deploying")),
                    ("applied", pod("new", 2)),
                    ("synced", json!({})),
                    ("applied", pod("old", 1)),
                    ("applied", release(1, "superseded")),
                    ("applied", pod("new-too", 2)),
                    ("deleted", json!({ "kind": "Pod", "metadata": { "name": "new-too", "project": "default" } })),
                    ("applied", release(2, "live")),
                ]))
                .into_response(),
            }
        }
    };
    let server = Server::start(Router::new().route("/api/v1/events", get(handler))).await;
    let told: Vec<_> = server
        .client()
        .wait_release(&project(), &hello(), ReleaseNumber(2))
        .try_collect()
        .await
        .unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|rollout| {
            let pods: Vec<_> = rollout
                .pods
                .iter()
                .map(|pod| pod.metadata.name.as_str())
                .collect();
            (rollout.release.status.phase, pods.join(" "))
        })
        .collect();
    let told: Vec<_> = told
        .iter()
        .map(|(phase, pods)| (*phase, pods.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (ReleasePhase::Pending, "gone-meanwhile"),
            (ReleasePhase::Deploying, "new"),
            (ReleasePhase::Deploying, "new new-too"),
            (ReleasePhase::Deploying, "new"),
            (ReleasePhase::Live, "new"),
        ]
    );
}

#[tokio::test]
async fn following_an_app_outlives_the_control_plane_and_ends_with_the_app() {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let handler = move || {
        let call = seen.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0 => broken(sse(&[
                    ("applied", app_in("other", "failed")),
                    ("applied", app_in("hello", "deploying")),
                    ("synced", json!({})),
                ]))
                .into_response(),
                1 => problem(Problem::new(Code::EngineUnavailable, "starting")),
                _ => open(sse(&[
                    ("applied", app_in("hello", "running")),
                    ("synced", json!({})),
                    ("applied", app_in("other", "running")),
                    ("deleted", json!({ "kind": "App", "metadata": { "name": "hello", "project": "default", "uid": "u" } })),
                ]))
                .into_response(),
            }
        }
    };
    let missing = || async { problem(Problem::new(Code::NotFound, "there is no app hello")) };
    let server = Server::start(
        Router::new()
            .route("/api/v1/events", get(handler))
            .route("/api/v1/projects/default/apps/hello", get(missing)),
    )
    .await;
    let mut told = server.client().follow_app(&project(), &hello());
    for phase in [AppPhase::Deploying, AppPhase::Running] {
        let app = told.next().await.unwrap().unwrap();
        assert_eq!(
            (app.metadata.name.as_str(), app.status.phase),
            ("hello", phase)
        );
    }
    let error = told.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "there is no app hello");
    assert!(told.next().await.is_none());
}

#[tokio::test]
async fn waiting_for_what_is_not_there_ends_with_the_platforms_words() {
    let missing = || async { problem(Problem::new(Code::NotFound, "there is no release v9")) };
    let server = Server::start(
        Router::new()
            .route(
                "/api/v1/events",
                get(|| async { open(sse(&[("synced", json!({}))])) }),
            )
            .route(
                "/api/v1/projects/default/apps/hello/releases/v9",
                get(missing),
            ),
    )
    .await;
    let mut told = server
        .client()
        .wait_release(&project(), &hello(), ReleaseNumber(9));
    let error = told.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "there is no release v9");
    assert!(told.next().await.is_none());
}

#[tokio::test]
async fn a_builds_log_is_told_once_over_two_connections() {
    let line = |text: &str| {
        (
            "line",
            json!({ "at": "2026-01-31T12:00:00Z", "step": "[1/2]", "text": text }),
        )
    };
    let first = sse(&[line("one"), line("two")]);
    let second = sse(&[line("one"), line("two"), line("three"), ("end", json!({}))]);
    let calls = Arc::new(AtomicUsize::new(0));
    let log = move |query: RawQuery| {
        assert_eq!(query.0.as_deref(), Some("follow=true"));
        let answer = match calls.fetch_add(1, Ordering::SeqCst) {
            0 => broken(first.clone()),
            _ => open(second.clone()),
        };
        async { answer }
    };
    let events = sse(&[
        ("applied", build("running")),
        ("synced", json!({})),
        ("applied", build("failed")),
    ]);
    let server = Server::start(
        Router::new()
            .route(
                "/api/v1/projects/default/apps/hello/builds/b3/log",
                get(log),
            )
            .route("/api/v1/events", get(move || async { open(events) })),
    )
    .await;
    let client = server.client();
    let lines: Vec<BuildLogLine> = client
        .follow_build_log(&project(), &hello(), 3)
        .try_collect()
        .await
        .unwrap();
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let builds: Vec<_> = client
        .wait_build(&project(), &hello(), 3)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(builds.len(), 2);
    assert!(builds[1].status.phase.is_final());
}

/// Answers each message with itself, capital, on the other channel; ends with what `end` says.
async fn echo(mut socket: WebSocket, end: Option<Value>) {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Binary(bytes) = message else {
            continue;
        };
        match bytes[0] {
            0 => {
                let mut answer = vec![1];
                answer.extend(bytes[1..].to_ascii_uppercase());
                socket.send(Message::Binary(answer.into())).await.unwrap();
            }
            4 => {
                let mut answer = vec![2];
                answer.extend(&bytes[1..]);
                socket.send(Message::Binary(answer.into())).await.unwrap();
            }
            5 => break,
            other => panic!("{other}"),
        }
    }
    socket.send(Message::Ping(Bytes::new())).await.unwrap();
    socket
        .send(Message::Binary(Bytes::from_static(&[99, 1])))
        .await
        .unwrap();
    if let Some(end) = end {
        let mut last = vec![3];
        last.extend(end.to_string().into_bytes());
        socket.send(Message::Binary(last.into())).await.unwrap();
    }
}

#[tokio::test]
async fn a_command_gets_input_and_tells_its_end() {
    let speak = |upgrade: WebSocketUpgrade, end: Option<Value>| {
        upgrade
            .protocols(["coracle.exec.v1"])
            .on_upgrade(|socket| echo(socket, end))
    };
    let exec = move |headers: HeaderMap, query: RawQuery, upgrade: WebSocketUpgrade| async move {
        assert_eq!(headers["authorization"], "Bearer sesame");
        assert_eq!(
            query.0.as_deref(),
            Some("command=sh&command=-c&command=a+%26+b&tty=true&columns=80&rows=24")
        );
        speak(upgrade, Some(json!({ "code": 42 })))
    };
    let fails = move |upgrade: WebSocketUpgrade| async move {
        speak(
            upgrade,
            Some(json!({ "problem": Problem::new(Code::EngineFailed, "no such file") })),
        )
    };
    let lost = move |upgrade: WebSocketUpgrade| async move { speak(upgrade, None) };
    let stranger = |upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(|_socket| async {}) };
    let refused = || async { problem(Problem::new(Code::Conflict, "it does not run")) };
    let server = Server::start(
        Router::new()
            .route("/api/v1/projects/default/pods/a/exec", get(exec))
            .route("/api/v1/projects/default/pods/a/attach", get(refused))
            .route("/api/v1/projects/default/pods/b/attach", get(fails))
            .route("/api/v1/projects/default/pods/c/attach", get(lost))
            .route("/api/v1/projects/default/pods/d/attach", get(stranger))
            .route(
                "/api/v1/projects/default/pods/e/attach",
                get(|| async { "no upgrade" }),
            ),
    )
    .await;
    let client = server.client();
    let name = |n: &str| PodName::new(n).unwrap();
    let command = ["sh", "-c", "a & b"].map(str::to_owned);
    let size = TerminalSize {
        columns: 80,
        rows: 24,
    };
    let work = async {
        let mut session = client
            .exec(&project(), &name("a"), &command, Some(size))
            .await
            .unwrap();
        session.input.send(b"hello").await.unwrap();
        assert_eq!(
            session.output.next().await.unwrap(),
            Output::Stdout(Bytes::from_static(b"HELLO"))
        );
        session
            .input
            .resize(TerminalSize {
                columns: 100,
                rows: 30,
            })
            .await
            .unwrap();
        let size = Bytes::from_static(br#"{"columns":100,"rows":30}"#);
        assert_eq!(session.output.next().await.unwrap(), Output::Stderr(size));
        // More than one message takes.
        let much = vec![b'x'; 200_000];
        session.input.send(&much).await.unwrap();
        let mut got = 0;
        while got < much.len() {
            let Output::Stdout(data) = session.output.next().await.unwrap() else {
                panic!()
            };
            got += data.len();
        }
        session.input.end().await.unwrap();
        assert_eq!(session.output.next().await.unwrap(), Output::Exit(42));

        let error = client.attach(&project(), &name("a")).await.unwrap_err();
        assert_eq!(error.to_string(), "it does not run");
        let mut session = client.attach(&project(), &name("b")).await.unwrap();
        session.input.end().await.unwrap();
        assert_eq!(
            session.output.next().await.unwrap_err().to_string(),
            "no such file"
        );
        let mut session = client.attach(&project(), &name("c")).await.unwrap();
        session.input.end().await.unwrap();
        assert!(matches!(
            session.output.next().await,
            Err(ClientError::Interrupted { .. })
        ));
        for stranger in ["d", "e"] {
            let error = client
                .attach(&project(), &name(stranger))
                .await
                .unwrap_err();
            assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
        }
    };
    tokio::time::timeout(SOON, work).await.unwrap();
}
