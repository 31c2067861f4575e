//! Cordons and drains of nodes: nothing is lost, nothing is doubled, wherever the control plane is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_control::OperationError;
use coracle_engine::fault::Fault;
use coracle_engine::sim::{Behaviour, image};
use coracle_model::name::PodName;
use coracle_model::node::{DrainMode, DrainPhase, Node, Scheduling};
use coracle_model::object::Object;
use coracle_model::pod::{PodPhase, PodSpec};
use coracle_model::route::Target;

use crate::platform::{Life, Platform, ann, project, until, web};
use crate::stop::StopAt;

const A: &str = "node-a";

fn on(nodes: u8) -> Platform {
    let platform = Platform::with_nodes(nodes);
    platform.sim().define(image("hello:1").ports([8080]));
    platform.sim().define(image("hello:2").ports([8080]));
    let job = Behaviour::exits(0, &["done"]);
    platform.sim().define(image("job:1").on_command("job", job));
    platform
}

/// How many pods run where.
fn spread(platform: &Platform) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for pod in platform.sim().pods() {
        if !pod.status.phase.is_ended() {
            let node = pod.status.node.unwrap_or_else(|| "nowhere".into());
            *spread.entry(node).or_default() += 1;
        }
    }
    spread
}

async fn node(life: &Life, name: &str) -> Node {
    life.control.node(name).await.unwrap()
}

async fn known_to_be(life: &Life, name: &str, ready: bool) {
    until("that is known", || async {
        life.control.seen_node(name).await.unwrap().status.ready == ready
    })
    .await;
}

async fn phase(life: &Life, name: &str) -> Option<DrainPhase> {
    Some(node(life, name).await.status.drain?.phase)
}

async fn deployed(platform: &Platform, life: &Life, replicas: u32) {
    let v1 = life.deploy("hello:1", &web(replicas)).await;
    life.decided(v1).await;
    let pods = vec!["hello-web-v1 ready"; usize::try_from(replicas).unwrap()];
    life.at_rest(platform, &pods).await;
}

async fn drain(life: &Life, name: &str, mode: DrainMode) -> Result<Node, OperationError> {
    life.control.drain_node(name, mode, &ann()).await
}

fn no_gap(platform: &Platform, when: &str) {
    for target in platform.seen() {
        let serves = matches!(&target, Some(Target::Pods { pods }) if !pods.is_empty());
        assert!(serves, "{when}: the gateway had a gap: {target:?}");
    }
}

fn lawful(platform: &Platform, when: &str) {
    assert_eq!(platform.sim().violations(), Vec::<String>::new(), "{when}");
}

#[tokio::test(start_paused = true)]
async fn a_cordon_is_made_so_and_its_record_goes() {
    let platform = on(2);
    let life = platform.start().await;
    life.control.observed.synced().await;
    let shown = life.control.cordon_node(A, &ann()).await.unwrap();
    assert_eq!(shown.spec.scheduling, Scheduling::Cordoned, "as wished");
    let no_record = || async { !platform.store.all().into_keys().any(|key| key.contains(A)) };
    until("the engine keeps it", no_record).await;
    life.control.cordon_node(A, &ann()).await.unwrap();
    assert!(no_record().await, "nothing is to be done");
    deployed(&platform, &life, 3).await;
    assert_eq!(spread(&platform), BTreeMap::from([("node-b".into(), 3)]));
    platform.kill(life).await;
    let life = platform.start().await;
    life.control.observed.synced().await;
    assert_eq!(node(&life, A).await.spec.scheduling, Scheduling::Cordoned);
    life.control.uncordon_node(A, &ann()).await.unwrap();
    until("it is open", || async {
        no_record().await && node(&life, A).await.spec.scheduling == Scheduling::Open
    })
    .await;
    let unknown = life.control.cordon_node("nobody", &ann()).await;
    assert!(matches!(unknown, Err(OperationError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_drain_moves_all_pods_and_the_only_pod_of_an_app_is_replaced_first() {
    for replicas in [1, 2, 5] {
        let platform = on(3);
        let life = platform.start().await;
        deployed(&platform, &life, replicas).await;
        platform.forget_seen();
        let when = format!("{replicas} replicas");
        let pod = platform.sim().pods().remove(0);
        let name = pod.status.node.unwrap();
        drain(&life, &name, DrainMode::Gentle).await.unwrap();
        let wanted = usize::try_from(replicas).unwrap();
        let ready = || {
            let pods = platform.sim().pods();
            pods.iter()
                .filter(|pod| pod.status.phase == PodPhase::Ready)
                .count()
        };
        until(&format!("{when}: drained"), || async {
            assert!(ready() >= wanted, "{when}: {:?}", platform.pods());
            phase(&life, &name).await == Some(DrainPhase::Drained)
        })
        .await;
        life.at_rest(&platform, &vec!["hello-web-v1 ready"; wanted])
            .await;
        assert_eq!(spread(&platform).get(&name), None, "{when}");
        let status = node(&life, &name).await.status.drain.unwrap();
        assert_eq!(
            (status.left, status.moving, status.blocked_by.len()),
            (0, None, 0)
        );
        no_gap(&platform, &when);
        lawful(&platform, &when);
        // It stays so until it is uncordoned, which ends the drain.
        life.control.uncordon_node(&name, &ann()).await.unwrap();
        until("the drain is over", || async {
            let node = node(&life, &name).await;
            node.status.drain.is_none() && node.spec.scheduling == Scheduling::Open
        })
        .await;
    }
}

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

async fn drain_with(stop: Stop) -> (usize, usize) {
    let platform = on(2);
    let life = platform.start().await;
    deployed(&platform, &life, 3).await;
    platform.forget_seen();
    platform.kill(life).await;
    let life = platform.start().await;
    life.control.observed.synced().await;
    drain(&life, A, DrainMode::Gentle).await.unwrap();
    platform.kill(life).await;
    let at = match stop {
        Stop::BeforeWrite(n) => StopAt::Before(n),
        Stop::AfterWrite(n) => StopAt::After(n),
        Stop::FailedWrite(n) => StopAt::Fail(n),
        Stop::Never | Stop::BeforeCall(_) | Stop::LostAnswer(_) => StopAt::Never,
    };
    let first = platform.start_stopping(at).await;
    match stop {
        Stop::BeforeCall(n) => first.engine.stop_at(n),
        Stop::LostAnswer(n) => first.engine.fail_at(n, Fault::LostAnswer),
        _ => {}
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let counts = (first.store.writes(), first.engine.calls().len());
    platform.kill(first).await;
    let second = platform.start().await;
    let done = || async {
        phase(&second, A).await == Some(DrainPhase::Drained)
            && platform.pods() == ["hello-web-v1 ready"; 3]
            && spread(&platform) == BTreeMap::from([("node-b".into(), 3)])
    };
    until(&format!("{stop:?} converges"), done).await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert!(done().await, "{stop:?}: {:?}", platform.pods());
    no_gap(&platform, &format!("{stop:?}"));
    lawful(&platform, &format!("{stop:?}"));
    platform.kill(second).await;
    counts
}

#[tokio::test(start_paused = true)]
async fn a_drain_killed_at_any_step_ends_the_same() {
    let (writes, calls) = drain_with(Stop::Never).await;
    assert!(writes > 3 && calls > 3, "{writes} writes, {calls} calls");
    for n in 0..writes {
        for stop in [
            Stop::BeforeWrite(n),
            Stop::AfterWrite(n),
            Stop::FailedWrite(n),
        ] {
            drain_with(stop).await;
        }
    }
    for n in 0..calls {
        for stop in [Stop::BeforeCall(n), Stop::LostAnswer(n)] {
            drain_with(stop).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_node_is_drained_by_force_alone() {
    let platform = on(1);
    let life = platform.start().await;
    deployed(&platform, &life, 2).await;
    match drain(&life, A, DrainMode::Gentle).await {
        Err(OperationError::Conflict { reason, hint }) => {
            assert!(reason.contains("default/hello-web-v1 (2 pods)"), "{reason}");
            assert!(reason.contains("until node-a is uncordoned"), "{reason}");
            assert!(hint.unwrap().contains("--force"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        node(&life, A).await.spec.scheduling,
        Scheduling::Open,
        "unchanged"
    );
    drain(&life, A, DrainMode::Force).await.unwrap();
    until("drained", || async {
        phase(&life, A).await == Some(DrainPhase::Drained)
    })
    .await;
    assert_eq!(platform.pods(), ["hello-web-v1 pending"; 2]);
    let reason = platform.sim().pods().remove(0).status.reason.unwrap();
    assert!(reason.contains("coracle nodes uncordon node-a"), "{reason}");
    life.control.uncordon_node(A, &ann()).await.unwrap();
    life.at_rest(&platform, &["hello-web-v1 ready"; 2]).await;
    lawful(&platform, "force");
}

async fn bare(life: &Life, name: &str, spec: serde_json::Value) {
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    let name = PodName::new(name).unwrap();
    life.control
        .create_pod(&project(), &name, spec, &ann())
        .await
        .unwrap();
    let is_there = || async { platform_pod(life, &name).is_some() };
    until("the pod runs", is_there).await;
}

fn platform_pod(life: &Life, name: &PodName) -> Option<String> {
    let pods = life.control.observed.pods();
    let pod = pods.iter().find(|pod| pod.id.name == *name)?;
    (pod.status.phase == PodPhase::Ready).then(|| pod.status.node.clone())?
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_stands_alone_is_started_elsewhere() {
    let platform = on(2);
    let life = platform.start().await;
    let tool = PodName::new("tool").unwrap();
    bare(
        &life,
        "tool",
        serde_json::json!({"image": "hello:1", "port": 8080}),
    )
    .await;
    let name = platform_pod(&life, &tool).unwrap();
    drain(&life, &name, DrainMode::Gentle).await.unwrap();
    until("it is ready elsewhere", || async {
        platform_pod(&life, &tool).is_some_and(|node| node != name)
            && phase(&life, &name).await == Some(DrainPhase::Drained)
    })
    .await;
    assert_eq!(platform.pods(), ["tool ready"]);
}

#[tokio::test(start_paused = true)]
async fn what_runs_once_is_waited_for_or_ended_by_force() {
    let spec = serde_json::json!({"image": "hello:1", "restart": "never"});
    for mode in [DrainMode::Gentle, DrainMode::Force] {
        let platform = on(2);
        let life = platform.start().await;
        bare(&life, "once", spec.clone()).await;
        let once = PodName::new("once").unwrap();
        let name = platform_pod(&life, &once).unwrap();
        drain(&life, &name, mode).await.unwrap();
        if mode == DrainMode::Gentle {
            until("it says what it waits for", || async {
                phase(&life, &name).await == Some(DrainPhase::Blocked)
            })
            .await;
            let status = node(&life, &name).await.status.drain.unwrap();
            assert_eq!((status.left, status.moving), (1, None));
            assert_eq!(status.blocked_by[0].workload.as_str(), "once");
            assert!(status.blocked_by[0].reason.contains("--force"));
            let quiet = platform.store.all();
            tokio::time::sleep(Duration::from_secs(600)).await;
            assert_eq!(platform.pods(), ["once ready"], "it runs on");
            assert_eq!(
                platform.store.all(),
                quiet,
                "and nothing is written meanwhile"
            );
            platform.sim().exit(&platform.sim().pods()[0].id, 0);
        }
        until("drained", || async {
            phase(&life, &name).await == Some(DrainPhase::Drained)
        })
        .await;
        let left = platform.pods();
        match mode {
            DrainMode::Gentle => assert_eq!(left, ["once exited"]),
            DrainMode::Force => assert_eq!(left, Vec::<String>::new()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_drain_leaves_the_node_cordoned_and_no_pod_too_many() {
    let platform = on(2);
    let life = platform.start().await;
    deployed(&platform, &life, 4).await;
    // The pod that is to come elsewhere never gets ready.
    platform.sim().define(
        image("hello:1")
            .ports([8080])
            .behaviour(Behaviour::exits(1, &[])),
    );
    drain(&life, A, DrainMode::Gentle).await.unwrap();
    until("it moves", || async { platform.pods().len() == 5 }).await;
    life.control.cancel_node_drain(A, &ann()).await.unwrap();
    life.at_rest(&platform, &["hello-web-v1 ready"; 4]).await;
    let after = node(&life, A).await;
    assert_eq!(after.spec.scheduling, Scheduling::Cordoned);
    assert_eq!((after.spec.drain, after.status.drain), (None, None));
    let twice = life.control.cancel_node_drain(A, &ann()).await;
    assert!(matches!(twice, Err(OperationError::Conflict { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_ready_elsewhere_blocks_and_is_stopped_by_force() {
    let platform = on(2);
    let life = platform.start().await;
    deployed(&platform, &life, 2).await;
    platform.forget_seen();
    platform.sim().define(
        image("hello:1")
            .ports([8080])
            .behaviour(Behaviour::exits(1, &[])),
    );
    drain(&life, A, DrainMode::Gentle).await.unwrap();
    until("it is blocked", || async {
        phase(&life, A).await == Some(DrainPhase::Blocked)
    })
    .await;
    let status = node(&life, A).await.status.drain.unwrap();
    assert!(
        status.blocked_by[0]
            .reason
            .contains("elsewhere is not ready"),
        "{status:?}"
    );
    assert_eq!(spread(&platform)[A], 1, "it serves on");
    drain(&life, A, DrainMode::Force).await.unwrap();
    until("drained", || async {
        phase(&life, A).await == Some(DrainPhase::Drained)
    })
    .await;
    no_gap(&platform, "one still serves on the other node");
}

#[tokio::test(start_paused = true)]
async fn a_drain_goes_on_when_a_node_comes_back_and_ends_when_somebody_uncordons() {
    let platform = on(2);
    let life = platform.start().await;
    deployed(&platform, &life, 2).await;
    platform.sim().node_not_ready("node-b", "no power");
    known_to_be(&life, "node-b", false).await;
    let refused = drain(&life, A, DrainMode::Gentle).await;
    assert!(matches!(refused, Err(OperationError::Conflict { .. })));
    platform.sim().node_ready("node-b");
    known_to_be(&life, "node-b", true).await;
    drain(&life, A, DrainMode::Gentle).await.unwrap();
    platform.sim().node_not_ready("node-b", "no power");
    until("it is blocked", || async {
        phase(&life, A).await == Some(DrainPhase::Blocked)
    })
    .await;
    platform.sim().node_ready("node-b");
    until("drained", || async {
        phase(&life, A).await == Some(DrainPhase::Drained)
    })
    .await;
    life.engine.inner().uncordon(A).await.unwrap();
    until("it is not fought", || async {
        let Object { spec, status, .. } = node(&life, A).await;
        spec.scheduling == Scheduling::Open && status.drain.is_none()
    })
    .await;
    let events = life.control.journal.page(None, 50).await.unwrap();
    let said = |action: &str| events.items.iter().any(|event| event.spec.action == action);
    for action in [
        "node.draining",
        "node.drain_blocked",
        "node.drained",
        "node.drain_ended",
    ] {
        assert!(said(action), "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_nodes_are_drained_at_once_without_a_loss() {
    let platform = on(3);
    let life = platform.start().await;
    deployed(&platform, &life, 2).await;
    platform.forget_seen();
    for name in [A, "node-b"] {
        drain(&life, name, DrainMode::Gentle).await.unwrap();
    }
    until("both are drained", || async {
        let ready = platform.sim().pods();
        let ready = ready
            .iter()
            .filter(|pod| pod.status.phase == PodPhase::Ready);
        assert!(ready.count() >= 2, "{:?}", platform.pods());
        phase(&life, A).await == Some(DrainPhase::Drained)
            && phase(&life, "node-b").await == Some(DrainPhase::Drained)
    })
    .await;
    life.at_rest(&platform, &["hello-web-v1 ready"; 2]).await;
    assert_eq!(spread(&platform), BTreeMap::from([("node-c".into(), 2)]));
    no_gap(&platform, "two nodes");
}
