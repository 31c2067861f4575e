//! Projects.

use coracle_model::user::{ProjectScope, Role};
use serde_json::json;

use crate::support::{Answer, Platform, only};

#[tokio::test]
async fn a_project_is_made_read_changed_and_deleted() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let new =
        json!({"kind": "Project", "metadata": {"name": "shop"}, "spec": {"description": "Sells"}});
    let made = admin.post("projects", &new).await;
    let project = made.ok(201);
    let revision = project["metadata"]["revision"].as_u64().unwrap();
    assert_eq!(made.header("etag"), format!("\"{revision}\""));
    admin
        .post("projects", &new)
        .await
        .about(409, "already_exists", "metadata.name");

    admin.make_app("shop", "till").await;
    let read = admin.get("projects/shop").await.ok(200);
    assert_eq!(read["status"], json!({"apps": 1}));
    let list = admin.get("projects").await.ok(200);
    let apps: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["status"]["apps"].clone())
        .collect();
    assert_eq!(
        apps,
        [json!(0), json!(1)],
        "default and shop, as each is read alone"
    );

    let mut changed = read.clone();
    changed["spec"]["description"] = json!("Sells more");
    let after = admin.put("projects/shop", &changed).await.ok(200);
    assert_eq!(after["status"], json!({"apps": 1}));
    let problem =
        admin
            .put("projects/shop", &changed)
            .await
            .about(409, "stale_revision", "If-Match");
    assert!(problem["hint"].as_str().unwrap().contains("read it again"));

    let problem = admin.delete("projects/shop").await.problem(409, "conflict");
    assert_eq!(problem["detail"], "project shop has 1 apps and 0 pods");
    admin.make_project("empty").await;
    let gone = admin.delete("projects/empty").await.ok(202);
    assert!(gone["metadata"]["deleting"].is_string());
    // Nothing is made in a project that goes.
    admin
        .post(
            "projects/empty/apps",
            &json!({"metadata": {"name": "late"}, "spec": {}}),
        )
        .await
        .problem(409, "conflict");
    admin
        .delete("projects/default")
        .await
        .problem(409, "conflict");
    admin
        .delete("projects/never")
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn who_sees_which_projects() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for name in ["bank", "shop", "zoo"] {
        admin.make_project(name).await;
    }
    let names = |answer: Answer| -> Vec<String> {
        let items = answer.ok(200)["items"].clone();
        items
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let dan = platform
        .user("dan", Role::Viewer, only(&["zoo", "bank", "never"]))
        .await;
    assert_eq!(names(dan.get("projects").await), ["bank", "zoo"]);
    let vera = platform.user("vera", Role::Viewer, ProjectScope::All).await;
    assert_eq!(
        names(vera.get("projects").await),
        ["bank", "default", "shop", "zoo"]
    );
    // One that is not and one that is not theirs are the same to them.
    let mut there = dan.get("projects/shop").await.problem(404, "not_found");
    let mut not_there = dan.get("projects/shopp").await.problem(404, "not_found");
    for problem in [&mut there, &mut not_there] {
        problem["request_id"] = json!(null);
        problem["detail"] = json!(problem["detail"].as_str().unwrap().replace("shopp", "shop"));
    }
    assert_eq!(there, not_there);
    dan.get("projects/never").await.problem(404, "not_found");
}

#[tokio::test]
async fn if_match_is_kept_to() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let made = admin.make_project("shop").await;
    let revision = made["metadata"]["revision"].as_u64().unwrap();
    let put = |tag: String, text: &str| {
        let body = json!({"spec": {"description": text}});
        admin
            .request(reqwest::Method::PUT, "projects/shop")
            .header("if-match", tag)
            .json(&body)
    };
    Answer::of(put(format!("\"{}\"", revision + 1), "a"))
        .await
        .problem(409, "stale_revision");
    Answer::of(put("nonsense".to_owned(), "a"))
        .await
        .about(422, "invalid_field", "If-Match");
    Answer::of(put("\"-1\"".to_owned(), "a"))
        .await
        .about(422, "invalid_field", "If-Match");
    Answer::of(put(format!("\"{revision}\""), "b"))
        .await
        .ok(200);
    Answer::of(put(format!("W/\"{revision}\""), "c"))
        .await
        .problem(409, "stale_revision");
    Answer::of(put("*".to_owned(), "d")).await.ok(200);
    assert_eq!(
        admin.get("projects/shop").await.ok(200)["spec"]["description"],
        "d"
    );
}
