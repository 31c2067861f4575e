//! Answers without end, and the end of the credentials that they were opened with.

use chrono::{Duration, Utc};
use coracle_model::user::{ProjectScope, Role};
use serde_json::{Value, json};

use crate::connect;
use crate::console::{self, next};
use crate::support::{As, Platform, only, soon};

/// How credentials end.
const ENDS: [&str; 5] = ["token", "user", "role", "project", "expiry"];

/// A user whose token ends soon in the way of `what`, and who ends it.
async fn about_to_end(platform: &Platform, admin: &As, what: &'static str) -> (As, impl AsyncFn()) {
    let name = format!("ann-{what}");
    let ann = platform
        .user(&name, Role::Developer, only(&["default", "other"]))
        .await;
    let expires = (what == "expiry").then(|| Utc::now() + Duration::seconds(2));
    let token = platform
        .token(&name, "long", Role::Developer, ProjectScope::All, expires)
        .await;
    let admin = admin.clone();
    let end = async move || {
        let path = format!("users/{name}");
        let put = async |spec: Value| admin.put(&path, &json!({ "spec": spec })).await.ok(200);
        match what {
            "token" => ann.delete("tokens/long").await.ok(204),
            "user" => admin.delete(&path).await.ok(204),
            "role" => {
                put(json!({"role": "viewer", "projects": {"only": ["default", "other"]}})).await
            }
            "project" => put(json!({"role": "developer", "projects": {"only": ["other"]}})).await,
            _ => json!(null),
        };
    };
    (token, end)
}

#[tokio::test]
async fn logs_that_are_followed_end_with_the_credentials() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("other").await;
    admin.make_app("default", "hello").await;
    platform
        .run_pod("default", Some("hello"), "hello-web-v1")
        .await;
    for what in ENDS {
        let (token, end) = about_to_end(&platform, &admin, what).await;
        for path in [
            "projects/default/apps/hello/logs?follow=true",
            "projects/default/pods/hello-web-v1/log?follow=true",
        ] {
            let mut stays = admin.stream(path).await;
            assert!(stays.line().await.is_some());
        }
        let mut app = token
            .stream("projects/default/apps/hello/logs?follow=true")
            .await;
        let mut pod = token
            .stream("projects/default/pods/hello-web-v1/log?follow=true")
            .await;
        assert!(app.line().await.is_some() && pod.line().await.is_some());
        end().await;
        for stream in [&mut app, &mut pod] {
            let ended = async { while stream.line().await.is_some() {} };
            soon(&format!("the end of a log with the {what}"), ended).await;
        }
    }
}

#[tokio::test]
async fn a_terminal_ends_with_the_credentials_and_says_so() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("other").await;
    platform.run_pod("default", None, "box").await;
    for what in ENDS {
        let (token, end) = about_to_end(&platform, &admin, what).await;
        let path = "projects/default/pods/box/exec?command=cat";
        let mut socket = console::connect(&token, path).await.unwrap();
        end().await;
        let (channel, text) = next(&mut socket).await.expect("a last word");
        assert_eq!(channel, 3, "{what}: {text}");
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["problem"]["code"], "unauthenticated", "{what}");
        assert_eq!(next(&mut socket).await, None);
    }
}

#[tokio::test]
async fn a_connection_to_a_pod_ends_with_the_credentials_and_says_so() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("other").await;
    platform
        .run_command("default", None, "box", connect::ECHO)
        .await;
    for what in ENDS {
        let (token, end) = about_to_end(&platform, &admin, what).await;
        let mut stream = connect::open(&token, "default", "box", "port=8080")
            .await
            .unwrap();
        stream.send(b"still here").await;
        assert_eq!(stream.bytes(10).await, b"still here");
        end().await;
        let (told, code) = stream.last_words().await;
        assert_eq!(told["problem"]["code"], "unauthenticated", "{what}");
        assert_eq!(code, 1008);
    }
}

#[tokio::test]
async fn what_does_not_concern_the_credentials_ends_nothing() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    platform.run_pod("default", None, "box").await;
    let ann = platform
        .user("ann", Role::Developer, ProjectScope::All)
        .await;
    let mut socket = console::connect(&ann, "projects/default/pods/box/exec?command=cat")
        .await
        .unwrap();
    // Neighbours in the order of keys, and the use of the token itself.
    platform
        .user("ann2", Role::Developer, ProjectScope::All)
        .await;
    admin.delete("users/ann2").await.ok(204);
    ann.post("tokens", &json!({"name": "test2"})).await.ok(201);
    ann.delete("tokens/test2").await.ok(204);
    let more = json!({"spec": {"role": "admin", "projects": "all"}});
    admin.put("users/ann", &more).await.ok(200);
    futures::SinkExt::send(
        &mut socket,
        tokio_tungstenite::tungstenite::Message::Binary(b"\x00still here".to_vec().into()),
    )
    .await
    .unwrap();
    assert_eq!(next(&mut socket).await, Some((1, "still here".to_owned())));
}
