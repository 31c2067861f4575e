//! Releases of images that were pushed to the platform's registry: nodes pull them, good ones take over without a
//! failed request, bad ones change nothing.

use coracle_e2e::{Cluster, Load, ONE_POD, Source, Tally};
use serde_json::Value;

/// Of these some ask for what takes a while: requests are under way whenever pods go.
const SLOW: u32 = 3;
const PER_SECOND: u32 = 150;

async fn releases(cluster: &Cluster) -> Vec<Value> {
    let path = cluster.at("/apps/shop/releases");
    let mut releases = cluster.api().await.list(&path).await.unwrap();
    releases.sort_by_key(|release| release["spec"]["number"].as_u64());
    releases
}

fn only(tally: &Tally, allowed: &[&str]) {
    for body in tally.bodies.keys() {
        assert!(allowed.contains(&body.as_str()), "somebody got {body:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushed_images_take_over_without_a_failed_request_and_come_back() {
    let cluster = Cluster::start().await;
    let host = cluster.host("shop");
    let source = Source::page("version 1");
    let first = cluster.push(&source, "shop", "1");
    let deployed = cluster.deploy("shop", &first).await;
    let url = format!("http://{host}:{}", cluster.http().port());
    assert_eq!(deployed.last_line(), url, "{deployed}");
    eprintln!(
        "first deploy of a pushed image: {} ms",
        deployed.took.as_millis()
    );
    assert_eq!(cluster.get(&host, "/").await.body.trim(), "version 1");
    cluster.run(&["scale", "shop", "web=3"]).await.ok();

    let load = Load::start(cluster.http(), &host, "/", ONE_POD - SLOW, PER_SECOND);
    let slow = Load::start(cluster.http(), &host, "/cgi-bin/slow?0.7", SLOW, SLOW);
    for version in 2..=3 {
        load.more(200).await;
        source.write("index.html", &format!("version {version}\n"));
        let image = cluster.push(&source, "shop", &version.to_string());
        let deployed = cluster.deploy("shop", &image).await;
        deployed.ok();
        eprintln!(
            "redeploy {version} under load: {} ms",
            deployed.took.as_millis()
        );
        assert_eq!(
            cluster.get(&host, "/").await.body.trim(),
            format!("version {version}"),
            "the command was back, the old one answered"
        );
    }
    cluster.run(&["rollback", "shop", "v1"]).await.ok();
    assert_eq!(cluster.get(&host, "/").await.body.trim(), "version 1");
    load.more(200).await;
    cluster.run(&["scale", "shop", "web=1"]).await.ok();
    cluster.settled().await;
    load.more(200).await;
    let (tally, slow) = (load.stop().await, slow.stop().await);
    tally.nothing_failed("2 redeploys, a rollback, scaling down");
    slow.nothing_failed("the same, for slow requests");
    only(&tally, &["version 1", "version 2", "version 3"]);

    let releases = releases(&cluster).await;
    let newest = releases.last().unwrap();
    assert_eq!(newest["spec"]["number"], 4, "a rollback is a new release");
    assert_eq!(newest["spec"]["origin"]["release"], 1);
    assert_eq!(newest["status"]["phase"], "live");

    cluster
        .api()
        .await
        .delete(&cluster.at("/apps/shop"))
        .await
        .ok();
    crate::projects::nothing_left(&cluster).await;
    cluster.serves(&host, "/", 404, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_releases_change_nothing_for_users() {
    let cluster = Cluster::start().await;
    let host = cluster.host("shop");
    let source = Source::page("good");
    let first = cluster.push(&source, "shop", "good");
    cluster.deploy("shop", &first).await.ok();
    let load = Load::start(cluster.http(), &host, "/", ONE_POD, PER_SECOND);
    load.more(100).await;

    source.write("index.html", "bad\n");
    let dockerfile = |command: &str| {
        let image = coracle_e2e::TEST_IMAGE;
        let text = format!("FROM {image}\nCOPY index.html /www/index.html\nCMD {command}\n");
        source.write("Dockerfile", &text);
    };
    dockerfile(r#"["/bin/sh", "-c", "echo the database is gone >&2; exit 3"]"#);
    let crashing = cluster.push(&source, "shop", "crashing");
    let crashed = cluster.deploy("shop", &crashing).await;
    crashed.refused_with(1, &["the database is gone", "3"]);
    eprintln!(
        "a release that crashes was refused after {} ms:\n{}",
        crashed.took.as_millis(),
        crashed.stderr
    );
    let failed = releases(&cluster).await.pop().unwrap();
    assert_eq!(failed["status"]["phase"], "failed");
    assert!(!failed["status"]["reason"].as_str().unwrap().is_empty());
    let log = failed["status"]["log"].to_string();
    assert!(log.contains("the database is gone"), "{failed}");

    dockerfile(r#"["no-such-program"]"#);
    let missing = cluster.push(&source, "shop", "missing");
    let refused = cluster.deploy("shop", &missing).await;
    refused.refused_with(1, &["no-such-program", "not found"]);
    let nowhere = format!("{}/{}/shop:nowhere", cluster.listen(), cluster.project());
    let refused = cluster.deploy("shop", &nowhere).await;
    refused.refused_with(1, &["nowhere"]);

    cluster.settled().await;
    let app = cluster
        .api()
        .await
        .get(&cluster.at("/apps/shop"))
        .await
        .ok();
    assert_eq!(app["status"]["phase"], "running", "{app}");
    assert_eq!(app["status"]["release"], 1, "{app}");
    load.more(100).await;
    let tally = load.stop().await;
    tally.nothing_failed("three bad releases");
    only(&tally, &["good"]);

    // And it is no dead end.
    dockerfile(r#"["/bin/serve"]"#);
    let works = cluster.push(&source, "shop", "works");
    cluster.deploy("shop", &works).await.ok();
    assert_eq!(cluster.get(&host, "/").await.body.trim(), "bad");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_reach_the_app_and_secrets_nobody_else() {
    let cluster = Cluster::start().await;
    let host = cluster.host("shop");
    let image = cluster.push(&Source::page("hello"), "shop", "1");
    cluster.deploy("shop", &image).await.ok();
    let plain = "GREETING=good morning, $(USER) $USER";
    cluster
        .run(&["env", "shop", "set", plain, "EMPTY="])
        .await
        .ok();
    let secret = "a-secret-that-nobody-may-see";
    let line = format!("API_KEY={secret}");
    let sealed = ["env", "shop", "set", &line, "--secret"];
    cluster.run(&sealed).await.ok();
    let seen = cluster.get(&host, "/cgi-bin/env").await.body;
    for wanted in [plain, "EMPTY=", &line, "PORT=8080"] {
        assert!(seen.lines().any(|line| line == wanted), "{wanted}: {seen}");
    }

    let api = cluster.api().await;
    for path in [
        "/apps/shop/env",
        "/apps/shop",
        "/apps/shop/releases",
        "/pods",
    ] {
        let shown = api.get(&cluster.at(path)).await.ok().to_string();
        assert!(!shown.contains(secret), "{path} shows it: {shown}");
    }
    // In the cluster it stands in Secrets of the project alone, and in no pod's or Deployment's own text.
    let namespace = cluster.namespace();
    for kind in ["deployments", "replicasets", "pods", "events"] {
        let shown = format!("{:?}", cluster.kubectl().get(&[kind, "-n", &namespace]));
        assert!(!shown.contains(secret), "{kind} show it");
    }
    for part in ["serve", "gateway"] {
        let log = std::fs::read_to_string(cluster.data().join(format!("log/{part}.log"))).unwrap();
        assert!(!log.contains(secret), "the secret is in {part}.log");
    }
}
