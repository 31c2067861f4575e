//! Law 4: everything, then `Synced`, then every change in order; never a gap.

use coracle_model::pod::PodPhase;
use coracle_model::workload::{ObservedPod, WorkloadKind};
use futures::StreamExt as _;

use crate::conformance::bench::{Bench, Given as _};
use crate::conformance::watcher::Watcher;
use crate::engine::{EngineEvent, Support};
use crate::error::EngineError;

/// First all that exists, each once, then `Synced`.
pub async fn a_watch_begins_with_all_then_synced(t: &Bench) {
    let mut empty = t.watcher();
    empty.until("all of nothing was told", |_| Some(())).await;
    assert!(empty.seen().pods.is_empty());
    let web = t.serving("web", 2);
    let pods = t.running(&web).await;
    let mut watcher = t.watcher();
    watcher.until("all was told", |_| Some(())).await;
    assert_eq!(watcher.seen().of(&web.id).len(), pods.len());
    let told = watcher.history.iter();
    let count = told
        .filter(|event| matches!(event, EngineEvent::Pod(_)))
        .count();
    assert_eq!(count, pods.len(), "each is told once");
    assert_eq!(watcher.history.last(), Some(&EngineEvent::Synced));
}

/// An engine that begins while what it drives is away knows nothing yet, and does not say that this is all.
pub async fn nothing_is_synced_before_it_could_be_read(t: &Bench) {
    let web = t.serving("web", 2);
    let before = t.running(&web).await;
    if t.world().cut_off().await == Support::No {
        return;
    }
    t.begin_anew().await;
    let mut early = t.watcher();
    let away = t.engine().ping().await;
    assert!(matches!(away, Err(EngineError::Unavailable(_))), "{away:?}");
    t.world().reconnect().await;
    early.until("all was told", |_| Some(())).await;
    let told = early.seen().of(&web.id).len();
    assert_eq!(
        told,
        before.len(),
        "pods that were told up to the first `Synced`"
    );
    assert!(!early.seen().nodes.is_empty(), "and the node");
    // And it is told once, also to who comes later.
    let mut late = t.watcher();
    late.until("all was told", |_| Some(())).await;
    assert_eq!(late.seen().pods.len(), early.seen().pods.len());
}

/// Whoever comes late knows the same as who was there from the beginning.
pub async fn a_late_watcher_sees_what_an_early_one_sees(t: &Bench) {
    let mut early = t.watcher();
    let web = t.serving("web", 2);
    let bad = t.task("bad", "exit 3");
    t.apply(&bad).await;
    t.running(&web).await;
    t.phase(&bad, PodPhase::Failed).await;
    let settled = |seen: &crate::conformance::Seen| {
        seen.all_in(&web.id, 2, PodPhase::Ready)?;
        seen.all_in(&bad.id, 1, PodPhase::Failed)?;
        Some(seen.pods.clone())
    };
    let from_late = t.watcher().until("it settled", settled).await;
    // What the late one was told may be newer than what the early one has read; then it has that still to come.
    early
        .until("the early one knows the same", |seen| {
            (seen.pods == from_late).then_some(())
        })
        .await;
}

/// A watcher that does not read for long comes to the same end.
pub async fn a_slow_watcher_ends_up_right(t: &Bench) {
    let mut slow = t.watcher();
    slow.until("it began", |_| Some(())).await;
    let web = t.serving("web", 1);
    let mut last = t.running(&web).await.remove(0);
    for round in 0..4 {
        t.world().kill(&last.id).await;
        last = t
            .until("it was started again", |seen| {
                let pod = seen.all_in(&web.id, 1, PodPhase::Ready)?.pop()?;
                (pod.status.restarts > round).then_some(pod)
            })
            .await;
    }
    let seen = slow
        .until("the slow one has caught up", |seen| {
            let pod = seen.all_in(&web.id, 1, PodPhase::Ready)?.pop()?;
            (pod.status.restarts >= last.status.restarts).then_some(pod)
        })
        .await;
    let known = |pod: &ObservedPod| (pod.id.clone(), pod.status.address, pod.status.started);
    assert_eq!(known(&seen), known(&last));
}

/// Two watchers that read all of it see the same changes of each pod in the same order.
pub async fn watchers_agree_under_change(t: &Bench) {
    let (mut one, mut two) = (t.watcher(), t.watcher());
    for watcher in [&mut one, &mut two] {
        watcher.until("it began", |_| Some(())).await;
    }
    let mut web = t.serving("web", 2);
    t.running(&web).await;
    web.kind = WorkloadKind::Replicated { replicas: 1 };
    t.running(&web).await;
    t.engine().remove(&web.id).await.given("remove");
    let mut stories = Vec::new();
    for watcher in [&mut one, &mut two] {
        let mut pods_seen = false;
        watcher
            .until("it came and went", |seen| {
                let pods = seen.of(&web.id).len();
                pods_seen |= pods > 0;
                (pods_seen && pods == 0).then_some(())
            })
            .await;
        stories.push(story(watcher));
    }
    assert_eq!(stories[0], stories[1]);
    // And the watch is still open.
    let mut again = t.engine().watch();
    assert!(again.next().await.is_some());
}

fn story(watcher: &Watcher) -> Vec<String> {
    let line = |event: &EngineEvent| match event {
        EngineEvent::Pod(pod) => Some(format!("{} {:?}", pod.id, pod.status)),
        EngineEvent::PodGone(id) => Some(format!("{id} gone")),
        _ => None,
    };
    watcher.history.iter().filter_map(line).collect()
}
