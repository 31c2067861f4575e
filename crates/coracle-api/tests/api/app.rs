//! Apps and their scale.

use coracle_model::user::{ProjectScope, Role};
use serde_json::{Value, json};

use crate::support::{Answer, IMAGE, Platform};

#[tokio::test]
async fn an_app_from_its_making_to_its_end() {
    let platform = Platform::new().await;
    let dora = platform
        .user("dora", Role::Developer, ProjectScope::All)
        .await;
    let made = dora.make_app("default", "hello").await;
    let revision = made["metadata"]["revision"].clone();
    assert_eq!(
        made,
        json!({
            "kind": "App",
            "metadata": {
                "name": "hello",
                "project": "default",
                "uid": made["metadata"]["uid"],
                "revision": revision,
                "created": made["metadata"]["created"],
            },
            "spec": {},
            "status": {"phase": "stopped", "url": "http://hello.localhost:8080", "last_release": 0, "last_build": 0},
        })
    );
    // The spec may be left out: everything in it has a default.
    let again = json!({"metadata": {"name": "hello"}});
    dora.post("projects/default/apps", &again)
        .await
        .about(409, "already_exists", "metadata.name");

    // What was read can be sent back as it is.
    let read = dora.get("projects/default/apps/hello").await;
    assert_eq!(read.header("etag"), format!("\"{revision}\""));
    let same = dora
        .put("projects/default/apps/hello", &read.json())
        .await
        .ok(200);
    assert_eq!(same, read.json());

    let mut changed = read.json();
    changed["spec"]["scale"] = json!({"web": 3});
    let after = dora
        .put("projects/default/apps/hello", &changed)
        .await
        .ok(200);
    assert_eq!(after["spec"], json!({"scale": {"web": 3}}));
    assert!(after["metadata"]["revision"].as_u64() > revision.as_u64());
    changed["spec"]["scale"] = json!({"web": 4});
    dora.put("projects/default/apps/hello", &changed)
        .await
        .about(409, "stale_revision", "If-Match");
    let stale = dora
        .request(reqwest::Method::DELETE, "projects/default/apps/hello")
        .header("if-match", "\"1\"");
    Answer::of(stale).await.problem(409, "stale_revision");

    let deleted = dora.delete("projects/default/apps/hello").await.ok(202);
    assert!(deleted["metadata"]["deleting"].is_string());
    // Twice is once.
    let twice = dora.delete("projects/default/apps/hello").await.ok(202);
    assert_eq!(twice["metadata"], deleted["metadata"]);
    let problem = dora
        .put("projects/default/apps/hello", &json!({"spec": {}}))
        .await
        .problem(409, "conflict");
    assert_eq!(problem["detail"], "the app hello is being deleted");

    let activity = dora.get("activity").await.ok(200);
    let told: Vec<String> = activity["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["metadata"]["project"] == "default")
        .map(|event| {
            format!(
                "{} {}",
                event["spec"]["actor"].as_str().unwrap(),
                event["spec"]["message"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "dora deletion of hello asked for",
            "dora deletion of hello asked for",
            "dora app hello changed",
            "dora app hello changed",
            "dora app hello created",
        ]
    );
}

#[tokio::test]
async fn a_wrong_app_is_refused_with_the_field() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let many: Vec<String> = (0..51).map(|n| format!("h{n}.example.com")).collect();
    let cases: [(Value, &str, &str); 14] = [
        (
            json!({"metadata": {"name": "a"}, "spec": []}),
            "invalid_field",
            "spec",
        ),
        (
            json!({"metadata": {"name": "a"}, "spec": null}),
            "invalid_field",
            "spec",
        ),
        (
            json!({"metadata": {"name": 7}, "spec": {}}),
            "invalid_field",
            "metadata.name",
        ),
        (
            json!({"metadata": {"name": "a", "labels": {}}, "spec": {}}),
            "unknown_field",
            "metadata.labels",
        ),
        (
            json!({"metadata": {"name": "a"}, "spec": {"image": "x"}}),
            "unknown_field",
            "spec.image",
        ),
        (
            json!({"metadata": {"name": "a"}, "spec": {}, "extra": 1}),
            "unknown_field",
            "extra",
        ),
        (
            json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": {}}),
            "invalid_field",
            "kind",
        ),
        (
            json!({"kind": "Nothing", "metadata": {"name": "a"}, "spec": {}}),
            "invalid_field",
            "kind",
        ),
        (
            json!({"metadata": {"name": "a", "project": "other"}, "spec": {}}),
            "invalid_field",
            "metadata.project",
        ),
        (
            json!({"metadata": {"name": "a"}, "spec": {"scale": {"web": -1}}}),
            "invalid_field",
            "spec.scale.web",
        ),
        (
            json!({"metadata": {"name": "a"}, "spec": {"scale": {"web": 101}}}),
            "invalid_field",
            "spec.scale.web",
        ),
        (
            json!({"metadata": {"name": "a"}, "spec": {"scale": {"Web": 1}}}),
            "invalid_field",
            "spec.scale.Web",
        ),
        (
            json!({"metadata": {"name": "a"}, "spec": {"domains": many}}),
            "invalid_field",
            "spec.domains",
        ),
        (
            json!({"metadata": {"name": "a"}, "spec": {"env": {"A": {"plain": "b"}}}}),
            "invalid_field",
            "spec.env",
        ),
    ];
    for (body, code, field) in cases {
        let answer = admin.post("projects/default/apps", &body).await;
        let problem = answer.problem(422, code);
        assert_eq!(
            problem["field"].as_str().unwrap_or("-"),
            field,
            "{body}: {problem}"
        );
    }
    admin.make_app("default", "a").await;
    admin
        .put(
            "projects/default/apps/a",
            &json!({"metadata": {"name": "b"}, "spec": {}}),
        )
        .await
        .about(422, "invalid_field", "metadata.name");
    let apps = admin.get("projects/default/apps").await.ok(200);
    assert_eq!(apps["items"].as_array().unwrap().len(), 1);
    admin
        .post(
            "projects/never/apps",
            &json!({"metadata": {"name": "a"}, "spec": {}}),
        )
        .await
        .problem(404, "not_found");
    admin
        .get("projects/never/apps")
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn scale_is_of_processes_that_there_are() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    let path = "projects/default/apps/hello/scale";
    assert_eq!(admin.get(path).await.ok(200), json!({"processes": {}}));
    let to = |process: &str, n: Value| json!({"processes": {process: n}});
    let problem = admin
        .put(path, &to("web", json!(2)))
        .await
        .problem(409, "conflict");
    assert_eq!(problem["hint"], "deploy it first");
    let config = json!({"processes": {"web": {}, "worker": {"replicas": 2}}});
    admin
        .post(
            "projects/default/apps/hello/releases",
            &json!({"image": IMAGE, "config": config}),
        )
        .await
        .ok(202);
    assert_eq!(
        admin.get(path).await.ok(200),
        json!({"processes": {"web": 1, "worker": 2}})
    );

    admin.put(path, &to("web", json!(3))).await.ok(200);
    assert_eq!(
        admin.get(path).await.ok(200),
        json!({"processes": {"web": 3, "worker": 2}})
    );
    admin.put(path, &to("web", json!(0))).await.ok(200);
    let problem = admin.put(path, &to("wurker", json!(1))).await.about(
        422,
        "invalid_field",
        "processes.wurker",
    );
    assert_eq!(
        problem["detail"],
        "app hello has no process wurker; it has web, worker"
    );
    for wrong in [
        json!(101),
        json!(-1),
        json!(1.5),
        json!("2"),
        json!(4_294_967_296_u64),
    ] {
        admin
            .put(path, &to("web", wrong))
            .await
            .about(422, "invalid_field", "processes.web");
    }
    admin
        .put(path, &json!({}))
        .await
        .problem(422, "invalid_field");
    let stale = admin
        .request(reqwest::Method::PUT, path)
        .header("if-match", "\"1\"")
        .json(&to("web", json!(1)));
    Answer::of(stale).await.problem(409, "stale_revision");
    assert_eq!(admin.get(path).await.ok(200)["processes"]["web"], 0);
}
