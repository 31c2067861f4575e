//! No secret comes out: not in answers, not in streams, not in the log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use coracle_model::user::{ProjectScope, Role};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{IMAGE, Platform};

/// What was logged.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn what_was_once_said_in_confidence_is_never_said_again() {
    let log = Captured::default();
    // Everything that the platform would ever write, down to the most talkative. This test's own process (and
    // so its threads) under nextest; under `cargo test` the default of this thread, on which all of it runs.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("coracle_api=trace,coracle_control=trace,coracle_registry=trace,coracle_store=trace,coracle_engine=trace,coracle_task=trace,tower_http=trace")
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let (password, value, wrong) = ("swordfish-password", "swordfish-value", "swordfish-guess");
    let mut answers = Vec::new();
    let user =
        json!({"metadata": {"name": "ann"}, "spec": {"role": "developer", "password": password}});
    answers.push(admin.post("users", &user).await);
    let login = platform
        .nobody()
        .post("session", &json!({"user": "ann", "password": password}))
        .await;
    let session = login.ok(201)["token"].as_str().unwrap().to_owned();
    let ann = platform.bearing(&session);
    let token = ann.post("tokens", &json!({"name": "ci"})).await.ok(201);
    let token = token["secret"].as_str().unwrap().to_owned();

    let mut events = admin.stream("events").await;
    events.until_synced().await;
    ann.make_app("default", "hello").await;
    let env = "projects/default/apps/hello/env";
    let app = "projects/default/apps/hello";
    answers.push(ann.patch(env, &json!({"secret": {"KEY": value}})).await);
    answers.push(
        ann.post(&format!("{app}/releases"), &json!({"image": IMAGE}))
            .await,
    );
    answers.push(
        ann.patch(env, &json!({"secret": {"KEY": format!("{value}2")}}))
            .await,
    );
    // Refused ones, too, whatever is wrong with them.
    answers.push(ann.patch(env, &json!({"secret": {"KEY": [value]}})).await);
    answers.push(ann.patch(env, &json!({"secret": {"K Y": value}})).await);
    answers.push(ann.patch(env, &json!({"secret": value})).await);
    answers.push(
        ann.patch(env, &json!({"secret": {"KEY": value}, "set": {"KEY": "x"}}))
            .await,
    );
    answers.push(
        platform
            .nobody()
            .post("session", &json!({"user": "ann", "password": wrong}))
            .await,
    );
    answers.push(
        platform
            .nobody()
            .post("session", &json!({"user": "ann", "password": {"a": wrong}}))
            .await,
    );
    answers.push(
        platform
            .nobody()
            .post(
                "session",
                &json!({"user": "ann", "pass": wrong, "password": wrong}),
            )
            .await,
    );
    answers.push(
        ann.put(
            "users/ann/password",
            &json!({"password": password, "current": wrong}),
        )
        .await,
    );
    answers.push(platform.bearing(&format!("{token}x")).get("session").await);
    for path in [
        "session",
        "tokens",
        "users/ann",
        app,
        env,
        "projects/default/apps",
        "activity",
        "pods",
        "system",
        "/metrics",
        "projects/default/apps/hello/releases",
        "projects/default/apps/hello/releases/v2",
    ] {
        let caller = if path == "users/ann" || path == "/metrics" || path == "system" {
            &admin
        } else {
            &ann
        };
        answers.push(caller.get(path).await);
    }
    answers.push(
        platform
            .user("vera", Role::Viewer, ProjectScope::All)
            .await
            .get("events?kinds=nothing")
            .await,
    );

    let mut told = String::new();
    loop {
        let sent = events.event().await.unwrap();
        told += &sent.data.to_string();
        if sent.data["kind"] == "Release" && sent.data["metadata"]["name"] == "v2" {
            break;
        }
    }
    let stored: String = platform
        .control
        .objects
        .store()
        .list_all("/")
        .await
        .unwrap()
        .entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
        .collect();
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        logged.contains("app.env_changed"),
        "the log was captured: {logged}"
    );
    let sealed = "sealed";
    for secret in [
        password,
        value,
        wrong,
        session.as_str(),
        token.as_str(),
        crate::support::GATEWAY_TOKEN,
    ] {
        for answer in &answers {
            assert!(!answer.text().contains(secret), "{secret}: {answer:?}");
        }
        assert!(!told.contains(secret), "{secret}: {told}");
        assert!(!stored.contains(secret), "{secret} is in the store");
        assert!(!logged.contains(secret), "{secret} was logged");
    }
    // Nor what is made of them.
    for answer in &answers {
        assert!(
            !answer.text().contains(sealed) && !answer.text().contains("argon2"),
            "{answer:?}"
        );
    }
    assert!(!told.contains(sealed), "{told}");
    assert!(stored.contains(sealed) && stored.contains("argon2id"));
}
