//! What makes a revision that somebody has read stale, and what does not.

use coracle_model::app::{AppPhase, AppSpec};
use coracle_model::release::{PinnedImage, ReleasePhase, ReleaseSpec};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, As, Platform, app, project};

const APP: &str = "projects/default/apps/hello";

fn revision(object: &Value) -> u64 {
    object["metadata"]["revision"].as_u64().unwrap()
}

async fn with(caller: &As, method: Method, path: &str, revision: u64, body: &Value) -> Answer {
    let request = caller.request(method, path).json(body);
    Answer::of(request.header("if-match", format!("\"{revision}\""))).await
}

/// As a controller does.
async fn write_status(platform: &Platform) {
    let key = coracle_control::keys::app(&project("default"), &app("hello"));
    let change = |app: &mut coracle_model::app::App| {
        app.status.phase = AppPhase::Deploying;
        app.status.reason = Some(format!(
            "{} more",
            app.status.reason.as_deref().unwrap_or("")
        ));
        Ok(())
    };
    platform
        .control
        .objects
        .modify::<AppSpec>(&key, "hello", change)
        .await
        .unwrap();
}

async fn release_is_live(platform: &Platform) {
    let key = coracle_control::keys::release(
        &project("default"),
        &app("hello"),
        coracle_model::release::ReleaseNumber(1),
    );
    platform
        .control
        .objects
        .modify::<ReleaseSpec>(&key, "v1", |release| {
            release.status.phase = ReleasePhase::Live;
            release.status.image = Some(PinnedImage {
                reference: "busybox:1".parse().unwrap(),
                ports: Vec::new(),
            });
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn what_controllers_write_makes_no_revision_stale() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let made = admin.make_app("default", "hello").await;
    assert!(!made.to_string().contains("spec_after"));
    admin
        .post(&format!("{APP}/releases"), &json!({"image": "busybox:1"}))
        .await
        .ok(202);
    release_is_live(&platform).await;
    let mut read = revision(&admin.get(APP).await.ok(200));
    for (method, path, body) in [
        (
            Method::PUT,
            APP,
            json!({"spec": {"domains": ["a.example.com"]}}),
        ),
        (
            Method::PUT,
            "projects/default/apps/hello/scale",
            json!({"processes": {"web": 2}}),
        ),
        (
            Method::PATCH,
            "projects/default/apps/hello/env",
            json!({"set": {"A": "1"}}),
        ),
        (
            Method::POST,
            "projects/default/apps/hello/domains",
            json!({"host": "b.example.com"}),
        ),
        (
            Method::DELETE,
            "projects/default/apps/hello/domains/b.example.com",
            json!(null),
        ),
    ] {
        let before = read;
        write_status(&platform).await;
        write_status(&platform).await;
        let answer = with(&admin, method.clone(), path, before, &body).await;
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        // What is answered is not stale, and what was read before is, also after more statuses.
        write_status(&platform).await;
        for stale in [before, 1, 999_999] {
            with(&admin, method.clone(), path, stale, &body)
                .await
                .about(409, "stale_revision", "If-Match");
        }
        read = revision(&admin.get(APP).await.ok(200));
    }
    // In the body as well as in the header.
    let old = json!({"metadata": {"revision": revision(&made)}, "spec": {}});
    admin.put(APP, &old).await.problem(409, "stale_revision");
    with(&admin, Method::DELETE, APP, revision(&made), &json!(null))
        .await
        .problem(409, "stale_revision");
    write_status(&platform).await;
    with(&admin, Method::DELETE, APP, read, &json!(null))
        .await
        .ok(202);
}

#[tokio::test]
async fn a_fresh_app_is_at_no_other_revision() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let made = revision(&admin.make_app("default", "hello").await);
    for wrong in [1, made - 1, made + 1000] {
        with(&admin, Method::PUT, APP, wrong, &json!({"spec": {}}))
            .await
            .problem(409, "stale_revision");
    }
    with(&admin, Method::PUT, APP, made, &json!({"spec": {}}))
        .await
        .ok(200);
}

#[tokio::test]
async fn releases_builds_and_restarts_can_be_bound_to_what_was_read() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let first = revision(&admin.make_app("default", "hello").await);
    let releases = format!("{APP}/releases");
    let image = json!({"image": "busybox:1"});
    write_status(&platform).await;
    with(&admin, Method::POST, &releases, first, &image)
        .await
        .ok(202);
    // Somebody else has released in the meantime.
    with(&admin, Method::POST, &releases, first, &image)
        .await
        .about(409, "stale_revision", "If-Match");
    release_is_live(&platform).await;
    let second = revision(&admin.get(APP).await.ok(200));
    platform
        .run_pod("default", Some("hello"), "hello-web-v1")
        .await;
    let restart = "projects/default/pods/hello-web-v1/restart";
    with(&admin, Method::POST, restart, second, &json!(null))
        .await
        .ok(202);
    let scale = json!({"processes": {"web": 2}});
    admin.put(&format!("{APP}/scale"), &scale).await.ok(200);
    let back = json!({"rollback": "v1"});
    for (path, body) in [
        (releases.as_str(), &image),
        (&releases, &back),
        (restart, &json!(null)),
    ] {
        with(&admin, Method::POST, path, second, body).await.about(
            409,
            "stale_revision",
            "If-Match",
        );
    }
    let build = |revision: u64| {
        let request = admin.request(Method::POST, &format!("{APP}/builds"));
        let request = request.header("content-type", "application/gzip");
        Answer::of(request.header("if-match", revision).body(vec![0; 100]))
    };
    build(second).await.about(409, "stale_revision", "If-Match");
    let third = revision(&admin.get(APP).await.ok(200));
    build(third).await.ok(202);
    with(&admin, Method::POST, &releases, third, &back)
        .await
        .ok(202);
    let listed = admin.get(&releases).await.ok(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn who_may_only_look_sees_no_variables_of_pods_and_manifests() {
    use coracle_model::user::{ProjectScope, Role};
    let platform = Platform::new().await;
    let dora = platform
        .user("dora", Role::Developer, ProjectScope::All)
        .await;
    let vera = platform.user("vera", Role::Viewer, ProjectScope::All).await;
    let spec = json!({"image": "busybox:1", "env": {"PASSWORD": "hunter2"}});
    dora.post(
        "projects/default/pods",
        &json!({"metadata": {"name": "box"}, "spec": spec}),
    )
    .await
    .ok(201);
    dora.make_app("default", "hello").await;
    let config = json!({"processes": {"web": {}}, "env": {"PASSWORD": "hunter2"}});
    dora.post(
        &format!("{APP}/releases"),
        &json!({"image": "busybox:1", "config": config}),
    )
    .await
    .ok(202);
    let releases = format!("{APP}/releases");
    for path in [
        "projects/default/pods",
        "projects/default/pods/box",
        "pods",
        &releases,
        &format!("{releases}/v1"),
    ] {
        assert!(dora.get(path).await.text().contains("hunter2"), "{path}");
        let seen = vera.get(path).await;
        seen.ok(200);
        assert!(!seen.text().contains("hunter2"), "{path}: {}", seen.text());
    }
    for (caller, sees) in [(&dora, true), (&vera, false)] {
        let told = caller.stream("events").await.until_synced().await;
        assert_eq!(format!("{told:?}").contains("hunter2"), sees);
    }
}
