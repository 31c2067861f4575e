//! Laws 1 and 2: wishes are idempotent, the last one wins, and what is observed converges to it.

use std::collections::BTreeSet;
use std::time::Duration;

use coracle_model::env::Secret;
use coracle_model::name::{AppName, EnvName, ProcessName};
use coracle_model::pod::{ExitCause, PodPhase};
use coracle_model::quantity::ByteSize;
use coracle_model::release::{CommandLine, ReleaseNumber};
use coracle_model::workload::{ObservedPod, Owner, PodId, Terminal, Workload, WorkloadKind};

use crate::conformance::bench::{Bench, Given as _};
use crate::conformance::watcher::Watcher;
use crate::engine::{Restarts, Support};
use crate::error::EngineError;
use crate::stream::{ExecRequest, LogRequest};

fn ids(pods: &[ObservedPod]) -> BTreeSet<PodId> {
    pods.iter().map(|pod| pod.id.clone()).collect()
}

fn scaled(workload: &Workload, replicas: u32) -> Workload {
    Workload {
        kind: WorkloadKind::Replicated { replicas },
        ..workload.clone()
    }
}

/// The same wish again changes nothing.
pub async fn apply_is_idempotent(t: &Bench) {
    let web = t.serving("web", 2);
    let before = t.running(&web).await;
    let mut watcher = t.watcher();
    for _ in 0..3 {
        t.apply(&web).await;
    }
    // Something observable that comes after: had the wishes done something, it would have shown by then.
    t.running(&t.serving("other", 1)).await;
    let after = t.ready(&web).await;
    assert_eq!(before, after);
    let other = t.serving("other", 1).id;
    watcher
        .until("the other is ready", |seen| {
            seen.all_in(&other, 1, PodPhase::Ready)
        })
        .await;
    for pod in watcher.seen().of(&web.id) {
        assert!(ids(&before).contains(&pod.id), "{} is new", pod.id);
    }
}

/// More pods are added to those that are there; fewer leaves some of them.
pub async fn scales_out_and_in(t: &Bench) {
    let web = t.serving("web", 1);
    let one = t.running(&web).await;
    let three = t.running(&scaled(&web, 3)).await;
    assert!(ids(&three).is_superset(&ids(&one)));
    let two = t.running(&scaled(&web, 2)).await;
    assert!(ids(&three).is_superset(&ids(&two)));
    let none = scaled(&web, 0);
    t.apply(&none).await;
    t.gone(&web.id).await;
}

/// Many wishes at once end where the last one points.
pub async fn the_last_wish_wins_under_a_burst(t: &Bench) {
    let web = t.serving("web", 2);
    for round in 0..5 {
        t.apply(&scaled(&web, round % 3)).await;
        t.engine().remove(&web.id).await.given("remove");
    }
    t.apply(&web).await;
    t.ready(&web).await;
    for replicas in [3, 1, 2] {
        t.apply(&scaled(&web, replicas)).await;
    }
    t.engine().remove(&web.id).await.given("remove");
    t.gone(&web.id).await;
}

/// Removing is idempotent too.
pub async fn removing_what_is_not_there_is_no_error(t: &Bench) {
    let web = t.serving("web", 1);
    t.engine().remove(&web.id).await.given("remove the unknown");
    t.running(&web).await;
    t.engine().remove(&web.id).await.given("remove");
    t.engine().remove(&web.id).await.given("remove again");
    t.gone(&web.id).await;
    t.engine()
        .remove(&web.id)
        .await
        .given("remove what is gone");
}

/// A new generation takes the place of all pods of the old one.
pub async fn a_new_generation_replaces_the_pods(t: &Bench) {
    let web = t.serving("web", 2);
    let old = t.running(&web).await;
    let mut next = web.clone();
    next.generation = 2;
    next.template.env.push((
        EnvName::new("GREETING").given("a name"),
        Secret::new("second"),
    ));
    let new = t.running(&next).await;
    assert!(ids(&new).is_disjoint(&ids(&old)));
    let (status, greeting) = t.exec(&new[0].id, "echo $GREETING").await;
    assert_eq!((status, greeting.as_str()), (0, "second\n"));
}

/// While a new generation comes up, never fewer pods serve than were wished; one that does not come up takes nothing
/// from the old one.
pub async fn a_new_generation_waits_for_its_readiness(t: &Bench) {
    let web = t.serving("web", 2);
    t.running(&web).await;
    let mut watcher = t.watcher();
    watcher.until("all was told", |_| Some(())).await;
    let mut next = web.clone();
    next.generation = 2;
    t.apply(&next).await;
    watcher
        .until("the new ones have taken over", |seen| {
            let ready = seen.in_phase(&web.id, PodPhase::Ready).len();
            assert!(ready >= 2, "{ready} serve: {:?}", seen.pods);
            let pods = seen.all_in(&web.id, 2, PodPhase::Ready)?;
            pods.iter().all(|pod| pod.generation == 2).then_some(())
        })
        .await;
    let mut broken = web.clone();
    broken.generation = 3;
    broken.template.command = Some(CommandLine::Exec(vec!["sleep".into(), "1000".into()]));
    broken.template.stop_grace = Duration::from_secs(1);
    t.apply(&broken).await;
    t.until(
        "the broken ones have begun beside those that serve",
        |seen| {
            let begun = seen.in_phase(&web.id, PodPhase::Starting).len();
            let ready = seen.in_phase(&web.id, PodPhase::Ready).len();
            (begun == 2 && ready == 2).then_some(())
        },
    )
    .await;
    let mut last = web.clone();
    last.generation = 4;
    t.running(&last).await;
}

/// A single pod is replaced under its own name.
pub async fn a_new_generation_of_a_single_pod_keeps_its_name(t: &Bench) {
    let pod = t.single("alone");
    let before = t.running(&pod).await;
    assert_eq!(before[0].id.name, pod.id.name);
    let mut next = pod.clone();
    next.generation = 2;
    let after = t.running(&next).await;
    assert_eq!(after[0].id.name, pod.id.name);
    assert_ne!(after[0].created, before[0].created, "it is another pod");
}

/// A pod of several that is deleted gets a successor.
pub async fn a_deleted_pod_is_replaced(t: &Bench) {
    let web = t.serving("web", 2);
    let before = t.running(&web).await;
    t.engine()
        .delete_pod(&before[0].id)
        .await
        .given("delete_pod");
    let after = t
        .until("there are two ready pods without the deleted one", |seen| {
            let pods = seen.all_in(&web.id, 2, PodPhase::Ready)?;
            (!ids(&pods).contains(&before[0].id)).then_some(pods)
        })
        .await;
    assert!(ids(&after).contains(&before[1].id), "the other one stays");
}

/// A pod that stands alone and is deleted is gone for good, until it is wished again.
pub async fn a_deleted_single_pod_stays_away(t: &Bench) {
    let pod = t.single("alone");
    let before = t.running(&pod).await;
    t.engine()
        .delete_pod(&before[0].id)
        .await
        .given("delete_pod");
    t.gone(&pod.id).await;
    t.running(&t.serving("other", 1)).await;
    t.gone(&pod.id).await;
    t.running(&pod).await;
}

/// A restart by hand is reported stopping first, and leaves name and address.
pub async fn a_restart_keeps_the_pod(t: &Bench) {
    let web = t.serving("web", 1);
    let before = t.running(&web).await.remove(0);
    let mut watcher = t.watcher();
    t.engine().restart(&before.id).await.given("restart");
    if t.engine().capabilities().restarts == Restarts::Replaces {
        return replaced(t, &web, &before, &mut watcher).await;
    }
    watcher
        .until("it is reported stopping", |seen| {
            seen.all_in(&web.id, 1, PodPhase::Stopping)
        })
        .await;
    let after = watcher
        .until("it is ready again", |seen| {
            seen.all_in(&web.id, 1, PodPhase::Ready)?.pop()
        })
        .await;
    assert_eq!(after.id, before.id);
    assert_eq!(after.status.address, before.status.address);
    assert!(after.status.started > before.status.started);
}

/// Where a pod cannot begin again, another takes its place; the only one keeps its name.
async fn replaced(t: &Bench, web: &Workload, before: &ObservedPod, watcher: &mut Watcher) {
    watcher
        .until("it is reported stopping", |seen| {
            let leaving = seen.in_phase(&web.id, PodPhase::Stopping);
            leaving.iter().any(|pod| pod.id == before.id).then_some(())
        })
        .await;
    watcher
        .until("another is ready in its place", |seen| {
            let pod = seen.all_in(&web.id, 1, PodPhase::Ready)?.pop()?;
            (pod.id != before.id).then_some(())
        })
        .await;
    let alone = t.single("alone");
    let before = t.running(&alone).await.remove(0);
    t.engine().restart(&before.id).await.given("restart");
    t.until("another has its name", |seen| {
        let pod = seen.all_in(&alone.id, 1, PodPhase::Ready)?.pop()?;
        (pod.id == before.id && pod.created > before.created).then_some(())
    })
    .await;
}

/// What there is not cannot be used, and that is said as such; what is already so is no error.
pub async fn every_method_knows_unknown_pods(t: &Bench) {
    let engine = t.engine();
    let pod = t.no_pod();
    let missing = |result: Option<EngineError>, what: &str| {
        let ok = matches!(result, Some(EngineError::NoSuchPod(_)));
        assert!(ok, "{what}: {result:?}");
    };
    let exec = ExecRequest {
        command: vec!["true".into()],
        terminal: Terminal::Streams,
    };
    missing(engine.restart(&pod).await.err(), "restart");
    missing(engine.delete_pod(&pod).await.err(), "delete_pod");
    missing(engine.logs(&pod, LogRequest::default()).await.err(), "logs");
    missing(engine.exec(&pod, exec).await.err(), "exec");
    missing(engine.attach(&pod).await.err(), "attach");
    missing(engine.describe(&pod).await.err(), "describe");
    missing(engine.connect(&pod, 8080).await.err(), "connect");
    missing(engine.stats(&pod).await.err(), "stats");
    engine.drained(&pod).await.given("drained");
}

/// What cannot start is wished all the same, and its pods say why.
pub async fn an_image_that_is_not_there_shows_as_reason(t: &Bench) {
    let mut web = t.serving("web", 1);
    web.template.image = t.no_image();
    t.apply(&web).await;
    t.until("a pod says that its image is missing", |seen| {
        let pods = seen.of(&web.id);
        let pod = pods.first()?;
        let waits = matches!(pod.status.phase, PodPhase::Pending | PodPhase::Failed);
        let says = pod.status.reason.as_ref()?.contains("has-this");
        (waits && says).then_some(())
    })
    .await;
    // Mended by another wish.
    web.template.image = t.world().image();
    web.generation = 2;
    t.running(&web).await;
    web.template.image = t.no_image();
    web.generation = 3;
    t.apply(&web).await;
    t.engine().remove(&web.id).await.given("remove");
    t.gone(&web.id).await;
}

/// What was put on a workload is found on its pods and in them.
pub async fn owner_and_environment_are_kept(t: &Bench) {
    let mut web = t.serving("web", 1);
    web.generation = 7;
    web.owner = Owner {
        app: Some(AppName::new("shop").given("a name")),
        process: Some(ProcessName::web()),
        release: Some(ReleaseNumber(3)),
    };
    let hostile = "a b\n\"c\" 'd' $HOME `e` \u{fc}";
    web.template.env.push((
        EnvName::new("HOSTILE").given("a name"),
        Secret::new(hostile),
    ));
    let pod = t.running(&web).await.remove(0);
    assert_eq!(pod.owner, web.owner);
    assert_eq!(pod.generation, 7);
    assert_eq!(pod.workload, web.id);
    assert_eq!(pod.port, Some(8080));
    assert!(pod.status.address.is_some());
    assert!(pod.status.node.is_some());
    assert!(pod.status.started.is_some());
    let (_, text) = t.exec(&pod.id, "echo \"$HOSTILE\"").await;
    assert_eq!(text, format!("{hostile}\n"));
    t.begin_anew().await;
    let again = t.phase(&web, PodPhase::Ready).await;
    assert_eq!(again.owner, web.owner, "it is on the pod, not in memory");
    assert_eq!(again.generation, 7);
    assert_eq!(again.port, Some(8080));
}

/// Law 2: what vanishes is replaced.
pub async fn a_vanished_pod_is_replaced(t: &Bench) {
    let web = t.serving("web", 2);
    let before = t.running(&web).await;
    t.world().vanish(&before[0].id).await;
    let after = t
        .until(
            "there are two ready pods without the vanished one",
            |seen| {
                let pods = seen.all_in(&web.id, 2, PodPhase::Ready)?;
                (!ids(&pods).contains(&before[0].id)).then_some(pods)
            },
        )
        .await;
    assert!(ids(&after).contains(&before[1].id));
    let alone = t.single("alone");
    let first = t.running(&alone).await.remove(0);
    t.world().vanish(&first.id).await;
    t.until("the single pod is there again", |seen| {
        let pod = seen.all_in(&alone.id, 1, PodPhase::Ready)?.pop()?;
        (pod.created != first.created).then_some(())
    })
    .await;
}

/// A command that is killed is started again in the same pod, with the same address.
pub async fn a_killed_pod_is_started_again_in_place(t: &Bench) {
    let web = t.serving("web", 1);
    let before = t.running(&web).await.remove(0);
    t.world().kill(&before.id).await;
    let after = t
        .until("it was started again", |seen| {
            let pod = seen.all_in(&web.id, 1, PodPhase::Ready)?.pop()?;
            (pod.status.restarts > 0).then_some(pod)
        })
        .await;
    assert_eq!(after.id, before.id);
    assert_eq!(after.status.address, before.status.address);
    let exit = after.status.exit.given("how it ended");
    assert_eq!(exit.code, 137);
}

/// What crashes is started again and again, with its count, its status and a reason.
pub async fn a_crash_loop_counts_and_says_why(t: &Bench) {
    let bad = t.shell("bad", "echo gone >&2; exit 3");
    t.apply(&bad).await;
    let pod = t
        .until("it was started again twice and waits", |seen| {
            let pods = seen.of(&bad.id);
            let pod = pods.first()?;
            let waits = pod.status.phase == PodPhase::Pending;
            (waits && pod.status.restarts >= 2).then(|| (*pod).clone())
        })
        .await;
    let exit = pod.status.exit.given("how it ended");
    assert_eq!((exit.code, exit.cause), (3, ExitCause::Exited));
    let reason = pod.status.reason.given("a reason");
    assert!(reason.contains('3'), "the status is part of {reason:?}");
    t.engine().remove(&bad.id).await.given("remove");
    t.gone(&bad.id).await;
}

/// What uses up its memory is killed, and that is said.
pub async fn memory_used_up_is_said(t: &Bench) {
    if t.world().memory_limits() == Support::No {
        return;
    }
    let mut hungry = t.task("hungry", "tail /dev/zero");
    hungry.template.resources.memory = Some(ByteSize::mib(16));
    t.apply(&hungry).await;
    // A kernel's word that memory was the cause may come a moment after the end itself.
    let reason = t
        .until("it failed for want of memory", |seen| {
            let pod = seen.all_in(&hungry.id, 1, PodPhase::Failed)?.pop()?;
            let memory = pod.status.exit?.cause == ExitCause::OutOfMemory;
            memory.then_some(pod.status.reason)
        })
        .await
        .given("a reason");
    assert!(reason.contains("memory"), "{reason:?}");
}
