//! Stop at every step, start again, demand a clean slate.
//!
//! A job (deploy twice, the second with a release command; scale; build; delete) is run once to count its writes and engine calls.
//! Then it is run once for each of them, killed just there, started again and left to converge: the end must be
//! the same as without a kill, with nothing doubled and nothing left over.

use std::time::Duration;

use coracle_engine::fault::{Fault, Verb};
use coracle_engine::sim::{Behaviour, image};
use coracle_model::app::ScaleChange;
use coracle_model::name::ProcessName;
use coracle_model::release::ReleaseNumber;
use coracle_model::route::Target;

use crate::platform::{Life, Platform, ann, hello, project, until, web, with_command};
use crate::stop::StopAt;

/// Where the first life of the control plane is stopped.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Never,
    BeforeWrite(usize),
    AfterWrite(usize),
    FailedWrite(usize),
    BeforeCall(usize),
    LostAnswer(usize),
}

fn world() -> Platform {
    let platform = Platform::new();
    let migrate = Behaviour::exits(0, &["migrated"]);
    platform.sim().define(image("hello:1").ports([8080]));
    platform.sim().define(
        image("hello:2")
            .ports([8080])
            .on_command("migrate", migrate),
    );
    platform
}

/// What somebody wished before the kill: everything is in the store, nothing is done.
async fn wishes(platform: &Platform) {
    // A control plane whose controllers' first write never returns: wishes are written, nothing is done.
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(2)).await;
    life.decided(v1).await;
    life.at_rest(platform, &["hello-web-v1 ready"; 2]).await;
    platform.kill(life).await;
    let life = platform.start_stopping(StopAt::Never).await;
    // Two more releases, so that one is overtaken, and another scale.
    let scale = ScaleChange {
        processes: [(ProcessName::web(), 1)].into(),
    };
    life.deploy("hello:2", &web(2)).await;
    life.control
        .scale_app(&project(), &hello(), &scale, None, &ann())
        .await
        .unwrap();
    life.deploy("hello:2", &with_command(web(2), "migrate"))
        .await;
    platform.kill(life).await;
    platform.forget_seen();
}

async fn stopped_life(platform: &Platform, stop: Stop) -> Life {
    let at = match stop {
        Stop::BeforeWrite(n) => StopAt::Before(n),
        Stop::AfterWrite(n) => StopAt::After(n),
        Stop::FailedWrite(n) => StopAt::Fail(n),
        Stop::Never | Stop::BeforeCall(_) | Stop::LostAnswer(_) => StopAt::Never,
    };
    let life = platform.start_stopping(at).await;
    match stop {
        Stop::BeforeCall(n) => life.engine.stop_at(n),
        Stop::LostAnswer(n) => life.engine.fail_at(n, Fault::LostAnswer),
        _ => {}
    }
    life
}

/// Is the deployment done?
async fn deployed(platform: &Platform, life: &Life) -> bool {
    platform.pods() == ["hello-web-v3 ready"]
        && life.app().await.status.release == Some(ReleaseNumber(3))
}

async fn wait_until_deployed(platform: &Platform, life: &Life, stop: Stop) {
    until(&format!("{stop:?} converges"), || async {
        deployed(platform, life).await
    })
    .await;
    // Nothing more happens.
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert!(
        deployed(platform, life).await,
        "{stop:?}: {:?}",
        platform.pods()
    );
}

/// The end without what differs from run to run.
async fn outcome(platform: &Platform, life: &Life, stop: Stop) -> Vec<String> {
    let mut said = platform.pods();
    for release in life.control.releases(&project(), &hello()).await.unwrap() {
        let status = release.status;
        said.push(format!(
            "{} {:?} {:?}",
            release.metadata.name, status.phase, status.reason
        ));
    }
    let app = life.app().await.status;
    said.push(format!(
        "{:?} {:?} {:?} {:?}",
        app.phase, app.release, app.last_release, app.processes
    ));
    let mut leftovers = platform.sim().leftovers();
    leftovers.retain(|left| !left.starts_with("pod "));
    said.extend(leftovers);
    for target in platform.seen() {
        assert!(
            matches!(target, Some(Target::Pods { .. })),
            "{stop:?}: the gateway had a gap: {target:?}"
        );
    }
    assert_eq!(
        platform.sim().violations(),
        Vec::<String>::new(),
        "{stop:?}"
    );
    said
}

/// Runs the deployment with a stop and gives its end, and how many writes and calls it took.
async fn deploy_with(stop: Stop) -> (Vec<String>, usize, usize) {
    let platform = world();
    wishes(&platform).await;
    let first = stopped_life(&platform, stop).await;
    // As far as it comes: a stopped one hangs, one with a single fault comes to its end.
    let far_enough = async {
        while !deployed(&platform, &first).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
    };
    drop(tokio::time::timeout(Duration::from_secs(90), far_enough).await);
    let counts = (first.store.writes(), first.engine.calls().len());
    platform.kill(first).await;
    let second = platform.start().await;
    wait_until_deployed(&platform, &second, stop).await;
    let outcome = outcome(&platform, &second, stop).await;
    platform.kill(second).await;
    (outcome, counts.0, counts.1)
}

#[tokio::test(start_paused = true)]
async fn a_deployment_killed_at_any_step_ends_the_same() {
    let (expected, writes, calls) = deploy_with(Stop::Never).await;
    assert!(writes > 5 && calls > 5, "{writes} writes, {calls} calls");
    let mut stops = Vec::new();
    for n in 0..writes {
        stops.extend([
            Stop::BeforeWrite(n),
            Stop::AfterWrite(n),
            Stop::FailedWrite(n),
        ]);
    }
    for n in 0..calls {
        stops.extend([Stop::BeforeCall(n), Stop::LostAnswer(n)]);
    }
    for stop in stops {
        let (outcome, ..) = deploy_with(stop).await;
        assert_eq!(outcome, expected, "{stop:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_killed_at_any_step_leaves_nothing() {
    async fn delete_with(stop: Stop) -> (usize, usize) {
        let platform = world();
        let life = platform.start().await;
        let v1 = life.deploy("hello:1", &web(2)).await;
        life.decided(v1).await;
        life.at_rest(&platform, &["hello-web-v1 ready"; 2]).await;
        platform.kill(life).await;
        let first = platform.start().await;
        first
            .control
            .delete_app(&project(), &hello(), None, &ann())
            .await
            .unwrap();
        platform.kill(first).await;
        let first = stopped_life(&platform, stop).await;
        tokio::time::sleep(Duration::from_secs(90)).await;
        let counts = (first.store.writes(), first.engine.calls().len());
        platform.kill(first).await;
        let second = platform.start().await;
        until(&format!("{stop:?}: all is gone"), || async {
            let left = platform
                .store
                .all()
                .into_keys()
                .any(|key| key.contains("hello"));
            !left && platform.pods().is_empty()
        })
        .await;
        assert_eq!(platform.sim().leftovers(), ["network default"], "{stop:?}");
        platform.kill(second).await;
        counts
    }
    let (writes, calls) = delete_with(Stop::Never).await;
    for n in 0..writes.max(calls) {
        for stop in [
            Stop::BeforeWrite(n),
            Stop::AfterWrite(n),
            Stop::FailedWrite(n),
            Stop::BeforeCall(n),
            Stop::LostAnswer(n),
        ] {
            delete_with(stop).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_fails_now_and_then_only_delays() {
    let platform = world();
    let life = platform.start().await;
    for verb in [
        Verb::Apply,
        Verb::Remove,
        Verb::ResolveImage,
        Verb::Drained,
        Verb::EnsureProject,
    ] {
        platform.sim().fail_next(verb, 2, Fault::Unavailable);
    }
    let v1 = life.deploy("hello:1", &web(1)).await;
    life.decided(v1).await;
    let v2 = life
        .deploy("hello:2", &with_command(web(1), "migrate"))
        .await;
    life.decided(v2).await;
    life.at_rest(&platform, &["hello-web-v2 ready"]).await;
    let statuses = life.controllers.statuses();
    let app = statuses.iter().find(|status| status.name == "app").unwrap();
    assert!(app.failures > 0 && app.failing == 0, "{app:?}");
    assert!(
        app.last_error.as_ref().unwrap().message.contains("engine"),
        "{app:?}"
    );
}
