//! Laws of the rollout planner, tried with random orders of events, failures and crashes of the controller.

use std::time::Duration;

use crate::world::{Pace, World};
use coracle_model::name::ProcessName;
use coracle_model::plan::Knowledge;
use coracle_model::plan::rollout::Action;
use coracle_model::pod::{Exit, ExitCause, PodPhase};
use coracle_model::release::ReleasePhase;
use coracle_model::route::Target;
use proptest::prelude::*;

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Release {
        web: u32,
        worker: u32,
        command: bool,
    },
    /// Does a plan, but is killed after so many steps.
    Reconcile {
        steps: usize,
    },
    Restart,
    Sync,
    Resolve,
    ResolveFails,
    PodReady(usize),
    PodCrashes(usize),
    PodLost(usize),
    TaskEnds(i64),
    EngineActs,
    StopsDone,
    Time(u64),
    Scale {
        web: u32,
    },
    Delete,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0_u32..3, 0_u32..2, any::<bool>()).prop_map(|(web, worker, command)| Event::Release { web, worker, command }),
        12 => (0_usize..12).prop_map(|steps| Event::Reconcile { steps }),
        2 => Just(Event::Restart),
        4 => Just(Event::Sync),
        4 => Just(Event::Resolve),
        1 => Just(Event::ResolveFails),
        8 => (0_usize..8).prop_map(Event::PodReady),
        2 => (0_usize..8).prop_map(Event::PodCrashes),
        1 => (0_usize..8).prop_map(Event::PodLost),
        3 => prop_oneof![Just(0_i64), Just(1)].prop_map(Event::TaskEnds),
        8 => Just(Event::EngineActs),
        3 => Just(Event::StopsDone),
        3 => (1_u64..120).prop_map(Event::Time),
        1 => (0_u32..3).prop_map(|web| Event::Scale { web }),
        1 => Just(Event::Delete),
    ]
}

/// Does one step of a plan and checks the laws that hold at every moment.
fn execute(world: &mut World, action: &Action) {
    let live = world.live();
    let before: Vec<_> = world
        .releases
        .iter()
        .map(|release| release.status.phase)
        .collect();
    match action {
        Action::MoveTraffic(release) => {
            let wanted = world.told.values().filter(|wish| wish.release == *release);
            for wish in wanted {
                let coracle_model::plan::job::Job::Process { replicas, .. } = &wish.job else {
                    continue;
                };
                let ready = world
                    .pods
                    .iter()
                    .filter(|pod| pod.workload == wish.id && pod.status.phase == PodPhase::Ready)
                    .count();
                assert!(
                    ready >= *replicas as usize,
                    "the traffic moves to pods that are not ready"
                );
            }
            assert!(
                live.is_none_or(|live| live < release.0),
                "the traffic moves back"
            );
        }
        Action::Remove(id) => {
            let of_live = |pod: &&coracle_model::workload::ObservedPod| {
                pod.workload == *id
                    && pod.owner.process.is_some()
                    && pod.owner.release.map(|release| release.0) == live
            };
            let deleting = world
                .app
                .as_ref()
                .is_none_or(|app| app.metadata.deleting.is_some());
            assert!(
                deleting || !world.pods.iter().any(|pod| of_live(&pod)),
                "the live release is removed"
            );
        }
        Action::FinishDeletion => assert!(world.pods.is_empty(), "records go before pods"),
        _ => {}
    }
    world.execute(action);
    for (release, before) in world.releases.iter().zip(before) {
        let after = release.status.phase;
        assert!(
            before == after || !before.is_final(),
            "{} went from {before:?} to {after:?}",
            release.metadata.name
        );
    }
}

fn happen(world: &mut World, event: &Event) {
    let nth = |world: &World, n: usize| (!world.pods.is_empty()).then(|| n % world.pods.len());
    match event {
        Event::Release {
            web,
            worker,
            command,
        } => {
            let gone = world
                .app
                .as_ref()
                .is_none_or(|app| app.metadata.deleting.is_some());
            if world.releases.len() < 6 && !gone {
                world.release(
                    &[("web", *web), ("worker", *worker)],
                    command.then_some("migrate"),
                );
            }
        }
        Event::Reconcile { steps } => {
            let plan = world.plan();
            for step in plan.steps.iter().take(*steps) {
                execute(world, &step.action);
            }
            if *steps < plan.steps.len() {
                world.restart();
            }
        }
        Event::Restart => world.restart(),
        Event::Sync => {
            if world.knowledge == Knowledge::Partial {
                world.synced();
            }
        }
        Event::Resolve => {
            for release in 1..=world.releases.len() {
                world.resolved(u32::try_from(release).unwrap(), Vec::new());
            }
        }
        Event::ResolveFails => {
            if let Some(release) = world.releases.last_mut()
                && release.status.phase == ReleasePhase::Deploying
                && release.status.image.is_none()
            {
                release.status.phase = ReleasePhase::Failed;
            }
        }
        Event::PodReady(n) => {
            if let Some(n) = nth(world, *n) {
                let pod = &mut world.pods[n];
                if pod.owner.process.is_some() && pod.status.phase != PodPhase::Stopping {
                    pod.status.phase = PodPhase::Ready;
                }
            }
        }
        Event::PodCrashes(n) => {
            if let Some(n) = nth(world, *n) {
                let pod = &mut world.pods[n];
                if pod.owner.process.is_some() && status_runs(pod.status.phase) {
                    pod.status.phase = PodPhase::Pending;
                    pod.status.restarts += 1;
                    pod.status.exit = Some(Exit {
                        code: 1,
                        cause: ExitCause::Exited,
                        at: None,
                    });
                }
            }
        }
        Event::PodLost(n) => {
            if let Some(n) = nth(world, *n) {
                world.pods.remove(n);
                world.converge();
            }
        }
        Event::TaskEnds(code) => {
            for pod in &mut world.pods {
                if pod.owner.process.is_none() && status_runs(pod.status.phase) {
                    pod.status.phase = if *code == 0 {
                        PodPhase::Exited
                    } else {
                        PodPhase::Failed
                    };
                    pod.status.exit = Some(Exit {
                        code: *code,
                        cause: ExitCause::Exited,
                        at: None,
                    });
                }
            }
        }
        Event::EngineActs => world.converge(),
        Event::StopsDone => world.stop_stopping(),
        Event::Time(seconds) => world.pass(Duration::from_secs(*seconds)),
        Event::Scale { web } => {
            if let Some(app) = &mut world.app {
                app.spec.scale.insert(ProcessName::web(), *web);
            }
        }
        Event::Delete => {
            let now = world.now;
            if let Some(app) = &mut world.app {
                app.metadata.deleting.get_or_insert(now);
            }
        }
    }
}

fn status_runs(phase: PodPhase) -> bool {
    matches!(
        phase,
        PodPhase::Starting | PodPhase::Ready | PodPhase::Unready
    )
}

/// Pods of the live or the last live release that are ready are in the table, stopping ones never are.
fn check_route(world: &World) {
    let Some(Target::Pods { pods }) = world.target() else {
        let live = world.live();
        let deleting = world
            .app
            .as_ref()
            .is_none_or(|app| app.metadata.deleting.is_some());
        let ready = world.pods.iter().any(|pod| {
            pod.owner.process.as_ref().is_some_and(ProcessName::is_web)
                && live.is_some()
                && pod.owner.release.map(|release| release.0) == live
                && pod.status.phase == PodPhase::Ready
        });
        assert!(
            deleting || !ready,
            "the live release has ready pods and gets no requests"
        );
        return;
    };
    assert!(!pods.is_empty());
    for address in pods {
        let pod = world
            .pods
            .iter()
            .find(|pod| pod.status.address == Some(address.ip()))
            .unwrap();
        assert_eq!(pod.status.phase, PodPhase::Ready);
    }
}

/// Everything goes well from here on: it must come to rest, and then nothing is doubled, left over or missing.
fn converges(mut world: World) {
    if world.knowledge == Knowledge::Partial {
        world.synced();
    }
    for _ in 0..200 {
        let before = (world.plan(), world.pods.clone());
        for step in world.plan().steps {
            execute(&mut world, &step.action);
        }
        world.converge();
        happen(&mut world, &Event::Resolve);
        happen(&mut world, &Event::TaskEnds(0));
        world.stop_stopping();
        for n in 0..world.pods.len() {
            happen(&mut world, &Event::PodReady(n));
        }
        if (world.plan(), world.pods.clone()) == before {
            return at_rest(&world);
        }
    }
    panic!("it does not come to rest");
}

fn at_rest(world: &World) {
    let Some(app) = &world.app else {
        assert!(world.pods.is_empty(), "a deleted app has pods");
        return;
    };
    let newest = world.releases.last();
    for release in &world.releases {
        let number = Some(release.spec.number.0);
        assert_eq!(
            release.status.phase == ReleasePhase::Live,
            number == world.live(),
            "{} is {:?}, live is {:?}",
            release.metadata.name,
            release.status.phase,
            world.live()
        );
        assert!(
            release.status.phase.is_final() || number == world.live(),
            "{} is undecided",
            release.metadata.name
        );
    }
    if let Some(newest) = newest {
        assert!(
            newest.status.phase != ReleasePhase::Superseded,
            "the newest release was superseded"
        );
    }
    for pod in &world.pods {
        assert_eq!(
            pod.owner.release.map(|release| release.0),
            world.live(),
            "{} is left over",
            pod.id
        );
        assert!(pod.owner.process.is_some(), "{} is left over", pod.id);
    }
    let live = world
        .releases
        .iter()
        .find(|release| Some(release.spec.number.0) == world.live());
    let wanted: u32 = live.map_or(0, |live| {
        let processes = &live.spec.config.processes;
        processes
            .iter()
            .map(|(name, spec)| coracle_model::plan::job::replicas(app, name, spec))
            .sum()
    });
    assert_eq!(
        world.pods.len(),
        wanted as usize,
        "too many or too few pods"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_live_release_serves_and_all_comes_to_rest(events in prop::collection::vec(event(), 0..80)) {
        let mut world = World::new();
        world.pace = Pace::Lazy;
        for event in &events {
            happen(&mut world, event);
            check_route(&world);
        }
        converges(world);
    }
}
