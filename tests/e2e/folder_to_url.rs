//! The main job: a folder, a URL, a change, and back.

use coracle_e2e::{Platform, Source};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_becomes_a_url_and_an_older_release_comes_back() {
    let platform = Platform::start().await;
    let source = Source::page("first");

    let deployed = platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await;
    assert_eq!(deployed.last_line(), platform.url("shop"), "{deployed}");
    assert_eq!(
        deployed.stdout.lines().count(),
        1,
        "progress belongs on standard error: {deployed}"
    );
    eprintln!("first deploy of a folder: {} ms", deployed.took.as_millis());
    let page = platform.get("shop.localhost", "/").await;
    assert_eq!((page.status, page.body.trim()), (200, "first"));

    source.write("index.html", "second\n");
    platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await
        .ok();
    assert_eq!(
        platform.get("shop.localhost", "/").await.body.trim(),
        "second"
    );

    let again = platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await;
    again.ok();
    eprintln!("deploy with nothing changed: {} ms", again.took.as_millis());

    let releases = platform
        .coracle(&["releases", "shop", "--output", "json"])
        .await
        .json();
    let mut phases: Vec<(u64, String)> = releases["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|release| {
            assert_eq!(release["kind"], "Release");
            let number = release["spec"]["number"].as_u64().unwrap();
            assert_eq!(release["metadata"]["name"], format!("v{number}"));
            (
                number,
                release["status"]["phase"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    phases.sort();
    let (last, earlier) = phases.split_last().unwrap();
    assert_eq!(last.1, "live", "{phases:?}");
    assert!(
        !earlier.is_empty() && earlier.iter().all(|(_, phase)| phase == "superseded"),
        "{phases:?}"
    );

    platform.coracle(&["rollback", "shop", "v1"]).await.ok();
    assert_eq!(
        platform.get("shop.localhost", "/").await.body.trim(),
        "first"
    );
    let releases = platform
        .coracle(&["releases", "shop", "--output", "json"])
        .await
        .json();
    let newest = releases["items"]
        .as_array()
        .unwrap()
        .iter()
        .max_by_key(|release| release["spec"]["number"].as_u64())
        .unwrap();
    assert_eq!(
        newest["spec"]["number"],
        last.0 + 1,
        "a rollback is a new release"
    );
    assert_eq!(newest["spec"]["origin"]["release"], 1);
    assert_eq!(newest["status"]["phase"], "live");

    let builds = platform
        .coracle(&["builds", "shop", "--output", "json"])
        .await
        .json();
    assert!(
        builds["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|build| { build["kind"] == "Build" && build["status"]["phase"] == "succeeded" })
    );
    let images = platform.coracle(&["images", "--output", "json"]).await;
    assert!(images.ok().contains("default/shop"), "{images}");

    platform.settled().await;
    platform
        .api()
        .await
        .delete("/projects/default/apps/shop")
        .await
        .ok();
    platform.nothing_left().await;
    platform.serves("shop.localhost", "/", 404, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_as_the_contract_says() {
    let platform = Platform::start().await;
    let none = platform.coracle(&["apps", "--output", "json"]).await.json();
    assert_eq!(none["items"], Value::Array(vec![]));
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "shop"])
        .await
        .ok();

    let apps = platform.coracle(&["apps", "--output", "json"]).await.json();
    let app = &apps["items"][0];
    assert_eq!(app["kind"], "App");
    assert_eq!(app["metadata"]["name"], "shop");
    assert_eq!(app["metadata"]["project"], "default");
    assert!(!app["metadata"]["uid"].as_str().unwrap().is_empty());
    assert!(app["metadata"]["revision"].as_u64().unwrap() > 0);
    assert!(app["metadata"]["created"].as_str().unwrap().ends_with('Z'));
    assert!(app["spec"].is_object());
    assert_eq!(app["status"]["phase"], "running");
    assert_eq!(app["status"]["url"], platform.url("shop"));
    assert_eq!(app["status"]["release"], 1);
    assert_eq!(app["status"]["processes"]["web"]["ready"], 1);

    let pods = platform.coracle(&["pods", "--output", "json"]).await.json();
    let pod = &pods["items"][0];
    assert_eq!(pod["kind"], "Pod");
    assert_eq!(pod["status"]["phase"], "ready");
    assert!(
        pod["status"]["address"]
            .as_str()
            .unwrap()
            .starts_with("10."),
        "{pod}"
    );
    assert_eq!(pod["status"]["restarts"], 0);
    let node = pod["status"]["node"].as_str().unwrap().to_owned();

    let nodes = platform
        .coracle(&["nodes", "--output", "json"])
        .await
        .json();
    assert_eq!(nodes["items"].as_array().unwrap().len(), 1);
    assert_eq!(nodes["items"][0]["kind"], "Node");
    assert_eq!(nodes["items"][0]["metadata"]["name"], node.as_str());
    assert_eq!(nodes["items"][0]["status"]["ready"], true);

    for table in [
        ["apps"],
        ["pods"],
        ["nodes"],
        ["projects"],
        ["images"],
        ["volumes"],
        ["ps"],
    ] {
        let shown = platform.coracle(&table).await;
        assert!(
            !shown.ok().contains('\u{1b}'),
            "colours in spite of NO_COLOR: {shown}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_reach_the_app_and_secrets_nobody_else() {
    let platform = Platform::start().await;
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "shop"])
        .await
        .ok();

    platform
        .coracle(&[
            "env",
            "shop",
            "set",
            "GREETING=good morning, $USER",
            "EMPTY=",
        ])
        .await
        .ok();
    let seen = platform.get("shop.localhost", "/cgi-bin/env").await.body;
    assert!(
        seen.lines()
            .any(|line| line == "GREETING=good morning, $USER"),
        "{seen}"
    );
    assert!(seen.lines().any(|line| line == "EMPTY="), "{seen}");
    assert!(seen.lines().any(|line| line == "PORT=8080"), "{seen}");
    let app = platform.coracle(&["apps", "--output", "json"]).await.json();
    assert_eq!(
        app["items"][0]["status"]["release"], 2,
        "a change of variables is a release"
    );

    let api = platform.api().await;
    let secret = "a-secret-that-nobody-may-see";
    let change = serde_json::json!({"secret": {"API_KEY": secret}, "unset": ["EMPTY"]});
    let answer = api
        .send(
            reqwest::Method::PATCH,
            "/projects/default/apps/shop/env",
            Some(&change),
        )
        .await;
    assert_eq!(answer.unwrap().ok()["release"], "v3");
    platform
        .serves("shop.localhost", "/cgi-bin/env", 200, secret)
        .await;
    platform.settled().await;
    let seen = platform.get("shop.localhost", "/cgi-bin/env").await.body;
    assert!(!seen.contains("EMPTY="), "{seen}");

    for path in [
        "/projects/default/apps/shop/env",
        "/projects/default/apps/shop",
        "/projects/default/apps/shop/releases",
        "/projects/default/pods",
        "/activity",
    ] {
        let shown = api.get(path).await.ok().to_string();
        assert!(
            !shown.contains(secret),
            "the secret is in the answer of {path}: {shown}"
        );
    }
    let shown = platform.coracle(&["env", "shop", "--output", "json"]).await;
    assert!(
        shown.ok().contains("API_KEY") && !shown.ok().contains(secret),
        "{shown}"
    );
    for part in ["serve", "gateway"] {
        let log = std::fs::read_to_string(platform.data().join(format!("log/{part}.log"))).unwrap();
        assert!(!log.contains(secret), "the secret is in {part}.log");
    }
}
