//! Builds from upload to release.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use coracle_control::build_log::BuildKey;
use coracle_control::image::pushed_tag;
use coracle_engine::sim::{BuildScript, image};
use coracle_model::build::BuildPhase;
use coracle_model::release::ReleasePhase;

use crate::platform::{Platform, ann, hello, project, until};
use crate::stop::StopAt;

const SOURCE: &[(&str, &str)] = &[
    ("Dockerfile", "FROM debian:12\nCOPY . .\n"),
    ("Procfile", "web: serve\n"),
];

fn folders(platform: &Platform) -> Vec<String> {
    let list = |name: &str| match std::fs::read_dir(platform.dir().join(name)) {
        Ok(entries) => entries
            .map(|entry| format!("{name}/{}", entry.unwrap().file_name().to_string_lossy()))
            .collect::<Vec<_>>(),
        Err(_) => Vec::new(),
    };
    [list("uploads"), list("work")].concat()
}

#[tokio::test(start_paused = true)]
async fn source_becomes_a_release() {
    let platform = Platform::new();
    let life = platform.start().await;
    let b1 = life.send(SOURCE).await;
    let built = life.built(b1).await.status;
    assert_eq!(built.phase, BuildPhase::Succeeded, "{built:?}");
    let release = life.decided(built.release.unwrap()).await;
    assert_eq!(release.status.phase, ReleasePhase::Live, "{release:?}");
    assert!(
        release
            .spec
            .image
            .as_str()
            .starts_with("127.0.0.1:7070/default/hello@sha256:"),
        "{:?}",
        release.spec.image
    );
    let tags = platform.tags.given.lock().unwrap().clone();
    assert_eq!(tags, ["hello:b1"]);
    let pushed = pushed_tag(&life.build(b1).await);
    until("the pushed tag is gone", || async {
        *platform.tags.withdrawn.lock().unwrap() == BTreeSet::from([pushed.clone()])
    })
    .await;
    life.at_rest(&platform, &["hello-web-v1 ready"]).await;
    until("nothing is left of it", || async {
        folders(&platform).is_empty()
    })
    .await;
    let key = BuildKey {
        project: project(),
        app: hello(),
        number: b1,
    };
    let mut log = life.control.build_logs.read(&key).await.unwrap().unwrap();
    let mut lines = Vec::new();
    while let Some(line) = log.next().await.unwrap() {
        lines.push(line.text);
    }
    assert!(
        lines.iter().any(|line| line.contains("COPY . .")),
        "{lines:?}"
    );
    assert_eq!(
        lines.last().map(String::as_str),
        Some("build 1 made release v1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_build_whose_image_gets_no_name_has_failed() {
    let platform = Platform::new();
    platform.tags.refuse.store(true, Ordering::Relaxed);
    let life = platform.start().await;
    let b1 = life.send(SOURCE).await;
    let built = life.built(b1).await.status;
    assert_eq!(built.phase, BuildPhase::Failed, "{built:?}");
    let reason = built.reason.unwrap();
    assert!(reason.contains("registry"), "{reason}");
    assert_eq!(built.release, None);
}

/// The registry is not well for a moment.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_given_at_once_is_given_later() {
    let platform = Platform::new();
    platform.tags.refuse.store(true, Ordering::Relaxed);
    let life = platform.start().await;
    let b1 = life.send(SOURCE).await;
    until("it was tried again", || async {
        platform.tags.refused.load(Ordering::Relaxed) > 2
    })
    .await;
    assert_eq!(life.build(b1).await.status.phase, BuildPhase::Running);
    platform.tags.refuse.store(false, Ordering::Relaxed);
    let built = life.built(b1).await.status;
    assert_eq!(built.phase, BuildPhase::Succeeded, "{built:?}");
}

/// Whoever takes over a build finds by that tag what was pushed.
#[tokio::test(start_paused = true)]
async fn the_pushed_tag_is_there_until_the_success_is_written() {
    let platform = Platform::new();
    platform.tags.refuse.store(true, Ordering::Relaxed);
    let life = platform.start().await;
    let b1 = life.send(SOURCE).await;
    until("it is pushed", || async {
        platform.tags.refused.load(Ordering::Relaxed) > 0
    })
    .await;
    life.store.arm(StopAt::Before(0));
    platform.tags.refuse.store(false, Ordering::Relaxed);
    until("it has its name", || async {
        !platform.tags.given.lock().unwrap().is_empty()
    })
    .await;
    until("the write", || async { life.store.writes() > 0 }).await;
    assert_eq!(*platform.tags.withdrawn.lock().unwrap(), BTreeSet::new());
    platform.kill(life).await;
    let life = platform.start().await;
    let built = life.built(b1).await.status;
    assert_eq!(built.phase, BuildPhase::Succeeded, "{built:?}");
    let pushed = pushed_tag(&life.build(b1).await);
    until("the pushed tag is gone", || async {
        platform.tags.withdrawn.lock().unwrap().contains(&pushed)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_moment_fails_no_build() {
    let platform = Platform::new();
    let life = platform.start().await;
    platform.tags.refuse.store(true, Ordering::Relaxed);
    life.send(SOURCE).await;
    until("another build is before it", || async {
        platform.tags.refused.load(Ordering::Relaxed) > 0
    })
    .await;
    let b2 = life.send(SOURCE).await;
    life.store.fail_reads(Some("/projects/default"));
    platform.tags.refuse.store(false, Ordering::Relaxed);
    until("it has begun, and was begun again", || async {
        life.build(b2).await.status.started.is_some() && life.store.failed_reads() > 1
    })
    .await;
    life.store.fail_reads(None);
    let built = life.built(b2).await.status;
    assert_eq!(built.phase, BuildPhase::Succeeded, "{built:?}");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_says_why_and_makes_no_release() {
    let platform = Platform::new();
    let life = platform.start().await;
    platform.sim().next_build(BuildScript::fails(
        "Dockerfile:2: unknown instruction: COPPY",
    ));
    let b1 = life.send(SOURCE).await;
    let built = life.built(b1).await.status;
    assert_eq!(built.phase, BuildPhase::Failed);
    assert_eq!(
        built.reason.as_deref(),
        Some("Dockerfile:2: unknown instruction: COPPY")
    );
    let b2 = life.send(&[("README", "nothing to build")]).await;
    let refused = life.built(b2).await.status;
    assert_eq!(refused.phase, BuildPhase::Failed);
    assert!(
        refused.reason.as_deref().unwrap().contains("Dockerfile"),
        "{refused:?}"
    );
    assert_eq!(life.app().await.status.last_release, 0);
    until("nothing is left of them", || async {
        folders(&platform).is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_waits_the_older_is_replaced_and_a_running_one_can_be_cancelled() {
    let platform = Platform::new();
    let life = platform.start().await;
    let b1 = life.send(SOURCE).await;
    until("b1 runs", || async {
        life.build(b1).await.status.phase == BuildPhase::Running
    })
    .await;
    let b2 = life.send(SOURCE).await;
    let b3 = life.send(SOURCE).await;
    assert_eq!(
        life.built(b2).await.status.reason.as_deref(),
        Some("replaced by b3")
    );
    life.control
        .cancel_build(&project(), &hello(), b1, &ann())
        .await
        .unwrap();
    let cancelled = life.built(b1).await.status;
    assert_eq!(
        (cancelled.phase, cancelled.reason.as_deref()),
        (BuildPhase::Cancelled, Some("cancelled"))
    );
    assert_eq!(life.built(b3).await.status.phase, BuildPhase::Succeeded);
    until("nothing is left of them", || async {
        folders(&platform).is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_build_of_a_killed_process_is_built_again() {
    let platform = Platform::new();
    platform
        .sim()
        .next_build(BuildScript::makes(image("lost").ports([8080])));
    let life = platform.start().await;
    let b1 = life.send(SOURCE).await;
    until("b1 runs", || async {
        life.build(b1).await.status.phase == BuildPhase::Running
    })
    .await;
    platform.kill(life).await;
    let life = platform.start().await;
    let built = life.built(b1).await.status;
    assert_eq!(built.phase, BuildPhase::Succeeded, "{built:?}");
    assert_eq!(life.app().await.status.last_release, 1);
    until("nothing is left of it", || async {
        folders(&platform).is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_app_ends_its_build() {
    let platform = Platform::new();
    let life = platform.start().await;
    let b1 = life.send(SOURCE).await;
    until("b1 runs", || async {
        life.build(b1).await.status.phase == BuildPhase::Running
    })
    .await;
    life.control
        .delete_app(&project(), &hello(), None, &ann())
        .await
        .unwrap();
    until("the app is gone", || async {
        life.control.app(&project(), &hello()).await.is_err()
    })
    .await;
    until("nothing is left of it", || async {
        folders(&platform).is_empty()
    })
    .await;
    let left: Vec<String> = platform
        .store
        .all()
        .into_keys()
        .filter(|key| key.contains("hello"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
