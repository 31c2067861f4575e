//! Bare pods, and the pods of apps.

use coracle_model::pod::PodPhase;
use coracle_model::user::{ProjectScope, Role};
use serde_json::json;

use crate::support::{Answer, IMAGE, Platform, only};

const PODS: &str = "projects/default/pods";

#[tokio::test]
async fn a_bare_pod_is_made_read_changed_and_deleted() {
    let platform = Platform::new().await;
    let dora = platform
        .user("dora", Role::Developer, ProjectScope::All)
        .await;
    let new = json!({"metadata": {"name": "box"}, "spec": {"image": IMAGE, "command": ["serve"], "port": 8080, "env": {"A": "1"}}});
    let made = dora.post(PODS, &new).await.ok(201);
    assert_eq!(made["status"]["phase"], "pending");
    dora.post(PODS, &new)
        .await
        .about(409, "already_exists", "metadata.name");
    let read = dora.get(&format!("{PODS}/box")).await.ok(200);
    assert_eq!(read, made);
    let same = dora.put(&format!("{PODS}/box"), &read).await.ok(200);
    assert_eq!(same["metadata"]["revision"], read["metadata"]["revision"]);
    let mut changed = read.clone();
    changed["spec"]["image"] = json!("other:2");
    let after = dora.put(&format!("{PODS}/box"), &changed).await.ok(200);
    assert_eq!(after["spec"]["image"], "other:2");
    dora.put(&format!("{PODS}/box"), &changed)
        .await
        .problem(409, "stale_revision");

    let stale = dora
        .request(reqwest::Method::DELETE, &format!("{PODS}/box"))
        .header("if-match", "\"1\"");
    Answer::of(stale).await.problem(409, "stale_revision");
    let gone = dora.delete(&format!("{PODS}/box")).await;
    assert!(gone.status < 300 && gone.json()["metadata"]["deleting"].is_string());
    dora.put(&format!("{PODS}/box"), &after)
        .await
        .problem(409, "stale_revision");
    dora.delete(&format!("{PODS}/never"))
        .await
        .problem(404, "not_found");
    dora.put(&format!("{PODS}/never"), &json!({"spec": {"image": IMAGE}}))
        .await
        .problem(404, "not_found");
    dora.post(&format!("{PODS}/never/restart"), &json!({}))
        .await
        .problem(404, "not_found");
    dora.get(&format!("{PODS}/never/stats"))
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn what_the_engine_runs_is_seen_and_an_apps_pod_is_the_apps() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    admin.make_app("shop", "till").await;
    let id = platform.run_pod("shop", Some("till"), "till-web-v1").await;
    let path = "projects/shop/pods/till-web-v1";
    let pod = admin.get(path).await.ok(200);
    assert_eq!(pod["status"]["phase"], "ready");
    assert_eq!(
        (&pod["spec"]["app"], &pod["spec"]["process"]),
        (&json!("till"), &json!("web"))
    );
    let stats = admin.get(&format!("{path}/stats")).await.ok(200);
    assert!(stats["memory_bytes"].is_u64(), "{stats}");
    let problem = admin
        .put(path, &json!({"spec": {"image": IMAGE}}))
        .await
        .problem(409, "conflict");
    assert_eq!(problem["detail"], "pod till-web-v1 belongs to app till");
    let name = json!({"metadata": {"name": "till-web-v1"}, "spec": {"image": IMAGE}});
    admin
        .post("projects/shop/pods", &name)
        .await
        .about(422, "invalid_field", "metadata.name");
    let problem = admin.delete("projects/shop").await.problem(409, "conflict");
    assert_eq!(problem["detail"], "project shop has 1 apps and 0 pods");

    admin
        .post(&format!("{path}/restart"), &json!({}))
        .await
        .ok(202);
    platform.pod_is(&id, PodPhase::Ready).await;
    // All projects at once, as far as one sees them.
    platform.run_pod("default", None, "lonely").await;
    let names = |answer: Answer| {
        let items = answer.ok(200)["items"].clone();
        let items = items.as_array().unwrap();
        items
            .iter()
            .map(|p| p["metadata"]["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(admin.get("pods").await), ["lonely", "till-web-v1"]);
    let vera = platform.user("vera", Role::Viewer, only(&["shop"])).await;
    assert_eq!(names(vera.get("pods").await), ["till-web-v1"]);
    assert_eq!(names(vera.get("projects/shop/pods").await), ["till-web-v1"]);
}

#[tokio::test]
async fn a_wrong_pod_is_refused_with_the_field() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for (name, spec, code, field) in [
        ("b", json!({}), "invalid_field", "spec"),
        ("b", json!({"image": ""}), "invalid_field", "spec.image"),
        (
            "b",
            json!({"image": IMAGE, "port": 0}),
            "invalid_field",
            "spec.port",
        ),
        (
            "b",
            json!({"image": IMAGE, "port": 70000}),
            "invalid_field",
            "spec.port",
        ),
        (
            "b",
            json!({"image": IMAGE, "command": []}),
            "invalid_field",
            "spec.command",
        ),
        (
            "b",
            json!({"image": IMAGE, "command": [""]}),
            "invalid_field",
            "spec.command",
        ),
        (
            "b",
            json!({"image": IMAGE, "command": ["a\u{0}"]}),
            "invalid_field",
            "spec.command",
        ),
        (
            "b",
            json!({"image": IMAGE, "env": {"A": "\u{0}"}}),
            "invalid_field",
            "spec.env.A",
        ),
        (
            "b",
            json!({"image": IMAGE, "env": {"A=B": "c"}}),
            "invalid_field",
            "spec.env.A=B",
        ),
        (
            "b",
            json!({"image": IMAGE, "app": "hello"}),
            "invalid_field",
            "spec.app",
        ),
        (
            "b",
            json!({"image": IMAGE, "release": 1}),
            "invalid_field",
            "spec.release",
        ),
        (
            "b",
            json!({"image": IMAGE, "privileged": true}),
            "unknown_field",
            "spec.privileged",
        ),
        (
            "b",
            json!({"image": IMAGE, "start": "attached"}),
            "invalid_field",
            "spec.restart",
        ),
        (
            "b",
            json!({"image": IMAGE, "memory": "-1Gi"}),
            "invalid_field",
            "spec.memory",
        ),
        (
            "a-web-v1",
            json!({"image": IMAGE}),
            "invalid_field",
            "metadata.name",
        ),
        (
            "a-web-v12-xyz",
            json!({"image": IMAGE}),
            "invalid_field",
            "metadata.name",
        ),
    ] {
        let body = json!({"metadata": {"name": name}, "spec": spec});
        admin.post(PODS, &body).await.about(422, code, field);
    }
    assert_eq!(admin.get(PODS).await.ok(200)["items"], json!([]));
}

#[tokio::test]
async fn an_engine_that_is_away_says_so() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    platform.run_pod("default", None, "lonely").await;
    platform.sim.daemon_down();
    let problem = admin
        .get(&format!("{PODS}/lonely/stats"))
        .await
        .problem(503, "engine_unavailable");
    assert!(problem["hint"].as_str().unwrap().contains("coracle doctor"));
    // What is known is still told, and wishes are taken.
    admin.get(&format!("{PODS}/lonely")).await.ok(200);
    admin.get("nodes").await.ok(200);
    admin.make_app("default", "hello").await;
    let system = admin.get("system").await.ok(200);
    assert_eq!(system["engine"]["ready"], false);
    assert_eq!(admin.get("/readyz").await.status, 200);
}
