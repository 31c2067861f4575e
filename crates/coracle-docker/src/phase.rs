//! From what is known of a pod to the status that watchers are told. Pure.

use std::net::IpAddr;

use coracle_model::pod::{ExitCause, PodPhase, PodStatus};
use coracle_model::workload::ObservedPod;

use crate::container::ContainerState;
use crate::pod::{KILLED, OpKind, Pod, Readiness, Severity};

/// A pod as watchers are told of it. `node` is this machine's name.
pub(crate) fn observed(pod: &Pod, node: Option<&str>) -> ObservedPod {
    let (phase, reason) = phase(pod);
    let container = pod.container.as_ref();
    let restarts = pod.restarts_before + container.map_or(0, |c| c.restart_count);
    ObservedPod {
        id: pod.facts.pod.clone(),
        workload: pod.facts.workload.clone(),
        generation: pod.facts.generation,
        owner: pod.facts.owner.clone(),
        image: pod.facts.image.clone(),
        port: pod.facts.port,
        created: container.map_or(pod.created, |c| c.created),
        status: PodStatus {
            phase,
            // One that was only reserved may have to be given up yet.
            address: pod.address.filter(|_| container.is_some()).map(IpAddr::V4),
            // One that waits for the end of the cordon is nowhere yet.
            node: node.filter(|_| !pod.is_held()).map(str::to_owned),
            restarts,
            started: container.and_then(|c| c.started),
            exit: pod.exit.clone(),
            reason,
        },
    }
}

fn phase(pod: &Pod) -> (PodPhase, Option<String>) {
    if let Some(leaving) = &pod.leaving {
        return (PodPhase::Stopping, leaving.reason.clone());
    }
    if pod.lost {
        return (
            PodPhase::Failed,
            Some("its container was removed by somebody else".to_owned()),
        );
    }
    if let Some(op) = &pod.op
        && let OpKind::Restart { draining: true } = op.kind
    {
        return (PodPhase::Stopping, Some("it is being restarted".to_owned()));
    }
    let Some(container) = &pod.container else {
        return trouble(pod).unwrap_or_else(|| (PodPhase::Pending, pod.note.clone()));
    };
    match container.state {
        ContainerState::Running => match pod.run.as_ref().map(|run| &run.readiness) {
            Some(Readiness::Ready) => (PodPhase::Ready, None),
            Some(Readiness::Unready(reason)) => (PodPhase::Unready, Some(reason.clone())),
            Some(Readiness::NotYet(reason)) => (PodPhase::Starting, reason.clone()),
            None => (PodPhase::Starting, None),
        },
        ContainerState::Paused => (PodPhase::Unready, Some("it is paused".to_owned())),
        ContainerState::Created => trouble(pod).unwrap_or_else(|| {
            let waits = pod.facts.kind.terminal().is_some() && pod.op.is_none();
            let reason = if waits {
                Some("it starts when somebody attaches".to_owned())
            } else {
                pod.note.clone()
            };
            (PodPhase::Pending, reason)
        }),
        ContainerState::Restarting => (
            PodPhase::Pending,
            Some(format!("{}; it is started again after a pause", ended(pod))),
        ),
        ContainerState::Ended if pod.facts.kind.is_task() => {
            if container.exit_code == 0 {
                (PodPhase::Exited, None)
            } else {
                (PodPhase::Failed, Some(ended(pod)))
            }
        }
        ContainerState::Ended => trouble(pod).unwrap_or_else(|| {
            (
                PodPhase::Pending,
                Some(format!("{}; it is started again", ended(pod))),
            )
        }),
        ContainerState::Removing => (PodPhase::Stopping, None),
    }
}

fn trouble(pod: &Pod) -> Option<(PodPhase, Option<String>)> {
    let trouble = pod.trouble.as_ref()?;
    let phase = match trouble.severity {
        Severity::Definite => PodPhase::Failed,
        Severity::Passing | Severity::Cordoned => PodPhase::Pending,
    };
    Some((phase, Some(trouble.reason.clone())))
}

/// How its command ended, in words.
fn ended(pod: &Pod) -> String {
    let Some(exit) = &pod.exit else {
        return "it ended".to_owned();
    };
    match exit.cause {
        ExitCause::OutOfMemory => {
            let limit = pod
                .container
                .as_ref()
                .and_then(|c| c.memory_limit)
                .map(|bytes| format!(" of {}", coracle_model::quantity::ByteSize(bytes)))
                .unwrap_or_default();
            format!("it used up its memory{limit} and was killed")
        }
        ExitCause::Stopped => "it was stopped".to_owned(),
        // What shells, and the init process before the command, say with these.
        ExitCause::Exited if exit.code == 127 => {
            "its command was not found in the image (exit status 127)".to_owned()
        }
        ExitCause::Exited if exit.code == 126 => {
            "its command cannot be executed (exit status 126)".to_owned()
        }
        // Docker tells that memory was used up only from a moment after the start on: containerd begins to listen for it
        // when the command runs already, and with the command goes the cgroup that could be asked.
        ExitCause::Exited if exit.code == KILLED => {
            "it was killed by signal 9, perhaps because it used up its memory".to_owned()
        }
        ExitCause::Exited if exit.code > 128 && exit.code <= 128 + 64 => {
            format!("it was killed by signal {}", exit.code - 128)
        }
        ExitCause::Exited => format!("it exited with status {}", exit.code),
    }
}
