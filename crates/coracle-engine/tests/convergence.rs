//! Whatever is wished and whatever breaks: the last wishes come true, and no law is broken on the way.

#![expect(clippy::unwrap_used, reason = "a test's helpers")]

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_engine::conformance::{Bench, TestedWorld};
use coracle_engine::fault::{Fault, Verb};
use coracle_engine::sim::SimConfig;
use coracle_model::pod::PodPhase;
use coracle_model::workload::{PodId, Workload, WorkloadId, WorkloadKind};
use proptest::prelude::*;

/// Something that happens to a platform.
#[derive(Clone, Debug)]
enum Happening {
    Apply {
        workload: u8,
        replicas: u32,
        changed: bool,
    },
    Remove(u8),
    Drained(usize),
    Restart(usize),
    Delete(usize),
    Vanish(usize),
    Kill(usize),
    Hang(usize),
    Fault(Verb, Fault),
    Daemon {
        up: bool,
    },
    Node {
        ready: bool,
    },
    Cordon(bool),
    ControlPlaneDies,
    Reboot,
    Wait(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let verb = prop::sample::select(vec![
        Verb::Apply,
        Verb::Remove,
        Verb::Drained,
        Verb::Restart,
        Verb::DeletePod,
        Verb::Cordon,
        Verb::Uncordon,
        Verb::PullForPod,
        Verb::CreatePod,
        Verb::StartPod,
    ]);
    let fault = prop::sample::select(vec![
        Fault::Unavailable,
        Fault::LostAnswer,
        Fault::Failed,
        Fault::Full,
        Fault::Hangs,
        Fault::Slow(Duration::from_millis(700)),
    ]);
    prop_oneof![
        6 => (0..4u8, 0..4u32, any::<bool>()).prop_map(|(workload, replicas, changed)| {
            Happening::Apply { workload, replicas, changed }
        }),
        2 => (0..4u8).prop_map(Happening::Remove),
        2 => any::<usize>().prop_map(Happening::Drained),
        1 => any::<usize>().prop_map(Happening::Restart),
        1 => any::<usize>().prop_map(Happening::Delete),
        2 => any::<usize>().prop_map(Happening::Vanish),
        2 => any::<usize>().prop_map(Happening::Kill),
        1 => any::<usize>().prop_map(Happening::Hang),
        3 => (verb, fault).prop_map(|(verb, fault)| Happening::Fault(verb, fault)),
        2 => any::<bool>().prop_map(|up| Happening::Daemon { up }),
        1 => any::<bool>().prop_map(|ready| Happening::Node { ready }),
        1 => any::<bool>().prop_map(Happening::Cordon),
        2 => Just(Happening::ControlPlaneDies),
        1 => Just(Happening::Reboot),
        6 => (0..3000u64).prop_map(Happening::Wait),
    ]
}

fn pick(pods: &[PodId], at: usize) -> Option<&PodId> {
    (!pods.is_empty()).then(|| &pods[at % pods.len()])
}

async fn run(seed: u64, story: Vec<Happening>) {
    let config = SimConfig {
        watch_buffer: 8,
        ..SimConfig::jittery(seed)
    };
    let world = TestedWorld::new(config);
    let control = world.control();
    let t = Bench::on(Box::new(world)).await;
    let mut wishes: BTreeMap<WorkloadId, Option<Workload>> = BTreeMap::new();
    // What hangs is given up after this, as callers do.
    let limit = Duration::from_secs(5);
    for happening in story {
        let engine = t.engine();
        let pods: Vec<PodId> = control.pods().into_iter().map(|pod| pod.id).collect();
        match happening {
            Happening::Apply {
                workload,
                replicas,
                changed,
            } => {
                let wish = wished(&t, &wishes, workload, replicas, changed);
                wishes.insert(wish.id.clone(), Some(wish.clone()));
                let _may_fail = tokio::time::timeout(limit, engine.apply(wish)).await;
            }
            Happening::Remove(workload) => {
                let id = named(&t, workload).id;
                wishes.insert(id.clone(), None);
                let _may_fail = tokio::time::timeout(limit, engine.remove(&id)).await;
            }
            Happening::Drained(at) => {
                if let Some(pod) = pick(&pods, at) {
                    let _may_fail = tokio::time::timeout(limit, engine.drained(pod)).await;
                }
            }
            Happening::Restart(at) => {
                if let Some(pod) = pick(&pods, at) {
                    let _may_fail = tokio::time::timeout(limit, engine.restart(pod)).await;
                }
            }
            Happening::Delete(at) => {
                if let Some(pod) = pick(&pods, at) {
                    let _may_fail = tokio::time::timeout(limit, engine.delete_pod(pod)).await;
                }
            }
            Happening::Vanish(at) => pick(&pods, at)
                .into_iter()
                .for_each(|pod| control.vanish(pod)),
            Happening::Kill(at) => pick(&pods, at)
                .into_iter()
                .for_each(|pod| control.kill(pod)),
            Happening::Hang(at) => pick(&pods, at)
                .into_iter()
                .for_each(|pod| control.hang(pod)),
            Happening::Fault(verb, fault) => control.fail_next(verb, 1, fault),
            Happening::Daemon { up: true } => control.daemon_up(),
            Happening::Daemon { up: false } => control.daemon_down(),
            Happening::Node { ready: true } => control.node_ready("node-a"),
            Happening::Node { ready: false } => control.node_not_ready("node-a", "no power"),
            Happening::Cordon(true) => {
                let _may_fail = tokio::time::timeout(limit, engine.cordon("node-a")).await;
            }
            Happening::Cordon(false) => {
                let _may_fail = tokio::time::timeout(limit, engine.uncordon("node-a")).await;
            }
            Happening::ControlPlaneDies => t.begin_anew().await,
            Happening::Reboot => control.reboot(),
            Happening::Wait(millis) => tokio::time::advance(Duration::from_millis(millis)).await,
        }
        assert_eq!(control.violations(), Vec::<String>::new());
    }
    // Everything works again, and the control plane repeats its wishes.
    control.heal();
    control.daemon_up();
    control.node_ready("node-a");
    t.engine().uncordon("node-a").await.unwrap();
    for pod in control.pods() {
        // One that hung before it was ever ready is nobody's to mend but its own.
        control.answer(&pod.id);
    }
    for (id, wish) in &wishes {
        match wish {
            Some(wish) => t.apply(wish).await,
            None => t.engine().remove(id).await.unwrap(),
        }
    }
    for (id, wish) in &wishes {
        match wish {
            None => t.gone(id).await,
            Some(wish) if wish.kind == (WorkloadKind::Replicated { replicas: 0 }) => {
                t.gone(id).await;
            }
            Some(wish) => {
                let pods = t.ready(wish).await;
                assert!(pods.iter().all(|pod| pod.status.phase == PodPhase::Ready));
            }
        }
    }
    // And nothing stays when all of it goes.
    for id in wishes.keys() {
        t.engine().remove_project(&id.project).await.unwrap();
    }
    for id in wishes.keys() {
        t.gone(id).await;
    }
    assert_eq!(control.leftovers(), Vec::<String>::new());
    assert_eq!(control.violations(), Vec::<String>::new());
}

fn named(t: &Bench, workload: u8) -> Workload {
    let name = format!("w{workload}");
    // Three of many pods, one that stands alone.
    let mut made = if workload == 3 {
        t.single(&name)
    } else {
        t.serving(&name, 1)
    };
    made.template.drain = Duration::from_secs(u64::from(workload) * 2);
    made
}

fn wished(
    t: &Bench,
    wishes: &BTreeMap<WorkloadId, Option<Workload>>,
    workload: u8,
    replicas: u32,
    changed: bool,
) -> Workload {
    let mut made = named(t, workload);
    if let Some(Some(before)) = wishes.get(&made.id) {
        made.generation = before.generation + u64::from(changed);
    }
    if made.kind != WorkloadKind::Single {
        made.kind = WorkloadKind::Replicated { replicas };
    }
    made
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_last_wishes_come_true(
        seed in any::<u64>(),
        story in prop::collection::vec(happening(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(seed, story));
    }
}
