//! New releases, good and bad, under load: nobody notices.

use coracle_e2e::{Load, Platform, Source, Tally};
use serde_json::Value;

const CONNECTIONS: u32 = 50;
const PER_SECOND: u32 = 300;
const HOST: &str = "shop.localhost";

async fn newest(platform: &Platform) -> Value {
    let releases = platform
        .api()
        .await
        .list("/projects/default/apps/shop/releases")
        .await
        .unwrap();
    releases
        .into_iter()
        .max_by_key(|release| release["spec"]["number"].as_u64())
        .unwrap()
}

fn only(tally: &Tally, allowed: &[&str]) {
    for body in tally.bodies.keys() {
        assert!(allowed.contains(&body.as_str()), "somebody got {body:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_releases_take_over_without_a_failed_request() {
    let platform = Platform::start().await;
    let source = Source::page("version 1");
    source.write("coracle.toml", "[process.web]\nreplicas = 2\n");
    platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await
        .ok();

    let load = Load::start(platform.http(), HOST, "/", CONNECTIONS, PER_SECOND);
    // One that takes a while: requests are under way whenever pods go.
    let slow = Load::start(platform.http(), HOST, "/cgi-bin/slow?0.7", 6, 6);
    for version in 2..=4 {
        load.more(200).await;
        source.write("index.html", &format!("version {version}\n"));
        let deployed = platform
            .coracle(&["deploy", source.arg(), "--app", "shop"])
            .await;
        deployed.ok();
        eprintln!(
            "redeploy {version} under load: {} ms",
            deployed.took.as_millis()
        );
        let page = platform.get(HOST, "/").await;
        assert_eq!(
            page.body.trim(),
            format!("version {version}"),
            "the command was back, the old one answered"
        );
    }
    platform.coracle(&["env", "shop", "set", "A=1"]).await.ok();
    load.more(200).await;
    platform.coracle(&["scale", "shop", "web=3"]).await.ok();
    load.more(200).await;
    platform.coracle(&["scale", "shop", "web=1"]).await.ok();
    platform.settled().await;
    load.more(200).await;
    let (tally, slow) = (load.stop().await, slow.stop().await);
    tally.nothing_failed("3 redeploys, a change of variables, scaling up and down");
    slow.nothing_failed("the same, for slow requests");
    only(
        &tally,
        &["version 1", "version 2", "version 3", "version 4"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_releases_change_nothing_for_users() {
    let platform = Platform::start().await;
    let source = Source::page("good");
    let manifest = |command: &str| {
        let health = "health = { interval = \"500ms\", grace = \"6s\" }";
        source.write(
            "coracle.toml",
            &format!("[process.web]\n{command}\n{health}\n"),
        );
    };
    manifest("command = \"serve\"");
    platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await
        .ok();
    let load = Load::start(platform.http(), HOST, "/", CONNECTIONS, PER_SECOND);
    load.more(100).await;

    source.write("index.html", "bad\n");
    manifest("command = \"echo the database is gone >&2; exit 3\"");
    let crashed = platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await;
    crashed.refused_with(1, &["the database is gone", "3"]);
    eprintln!(
        "a release that crashes was refused after {} ms:\n{}",
        crashed.took.as_millis(),
        crashed.stderr
    );
    let release = newest(&platform).await;
    assert_eq!(release["status"]["phase"], "failed");
    assert!(!release["status"]["reason"].as_str().unwrap().is_empty());
    assert!(
        release["status"]["log"]
            .to_string()
            .contains("the database is gone"),
        "{release}"
    );

    manifest("command = \"echo I listen to nobody; exec sleep 1000\"");
    let deaf = platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await;
    deaf.refused_with(1, &["8080", "I listen to nobody"]);
    eprintln!(
        "a release that never listens was refused after {} ms:\n{}",
        deaf.took.as_millis(),
        deaf.stderr
    );
    assert_eq!(newest(&platform).await["status"]["phase"], "failed");

    manifest("command = \"no-such-program\"");
    platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await
        .refused_with(1, &["no-such-program"]);

    // The release command fails: nothing of the new release ever starts.
    source.write("Procfile", "release: echo no migration today; exit 9\n");
    manifest("command = \"serve\"");
    let failed = platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await;
    failed.refused_with(1, &["no migration today", "9"]);

    platform.settled().await;
    let app = platform
        .api()
        .await
        .get("/projects/default/apps/shop")
        .await
        .ok();
    assert_eq!(app["status"]["phase"], "running", "{app}");
    assert_eq!(app["status"]["release"], 1, "{app}");
    load.more(100).await;
    let tally = load.stop().await;
    tally.nothing_failed("four bad releases");
    only(&tally, &["good"]);

    // And it is no dead end.
    source.write("Procfile", "release: echo migrated\n");
    platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await
        .ok();
    assert_eq!(
        platform.get(HOST, "/").await.body.trim(),
        "bad",
        "the folder's page, by a command that works"
    );
}
