//! Logs of builds: as text, and followed.

use coracle_control::build_log::BuildKey;
use coracle_control::keys;
use coracle_model::build::{BuildPhase, BuildSpec};
use reqwest::Method;

use crate::support::{Answer, Platform, app, project};

const LOG: &str = "projects/default/apps/hello/builds/b1/log";

async fn queued(platform: &Platform) -> (crate::support::As, BuildKey) {
    let admin = platform.admin().await;
    let path = "projects/default/apps/hello/builds?create=true";
    let request = admin.request(Method::POST, path).body("an archive");
    Answer::of(request).await.ok(202);
    let key = BuildKey {
        project: project("default"),
        app: app("hello"),
        number: 1,
    };
    (admin, key)
}

async fn ended(platform: &Platform) {
    let key = keys::build(&project("default"), &app("hello"), 1);
    platform
        .control
        .objects
        .modify::<BuildSpec>(&key, "b1", |build| {
            build.status.phase = BuildPhase::Succeeded;
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_follower_waits_for_the_build_and_ends_with_it() {
    let platform = Platform::new().await;
    let (admin, key) = queued(&platform).await;
    let mut follower = admin.stream(&format!("{LOG}?follow=true")).await;
    let mut log = platform.control.build_logs.begin(key).await.unwrap();
    log.line(Some("1/2 FROM"), Some("running"), "FROM debian:12")
        .await
        .unwrap();
    // The follower looks for the log again when the build changes, as it does when it begins to run.
    let running = keys::build(&project("default"), &app("hello"), 1);
    platform
        .control
        .objects
        .modify::<BuildSpec>(&running, "b1", |build| {
            build.status.phase = BuildPhase::Running;
            Ok(())
        })
        .await
        .unwrap();
    let first = follower.event().await.unwrap();
    assert_eq!(
        (first.event.as_str(), &first.data["text"]),
        ("line", &"FROM debian:12".into())
    );
    assert_eq!(first.data["step"], "1/2 FROM");
    log.line(None, None, "second\nwith </script> in it")
        .await
        .unwrap();
    assert_eq!(
        follower.event().await.unwrap().data["text"],
        "second\nwith </script> in it"
    );
    drop(log);
    ended(&platform).await;
    assert_eq!(follower.event().await.unwrap().event, "end");
    assert_eq!(follower.event().await, None);

    let text = admin.get(LOG).await;
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(
        text.text(),
        "FROM debian:12\nsecond\nwith </script> in it\n"
    );
}

#[tokio::test]
async fn a_build_that_ended_without_a_log_ends_its_followers() {
    let platform = Platform::new().await;
    let (admin, _) = queued(&platform).await;
    assert_eq!(admin.get(LOG).await.text(), "");
    let mut follower = admin.stream(&format!("{LOG}?follow=true")).await;
    ended(&platform).await;
    assert_eq!(follower.event().await, None);
    admin.get(LOG).await.problem(404, "not_found");
    admin
        .get(&format!("{LOG}?folow=true"))
        .await
        .problem(422, "unknown_field");
}
