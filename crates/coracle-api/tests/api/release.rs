//! Releases.

use coracle_control::keys;
use coracle_model::release::{PinnedImage, ReleasePhase, ReleaseSpec};
use serde_json::{Value, json};

use crate::support::{IMAGE, Platform, app, project};

const PATH: &str = "projects/default/apps/hello/releases";

/// What the controller writes of a release that came so far.
async fn came_to(platform: &Platform, number: u32, phase: ReleasePhase) {
    let key = keys::release(
        &project("default"),
        &app("hello"),
        coracle_model::release::ReleaseNumber(number),
    );
    platform
        .control
        .objects
        .modify::<ReleaseSpec>(&key, "release", |release| {
            release.status.phase = phase;
            release.status.image = Some(PinnedImage {
                reference: format!("pinned@sha256:{number:064}").parse().unwrap(),
                ports: Vec::new(),
            });
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn releases_are_numbered_and_rolled_back() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin
        .post(PATH, &json!({"image": IMAGE}))
        .await
        .problem(404, "not_found");
    let first = admin
        .post(&format!("{PATH}?create=true"), &json!({"image": IMAGE}))
        .await
        .ok(202);
    assert_eq!(first["metadata"]["name"], "v1");
    assert_eq!(first["status"], json!({"phase": "pending"}));
    assert_eq!(first["spec"]["origin"], json!({"from": "image"}));
    let config = json!({"processes": {"web": {"command": "serve", "replicas": 2}}});
    let second = admin
        .post(PATH, &json!({"image": "other:2", "config": config}))
        .await
        .ok(202);
    assert_eq!(second["metadata"]["name"], "v2");
    // Without a configuration the present one goes on.
    let third = admin.post(PATH, &json!({"image": "other:3"})).await.ok(202);
    assert_eq!(third["spec"]["config"], second["spec"]["config"]);
    for written in ["v2", "2"] {
        assert_eq!(
            admin.get(&format!("{PATH}/{written}")).await.ok(200),
            second
        );
    }
    admin
        .get(&format!("{PATH}/v9"))
        .await
        .problem(404, "not_found");
    for wrong in ["v0", "vv1", "latest", "v99999999999", "-1"] {
        admin
            .get(&format!("{PATH}/{wrong}"))
            .await
            .about(422, "invalid_field", "release");
    }

    let none = admin
        .post(PATH, &json!({"rollback": "previous"}))
        .await
        .problem(409, "conflict");
    assert_eq!(none["hint"], "`coracle releases hello` lists what there is");
    admin
        .post(PATH, &json!({"rollback": "v1"}))
        .await
        .problem(409, "conflict");
    came_to(&platform, 1, ReleasePhase::Superseded).await;
    let back = admin.post(PATH, &json!({"rollback": "v1"})).await.ok(202);
    assert_eq!(back["metadata"]["name"], "v4");
    assert_eq!(
        back["spec"]["origin"],
        json!({"from": "rollback", "release": 1})
    );
    assert_eq!(back["spec"]["image"], format!("pinned@sha256:{:064}", 1));
    assert_eq!(back["spec"]["config"], first["spec"]["config"]);
    let back = admin
        .post(PATH, &json!({"rollback": "previous"}))
        .await
        .ok(202);
    assert_eq!(back["spec"]["origin"]["release"], 1);
    let names: Vec<Value> = admin.get(PATH).await.ok(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|release| release["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, ["v1", "v2", "v3", "v4", "v5"]);
}

#[tokio::test]
async fn a_wrong_release_is_refused_and_makes_no_app() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let make = format!("{PATH}?create=true");
    for (body, code, field) in [
        (json!({}), "invalid_field", "image"),
        (
            json!({"image": IMAGE, "rollback": "v1"}),
            "invalid_field",
            "image",
        ),
        (
            json!({"rollback": "v1", "config": {}}),
            "invalid_field",
            "image",
        ),
        (
            json!({"image": "bad image; rm -rf /"}),
            "invalid_field",
            "image",
        ),
        (json!({"image": ["a"]}), "invalid_field", "image"),
        (json!({"image": "-v"}), "invalid_field", "image"),
        (json!({"image": "a/../../etc"}), "invalid_field", "image"),
        (
            json!({"rollback": "yesterday"}),
            "invalid_field",
            "rollback",
        ),
        (json!({"img": "a"}), "unknown_field", "img"),
        (
            json!({"image": IMAGE, "config": {"processes": {}}}),
            "invalid_field",
            "config.processes",
        ),
        (
            json!({"image": IMAGE, "config": {"procs": {}}}),
            "unknown_field",
            "config.procs",
        ),
        (
            json!({"image": IMAGE, "config": {"processes": {"web": {"port": 0}}}}),
            "invalid_field",
            "config.processes.web.port",
        ),
        (
            json!({"image": IMAGE, "config": {"processes": {"web": {"port": 65536}}}}),
            "invalid_field",
            "config.processes.web.port",
        ),
        (
            json!({"image": IMAGE, "config": {"processes": {"web": {"memory": "lots"}}}}),
            "invalid_field",
            "config.processes.web.memory",
        ),
        (
            json!({"image": IMAGE, "config": {"processes": {"web": {"replicas": 101}}}}),
            "invalid_field",
            "config.processes.web.replicas",
        ),
    ] {
        let answer = admin.post(&make, &body).await;
        let problem = answer.problem(422, code);
        let named = problem["field"].as_str().unwrap_or_default();
        let alike = named.replace(".process.", ".processes.");
        assert_eq!(alike, field, "{body}: {problem}");
    }
    admin
        .get("projects/default/apps/hello")
        .await
        .problem(404, "not_found");
    admin
        .post(&format!("{PATH}?create=yes"), &json!({"image": IMAGE}))
        .await
        .about(422, "invalid_field", "create");
    admin
        .post(&format!("{PATH}?creat=true"), &json!({"image": IMAGE}))
        .await
        .problem(422, "unknown_field");
}
