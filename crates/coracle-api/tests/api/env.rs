//! Variables and secrets.

use coracle_model::user::{ProjectScope, Role};
use serde_json::json;

use crate::support::{Answer, IMAGE, Platform, app, project};

const PATH: &str = "projects/default/apps/hello/env";

#[tokio::test]
async fn a_change_of_variables_is_a_release() {
    let platform = Platform::new().await;
    let dora = platform
        .user("dora", Role::Developer, ProjectScope::All)
        .await;
    dora.make_app("default", "hello").await;
    // Without a release there is nothing to release.
    let first = dora
        .patch(
            PATH,
            &json!({"set": {"A": "1"}, "secret": {"KEY": "hunter2"}}),
        )
        .await;
    assert_eq!(
        first.ok(200),
        json!({"vars": {"A": {"value": "1", "secret": false}, "KEY": {"secret": true}}})
    );
    dora.post(
        "projects/default/apps/hello/releases",
        &json!({"image": IMAGE}),
    )
    .await
    .ok(202);
    let second = dora
        .patch(PATH, &json!({"set": {"B": "2"}, "unset": ["A"]}))
        .await
        .ok(200);
    assert_eq!(second["release"], "v2");
    let release = dora
        .get("projects/default/apps/hello/releases/v2")
        .await
        .ok(200);
    assert_eq!(
        release["spec"]["origin"],
        json!({"from": "config", "release": 1})
    );
    assert_eq!(release["spec"]["created_by"], "dora");
    // The same again changes nothing and releases nothing.
    let third = dora
        .patch(PATH, &json!({"set": {"B": "2"}, "unset": ["A", "NEVER"]}))
        .await
        .ok(200);
    assert_eq!(third.get("release"), None);
    assert_eq!(
        dora.get(PATH).await.ok(200),
        json!({"vars": {"B": {"value": "2", "secret": false}, "KEY": {"secret": true}}})
    );
    // What the workload gets is the secret itself.
    let (project, app) = (project("default"), app("hello"));
    let release = platform
        .control
        .release(&project, &app, "v2".parse().unwrap())
        .await
        .unwrap();
    let name = "KEY".parse().unwrap();
    let sealed = &release.spec.env[&name];
    assert!(!format!("{sealed:?}").contains("hunter2"));
    let opened = platform
        .control
        .vault
        .open_env(&project, &app, &name, sealed)
        .unwrap();
    assert_eq!(opened.expose(), "hunter2");
    // A change of the app leaves its variables alone.
    let read = dora.get("projects/default/apps/hello").await.ok(200);
    dora.put("projects/default/apps/hello", &read).await.ok(200);
    assert_eq!(
        dora.get(PATH).await.ok(200)["vars"]
            .as_object()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_wrong_change_changes_nothing() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    let big = "x".repeat(64 * 1024 + 1);
    for (change, code, field) in [
        (json!({"set": {"1A": "x"}}), "invalid_field", "set.1A"),
        (json!({"set": {"A B": "x"}}), "invalid_field", "set.A B"),
        (json!({"set": {"": "x"}}), "invalid_field", "set."),
        (json!({"set": {"A": 1}}), "invalid_field", "set.A"),
        (json!({"set": {"A": big}}), "invalid_field", "A"),
        (json!({"set": {"A": "a\u{0}b"}}), "invalid_field", "A"),
        (
            json!({"secret": {"A": "sesame\u{0}"}}),
            "invalid_field",
            "A",
        ),
        (
            json!({"set": {"A": "a"}, "secret": {"A": "sesame"}}),
            "invalid_field",
            "A",
        ),
        (json!({"unset": "A"}), "invalid_field", "unset"),
        (json!({"sett": {}}), "unknown_field", "sett"),
    ] {
        let answer = admin.patch(PATH, &change).await;
        answer.about(422, code, field);
        assert!(!answer.text().contains("sesame"));
    }
    let stale = admin
        .request(reqwest::Method::PATCH, PATH)
        .header("if-match", "\"1\"")
        .json(&json!({"set": {"A": "1"}}));
    Answer::of(stale).await.problem(409, "stale_revision");
    assert_eq!(admin.get(PATH).await.ok(200), json!({"vars": {}}));
}

#[tokio::test]
async fn variables_have_an_end() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    let value = "x".repeat(60_000);
    let mut refused = None;
    for n in 0..40 {
        let answer = admin
            .patch(PATH, &json!({"set": {format!("V{n}"): value}}))
            .await;
        if answer.status != 200 {
            refused = Some((n, answer));
            break;
        }
    }
    let (kept, answer) = refused.unwrap();
    answer.problem(413, "too_large");
    assert_eq!(
        admin.get(PATH).await.ok(200)["vars"]
            .as_object()
            .unwrap()
            .len(),
        kept
    );
    // And the app can still be changed, so that one can mend it.
    admin.patch(PATH, &json!({"unset": ["V0"]})).await.ok(200);
}

#[tokio::test]
async fn writers_at_the_same_time_lose_nothing() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    admin
        .post(
            "projects/default/apps/hello/releases",
            &json!({"image": IMAGE}),
        )
        .await
        .ok(202);
    let all = (0..8).map(|n| {
        let admin = admin.clone();
        async move {
            admin
                .patch(PATH, &json!({"set": {format!("V{n}"): "1"}}))
                .await
                .ok(200)
        }
    });
    let answers = futures::future::join_all(all).await;
    let mut numbers: Vec<_> = answers
        .iter()
        .map(|a| a["release"].as_str().unwrap().to_owned())
        .collect();
    numbers.sort();
    assert_eq!(numbers, ["v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9"]);
    assert_eq!(
        admin.get(PATH).await.ok(200)["vars"]
            .as_object()
            .unwrap()
            .len(),
        8
    );
}
