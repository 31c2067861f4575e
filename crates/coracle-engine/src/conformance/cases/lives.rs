//! Law 3, and the second half of law 2: a control plane that dies and comes back.

use std::collections::BTreeSet;

use coracle_model::pod::PodPhase;
use coracle_model::workload::WorkloadKind;

use crate::conformance::bench::{Bench, Given as _};
use crate::engine::EngineEvent;

/// Nobody told a wish: everything is reported and nothing is touched.
pub async fn pods_of_a_life_before_are_left_alone(t: &Bench) {
    let web = t.serving("web", 2);
    let before = t.running(&web).await;
    t.begin_anew().await;
    // A wish for another workload is no wish for this one.
    t.running(&t.serving("other", 1)).await;
    let after = t.ready(&web).await;
    let started = |pods: &[coracle_model::workload::ObservedPod]| {
        pods.iter()
            .map(|pod| (pod.id.clone(), pod.status.started, pod.status.address))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(started(&before), started(&after));
}

/// The same wish again takes the pods over as they are: none is made, none is started again.
pub async fn pods_of_a_life_before_are_adopted_as_they_are(t: &Bench) {
    let web = t.serving("web", 2);
    let before = t.running(&web).await;
    t.begin_anew().await;
    let mut watcher = t.watcher();
    let mut more = web.clone();
    t.apply(&more).await;
    more.kind = WorkloadKind::Replicated { replicas: 3 };
    t.apply(&more).await;
    let after = watcher
        .until("there are three ready pods", |seen| {
            seen.all_in(&web.id, 3, PodPhase::Ready)
        })
        .await;
    for old in &before {
        let same = after
            .iter()
            .find(|pod| pod.id == old.id)
            .given("an old pod");
        assert_eq!(same.status.started, old.status.started);
        assert_eq!(same.status.restarts, old.status.restarts);
        assert_eq!(same.status.address, old.status.address);
        assert_eq!(same.created, old.created);
    }
    let stopped = watcher.history.iter().any(
        |event| matches!(event, EngineEvent::Pod(pod) if pod.status.phase == PodPhase::Stopping),
    );
    assert!(!stopped, "no pod was too many at any time");
}

/// A new engine can remove what it did not make.
pub async fn pods_of_a_life_before_can_be_removed(t: &Bench) {
    let web = t.serving("web", 2);
    t.running(&web).await;
    let task = t.task("done", "exit 3");
    t.apply(&task).await;
    t.phase(&task, PodPhase::Failed).await;
    t.begin_anew().await;
    t.engine().remove(&web.id).await.given("remove");
    t.gone(&web.id).await;
    let kept = t.phase(&task, PodPhase::Failed).await;
    assert_eq!(kept.status.exit.given("how it ended").code, 3);
    t.engine().remove(&task.id).await.given("remove");
    t.gone(&task.id).await;
}

/// Whoever starts anew must not take the traffic from pods that serve: up to `Synced` a ready pod is told as nothing less.
pub async fn a_ready_pod_is_told_ready_by_a_new_engine(t: &Bench) {
    let web = t.serving("web", 2);
    t.running(&web).await;
    t.begin_anew().await;
    let mut watcher = t.watcher();
    watcher.until("all was told", |_| Some(())).await;
    let ready = watcher.seen().in_phase(&web.id, PodPhase::Ready).len();
    assert_eq!(ready, 2, "{:?}", watcher.seen().pods);
}

/// What broke while nobody was there is mended by the same wishes.
pub async fn a_new_life_mends_what_broke_between(t: &Bench) {
    let web = t.serving("web", 2);
    let old = t.serving("old", 1);
    let before = t.running(&web).await;
    t.running(&old).await;
    t.engine().remove(&old.id).await.given("remove");
    // Dies in the middle of that removal, and a pod is lost as well.
    t.begin_anew().await;
    t.world().vanish(&before[0].id).await;
    t.engine().remove(&old.id).await.given("remove");
    t.running(&web).await;
    t.gone(&old.id).await;
}
