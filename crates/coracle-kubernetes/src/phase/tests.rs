//! What is told of example pods.

use super::*;
use coracle_model::name::{PodName, ProjectName};
use serde_json::{Value, json};

use crate::facts::PodKind;

fn facts(kind: PodKind) -> Facts {
    let facts = json!({
        "project": ProjectName::default_project(),
        "workload": PodName::new("web").unwrap(),
        "generation": 1,
        "kind": kind,
        "image": "shop/web:1",
        "port": 8080,
        "drain_ms": 0,
    });
    serde_json::from_value(facts).unwrap()
}

fn pod(status: Value) -> Pod {
    let pod = json!({
        "metadata": { "name": "web-g1-x-y", "creationTimestamp": "2026-11-23T10:00:00Z" },
        "spec": {
            "nodeName": "node1",
            "containers": [{ "name": "main", "resources": { "limits": { "memory": "16Mi" } } }],
        },
        "status": status,
    });
    serde_json::from_value(pod).unwrap()
}

fn container(state: Value, more: Value) -> Value {
    let mut container = json!({
        "name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state,
    });
    for (name, value) in more.as_object().unwrap() {
        container[name] = value.clone();
    }
    json!({ "phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [container] })
}

fn told(pod: &Pod, kind: PodKind, beside: Beside<'_>) -> (PodPhase, String) {
    let pod = observed(pod, &facts(kind), beside).unwrap();
    (pod.status.phase, pod.status.reason.unwrap_or_default())
}

fn plain(status: Value) -> (PodPhase, String) {
    told(&pod(status), PodKind::Replicated, Beside::default())
}

const RUNNING: &str = r#"{"running":{"startedAt":"2026-11-23T10:00:05Z"}}"#;

fn running() -> Value {
    serde_json::from_str(RUNNING).unwrap()
}

#[test]
fn a_pod_without_a_container_says_what_it_waits_for() {
    let unscheduled = json!({ "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient memory.",
    }]});
    let (phase, reason) = plain(unscheduled);
    assert_eq!(phase, PodPhase::Pending);
    assert!(reason.contains("3 Insufficient memory"), "{reason}");
    let cordoned = json!({ "conditions": [{
        "type": "PodScheduled", "status": "False",
        "message": "0/1 nodes are available: 1 node(s) were unschedulable.",
    }]});
    let nodes = ["node1".to_owned()];
    let beside = Beside {
        cordoned: &nodes,
        ..Beside::default()
    };
    let (_, reason) = told(&pod(cordoned), PodKind::Replicated, beside);
    assert!(reason.contains("coracle nodes uncordon node1"), "{reason}");
    let beside = Beside {
        warning: Some("MountVolume.SetUp failed"),
        ..Beside::default()
    };
    let (_, reason) = told(&pod(json!({})), PodKind::Replicated, beside);
    assert_eq!(reason, "MountVolume.SetUp failed");
}

#[test]
fn what_runs_is_starting_ready_or_unready() {
    let (phase, reason) = plain(container(running(), json!({ "started": false })));
    assert_eq!(phase, PodPhase::Starting);
    assert!(reason.contains("8080"), "{reason}");
    let ready = container(running(), json!({ "ready": true, "started": true }));
    assert_eq!(plain(ready.clone()), (PodPhase::Ready, String::new()));
    // It was ready after its start.
    let mut unready = container(running(), json!({ "started": true }));
    let lost = |at: &str| json!([{ "type": "ContainersReady", "status": "False", "lastTransitionTime": at }]);
    unready["conditions"] = lost("2026-11-23T10:01:00Z");
    assert_eq!(plain(unready.clone()).0, PodPhase::Unready);
    // That was the run before.
    unready["conditions"] = lost("2026-11-23T10:00:04Z");
    assert_eq!(plain(unready).0, PodPhase::Starting);
    // Its node is lost.
    let mut lost = ready;
    lost["conditions"] = json!([
        { "type": "ContainersReady", "status": "True" },
        { "type": "Ready", "status": "False" },
    ]);
    let (phase, reason) = plain(lost);
    assert_eq!(phase, PodPhase::Unready);
    assert!(reason.contains("node1"), "{reason}");
}

#[test]
fn what_cannot_run_says_why() {
    let waiting = |reason: &str, message: &str| {
        plain(container(
            json!({ "waiting": { "reason": reason, "message": message } }),
            json!({}),
        ))
    };
    let (phase, reason) = waiting("ImagePullBackOff", "no such host");
    assert_eq!(phase, PodPhase::Pending);
    assert!(
        reason.contains("shop/web:1") && reason.contains("no such host"),
        "{reason}"
    );
    let (phase, reason) = waiting("CreateContainerConfigError", "secret \"x\" not found");
    assert_eq!(phase, PodPhase::Failed);
    assert!(reason.contains("secret"), "{reason}");
    let crashed = container(
        json!({ "waiting": { "reason": "CrashLoopBackOff" } }),
        json!({ "restartCount": 2, "lastState": { "terminated": { "exitCode": 3, "reason": "Error" } } }),
    );
    let (phase, reason) = plain(crashed);
    assert_eq!(phase, PodPhase::Pending);
    assert!(reason.contains("status 3"), "{reason}");
}

/// As Kubernetes shows a command that the image does not have, by runtime: from the start on, and between two tries.
#[test]
fn a_command_that_is_missing_is_named() {
    let runc = r#"exec: "no-such": executable file not found in $PATH"#;
    let shim = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process";
    let dockershim = format!(
        "OCI runtime create failed: container_linux.go:367: starting container process caused: {runc}: unknown"
    );
    let containerd = format!("failed to create containerd task: {shim}: {runc}: unknown");
    let quoted = runc.replace('"', r#"\""#);
    let crio = format!(
        r#"container create failed: time="2026-11-23T10:00:05Z" level=error msg="runc create failed: unable to start container process: {quoted}""#
    );
    let crun = "container create failed: executable file `no-such` not found in $PATH: No such file or directory";
    let waiting = [
        (
            "RunContainerError",
            format!("failed to start container \"0a\": Error response from daemon: {dockershim}"),
        ),
        ("RunContainerError", containerd.clone()),
        ("CreateContainerError", crio),
        ("CreateContainerError", crun.to_owned()),
    ];
    for (reason, message) in waiting {
        let state = json!({ "waiting": { "reason": reason, "message": message } });
        let (phase, words) = plain(container(state, json!({})));
        assert_eq!(phase, PodPhase::Failed, "{words}");
        assert!(
            words.contains("no-such") && words.contains("not found"),
            "{words}"
        );
        assert!(words.len() < 100 && !words.contains("level="), "{words}");
    }
    for (reason, code, message, started) in [
        (
            "ContainerCannotRun",
            127,
            dockershim,
            "2026-11-23T10:00:05Z",
        ),
        ("StartError", 128, containerd, "1970-01-01T00:00:00Z"),
    ] {
        let ended = json!({ "terminated": {
            "reason": reason, "exitCode": code, "message": message, "startedAt": started,
        }});
        let again = container(
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } }),
            json!({ "restartCount": 2, "lastState": ended }),
        );
        for status in [again, container(ended, json!({}))] {
            let told = observed(&pod(status), &facts(PodKind::Replicated), Beside::default());
            let status = told.unwrap().status;
            assert_eq!(status.phase, PodPhase::Failed, "{status:?}");
            assert!(status.reason.as_ref().unwrap().contains(runc), "{status:?}");
            // It has not ended, because it never ran: what is told of its end would hide the command's name.
            assert_eq!((status.exit, status.started), (None, None));
        }
    }
}

#[test]
fn how_a_task_ended_is_told() {
    let ended = |code: i32, why: &str, phase: &str| {
        let mut status = container(
            json!({ "terminated": { "exitCode": code, "reason": why, "startedAt": null } }),
            json!({}),
        );
        status["phase"] = json!(phase);
        let pod = pod(status);
        let told = observed(&pod, &facts(PodKind::Task), Beside::default()).unwrap();
        assert_eq!(
            told.id.name.as_str(),
            "web",
            "a task has its workload's name"
        );
        assert_eq!(
            told.status.address, None,
            "its address may be another pod's by now"
        );
        told.status
    };
    assert_eq!(ended(0, "Completed", "Succeeded").phase, PodPhase::Exited);
    let failed = ended(3, "Error", "Failed");
    assert_eq!(failed.phase, PodPhase::Failed);
    assert_eq!(failed.exit.unwrap().code, 3);
    let hungry = ended(137, "OOMKilled", "Failed");
    assert_eq!(hungry.exit.as_ref().unwrap().cause, ExitCause::OutOfMemory);
    assert!(hungry.reason.unwrap().contains("16Mi"));
}

#[test]
fn what_is_on_its_way_out_is_stopping() {
    let ready = container(running(), json!({ "ready": true, "started": true }));
    let beside = Beside {
        leaving: true,
        ..Beside::default()
    };
    let told = told(&pod(ready), PodKind::Replicated, beside);
    assert_eq!(told.0, PodPhase::Stopping);
}
