//! Rollouts from the first write to the last pod.

use std::net::SocketAddr;
use std::time::Duration;

use coracle_engine::sim::{Behaviour, image};
use coracle_model::app::{AppPhase, ScaleChange};
use coracle_model::name::ProcessName;
use coracle_model::release::ReleasePhase;
use coracle_model::route::{GatewayReport, Target};
use coracle_store::{Expected, Store as _};

use crate::platform::{Platform, ann, hello, project, until, web, with_command};

fn define(platform: &Platform, name: &str, behaviour: Behaviour) {
    platform
        .sim()
        .define(image(name).ports([8080]).behaviour(behaviour));
}

#[tokio::test(start_paused = true)]
async fn a_release_goes_live_and_the_next_takes_over_without_a_gap() {
    let platform = Platform::new();
    define(&platform, "hello:1", Behaviour::serves());
    define(&platform, "hello:2", Behaviour::serves());
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(2)).await;
    assert_eq!(life.decided(v1).await.status.phase, ReleasePhase::Live);
    life.at_rest(&platform, &["hello-web-v1 ready", "hello-web-v1 ready"])
        .await;
    let app = life.app().await;
    assert_eq!(app.status.phase, AppPhase::Running);
    assert_eq!(
        app.status.url.as_deref(),
        Some("http://hello.localhost:8080")
    );

    until("the gateway has both", || async {
        matches!(platform.seen().last(), Some(Some(Target::Pods { pods })) if pods.len() == 2)
    })
    .await;
    platform.forget_seen();
    let v2 = life.deploy("hello:2", &web(2)).await;
    assert_eq!(life.decided(v2).await.status.phase, ReleasePhase::Live);
    life.at_rest(&platform, &["hello-web-v2 ready", "hello-web-v2 ready"])
        .await;
    assert_eq!(
        life.release(v1).await.status.phase,
        ReleasePhase::Superseded
    );
    for target in platform.seen() {
        assert!(
            matches!(target, Some(Target::Pods { .. })),
            "a gap: {target:?}"
        );
    }
    assert_eq!(platform.sim().violations(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_crashes_leaves_the_old_one_and_says_why() {
    let platform = Platform::new();
    define(&platform, "hello:1", Behaviour::serves());
    define(
        &platform,
        "hello:2",
        Behaviour::exits(1, &["no database", "giving up"]),
    );
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(1)).await;
    life.decided(v1).await;
    life.at_rest(&platform, &["hello-web-v1 ready"]).await;
    platform.forget_seen();
    let before = platform.sim().pods();
    let v2 = life.deploy("hello:2", &web(1)).await;
    let failed = life.decided(v2).await.status;
    assert_eq!(failed.phase, ReleasePhase::Failed);
    assert_eq!(
        failed.reason.as_deref(),
        Some("web exited with status 1 three times")
    );
    assert_eq!(failed.log.last().map(String::as_str), Some("giving up"));
    life.at_rest(&platform, &["hello-web-v1 ready"]).await;
    assert_eq!(
        platform.sim().pods()[0].id,
        before[0].id,
        "the old pod was not touched"
    );
    for target in platform.seen() {
        assert!(
            matches!(target, Some(Target::Pods { .. })),
            "a gap: {target:?}"
        );
    }
    let app = life.app().await;
    assert_eq!(app.status.phase, AppPhase::Running);
    assert!(app.status.reason.unwrap().contains("v2 failed"));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_does_not_listen_fails_at_its_deadline() {
    let platform = Platform::new();
    define(&platform, "hello:1", Behaviour::NeverReady);
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(1)).await;
    let begin = tokio::time::Instant::now();
    let failed = life.decided(v1).await.status;
    assert_eq!(
        failed.reason.as_deref(),
        Some("web does not listen on port 8080 (it must listen on 0.0.0.0:$PORT)")
    );
    let took = begin.elapsed();
    assert!(
        took >= Duration::from_secs(90) && took < Duration::from_secs(95),
        "{took:?}"
    );
    life.at_rest(&platform, &[]).await;
    assert_eq!(life.app().await.status.phase, AppPhase::Failed);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_does_not_exist_fails_with_the_registrys_words() {
    let platform = Platform::new();
    let life = platform.start().await;
    let v1 = life.deploy("nothing:1", &web(1)).await;
    let failed = life.decided(v1).await.status;
    assert_eq!(failed.phase, ReleasePhase::Failed);
    assert!(failed.reason.unwrap().contains("nothing:1"));
    life.at_rest(&platform, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn the_release_command_runs_once_and_first() {
    let platform = Platform::new();
    let migrate = Behaviour::Exits {
        code: 0,
        after: Duration::from_secs(20),
        output: vec!["migrated".to_owned()],
    };
    let serving = image("hello:1")
        .ports([8080])
        .on_command("migrate", migrate);
    platform.sim().define(serving);
    let life = platform.start().await;
    let config = with_command(web(1), "migrate");
    let v1 = life.deploy("hello:1", &config).await;
    until("the command runs", || async {
        platform.pods() == ["hello-release-v1 ready"]
    })
    .await;
    // Killed while it runs.
    platform.kill(life).await;
    let life = platform.start().await;
    assert_eq!(life.decided(v1).await.status.phase, ReleasePhase::Live);
    life.at_rest(&platform, &["hello-web-v1 ready"]).await;
    let journal = platform.sim().journal_text();
    let starts = journal
        .lines()
        .filter(|line| line.contains("hello-release-v1") && line.contains("start"))
        .count();
    assert_eq!(starts, 1, "{journal}");

    let failing = image("hello:2")
        .ports([8080])
        .on_command("migrate", Behaviour::exits(3, &["no such table"]));
    platform.sim().define(failing);
    let v2 = life.deploy("hello:2", &config).await;
    let failed = life.decided(v2).await.status;
    assert_eq!(
        failed.reason.as_deref(),
        Some("the release command exited with status 3")
    );
    assert_eq!(failed.log, ["no such table"]);
    life.at_rest(&platform, &["hello-web-v1 ready"]).await;
}

#[tokio::test(start_paused = true)]
async fn scaling_healing_and_deleting() {
    let platform = Platform::new();
    define(&platform, "hello:1", Behaviour::serves());
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(1)).await;
    life.decided(v1).await;
    let scale = |replicas| ScaleChange {
        processes: [(ProcessName::web(), replicas)].into(),
    };
    life.control
        .scale_app(&project(), &hello(), &scale(3), None, &ann())
        .await
        .unwrap();
    life.at_rest(&platform, &["hello-web-v1 ready"; 3]).await;
    let victim = platform.sim().pods()[0].id.clone();
    platform.sim().vanish(&victim);
    life.at_rest(&platform, &["hello-web-v1 ready"; 3]).await;
    life.control
        .scale_app(&project(), &hello(), &scale(0), None, &ann())
        .await
        .unwrap();
    life.at_rest(&platform, &[]).await;
    assert_eq!(life.app().await.status.phase, AppPhase::Stopped);
    until("the host says stopped", || async {
        platform.seen().last() == Some(&Some(Target::Stopped))
    })
    .await;
    life.control
        .scale_app(&project(), &hello(), &scale(1), None, &ann())
        .await
        .unwrap();
    life.at_rest(&platform, &["hello-web-v1 ready"]).await;

    life.control
        .delete_app(&project(), &hello(), None, &ann())
        .await
        .unwrap();
    until("the app is gone", || async {
        life.control.app(&project(), &hello()).await.is_err()
    })
    .await;
    assert_eq!(platform.pods(), Vec::<String>::new());
    let left: Vec<String> = platform
        .store
        .all()
        .into_keys()
        .filter(|key| key.contains("hello"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    until("the host is unknown", || async {
        platform.seen().last() == Some(&None)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_during_a_deployment_is_no_fault_of_the_release() {
    let platform = Platform::new();
    define(
        &platform,
        "hello:1",
        Behaviour::Serves {
            ready_after: Duration::from_secs(30),
        },
    );
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(1)).await;
    until("its pod starts", || async {
        platform.pods() == ["hello-web-v1 starting"]
    })
    .await;
    platform.sim().daemon_down();
    tokio::time::sleep(Duration::from_secs(300)).await;
    platform.sim().daemon_up();
    assert_eq!(life.decided(v1).await.status.phase, ReleasePhase::Live);
}

#[tokio::test(start_paused = true)]
async fn controllers_rest_when_there_is_nothing_to_do() {
    let platform = Platform::new();
    define(&platform, "hello:1", Behaviour::serves());
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(2)).await;
    life.decided(v1).await;
    life.at_rest(&platform, &["hello-web-v1 ready"; 2]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (calls, writes) = (life.engine.calls().len(), life.store.writes());
    let before: Vec<u64> = life
        .controllers
        .statuses()
        .iter()
        .map(|status| status.runs)
        .collect();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        life.engine.calls().len(),
        calls,
        "the engine is told nothing new"
    );
    assert_eq!(life.store.writes(), writes, "nothing is written");
    for (status, before) in life.controllers.statuses().iter().zip(before) {
        // What is used is looked at every 15 s for as long as something runs.
        let most = if status.name == "usage" { 41 } else { 12 };
        assert!(
            status.runs - before <= most,
            "only the rescan runs: {status:?}"
        );
        assert_eq!(status.failures, 0, "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_of_an_app_without_a_record_are_cleared_away() {
    let platform = Platform::new();
    define(&platform, "hello:1", Behaviour::serves());
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(2)).await;
    life.decided(v1).await;
    life.at_rest(&platform, &["hello-web-v1 ready"; 2]).await;
    platform.kill(life).await;
    // As when the data directory was restored from a backup that is older than the app.
    for key in platform
        .store
        .all()
        .into_keys()
        .filter(|key| key.contains("hello"))
    {
        platform.store.delete(&key, Expected::Any).await.unwrap();
    }
    let _life = platform.start().await;
    until("they are gone", || async { platform.pods().is_empty() }).await;
    assert_eq!(platform.sim().leftovers(), ["network default"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_drain_is_what_gateways_report() {
    let platform = Platform::new();
    define(&platform, "hello:1", Behaviour::serves());
    define(&platform, "hello:2", Behaviour::serves());
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(1)).await;
    life.decided(v1).await;
    life.at_rest(&platform, &["hello-web-v1 ready"]).await;
    // Another gateway, which holds a request to the old pod.
    let old = platform.sim().pods()[0].clone();
    let address = SocketAddr::new(old.status.address.unwrap(), old.port.unwrap());
    let _connection = life.control.feed.connected("slow");
    let report = |generation, in_flight| GatewayReport {
        generation,
        draining: [(address, in_flight)].into(),
        ..GatewayReport::default()
    };
    let v2 = life.deploy("hello:2", &web(1)).await;
    life.decided(v2).await;
    let stopping = ["hello-web-v1 stopping", "hello-web-v2 ready"];
    until("the old pod stops", || async {
        platform.pods() == stopping
    })
    .await;
    let generation = || {
        life.control
            .feed
            .subscribe()
            .borrow()
            .as_ref()
            .unwrap()
            .generation
    };
    life.control
        .feed
        .report("slow", report(generation(), 1))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(platform.pods(), stopping, "a request is in flight");
    life.control
        .feed
        .report("slow", report(generation(), 0))
        .await
        .unwrap();
    let begin = tokio::time::Instant::now();
    until("it has stopped", || async {
        platform.pods() == ["hello-web-v2 ready"]
    })
    .await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "it did not wait for the deadline"
    );
}
