//! From a pod in the cluster to what watchers are told of it. Pure.

use coracle_model::node::cordoned_reason;
use coracle_model::pod::{Exit, ExitCause, PodPhase, PodStatus};
use coracle_model::quantity::ByteSize;
use coracle_model::workload::ObservedPod;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use crate::facts::{Facts, moment};
use crate::object::CONTAINER;

/// What is known beside the pod itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside<'a> {
    /// It is on its way out, though the cluster does not show it on the pod itself.
    pub(crate) leaving: bool,
    /// The last warning that the cluster gave about it.
    pub(crate) warning: Option<&'a str>,
    /// Something about its workload that a person should read, whatever the pod's own state is.
    pub(crate) note: Option<&'a str>,
    /// Nodes that are cordoned, when no other is left.
    pub(crate) cordoned: &'a [String],
}

/// A pod as watchers are told of it. Nothing when it has no name that can be told.
pub(crate) fn observed(pod: &Pod, facts: &Facts, beside: Beside<'_>) -> Option<ObservedPod> {
    let name = pod.metadata.name.as_deref()?;
    let created = pod.metadata.creation_timestamp.as_ref().map(moment);
    Some(facts.observed(facts.pod_id(name)?, created, status(pod, facts, beside)))
}

/// The status of the one container.
pub(crate) fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == CONTAINER)
}

/// Does it answer, as the cluster sees it? A node that is lost takes the readiness of its pods with it.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    container(pod).is_some_and(|c| c.ready) && !node_is_lost(pod)
}

/// Did it answer since its container was started?
pub(crate) fn has_answered(pod: &Pod) -> bool {
    container(pod).is_some_and(|c| c.started.unwrap_or(c.ready) && is_running(c))
}

/// Has it run to its end?
pub(crate) fn has_ended(pod: &Pod) -> bool {
    matches!(
        pod.status.as_ref().and_then(|s| s.phase.as_deref()),
        Some("Succeeded" | "Failed")
    )
}

/// Is there a process inside?
pub(crate) fn runs(pod: &Pod) -> bool {
    container(pod).is_some_and(is_running) && !has_ended(pod)
}

fn is_running(container: &ContainerStatus) -> bool {
    matches!(
        &container.state,
        Some(ContainerState {
            running: Some(_),
            ..
        })
    )
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a k8s_openapi::api::core::v1::PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// The node controller takes `Ready` and leaves `ContainersReady`, which is the kubelet's.
fn node_is_lost(pod: &Pod) -> bool {
    let is = |kind: &str, value: &str| condition(pod, kind).is_some_and(|c| c.status == value);
    is("Ready", "False") && is("ContainersReady", "True")
}

fn status(pod: &Pod, facts: &Facts, beside: Beside<'_>) -> PodStatus {
    let inner = pod.status.as_ref();
    let container = container(pod);
    let (phase, reason) = phase(pod, facts, beside);
    let address = inner
        .and_then(|s| s.pod_ip.as_deref())
        .and_then(|ip| ip.parse().ok())
        // The address of what ended may be given to another pod.
        .filter(|_| !has_ended(pod));
    let started = container.and_then(|c| {
        let now = c.state.as_ref().and_then(started_at);
        now.or_else(|| c.last_state.as_ref().and_then(started_at))
    });
    let restarts = container.map_or(0, |c| c.restart_count);
    PodStatus {
        phase,
        address,
        node: pod.spec.as_ref().and_then(|s| s.node_name.clone()),
        restarts: u32::try_from(restarts).unwrap_or_default(),
        started,
        exit: exit(pod),
        reason: reason.or_else(|| beside.note.map(str::to_owned)),
    }
}

fn started_at(state: &ContainerState) -> Option<chrono::DateTime<chrono::Utc>> {
    let running = state.running.as_ref().and_then(|r| r.started_at.as_ref());
    let ended = || {
        state
            .terminated
            .as_ref()
            .and_then(|t| t.started_at.as_ref())
    };
    if state.terminated.as_ref().is_some_and(never_ran) {
        return None;
    }
    let at = running.or_else(ended).map(moment)?;
    // What could not be started says the year 1970.
    (at.timestamp() > 0).then_some(at)
}

fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let container = container(pod)?;
    let now = container.state.as_ref().and_then(|s| s.terminated.as_ref());
    now.or_else(|| container.last_state.as_ref()?.terminated.as_ref())
}

/// Could its command not even be started? As dockershim, and as containerd and CRI-O call it.
fn never_ran(ended: &ContainerStateTerminated) -> bool {
    matches!(
        ended.reason.as_deref(),
        Some("ContainerCannotRun" | "StartError")
    )
}

fn runs_once(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.restart_policy.as_deref()) == Some("Never")
}

/// How its command last ended. What never ran has not ended, though the runtime gives it a status; what runs once has.
pub(crate) fn exit(pod: &Pod) -> Option<Exit> {
    let ended = terminated(pod)?;
    if never_ran(ended) && !runs_once(pod) {
        return None;
    }
    let stopped = pod.metadata.deletion_timestamp.is_some()
        && container(pod).is_some_and(|c| {
            c.state
                .as_ref()
                .is_some_and(|state| state.terminated.is_some())
        });
    let cause = match ended.reason.as_deref() {
        Some("OOMKilled") => ExitCause::OutOfMemory,
        _ if stopped => ExitCause::Stopped,
        _ => ExitCause::Exited,
    };
    Some(Exit {
        code: i64::from(ended.exit_code),
        cause,
        at: ended.finished_at.as_ref().map(moment),
    })
}

/// How its command ended, in words.
fn ended(pod: &Pod) -> String {
    let Some(state) = terminated(pod) else {
        return "it ended".to_owned();
    };
    let message = state.message.as_deref().map(str::trim).unwrap_or_default();
    if never_ran(state) && !message.is_empty() {
        return format!("it cannot be started: {}", start_error(message));
    }
    match (state.reason.as_deref(), state.exit_code) {
        (Some("OOMKilled"), _) => {
            let limit = memory_limit(pod).map(|bytes| format!(" of {}", ByteSize(bytes)));
            format!(
                "it used up its memory{} and was killed",
                limit.unwrap_or_default()
            )
        }
        (_, 127) => "its command was not found in the image (exit status 127)".to_owned(),
        (_, 126) => "its command cannot be executed (exit status 126)".to_owned(),
        (_, code) if code > 128 && code <= 128 + 64 => {
            format!("it was killed by signal {}", code - 128)
        }
        (_, code) => format!("it exited with status {code}"),
    }
}

/// What of a failed start a person must read: the runtime's message without the layers around it. runc's words begin with
/// `exec: "COMMAND":`, crun's are ``executable file `COMMAND` not found``; CRI-O quotes either once more.
fn start_error(message: &str) -> String {
    let message = message.replace("\\\"", "\"");
    let message = message.trim().trim_end_matches(": unknown");
    let begins = ["exec: \"", "executable file `"];
    let begins = begins.iter().find_map(|words| message.find(words));
    let words = begins.map_or(message, |at| &message[at..]);
    let quoted = words.matches('"').count() % 2 == 1;
    let words = if quoted {
        words.trim_end_matches('"')
    } else {
        words
    };
    words.trim_end_matches(": unknown").to_owned()
}

/// The most memory that its container may use.
pub(crate) fn memory_limit(pod: &Pod) -> Option<u64> {
    let container = pod.spec.as_ref()?.containers.first()?;
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    crate::quantity::bytes(&limits.get("memory")?.0)
}

fn phase(pod: &Pod, facts: &Facts, beside: Beside<'_>) -> (PodPhase, Option<String>) {
    let warning = || beside.warning.map(str::to_owned);
    if pod.metadata.deletion_timestamp.is_some() || (beside.leaving && !has_ended(pod)) {
        return (PodPhase::Stopping, None);
    }
    let inner = pod.status.as_ref();
    if has_ended(pod) {
        let why = inner
            .and_then(|s| s.message.clone())
            .filter(|m| !m.is_empty());
        let succeeded = inner.and_then(|s| s.phase.as_deref()) == Some("Succeeded");
        return match (facts.kind.is_task(), succeeded) {
            (true, true) => (PodPhase::Exited, None),
            (true, false) => (PodPhase::Failed, Some(why.unwrap_or_else(|| ended(pod)))),
            (false, _) => {
                let why = why.unwrap_or_else(|| ended(pod));
                (PodPhase::Pending, Some(format!("{why}; it is replaced")))
            }
        };
    }
    let Some(container) = container(pod) else {
        return (
            PodPhase::Pending,
            unscheduled(pod, beside.cordoned).or_else(warning),
        );
    };
    let Some(state) = &container.state else {
        return (PodPhase::Pending, warning());
    };
    if state.running.is_some() {
        return running(pod, container, facts, beside.warning);
    }
    if let Some(waiting) = &state.waiting {
        return waits(pod, facts, waiting, beside.warning);
    }
    if let Some(state) = state.terminated.as_ref().filter(|_| !facts.kind.is_task()) {
        if never_ran(state) {
            return (PodPhase::Failed, Some(ended(pod)));
        }
        return (
            PodPhase::Pending,
            Some(format!("{}; it is started again", ended(pod))),
        );
    }
    if facts.kind.is_task()
        && let Some(exit) = exit(pod)
    {
        // The pod's own phase follows in a moment.
        return if exit.code == 0 {
            (PodPhase::Exited, None)
        } else {
            (PodPhase::Failed, Some(ended(pod)))
        };
    }
    (PodPhase::Pending, warning())
}

fn unscheduled(pod: &Pod, cordoned: &[String]) -> Option<String> {
    let condition = condition(pod, "PodScheduled").filter(|c| c.status == "False")?;
    let words = condition.message.as_deref().unwrap_or("no node has room");
    if words.contains("unschedulable") && !cordoned.is_empty() {
        return Some(cordoned_reason(cordoned.iter().map(String::as_str)));
    }
    Some(format!("no node can run it now: {words}"))
}

fn running(
    pod: &Pod,
    container: &ContainerStatus,
    facts: &Facts,
    warning: Option<&str>,
) -> (PodPhase, Option<String>) {
    if node_is_lost(pod) {
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        let node = node.unwrap_or("its node");
        return (
            PodPhase::Unready,
            Some(format!("node {node} does not answer")),
        );
    }
    if container.ready {
        return (PodPhase::Ready, None);
    }
    let question = match (&facts.path, facts.port) {
        (Some(path), Some(port)) => format!("GET {path} on port {port}"),
        (_, Some(port)) => format!("port {port}"),
        (_, None) => "it".to_owned(),
    };
    let detail = warning
        .filter(|w| w.contains("probe"))
        .map(|w| format!(": {w}"))
        .unwrap_or_default();
    if was_ready(pod, container) {
        let reason = format!("{question} does not answer any more{detail}");
        return (PodPhase::Unready, Some(reason));
    }
    let reason = format!("{question} does not answer yet{detail}");
    (PodPhase::Starting, Some(reason))
}

/// Was it ready since its container was started? Readiness that was lost after that moment was there before.
fn was_ready(pod: &Pod, container: &ContainerStatus) -> bool {
    let started = container.state.as_ref().and_then(started_at);
    let lost = condition(pod, "ContainersReady")
        .filter(|c| c.status == "False")
        .and_then(|c| c.last_transition_time.as_ref())
        .map(moment);
    match (started, lost) {
        (Some(started), Some(lost)) => container.started.unwrap_or(true) && lost > started,
        _ => false,
    }
}

fn waits(
    pod: &Pod,
    facts: &Facts,
    waiting: &k8s_openapi::api::core::v1::ContainerStateWaiting,
    warning: Option<&str>,
) -> (PodPhase, Option<String>) {
    let message = waiting.message.as_deref().unwrap_or_default().trim();
    let image = &facts.image;
    let reason = match waiting.reason.as_deref().unwrap_or_default() {
        "CrashLoopBackOff" if terminated(pod).is_some_and(never_ran) => {
            return (PodPhase::Failed, Some(ended(pod)));
        }
        "CrashLoopBackOff" => format!("{}; it is started again after a pause", ended(pod)),
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "RegistryUnavailable"
        | "ImageInspectError" => {
            format!("image {image} cannot be pulled: {message}")
        }
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "StartError" => {
            let reason = format!("it cannot be started: {}", start_error(message));
            return (PodPhase::Failed, Some(reason));
        }
        "ContainerCreating" | "PodInitializing" | "" => {
            let reason = warning.map_or_else(|| "it is being started".to_owned(), str::to_owned);
            return (PodPhase::Pending, Some(reason));
        }
        other => format!("{other}: {message}"),
    };
    (PodPhase::Pending, Some(reason))
}

#[cfg(test)]
mod tests;
