//! The Docker daemon goes and comes back. With a daemon of the test's own: others use the machine's.

use coracle_e2e::{Daemon, LONG, Part, Platform, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_everything_every_app_serves_again() {
    let Some(mut daemon) = Daemon::start().await else {
        return;
    };
    let platform = Platform::start_on(daemon.docker()).await;
    for app in ["one", "two"] {
        platform
            .coracle(&["deploy", "--image", "coracle-test:1", "--app", app])
            .await
            .ok();
    }
    platform.coracle(&["scale", "two", "web=2"]).await.ok();
    let api = platform.api().await;
    api.post(
        "/projects",
        &json!({"metadata": {"name": "blue"}, "spec": {}}),
    )
    .await
    .ok();
    platform
        .coracle(&[
            "deploy",
            "--image",
            "coracle-test:1",
            "--app",
            "one",
            "--project",
            "blue",
        ])
        .await
        .ok();
    let bare =
        json!({"metadata": {"name": "alone"}, "spec": {"image": "coracle-test:1", "port": 8080}});
    api.post("/projects/default/pods", &bare).await.ok();
    platform.settled().await;

    for power_cut in [false, true] {
        if power_cut {
            platform.kill9(Part::Serve).await;
            platform.kill9(Part::Gateway).await;
        } else {
            platform.down().await;
        }
        daemon.down().await;
        daemon.up().await;
        let up = platform.up().await;
        let mut waited = std::time::Duration::ZERO;
        for host in ["one.localhost", "two.localhost", "one-blue.localhost"] {
            waited += platform.serves(host, "/", 200, "coracle-test").await;
        }
        let what = if power_cut {
            "killed"
        } else {
            "stopped by `down`"
        };
        eprintln!(
            "{what}, the daemon restarted: `up` {} ms, every app served {} ms later",
            up.as_millis(),
            waited.as_millis()
        );
        platform.settled().await;
        let alone = api.get("/projects/default/pods/alone").await.ok();
        assert_eq!(alone["status"]["phase"], "ready", "{alone}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_gone_during_a_deploy_and_comes_back() {
    let Some(mut daemon) = Daemon::start().await else {
        return;
    };
    let platform = Platform::start_on(daemon.docker()).await;
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "shop"])
        .await
        .ok();
    let api = platform.api().await;

    daemon.down().await;
    // The platform itself is there, and says what is the matter.
    until("the platform to notice", LONG, || async {
        api.get("/system").await.ok()["engine"]["ready"] == false
    })
    .await;
    let list = platform.coracle(&["apps", "--output", "json"]).await.json();
    assert_eq!(list["items"][0]["metadata"]["name"], "shop");
    let doctor = platform.run_in_data_dir(&["doctor"]).await;
    assert_eq!(doctor.code, Some(1), "{doctor}");
    assert!(
        format!("{}{}", doctor.stdout, doctor.stderr)
            .to_lowercase()
            .contains("docker"),
        "{doctor}"
    );

    // A deploy that begins now either waits until it is back, or fails with the reason and leaves no trace.
    let deploy = async {
        platform
            .coracle(&["deploy", "--image", "coracle-test:1", "--app", "late"])
            .await
    };
    let back = async {
        until("the deploy to be under way", LONG, || async {
            api.get("/projects/default/apps/late/releases").await.status == 200
        })
        .await;
        daemon.up().await;
    };
    let (deployed, ()) = tokio::join!(deploy, back);
    if deployed.code == Some(0) {
        assert_eq!(deployed.last_line(), platform.url("late"));
        platform
            .serves("late.localhost", "/", 200, "coracle-test")
            .await;
    } else {
        deployed.refused_with(1, &["docker"]);
    }
    platform
        .serves("shop.localhost", "/", 200, "coracle-test")
        .await;
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "late"])
        .await
        .ok();
    platform
        .serves("late.localhost", "/", 200, "coracle-test")
        .await;
    platform.settled().await;

    // And gone in the middle of a deploy.
    let deploy = async {
        platform
            .coracle(&["deploy", "--image", "coracle-test:1", "--app", "middle"])
            .await
    };
    let cut = async {
        until("the deploy to be under way", LONG, || async {
            let release = api.get("/projects/default/apps/middle/releases/v1").await;
            release.status == 200 && release.body["status"]["phase"] != "pending"
        })
        .await;
        daemon.down().await;
        daemon.up().await;
    };
    let (middle, ()) = tokio::join!(deploy, cut);
    eprintln!(
        "a deploy across the daemon's restart: status {:?}, {} ms",
        middle.code,
        middle.took.as_millis()
    );
    if middle.code == Some(0) {
        platform
            .serves("middle.localhost", "/", 200, "coracle-test")
            .await;
    } else {
        middle.refused(1);
    }
    platform.settled().await;
}
