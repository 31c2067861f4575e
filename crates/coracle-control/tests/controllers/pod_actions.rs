//! Restarts and deletions of an app's pods: stopped at every write and call, and done once all the same.

use std::time::Duration;

use coracle_control::OperationError;
use coracle_engine::fault::Fault;
use coracle_engine::sim::{Act, image};
use coracle_model::pod::PodPhase;
use coracle_model::workload::{ObservedPod, PodId};

use crate::platform::{Life, Platform, ann, until, web};
use crate::stop::StopAt;

/// Where the life that is asked is stopped.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Never,
    BeforeWrite(usize),
    AfterWrite(usize),
    FailedWrite(usize),
    BeforeCall(usize),
    LostAnswer(usize),
    /// So long after it was asked: on the way from `stopping` to the end.
    After(Duration),
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Restart,
    Delete,
}

/// An app with two pods that run.
async fn world() -> (Platform, Life) {
    let platform = Platform::new();
    platform.sim().define(image("hello:1").ports([8080]));
    let life = platform.start().await;
    let v1 = life.deploy("hello:1", &web(2)).await;
    life.decided(v1).await;
    life.at_rest(&platform, &["hello-web-v1 ready"; 2]).await;
    (platform, life)
}

async fn ask(life: &Life, pod: &PodId, asked: Asked) -> Result<(), OperationError> {
    match asked {
        Asked::Restart => life.control.restart_pod(pod).await,
        Asked::Delete => {
            let (actor, control) = (ann(), &life.control);
            let deleted = control.delete_pod(&pod.project, &pod.name, None, &actor);
            deleted.await.map(drop)
        }
    }
}

fn stopping_acts(platform: &Platform) -> Vec<PodId> {
    let acts = platform.sim().journal().into_iter();
    let stops = acts.filter_map(|entry| match entry.act {
        Act::Sigterm(id) => Some(id),
        _ => None,
    });
    stops.collect()
}

fn came_true(platform: &Platform, before: &ObservedPod, asked: Asked) -> bool {
    let pods = platform.sim().pods();
    let now = pods.iter().find(|pod| pod.id == before.id);
    let ready = pods
        .iter()
        .filter(|pod| pod.status.phase == PodPhase::Ready);
    let done = match asked {
        Asked::Restart => now.is_some_and(|now| now.status.started != before.status.started),
        Asked::Delete => now.is_none(),
    };
    done && pods.len() == 2 && ready.count() == 2
}

fn is_struck(platform: &Platform) -> bool {
    let all = platform.store.all();
    !all.into_keys().any(|key| key.starts_with("/pod-actions/"))
}

/// Asks it of one of two pods with a stop; gives the writes and calls that it took.
async fn run(asked: Asked, stop: Stop) -> (usize, usize) {
    let (platform, life) = world().await;
    platform.kill(life).await;
    let first = platform.start().await;
    first.control.observed.synced().await;
    // The applied wishes are told again at each start; what is asked comes after that.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let pod = platform.sim().pods().remove(0);
    platform.sim().clear_journal();
    let calls = first.engine.calls().len();
    // The wish itself is written: what is asked for was answered.
    ask(&first, &pod.id, asked).await.unwrap();
    first.store.arm(match stop {
        Stop::BeforeWrite(n) => StopAt::Before(n),
        Stop::AfterWrite(n) => StopAt::After(n),
        Stop::FailedWrite(n) => StopAt::Fail(n),
        _ => StopAt::Never,
    });
    match stop {
        Stop::BeforeCall(n) => first.engine.stop_at(calls + n),
        Stop::LostAnswer(n) => first.engine.fail_at(calls + n, Fault::LostAnswer),
        _ => {}
    }
    tokio::time::sleep(match stop {
        Stop::After(time) => time,
        _ => Duration::from_secs(60),
    })
    .await;
    let counts = (first.store.writes(), first.engine.calls().len() - calls);
    platform.kill(first).await;
    let second = platform.start().await;
    until(&format!("{asked:?} {stop:?} has come true"), || async {
        came_true(&platform, &pod, asked) && is_struck(&platform)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert!(came_true(&platform, &pod, asked), "{asked:?} {stop:?}");
    // One pod, and once: that a process dies with an engine does not make two of one.
    assert_eq!(stopping_acts(&platform), [pod.id], "{asked:?} {stop:?}");
    assert_eq!(platform.sim().violations(), Vec::<String>::new());
    platform.kill(second).await;
    counts
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_a_pod_is_done_once_wherever_the_process_stops() {
    for asked in [Asked::Restart, Asked::Delete] {
        let (writes, calls) = run(asked, Stop::Never).await;
        assert!(writes > 0 && calls > 0, "{writes} writes, {calls} calls");
        for n in 0..writes.max(calls) {
            for stop in [
                Stop::BeforeWrite(n),
                Stop::AfterWrite(n),
                Stop::FailedWrite(n),
                Stop::BeforeCall(n),
                Stop::LostAnswer(n),
            ] {
                run(asked, stop).await;
            }
        }
        for millis in [0, 1, 20, 100, 500, 1000, 2000, 5000] {
            run(asked, Stop::After(Duration::from_millis(millis))).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_takes_the_place_of_a_restart_and_not_the_other_way_round() {
    for order in [
        [Asked::Restart, Asked::Delete],
        [Asked::Delete, Asked::Restart],
    ] {
        let (platform, life) = world().await;
        let pod = platform.sim().pods().remove(0);
        // Both before anybody does anything about either.
        let [first, second] = order;
        ask(&life, &pod.id, first).await.unwrap();
        let met = ask(&life, &pod.id, second).await;
        if matches!(second, Asked::Restart) {
            assert!(
                matches!(met, Err(OperationError::Conflict { .. })),
                "{met:?}"
            );
        } else {
            met.unwrap();
        }
        until(&format!("{order:?}: the pod is gone"), || async {
            came_true(&platform, &pod, Asked::Delete) && is_struck(&platform)
        })
        .await;
        assert_eq!(stopping_acts(&platform), [pod.id], "{order:?}");
        platform.kill(life).await;
    }
}
