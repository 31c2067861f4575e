//! Logs of pods and apps.

use coracle_model::user::{ProjectScope, Role};
use serde_json::json;

use crate::support::Platform;

#[tokio::test]
async fn a_pods_log_is_lines_of_json() {
    let platform = Platform::new().await;
    let vera = platform.user("vera", Role::Viewer, ProjectScope::All).await;
    platform.run_pod("default", None, "box").await;
    let path = "projects/default/pods/box/log";
    let answer = vera.get(path).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let line = answer.ok(200);
    assert_eq!(
        (&line["pod"], &line["channel"], &line["text"]),
        (&json!("box"), &json!("stdout"), &json!("listening"))
    );
    assert!(line["at"].is_string() && line.get("process").is_none());
    assert_eq!(vera.get(&format!("{path}?tail=0")).await.text(), "");
    for (query, code, field) in [
        ("since=yesterday", "invalid_field", "since"),
        ("since=1e99d", "invalid_field", "since"),
        ("tail=-1", "invalid_field", "tail"),
        ("tail=4294967296", "invalid_field", "tail"),
        ("follow=1", "invalid_field", "follow"),
        ("process=A", "invalid_field", "process"),
        ("folow=true", "unknown_field", "query"),
    ] {
        let problem = vera
            .get(&format!("{path}?{query}"))
            .await
            .problem(422, code);
        let named = problem["field"].as_str().unwrap();
        assert!(named == field || named == "folow", "{query}: {problem}");
        vera.get(&format!("projects/default/apps/hello/logs?{query}"))
            .await;
    }
    vera.get("projects/default/pods/never/log")
        .await
        .problem(404, "not_found");
    vera.get("projects/default/apps/never/logs")
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn who_follows_an_app_sees_pods_that_come_later() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    let path = "projects/default/apps/hello/logs";
    platform
        .run_pod("default", Some("hello"), "hello-web-v1")
        .await;
    platform
        .run_pod("default", Some("other"), "other-web-v1")
        .await;
    let mut all = admin.stream(&format!("{path}?follow=true")).await;
    let mut one = admin
        .stream(&format!("{path}?follow=true&pod=hello-web-v2"))
        .await;
    let mut worker = admin.stream(&format!("{path}?process=worker")).await;
    assert_eq!(worker.line().await, None);
    let first = all.json().await.unwrap();
    assert_eq!(
        (&first["pod"], &first["process"], &first["text"]),
        (&json!("hello-web-v1"), &json!("web"), &json!("listening"))
    );
    platform
        .run_pod("default", Some("hello"), "hello-web-v2")
        .await;
    for stream in [&mut all, &mut one] {
        let later = stream.json().await.unwrap();
        assert_eq!(
            (&later["pod"], &later["text"]),
            (&json!("hello-web-v2"), &json!("listening"))
        );
    }
    // Without following, what there is, and the end.
    let now = admin.get(path).await.text();
    assert_eq!(now.lines().count(), 2, "{now}");
}

#[tokio::test]
async fn a_reader_who_left_holds_nothing() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    platform
        .run_pod("default", Some("hello"), "hello-web-v1")
        .await;
    let before = platform.supervisor.running();
    for path in [
        "projects/default/pods/hello-web-v1/log",
        "projects/default/apps/hello/logs",
    ] {
        let mut stream = admin.stream(&format!("{path}?follow=true")).await;
        stream.json().await.unwrap();
        assert!(platform.supervisor.running() > before);
        drop(stream);
        // The pod says nothing more: the end must be noticed all the same.
        let ended = async {
            while platform.supervisor.running() > before {
                tokio::task::yield_now().await;
            }
        };
        crate::support::soon("the readers' tasks to end", ended).await;
    }
}
