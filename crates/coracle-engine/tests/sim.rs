//! What the simulated world has beyond the laws: determinism, faults, scripted builds, nodes.

use std::time::Duration;

use coracle_engine::build::{BuildLimits, BuildRequest};
use coracle_engine::conformance::{Bench, SimFactory, TestedWorld, Watcher, run_all};
use coracle_engine::fault::{Fault, Verb};
use coracle_engine::flaky::Flaky;
use coracle_engine::sim::{Act, Behaviour, BuildScript, NodeConfig, SimConfig, SimControl, image};
use coracle_engine::{Engine, EngineError, EngineEvent};
use coracle_model::name::ImageRef;
use coracle_model::pod::PodPhase;
use coracle_model::workload::{Workload, WorkloadKind};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

async fn bench(config: SimConfig) -> (Bench, SimControl) {
    let world = TestedWorld::new(config);
    let control = world.control();
    (Bench::on(Box::new(world)).await, control)
}

#[tokio::test(start_paused = true)]
async fn the_suite_holds_for_many_orders_of_events() {
    for seed in 0..25 {
        let config = SimConfig::jittery(seed);
        run_all(&SimFactory { config }).await;
    }
}

async fn rollout(config: SimConfig) -> String {
    let (t, control) = bench(config).await;
    let mut web = t.serving("web", 2);
    web.template.drain = Duration::from_secs(10);
    t.running(&web).await;
    web.generation = 2;
    t.running(&web).await;
    control.journal_text()
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_is_the_same_run() {
    let first = rollout(SimConfig::jittery(7)).await;
    assert_eq!(first, rollout(SimConfig::jittery(7)).await);
    assert_ne!(first, rollout(SimConfig::jittery(8)).await);
}

#[tokio::test(start_paused = true)]
async fn the_journal_tells_it_all() {
    let (t, control) = bench(SimConfig::default()).await;
    let mut pod = t.single("alone");
    pod.template.drain = Duration::from_secs(10);
    let id = t.running(&pod).await.remove(0).id;
    control.kill(&id);
    t.until("it runs again", |seen| {
        let pod = seen.all_in(&pod.id, 1, PodPhase::Ready)?.pop()?;
        (pod.status.restarts == 1).then_some(())
    })
    .await;
    t.engine().remove(&pod.id).await.unwrap();
    t.gone(&pod.id).await;
    let golden = "
    0.000 engine started
    0.000 apply default/alone generation 1 single
    0.000 default/alone created
    0.400 default/alone started at 10.210.0.2
    0.420 default/alone ready
    0.420 default/alone killed from outside
    0.420 default/alone ended with 137
    0.520 default/alone started at 10.210.0.2
    0.540 default/alone ready
    0.540 remove default/alone
    0.540 default/alone stopping
   10.540 default/alone SIGTERM
   10.590 default/alone ended with 143
   10.590 default/alone gone";
    assert_eq!(format!("\n{}", control.journal_text()), golden);
}

#[tokio::test(start_paused = true)]
async fn calls_fail_as_often_as_asked_and_a_lost_answer_was_done() {
    let (t, control) = bench(SimConfig::default()).await;
    let web = t.serving("web", 1);
    control.fail_next(Verb::Apply, 2, Fault::Unavailable);
    control.fail_next(Verb::Apply, 1, Fault::LostAnswer);
    for _ in 0..2 {
        let failed = t.engine().apply(web.clone()).await.unwrap_err();
        assert!(failed.is_passing());
    }
    assert!(control.pods().is_empty(), "nothing was done");
    let lost = t.engine().apply(web.clone()).await.unwrap_err();
    assert!(matches!(lost, EngineError::Unavailable(_)));
    t.ready(&web).await;
    t.apply(&web).await;
    control.fail_next(Verb::Remove, 1, Fault::Hangs);
    let engine = t.engine();
    let hanging = engine.remove(&web.id);
    assert!(
        tokio::time::timeout(Duration::from_secs(60), hanging)
            .await
            .is_err()
    );
    t.ready(&web).await;
}

#[tokio::test(start_paused = true)]
async fn steps_of_a_start_fail_and_are_tried_again() {
    let (t, control) = bench(SimConfig::default()).await;
    control.define(image("far:1").ports([8080]).in_registry());
    for verb in [Verb::PullForPod, Verb::CreatePod, Verb::StartPod] {
        control.fail_next(verb, 2, Fault::Failed);
    }
    let mut web = t.serving("web", 1);
    web.template.image = ImageRef::new("far:1").unwrap();
    let mut watcher = t.watcher();
    t.apply(&web).await;
    watcher
        .until("it is ready in the end", |seen| {
            seen.all_in(&web.id, 1, PodPhase::Ready)
        })
        .await;
    let reasons: Vec<String> = watcher.history.iter().filter_map(reason).collect();
    for word in ["cannot be had", "cannot be made", "cannot be started"] {
        assert!(
            reasons.iter().any(|reason| reason.contains(word)),
            "{word}: {reasons:?}"
        );
    }
    assert!(control.violations().is_empty());
}

fn reason(event: &EngineEvent) -> Option<String> {
    match event {
        EngineEvent::Pod(pod) => pod.status.reason.clone(),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_down_hides_what_happens() {
    let (t, control) = bench(SimConfig::default()).await;
    let web = t.serving("web", 2);
    let pods = t.running(&web).await;
    let mut watcher = t.watcher();
    watcher.until("all was told", |_| Some(())).await;
    control.daemon_down();
    watcher
        .until("the node is not ready", |seen| {
            seen.nodes
                .values()
                .all(|node| !node.status.ready)
                .then_some(())
        })
        .await;
    assert!(t.engine().ping().await.unwrap_err().is_passing());
    control.vanish(&pods[0].id);
    control.kill(&pods[1].id);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(watcher.seen().of(&web.id).len(), 2);
    assert_eq!(control.pods().len(), 1, "nothing was made meanwhile");
    control.daemon_up();
    watcher
        .until("two are ready again", |seen| {
            let pods = seen.all_in(&web.id, 2, PodPhase::Ready)?;
            pods.iter()
                .any(|pod| pod.status.restarts == 1)
                .then_some(())
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_was_overtaken_gets_a_fresh_start() {
    let config = SimConfig {
        watch_buffer: 4,
        ..SimConfig::default()
    };
    let (t, control) = bench(config).await;
    let mut slow = t.watcher();
    slow.until("it began", |_| Some(())).await;
    let web = t.serving("web", 3);
    t.apply(&web).await;
    // Without a watcher of its own, so that the broadcast alone overtakes the slow one.
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(control.pods().len(), 3);
    slow.until("all are ready", |seen| {
        seen.all_in(&web.id, 3, PodPhase::Ready)
    })
    .await;
    assert!(slow.history.contains(&EngineEvent::Reset));
}

#[tokio::test(start_paused = true)]
async fn a_dead_engine_answers_nothing_more() {
    let (t, control) = bench(SimConfig::default()).await;
    let dead = t.engine();
    let mut watch = dead.watch();
    let web = t.serving("web", 1);
    t.running(&web).await;
    t.begin_anew().await;
    assert!(dead.apply(web.clone()).await.is_err());
    while watch.next().await.is_some() {}
    assert!(dead.watch().next().await.is_none());
    control.crash_engine();
    assert!(t.engine().ping().await.is_err());
    let pods = control.pods();
    assert_eq!(pods[0].status.phase, PodPhase::Ready, "pods live on");
}

#[tokio::test(start_paused = true)]
async fn pods_go_where_a_node_is_ready() {
    let config = SimConfig {
        nodes: vec![NodeConfig::named("node-a"), NodeConfig::named("node-b")],
        ..SimConfig::default()
    };
    let (t, control) = bench(config).await;
    control.node_not_ready("node-a", "its power is off");
    let web = t.serving("web", 2);
    let pods = t.running(&web).await;
    assert!(
        pods.iter()
            .all(|pod| pod.status.node.as_deref() == Some("node-b"))
    );
    control.node_ready("node-a");
    control.node_not_ready("node-b", "its power is off");
    t.until("its pods are unready", |seen| {
        seen.all_in(&web.id, 2, PodPhase::Unready)
    })
    .await;
    control.node_ready("node-b");
    t.ready(&web).await;
}

#[tokio::test(start_paused = true)]
async fn behaviours_that_tests_define() {
    let (t, control) = bench(SimConfig::default()).await;
    let late = Behaviour::Serves {
        ready_after: Duration::from_secs(30),
    };
    let migrated = Behaviour::exits(4, &["no such table"]);
    control.define(
        image("shop:1")
            .behaviour(late)
            .on_command("rake migrate", migrated),
    );
    let mut web = t.serving("web", 1);
    web.template.image = ImageRef::new("shop:1").unwrap();
    let before = tokio::time::Instant::now();
    t.running(&web).await;
    assert!(before.elapsed() >= Duration::from_secs(30));
    let mut task = t.task("migrate", "unused");
    task.template.image = web.template.image.clone();
    task.template.command = Some(coracle_model::release::CommandLine::Shell(
        "rake migrate".into(),
    ));
    t.apply(&task).await;
    let pod = t.phase(&task, PodPhase::Failed).await;
    assert_eq!(pod.status.exit.unwrap().code, 4);
    let request = coracle_engine::stream::LogRequest::default();
    let mut lines = t.engine().logs(&pod.id, request).await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().text, "no such table");
    for (name, behaviour, phase) in [
        ("never", Behaviour::NeverReady, PodPhase::Starting),
        (
            "hungry",
            Behaviour::OutOfMemory {
                after: Duration::from_secs(1),
            },
            PodPhase::Pending,
        ),
    ] {
        control.define(image(name).behaviour(behaviour));
        let mut bad = t.serving(name, 1);
        bad.template.image = ImageRef::new(name).unwrap();
        t.apply(&bad).await;
        t.until("it has got there", |seen| {
            let pod = seen.all_in(&bad.id, 1, phase)?.pop()?;
            (phase == PodPhase::Starting || pod.status.exit.is_some()).then_some(())
        })
        .await;
    }
}

#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn build_request(cancel: &CancellationToken, time: Duration) -> BuildRequest {
    BuildRequest {
        id: "build-1".into(),
        context: "/nowhere".into(),
        dockerfile: "Dockerfile".into(),
        push: ImageRef::new("127.0.0.1:7070/default/shop:1").unwrap(),
        credentials: None,
        cache: "conformance".to_owned(),
        arguments: Vec::new(),
        limits: BuildLimits {
            time,
            memory_bytes: 1 << 30,
        },
        cancel: cancel.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn builds_do_what_was_scripted() {
    let (t, control) = bench(SimConfig::default()).await;
    let engine = t.engine();
    let hour = Duration::from_secs(3600);
    let never = CancellationToken::new();
    let build = async |request| {
        let (progress, mut events) = mpsc::channel(8);
        let reader = async { while events.recv().await.is_some() {} };
        tokio::join!(engine.build(request, progress), reader).0
    };
    control.next_build(BuildScript::fails("line 3: unknown instruction"));
    let failed = build(build_request(&never, hour)).await.unwrap_err();
    assert_eq!(failed.to_string(), "line 3: unknown instruction");
    let late = build(build_request(&never, Duration::from_millis(1))).await;
    assert!(matches!(late, Err(EngineError::BuildEnded(_))), "{late:?}");
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let ended = build(build_request(&cancelled, hour)).await;
    assert!(
        matches!(ended, Err(EngineError::BuildEnded(_))),
        "{ended:?}"
    );
    control.next_build(BuildScript::makes(image("any").ports([9000])));
    let built = build(build_request(&never, hour)).await.unwrap();
    assert_eq!(built.ports, [9000]);
    let resolved = engine.resolve_image(&built.reference, None).await.unwrap();
    assert_eq!(resolved.pinned, built.reference);
    let ends: Vec<&str> = control
        .journal()
        .iter()
        .filter_map(|entry| match &entry.act {
            Act::Built { outcome, .. } => Some(*outcome),
            _ => None,
        })
        .collect();
    assert_eq!(ends, ["failed", "ended", "ended", "succeeded"]);
}

/// A job as a controller does it: level-triggered, so it can be run again from its beginning.
async fn job(engine: &dyn Engine, web: &Workload, old: &Workload) -> Result<(), EngineError> {
    engine.ensure_project(&web.id.project).await?;
    engine.apply(web.clone()).await?;
    let patience = Duration::from_secs(600);
    Watcher::on(engine, patience)
        .until("the new one is ready", |seen| {
            seen.all_in(&web.id, 2, PodPhase::Ready)
        })
        .await;
    engine.remove(&old.id).await
}

#[tokio::test(start_paused = true)]
async fn a_job_stopped_at_any_step_ends_the_same() {
    let (t, _) = bench(SimConfig::default()).await;
    let (web, old) = (t.serving("web", 2), t.serving("old", 1));
    let whole = Flaky::new(t.engine());
    job(&whole, &web, &old).await.unwrap();
    let steps = whole.calls();
    assert_eq!(steps, [Verb::EnsureProject, Verb::Apply, Verb::Remove]);
    for step in 0..=steps.len() {
        for fault in [Fault::Hangs, Fault::LostAnswer, Fault::Unavailable] {
            let (t, control) = bench(SimConfig::default()).await;
            t.running(&old).await;
            let flaky = Flaky::new(t.engine());
            flaky.fail_at(step, fault);
            let limit = Duration::from_secs(3600);
            let _stopped = tokio::time::timeout(limit, job(&flaky, &web, &old)).await;
            t.begin_anew().await;
            job(&*t.engine(), &web, &old).await.unwrap();
            t.gone(&old.id).await;
            t.ready(&web).await;
            assert!(control.violations().is_empty(), "{step} {fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn scaling_down_spares_those_that_serve() {
    let (t, control) = bench(SimConfig::default()).await;
    let mut web = t.serving("web", 3);
    let pods = t.running(&web).await;
    control.hang(&pods[0].id);
    t.until("one is unready", |seen| {
        seen.in_phase(&web.id, PodPhase::Unready).pop().cloned()
    })
    .await;
    web.kind = WorkloadKind::Replicated { replicas: 2 };
    let left = t.running(&web).await;
    assert!(left.iter().all(|pod| pod.id != pods[0].id));
}
