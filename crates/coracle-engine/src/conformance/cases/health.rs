//! Readiness: none, by TCP, by HTTP; what fails becomes unready and in the end is started again.

use coracle_model::pod::PodPhase;
use coracle_model::release::CommandLine;

use crate::conformance::bench::{Bench, Given as _};
use crate::engine::EngineEvent;

/// Without a port there is nothing to ask.
pub async fn without_a_port_running_is_ready(t: &Bench) {
    let worker = t.shell("worker", "sleep 1000");
    t.running(&worker).await;
}

/// With a port it is starting until something listens there.
pub async fn a_port_makes_it_ready(t: &Bench) {
    let mut slow = t.serving("slow", 1);
    let line = "sleep 1; exec httpd -f -p 8080 -h /www";
    slow.template.command = Some(CommandLine::Shell(line.into()));
    let mut watcher = t.watcher();
    t.apply(&slow).await;
    watcher
        .until("it is ready", |seen| {
            seen.all_in(&slow.id, 1, PodPhase::Ready)
        })
        .await;
    let starting = watcher.history.iter().any(
        |event| matches!(event, EngineEvent::Pod(pod) if pod.status.phase == PodPhase::Starting),
    );
    assert!(starting, "it was starting before it was ready");
}

/// With a path it is ready when that answers well.
pub async fn a_good_http_answer_makes_it_ready(t: &Bench) {
    let mut web = t.serving("web", 1);
    if let Some(health) = &mut web.template.health {
        health.path = Some("/later".into());
    }
    t.apply(&web).await;
    let pod = t.phase(&web, PodPhase::Starting).await;
    let (status, _) = t.exec(&pod.id, "echo yes > /www/later").await;
    assert_eq!(status, 0);
    t.ready(&web).await;
}

/// Nobody is called ready who never answered, and the reason names the port.
pub async fn what_never_listens_stays_starting_with_a_reason(t: &Bench) {
    let mut deaf = t.serving("deaf", 1);
    deaf.template.command = Some(CommandLine::Exec(vec!["sleep".into(), "1000".into()]));
    deaf.template.stop_grace = std::time::Duration::from_secs(1);
    t.apply(&deaf).await;
    let reason = t
        .until("it is starting and says why", |seen| {
            let pods = seen.in_phase(&deaf.id, PodPhase::Starting);
            pods.first()?.status.reason.clone()
        })
        .await;
    assert!(reason.contains("8080"), "the port is part of {reason:?}");
    t.engine().remove(&deaf.id).await.given("remove");
    t.gone(&deaf.id).await;
}

/// What was ready and fails is unready, with a reason; when it answers again it is ready again.
pub async fn what_stops_answering_becomes_unready_and_ready_again(t: &Bench) {
    let mut web = t.serving("web", 1);
    if let Some(health) = &mut web.template.health {
        health.path = Some("/healthz".into());
        // Room between unready and a restart for what this case does, also under load.
        health.failures = 4;
    }
    let pod = t.running(&web).await.remove(0);
    t.exec(&pod.id, "rm /www/healthz").await;
    let failing = t.phase(&web, PodPhase::Unready).await;
    assert!(failing.status.reason.is_some());
    t.exec(&pod.id, "echo ok > /www/healthz").await;
    let again = t.phase(&web, PodPhase::Ready).await;
    assert_eq!(again.id, pod.id);
}

/// Three times as many failures as make it unready start it again.
pub async fn what_is_unready_for_long_is_started_again(t: &Bench) {
    let mut web = t.serving("web", 1);
    if let Some(health) = &mut web.template.health {
        health.path = Some("/healthz".into());
        health.failures = 1;
    }
    let pod = t.running(&web).await.remove(0);
    t.exec(&pod.id, "rm /www/healthz").await;
    let after = t
        .until("it was started again", |seen| {
            let pods = seen.of(&web.id);
            let pod = pods.first()?;
            let begun = pod.status.phase == PodPhase::Starting && pod.status.restarts > 0;
            begun.then(|| (*pod).clone())
        })
        .await;
    assert_eq!(after.id, pod.id);
    assert_eq!(after.status.address, pod.status.address);
}
