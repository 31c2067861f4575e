//! Sources and templates: what is taken, what is refused, and who sees them.

use std::time::Duration;

use coracle_control::controllers::{Controllers, Options as ControllerOptions};
use coracle_control::settings::Limits;
use coracle_model::user::{ProjectScope, Role};
use reqwest::{Body, Method};
use serde_json::{Value, json};

use crate::support::{Answer, As, Options, PATIENCE, Platform, files, only, soon};

const PATH: &str = "projects/default/sources";
const BUILDS: &str = "projects/default/apps/hello/builds";

async fn upload(caller: &As, path: &str, body: impl Into<Body>) -> Answer {
    let request = caller
        .request(Method::POST, path)
        .header("content-type", "application/gzip")
        .body(body);
    Answer::of(request).await
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn with_controllers(platform: &Platform) {
    let options = ControllerOptions::default();
    drop(Controllers::start(
        platform.control.clone(),
        options,
        &platform.supervisor,
    ));
}

async fn fetched(caller: &As, path: &str) -> Value {
    let begun = tokio::time::Instant::now();
    loop {
        let source = caller.get(path).await.ok(200);
        if source["status"]["phase"] != "fetching" {
            return source;
        }
        assert!(begun.elapsed() < PATIENCE, "{source}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_archive_becomes_a_source_and_a_build() {
    let platform = Platform::new().await;
    with_controllers(&platform);
    let dora = platform
        .user("dora", Role::Developer, ProjectScope::All)
        .await;
    let vic = platform.user("vic", Role::Viewer, ProjectScope::All).await;
    let mut events = dora.stream("events?kinds=Source").await;
    events.until_synced().await;
    let toml = "[env]\nMODE = \"quiet\"\n[process.web]\nport = 3000\n";
    let sent = tar(&[("Dockerfile", "FROM debian:12\n"), ("coracle.toml", toml)]);
    let made = upload(&dora, PATH, sent).await.ok(201);
    assert_eq!(made["kind"], "Source");
    assert_eq!(made["spec"]["origin"]["type"], "upload");
    assert_eq!(made["status"]["phase"], "fetching");
    let id = made["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    let path = format!("{PATH}/{id}");
    let source = fetched(&dora, &path).await;
    let detected = &source["status"]["detected"];
    assert_eq!(source["status"]["phase"], "ready", "{source}");
    assert_eq!(source["status"]["files"], 2);
    assert_eq!(detected["port"], 3000);
    assert_eq!(detected["dockerfile"], "Dockerfile");
    assert_eq!(detected["env"]["MODE"], "quiet");
    assert!(source["status"].get("archive").is_none(), "{source}");
    // Variables are for those who may change them.
    let seen = vic.get(&path).await.ok(200);
    assert_eq!(seen["status"]["detected"]["env"], json!({}));
    assert_eq!(
        vic.get(PATH).await.ok(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    loop {
        let object = soon("an event", events.event()).await.unwrap().data;
        assert_eq!(object["kind"], "Source");
        assert!(object["status"].get("archive").is_none());
        if object["status"]["phase"] == "ready" {
            break;
        }
    }

    let config = json!({"processes": {"web": {"port": 4000, "replicas": 2}}, "env": {"A": "b"}});
    let body = json!({"source": id, "config": config});
    dora.post(BUILDS, &body).await.problem(404, "not_found");
    let build = dora
        .post(&format!("{BUILDS}?create=true"), &body)
        .await
        .ok(202);
    assert_eq!(build["spec"]["source"]["type"], "upload");
    assert_eq!(build["spec"]["config"], config);
    let seen = vic.get(&format!("{BUILDS}/b1")).await.ok(200);
    assert_eq!(seen["spec"]["config"].get("env"), None);
    for (wrong, code, field) in [
        (json!({"source": "0".repeat(32)}), "not_found", None),
        (json!({"source": "../x"}), "invalid_field", Some("source")),
        (json!({}), "invalid_field", None),
        (json!({"source": id, "x": 1}), "unknown_field", None),
        (
            json!({"source": id, "config": {"processes": {"web": {"port": 0}}}}),
            "invalid_field",
            Some("config.processes.web.port"),
        ),
        (
            json!({"source": id, "config": {"env": {"PORT": "1"}}}),
            "invalid_field",
            Some("config.env.PORT"),
        ),
    ] {
        let status = if code == "not_found" { 404 } else { 422 };
        let problem = dora.post(BUILDS, &wrong).await.problem(status, code);
        if let Some(field) = field {
            assert_eq!(problem["field"], field, "{wrong}");
        }
    }
    assert_eq!(dora.delete(&path).await.status, 204);
    dora.get(&path).await.problem(404, "not_found");
    loop {
        let event = soon("an event", events.event()).await.unwrap();
        if event.event == "deleted" {
            break;
        }
    }
}

#[tokio::test]
async fn what_may_not_be_fetched_is_refused_and_not_repeated() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let git = |url: &str| json!({"git": {"url": url}});
    for url in [
        "ext::sh -c whoami",
        "file:///etc/passwd",
        "git@github.com:a/b",
        "--upload-pack=whoami",
        "https://ann:hush-hush@github.com/a/b",
        "https://github.com/a\nb",
        "https://127.1/a",
    ] {
        let problem = admin
            .post(PATH, &git(url))
            .await
            .problem(422, "invalid_field");
        assert_eq!(problem["field"], "git.url", "{url}: {problem}");
        assert!(!problem.to_string().contains("hush"), "{problem}");
    }
    let url = "https://git.example.com/a/b";
    for (wrong, field) in [
        (json!({"git": {"url": url, "ref": "--x"}}), "git.ref"),
        (json!({"git": {"url": url, "ref": "a:b"}}), "git.ref"),
        (json!({"git": {"url": url, "path": "../.."}}), "git.path"),
        (
            json!({"git": {"url": url, "password": "a\nX-Header: b"}}),
            "git.password",
        ),
        (
            json!({"git": {"url": url, "username": "a\r\nb"}}),
            "git.username",
        ),
        (
            json!({"git": {"url": url, "password": "x".repeat(5000)}}),
            "git.password",
        ),
        (json!({"template": "nothing"}), "template"),
        (json!({"template": "../python"}), "template"),
        (json!({"template": "python", "git": {"url": url}}), "git"),
        (json!({}), "git"),
    ] {
        admin
            .post(PATH, &wrong)
            .await
            .about(422, "invalid_field", field);
    }
    admin
        .post(PATH, &json!({"image": "x"}))
        .await
        .problem(422, "unknown_field");
    let request = admin
        .request(Method::POST, PATH)
        .header("content-type", "text/html")
        .body("x");
    Answer::of(request)
        .await
        .problem(415, "unsupported_media_type");
    upload(&admin, PATH, "")
        .await
        .problem(422, "invalid_source");
    upload(&admin, "projects/nothing/sources", "x")
        .await
        .problem(404, "not_found");
    assert_eq!(files(&platform.data.join("uploads")), Vec::<String>::new());
    assert_eq!(admin.get(PATH).await.ok(200)["items"], json!([]));
    // Of the size of archives, where JSON is taken too.
    let long = format!("{{\"template\": \"{}\"}}", "x".repeat(2 << 20));
    let request = admin
        .request(Method::POST, PATH)
        .header("content-type", "application/json")
        .body(long);
    Answer::of(request).await.problem(413, "too_large");

    let secret = json!({"git": {"url": url, "username": "ann", "password": "hush-hush"}});
    let made = admin.post(PATH, &secret).await.ok(201);
    assert_eq!(made["spec"]["origin"]["url"], url);
    for shown in [
        made,
        admin.get(PATH).await.ok(200),
        admin.get("activity").await.ok(200),
    ] {
        assert!(!shown.to_string().contains("hush"), "{shown}");
    }
}

#[tokio::test]
async fn an_archive_that_is_too_large_leaves_nothing() {
    let platform = Platform::with(Options {
        limits: Limits {
            upload_bytes: 10_000,
            ..Limits::default()
        },
        ..Options::default()
    })
    .await;
    let admin = platform.admin().await;
    upload(&admin, PATH, vec![7; 10_001])
        .await
        .problem(413, "too_large");
    assert_eq!(files(&platform.data.join("uploads")), Vec::<String>::new());
}

#[tokio::test]
async fn a_source_is_of_its_project_alone() {
    let platform = Platform::new().await;
    with_controllers(&platform);
    let admin = platform.admin().await;
    for name in ["one", "other"] {
        admin.make_project(name).await;
    }
    let template = json!({"template": "worker"});
    let made = admin.post("projects/one/sources", &template).await.ok(201);
    let id = made["metadata"]["name"].as_str().unwrap();
    fetched(&admin, &format!("projects/one/sources/{id}")).await;
    let theirs = format!("projects/other/sources/{id}");
    let stranger = platform
        .user("stranger", Role::Developer, only(&["other"]))
        .await;
    for caller in [&admin, &stranger] {
        caller.get(&theirs).await.problem(404, "not_found");
        caller.delete(&theirs).await.problem(404, "not_found");
        let builds = "projects/other/apps/hello/builds?create=true";
        caller
            .post(builds, &json!({"source": id}))
            .await
            .problem(404, "not_found");
    }
    stranger
        .get(&format!("projects/one/sources/{id}"))
        .await
        .problem(404, "not_found");
    let found = stranger.get("projects/other/apps").await.ok(200);
    assert_eq!(found["items"], json!([]), "a refused build makes no app");

    // With its project a source goes, and its file.
    admin.delete("projects/one").await.ok(202);
    let begun = tokio::time::Instant::now();
    while !files(&platform.data.join("uploads")).is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn templates_are_for_everybody_who_is_known() {
    let platform = Platform::new().await;
    let vic = platform.user("vic", Role::Viewer, only(&[])).await;
    let listed = vic.get("templates").await.ok(200);
    let items = listed["items"].as_array().unwrap();
    assert!(items.len() >= 6, "{listed}");
    for one in items {
        assert!(
            one["title"].is_string() && one["files"].as_u64().unwrap() >= 2,
            "{one}"
        );
    }
}
