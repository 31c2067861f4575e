//! What everything uses, at one look (law 12).

use std::time::Duration;

use coracle_model::pod::PodPhase;
use coracle_model::quantity::ByteSize;
use coracle_model::usage::{Processor, Reading, Total};
use coracle_model::workload::PodId;

use crate::conformance::bench::{Bench, Given as _};
use crate::usage::EngineUsage;

/// Between two looks: engines may measure as seldom as they like.
const BETWEEN: Duration = Duration::from_millis(250);

/// Looks until something is found.
async fn usage_until<T>(t: &Bench, what: &str, find: impl Fn(&EngineUsage) -> Option<T>) -> T {
    let look = async {
        let mut looks = tokio::time::interval(BETWEEN);
        loop {
            looks.tick().await;
            if let Some(found) = find(&t.engine().usage().await.given("usage")) {
                return found;
            }
        }
    };
    let within = t.world().patience();
    match tokio::time::timeout(within, look).await {
        Ok(found) => found,
        Err(_elapsed) => panic!("not seen within {within:?}: {what}"),
    }
}

fn reading<'a>(usage: &'a EngineUsage, pod: &PodId) -> Option<&'a Reading> {
    let mut of = usage.pods.iter().filter(|(id, _)| id == pod);
    let (_, reading) = of.next()?;
    assert!(of.next().is_none(), "{pod} is told of twice");
    Some(reading)
}

/// Every pod that runs is told of, once, with what it uses and may use; and its node.
pub async fn usage_tells_of_what_runs(t: &Bench) {
    let limit = ByteSize::mib(64).0;
    let mut web = t.serving("web", 2);
    web.template.resources.memory = Some(ByteSize(limit));
    let pods = t.running(&web).await;
    let usage = usage_until(t, "the figures of both pods and their nodes", |usage| {
        let measured = |id: &PodId| reading(usage, id)?.memory_bytes.filter(|bytes| *bytes > 0);
        let pods_are = pods.iter().all(|pod| measured(&pod.id).is_some());
        let node_is = |name: &Option<String>| {
            let node = |(told, reading): &(String, Reading)| {
                Some(told) == name.as_ref() && reading.memory_bytes.is_some_and(|bytes| bytes > 0)
            };
            usage.nodes.iter().any(node)
        };
        let nodes_are = pods.iter().all(|pod| node_is(&pod.status.node));
        (pods_are && nodes_are).then(|| usage.clone())
    })
    .await;
    for pod in &pods {
        let told = reading(&usage, &pod.id).given("it was told of");
        assert!(told.cpu.is_some(), "{told:?}");
        assert!(
            told.memory_bytes.is_some_and(|bytes| bytes < limit),
            "{told:?}"
        );
        assert_eq!(told.memory_limit_bytes, Some(limit));
    }
    let wished = |id: &PodId| pods.iter().any(|pod| pod.id == *id);
    assert!(
        usage.pods.iter().all(|(id, _)| wished(id)),
        "nothing but what was wished runs: {:?}",
        usage.pods
    );
}

/// What does not run uses nothing, and nothing is told of it.
pub async fn usage_leaves_out_what_has_ended(t: &Bench) {
    let web = t.serving("web", 1);
    let pod = t.running(&web).await.remove(0).id;
    let task = t.task("done", "exit 0");
    t.apply(&task).await;
    let ended = t.phase(&task, PodPhase::Exited).await.id;
    usage_until(t, "the pod that runs", |usage| {
        assert_eq!(reading(usage, &ended), None, "it has ended");
        reading(usage, &pod).map(|_| ())
    })
    .await;
    t.engine().remove(&web.id).await.given("remove");
    t.gone(&web.id).await;
    let usage = t.engine().usage().await.given("usage");
    assert_eq!(reading(&usage, &pod), None, "it is gone");
}

/// Totals of one run never fall, and processor time grows with what is done.
pub async fn usage_grows_with_work(t: &Bench) {
    let pod = t.running(&t.serving("web", 1)).await.remove(0).id;
    let time = |usage: &EngineUsage| match reading(usage, &pod)?.cpu? {
        Processor::Time(total) => Some(Some(total)),
        // Averaged by whoever measured: there is nothing to compare.
        Processor::Cores(cores) => (cores > 0.0).then_some(None),
    };
    let Some(first) = usage_until(t, "its processor time", time).await else {
        return;
    };
    // Commands beside its own are the pod's work, too.
    assert_eq!(t.exec(&pod, "true").await.0, 0);
    let last = std::cell::Cell::new(first);
    usage_until(t, "its processor time grew", |usage| {
        let now = time(usage)??;
        let before: Total = last.replace(now);
        assert!(
            now.amount >= before.amount && now.at >= before.at,
            "{before:?}, then {now:?}"
        );
        (now.amount > first.amount && now.at > first.at).then_some(())
    })
    .await;
}
