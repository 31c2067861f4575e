//! Retention.

use std::time::Duration;

use coracle_engine::sim::image;
use coracle_model::app::AppSpec;
use coracle_model::plan::sweep::Retention;

use crate::platform::{Platform, hello, project, until, web};

#[tokio::test(start_paused = true)]
async fn only_the_newest_and_the_needed_are_kept() {
    let mut platform = Platform::new();
    platform.options.retention = Retention {
        releases: 3,
        rollbacks: 2,
        builds: 2,
        events: 10,
        uploads: Duration::ZERO,
    };
    platform.sim().define(image("hello:1").ports([8080]));
    let life = platform.start().await;
    // Uploads of any age go: the sweep at the start is over before the first comes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let build = life
            .send(&[("Dockerfile", "FROM debian:12\nEXPOSE 8080\n")])
            .await;
        numbers.push(life.built(build).await.status.release.unwrap());
    }
    let last = *numbers.last().unwrap();
    life.decided(last).await;
    for _ in 0..4 {
        // They never come to anything: the live one is older than what is kept of these.
        let failed = life.deploy("nothing:1", &web(1)).await;
        life.decided(failed).await;
    }
    // As if a control plane had been killed before it came to that.
    platform.tags.withdrawn.lock().unwrap().clear();
    std::fs::create_dir_all(platform.dir().join("uploads")).unwrap();
    std::fs::write(platform.dir().join("uploads/abandoned"), "x").unwrap();
    // Until the next sweep there is nothing to look for.
    tokio::time::sleep(platform.options.sweep).await;
    until("old releases are gone", || async {
        let left = life.control.releases(&project(), &hello()).await.unwrap();
        left.len() <= 5
    })
    .await;
    let left: Vec<String> = life
        .control
        .releases(&project(), &hello())
        .await
        .unwrap()
        .iter()
        .map(|release| release.metadata.name.clone())
        .collect();
    assert!(
        left.contains(&last.to_string()),
        "the live one stays: {left:?}"
    );
    assert!(
        left.ends_with(&["v5".to_owned(), "v6".to_owned(), "v7".to_owned()]),
        "{left:?}"
    );
    until("nothing else is too much", || async {
        let all = platform.store.all();
        let count = |prefix: &str| all.keys().filter(|key| key.starts_with(prefix)).count();
        count("/builds/") == 2
            && count("/events/") == 10
            && !platform.dir().join("uploads/abandoned").exists()
    })
    .await;
    let withdrawn = platform.tags.withdrawn.lock().unwrap().clone();
    assert!(
        withdrawn.iter().any(|tag| tag.starts_with("b1-")),
        "{withdrawn:?}"
    );
    let app = life
        .control
        .objects
        .list::<AppSpec>("/apps/")
        .await
        .unwrap()
        .remove(0);
    assert_eq!(app.status.release, Some(last));
    life.at_rest(&platform, &[&format!("hello-web-{last} ready")])
        .await;
}
