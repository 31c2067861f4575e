//! Law 5: `stopping` first, then the drain, then SIGTERM, then SIGKILL.

use std::time::Duration;

use coracle_model::pod::PodPhase;
use coracle_model::release::CommandLine;
use coracle_model::workload::{ObservedPod, Workload};
use tokio::time::Instant;

use crate::conformance::bench::{Bench, Given as _};
use crate::conformance::watcher::Watcher;
use crate::engine::EngineEvent;

/// So long that no case waits for its end.
const LONG: Duration = Duration::from_secs(3600);

fn draining(t: &Bench, drain: Duration) -> Workload {
    let mut web = t.serving("web", 1);
    web.template.drain = drain;
    web
}

async fn stopping(watcher: &mut Watcher, workload: &Workload) -> ObservedPod {
    watcher
        .until("it is reported stopping", |seen| {
            seen.all_in(&workload.id, 1, PodPhase::Stopping)?.pop()
        })
        .await
}

/// A pod leaves when its requests have ended, not before.
pub async fn a_stop_waits_until_it_is_drained(t: &Bench) {
    let web = draining(t, LONG);
    let pod = t.running(&web).await.remove(0);
    let mut watcher = t.watcher();
    t.engine().remove(&web.id).await.given("remove");
    let seen = stopping(&mut watcher, &web).await;
    assert_eq!(seen.id, pod.id);
    assert_eq!(seen.status.address, pod.status.address);
    // Something that takes its time: the stop must not have gone on meanwhile.
    t.running(&t.serving("other", 1)).await;
    t.phase(&web, PodPhase::Stopping).await;
    t.engine().drained(&pod.id).await.given("drained");
    t.engine().drained(&pod.id).await.given("drained again");
    t.gone(&web.id).await;
}

/// If nobody says so, the drain's own time ends.
pub async fn a_stop_goes_on_when_the_drain_is_over(t: &Bench) {
    let drain = Duration::from_secs(1);
    let web = draining(t, drain);
    t.running(&web).await;
    let mut watcher = t.watcher();
    let asked = Instant::now();
    t.engine().remove(&web.id).await.given("remove");
    stopping(&mut watcher, &web).await;
    watcher
        .until("it is gone", |seen| {
            seen.of(&web.id).is_empty().then_some(())
        })
        .await;
    assert!(
        asked.elapsed() >= drain,
        "it left before its drain was over"
    );
}

/// Between `stopping` and the drain's end a pod serves as before, and its successor is made beside it.
pub async fn a_draining_pod_still_serves(t: &Bench) {
    let web = draining(t, LONG);
    let old = t.running(&web).await.remove(0);
    let mut next = web.clone();
    next.generation = 2;
    t.apply(&next).await;
    t.until("the new one is ready beside the old one", |seen| {
        let ready = seen.in_phase(&web.id, PodPhase::Ready);
        let leaving = seen.in_phase(&web.id, PodPhase::Stopping);
        (ready.first()?.generation == 2 && leaving.first()?.id == old.id).then_some(())
    })
    .await;
    let (status, page) = t
        .exec(&old.id, "wget -q -O - http://127.0.0.1:8080/cgi-bin/whoami")
        .await;
    assert_eq!((status, page.trim()), (0, old.id.name.as_str()));
    t.engine().drained(&old.id).await.given("drained");
    let left = t.ready(&next).await;
    assert_eq!(left[0].generation, 2);
    // So that the case's end need not wait for the drain.
    next.template.drain = Duration::ZERO;
}

/// `drained` is about a stop that goes on; it is not a wish to stop.
pub async fn drained_for_a_pod_that_stays_does_nothing(t: &Bench) {
    let web = t.serving("web", 1);
    let pod = t.running(&web).await;
    t.engine().drained(&pod[0].id).await.given("drained");
    t.running(&t.serving("other", 1)).await;
    assert_eq!(t.ready(&web).await, pod);
}

/// What does not hear SIGTERM is killed after its grace.
pub async fn what_ignores_sigterm_is_killed(t: &Bench) {
    let mut web = t.serving("web", 1);
    let line = "trap '' TERM; httpd -f -p 8080 -h /www";
    web.template.command = Some(CommandLine::Shell(line.into()));
    web.template.stop_grace = Duration::from_secs(1);
    t.running(&web).await;
    let mut watcher = t.watcher();
    let asked = Instant::now();
    t.engine().remove(&web.id).await.given("remove");
    stopping(&mut watcher, &web).await;
    watcher
        .until("it is gone", |seen| {
            seen.of(&web.id).is_empty().then_some(())
        })
        .await;
    assert!(
        asked.elapsed() >= web.template.stop_grace,
        "it had its grace"
    );
    let gone = watcher
        .history
        .iter()
        .any(|event| matches!(event, EngineEvent::PodGone(_)));
    assert!(gone);
}
