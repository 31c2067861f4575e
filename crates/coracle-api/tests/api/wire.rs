//! Bodies, types, sizes, ids and panics: what holds for all routes.

use std::sync::Arc;

use coracle_api::StatusSource;
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Options, Platform};

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let post = |kind: Option<&str>, body: &str| {
        let request = admin
            .request(Method::POST, "projects")
            .body(body.to_owned());
        let request = match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        };
        Answer::of(request)
    };
    let json_type = Some("application/json");
    for body in [
        "",
        "{",
        "{]",
        "nonsense",
        "\"",
        "{\"metadata\":",
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{}} {}",
        "\u{feff}{}",
        "{'a': 1}",
    ] {
        post(json_type, body).await.problem(400, "invalid_request");
    }
    for body in ["[]", "null", "1", "\"text\"", "{}"] {
        post(json_type, body).await.problem(422, "invalid_field");
    }
    // As deep as one likes, and not the stack's end.
    post(json_type, &"[".repeat(100_000))
        .await
        .problem(422, "invalid_field");
    let deep = format!(
        "{{\"metadata\":{{\"name\":\"a\"}},\"spec\":{{}},\"status\":{}",
        "[".repeat(100_000)
    );
    post(json_type, &deep).await.problem(400, "invalid_request");
    let twice = r#"{"metadata":{"name":"a","name":"b"},"spec":{}}"#;
    post(json_type, twice).await.problem(422, "invalid_field");
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/jsonp",
        "",
    ] {
        post(Some(kind), r#"{"metadata":{"name":"a"},"spec":{}}"#)
            .await
            .problem(415, "unsupported_media_type");
    }
    for (kind, name) in [
        (None, "a"),
        (Some("application/json; charset=utf-8"), "b"),
        (Some("APPLICATION/JSON"), "c"),
        (Some("application/merge-patch+json"), "d"),
    ] {
        post(
            kind,
            &json!({"metadata": {"name": name}, "spec": {}}).to_string(),
        )
        .await
        .ok(201);
    }
    let not_utf8 = admin
        .request(Method::POST, "projects")
        .body(b"{\"metadata\":{\"name\":\"\xff\"},\"spec\":{}}".to_vec());
    let status = Answer::of(not_utf8).await.status;
    assert!(matches!(status, 400 | 422), "{status}");
}

#[tokio::test]
async fn a_huge_body_is_refused() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let body = json!({"metadata": {"name": "a"}, "spec": {"description": "x".repeat(2 << 20)}});
    admin
        .post("projects", &body)
        .await
        .problem(413, "too_large");
    let body = json!({"metadata": {"name": "a"}, "spec": {"description": "x".repeat(900 << 10)}});
    admin
        .post("projects", &body)
        .await
        .about(422, "invalid_field", "spec.description");
    // Also one that does not say how long it is.
    let pieces = (0..40).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 64 << 10])));
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let request = admin.request(Method::POST, "projects").body(body);
    Answer::of(request).await.problem(413, "too_large");
    // A login is bounded for everybody.
    let body = json!({"user": "a", "password": "x".repeat(2 << 20)});
    platform
        .nobody()
        .post("session", &body)
        .await
        .problem(413, "too_large");
}

#[tokio::test]
async fn an_id_from_outside_is_taken_over_only_if_it_is_harmless() {
    let platform = Platform::new().await;
    let ask = |id: Vec<u8>| {
        let id = reqwest::header::HeaderValue::from_bytes(&id).unwrap();
        Answer::of(
            platform
                .nobody()
                .request(Method::GET, "users")
                .header("x-request-id", id),
        )
    };
    for good in [
        "abc-123",
        "0af7651916cd43dd8448eb211c80319c",
        "a.b_c",
        &"x".repeat(64),
    ] {
        let problem = ask(good.as_bytes().to_vec())
            .await
            .problem(401, "unauthenticated");
        assert_eq!(problem["request_id"], good);
    }
    let mut seen = std::collections::BTreeSet::new();
    for bad in [
        &b""[..],
        b"a b",
        b"<script>",
        b"a\"b",
        b"\xffabc",
        b"a\tb",
        "é".as_bytes(),
        &[b'x'; 65],
        &[b'x'; 5000],
    ] {
        let answer = ask(bad.to_vec()).await;
        let problem = answer.problem(401, "unauthenticated");
        let id = problem["request_id"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 32, "{id}");
        assert!(seen.insert(id));
    }
    let answer = platform.nobody().get("/healthz").await;
    assert_eq!(answer.header("x-request-id").len(), 32);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
}

struct Broken;

impl StatusSource for Broken {
    fn controllers(&self) -> serde_json::Value {
        panic!("the secret of the panic")
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_and_not_the_end() {
    let platform = Platform::with(Options {
        statuses: Arc::new(Broken),
        ..Options::default()
    })
    .await;
    let admin = platform.admin().await;
    for _ in 0..3 {
        let answer = admin.get("system").await;
        let problem = answer.problem(500, "internal");
        assert!(problem["hint"].as_str().unwrap().contains("request id"));
        assert!(!answer.text().contains("secret of the panic"));
    }
    admin.get("projects").await.ok(200);
}

#[tokio::test]
async fn a_stop_ends_streams_and_lets_requests_finish() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let mut stream = admin.stream("events").await;
    stream.until_synced().await;
    platform.supervisor.token().cancel();
    let ended = async { while stream.event().await.is_some() {} };
    crate::support::soon("the stream to end with the platform", ended).await;
}
