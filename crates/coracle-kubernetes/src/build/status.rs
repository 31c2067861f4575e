//! From a build's pod and Job to what is going on. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use coracle_model::quantity::ByteSize;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition,
};

use super::object::Stage;
use crate::facts::moment;

/// Where a container of a build's pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not begun; why, where that is known.
    Waiting(Option<String>),
    /// It runs.
    Running,
    /// It runs still, and its pod is being taken away: why.
    Leaving(String),
    /// It has ended by itself.
    Ended {
        /// Its exit status.
        status: i32,
        /// It went over its memory.
        memory: Memory,
    },
    /// Its pod used more disk than it may, in the node's words.
    Disk(String),
    /// Its pod was taken away, which says nothing of the build: why.
    Lost(String),
}

impl Standing {
    /// It came to a good end.
    pub(crate) const DONE: Self = Self::Ended {
        status: 0,
        memory: Memory::Fine,
    };

    /// Will it change no more?
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Disk(_) | Self::Lost(_))
    }
}

/// Did a container go over its memory?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// The kernel ended it for that.
    Exceeded,
    /// Nobody says so.
    Fine,
}

/// Letters of what a node says.
const WORDS: usize = 600;
/// Reasons that no waiting changes.
const HOPELESS: [&str; 3] = [
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
];

/// The status of a container.
fn status(pod: &Pod, stage: Stage) -> Option<&ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = [&status.init_container_statuses, &status.container_statuses];
    let mut all = all.into_iter().flatten().flatten();
    all.find(|container| container.name == stage.name())
}

/// Where a container stands.
pub(crate) fn standing(pod: &Pod, stage: Stage) -> Standing {
    let state = status(pod, stage).and_then(|container| container.state.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref());
    if let Some(ended) = ended.filter(|ended| ended.exit_code == 0 || !ended_by_others(pod, ended))
    {
        let memory = match ended.reason.as_deref() {
            Some("OOMKilled") => Memory::Exceeded,
            _ => Memory::Fine,
        };
        return Standing::Ended {
            status: ended.exit_code,
            memory,
        };
    }
    if let Some(words) = over_disk(pod) {
        return Standing::Disk(words);
    }
    let running = state.is_some_and(|state| state.running.is_some());
    let deleted = pod.metadata.deletion_timestamp.is_some();
    match taken_away(pod) {
        Some(why) if running && deleted => Standing::Leaving(why),
        // One that is to be taken away may be spared yet.
        _ if running => Standing::Running,
        Some(why) if deleted || ended.is_some() || failed(pod).is_some() => Standing::Lost(why),
        _ => Standing::Waiting(state.and_then(waiting).or_else(|| unschedulable(pod))),
    }
}

/// Did a container fail because its pod was taken away? Not if that came after its end.
fn ended_by_others(pod: &Pod, ended: &ContainerStateTerminated) -> bool {
    let at = ended.finished_at.as_ref().map(moment);
    let before = |since: Option<DateTime<Utc>>| at.zip(since).is_some_and(|(at, since)| at < since);
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    let deletion = pod.metadata.deletion_timestamp.as_ref().map(moment);
    // It stands there with the grace that the pod was given.
    let deletion = deletion.map(|end| end - TimeDelta::seconds(grace));
    let disruption = disruption(pod).and_then(|c| c.last_transition_time.as_ref().map(moment));
    let first = [deletion, disruption].into_iter().flatten().min();
    (taken_away(pod).is_some() || over_disk(pod).is_some()) && !before(first)
}

fn disruption(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let mut conditions = conditions.iter();
    conditions.find(|c| c.type_ == "DisruptionTarget" && c.status == "True")
}

/// The node's words for a pod that has failed as a whole.
fn failed(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    let reason = status.reason.as_deref()?;
    let message = status.message.as_deref().unwrap_or_default();
    Some(format!("{reason}: {}", message.trim()))
}

/// A pod that was ended because it used more disk than it may. That its node has too little for all is another matter.
fn over_disk(pod: &Pod) -> Option<String> {
    let words = failed(pod)?;
    let lower = words.to_lowercase();
    let disk = lower.contains("ephemeral") || lower.contains("emptydir");
    (disk && lower.contains("exceed") && !lower.contains("low on resource")).then_some(words)
}

/// Why a pod is taken away, or was: deleted, evicted, put aside for another, its node drained, shut down or lost.
fn taken_away(pod: &Pod) -> Option<String> {
    if let Some(condition) = disruption(pod) {
        let message = condition.message.as_deref().unwrap_or_default();
        let reason = condition.reason.as_deref().unwrap_or_default();
        return Some(format!("{reason}: {message}"));
    }
    if let Some(words) = failed(pod) {
        return Some(words);
    }
    let deleted = pod.metadata.deletion_timestamp.is_some();
    deleted.then(|| "somebody deleted it".to_owned())
}

/// What a container waits for.
fn waiting(state: &ContainerState) -> Option<String> {
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    // The usual way of things.
    if matches!(reason, "PodInitializing" | "ContainerCreating") {
        return None;
    }
    Some(match waiting.message.as_deref() {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    })
}

/// What the node says of a container that has ended, such as that its program is not there.
pub(crate) fn message(pod: &Pod, stage: Stage) -> Option<String> {
    let ended = status(pod, stage)?.state.as_ref()?.terminated.as_ref()?;
    let words = ended.message.as_deref()?.trim();
    (!words.is_empty()).then(|| words.chars().take(WORDS).collect())
}

fn unschedulable(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|c| c.type_ == "PodScheduled")?;
    if scheduled.status != "False" {
        return None;
    }
    scheduled.message.clone()
}

/// Can a container that waits for this never begin?
pub(crate) fn is_hopeless(why: &str) -> bool {
    HOPELESS.iter().any(|reason| why.starts_with(reason))
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobEnd {
    /// Its pod came to its end.
    Complete,
    /// It took too long.
    Deadline,
    /// It failed otherwise.
    Failed(String),
}

/// How a Job ended, if it has.
pub(crate) fn job_end(job: &Job) -> Option<JobEnd> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let is = |kind: &str| {
        conditions
            .iter()
            .find(|c| c.type_ == kind && c.status == "True")
    };
    if is("Complete").is_some() {
        return Some(JobEnd::Complete);
    }
    let failed = is("Failed")?;
    Some(match failed.reason.as_deref() {
        Some("DeadlineExceeded") => JobEnd::Deadline,
        _ => JobEnd::Failed(failed.message.clone().unwrap_or_default()),
    })
}

/// What the person must read of a build tool that failed with these last lines.
pub(crate) fn explain(
    stage: Stage,
    status: i32,
    memory: Memory,
    last: &[String],
    limit: u64,
) -> String {
    let mut text = last.join("\n");
    if text.is_empty() {
        text = format!("the container {} ended with status {status}", stage.name());
    }
    let killed = [
        "signal: killed",
        "exit status 137",
        "exit code: 137",
        "cannot allocate memory",
    ];
    let killed = killed.iter().any(|words| text.contains(words));
    if memory == Memory::Exceeded || killed || status == 137 {
        text.push_str(&format!(
            "\nThe command was killed: it probably used more than the {} of memory that a build may use.",
            ByteSize(limit)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({ "status": status })).unwrap()
    }

    #[test]
    fn containers_are_read_wherever_they_stand() {
        let told = pod(json!({
            "initContainerStatuses": [
                { "name": "source", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                  "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } },
                { "name": "build", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                  "state": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } } },
            ],
            "containerStatuses": [
                { "name": "push", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                  "state": { "waiting": { "reason": "ImagePullBackOff", "message": "Back-off" } } },
            ],
        }));
        let ended = |status, memory| Standing::Ended { status, memory };
        assert_eq!(standing(&told, Stage::Source), ended(0, Memory::Fine));
        assert_eq!(standing(&told, Stage::Build), ended(137, Memory::Exceeded));
        let why = "ImagePullBackOff: Back-off".to_owned();
        assert!(!is_hopeless(&why));
        assert_eq!(standing(&told, Stage::Push), Standing::Waiting(Some(why)));
        let usual = pod(json!({ "containerStatuses": [
            { "name": "build", "ready": false, "restartCount": 0, "image": "", "imageID": "",
              "state": { "waiting": { "reason": "PodInitializing" } } } ] }));
        assert_eq!(standing(&usual, Stage::Build), Standing::Waiting(None));
    }

    #[test]
    fn a_pod_without_a_place_says_so() {
        let told = pod(json!({ "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
              "message": "0/3 nodes are available: 3 Insufficient memory." } ] }));
        let why = "0/3 nodes are available: 3 Insufficient memory.".to_owned();
        assert_eq!(standing(&told, Stage::Source), Standing::Waiting(Some(why)));
    }

    /// A pod whose build has this state.
    fn building(state: Value, more: Value) -> Pod {
        let mut pod = json!({ "metadata": {}, "status": { "containerStatuses": [
            { "name": "build", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state } ] } });
        for part in ["metadata", "status"] {
            for (key, value) in more[part].as_object().into_iter().flatten() {
                pod[part][key] = value.clone();
            }
        }
        serde_json::from_value(pod).unwrap()
    }

    fn exit(status: i32, at: &str) -> Value {
        json!({ "terminated": { "exitCode": status, "finishedAt": at } })
    }

    #[test]
    fn more_disk_than_allowed_is_no_loss_and_too_little_disk_is() {
        let evicted = |message: &str| json!({ "status": { "phase": "Failed", "reason": "Evicted", "message": message } });
        let exits = exit(137, "2026-01-01T00:00:00Z");
        for own in [
            "Usage of EmptyDir volume \"work\" exceeds the limit \"10Mi\". ",
            "Pod ephemeral local storage usage exceeds the total limit of containers 150Mi. ",
            "Container build exceeded its local ephemeral storage limit \"150Mi\". ",
        ] {
            let told = standing(&building(exits.clone(), evicted(own)), Stage::Build);
            assert!(matches!(told, Standing::Disk(_)), "{told:?}");
        }
        let full = "The node was low on resource: ephemeral-storage. Container build was using 400Mi, which exceeds its request of 0. ";
        let told = standing(&building(exits, evicted(full)), Stage::Build);
        assert!(matches!(told, Standing::Lost(_)), "{told:?}");
    }

    #[test]
    fn what_is_taken_away_has_not_failed() {
        let failed = Standing::Ended {
            status: 143,
            memory: Memory::Fine,
        };
        // Deleted at :10, with a grace of 2 s.
        let deleted = json!({ "metadata": {
            "deletionTimestamp": "2026-01-01T00:00:12Z", "deletionGracePeriodSeconds": 2 } });
        let cases = [
            (exit(143, "2026-01-01T00:00:11Z"), &deleted, "lost"),
            (exit(0, "2026-01-01T00:00:11Z"), &deleted, "done"),
            (exit(143, "2026-01-01T00:00:09Z"), &deleted, "failed"),
            (json!({ "running": {} }), &deleted, "leaving"),
            (
                json!({ "waiting": { "reason": "PodInitializing" } }),
                &deleted,
                "lost",
            ),
            (exit(143, "2026-01-01T00:00:11Z"), &json!({}), "failed"),
        ];
        for (state, more, expected) in cases {
            let told = standing(&building(state.clone(), more.clone()), Stage::Build);
            let is = match expected {
                "lost" => matches!(told, Standing::Lost(_)),
                "leaving" => matches!(told, Standing::Leaving(_)),
                "done" => told == Standing::DONE,
                _ => told == failed,
            };
            assert!(is, "{state} {more}: {told:?} is not {expected}");
        }
    }

    #[test]
    fn every_way_to_lose_a_node_is_a_loss() {
        let exits = exit(137, "2026-01-01T00:00:11Z");
        for more in [
            json!({ "conditions": [ { "type": "DisruptionTarget", "status": "True",
                "reason": "EvictionByEvictionAPI", "lastTransitionTime": "2026-01-01T00:00:10Z" } ] }),
            json!({ "phase": "Failed", "reason": "NodeLost" }),
            json!({ "phase": "Failed", "reason": "Terminated",
                "message": "Pod was terminated in response to imminent node shutdown." }),
            json!({ "phase": "Failed", "reason": "Preempting" }),
        ] {
            let pod = building(exits.clone(), json!({ "status": more }));
            let told = standing(&pod, Stage::Build);
            assert!(matches!(told, Standing::Lost(_)), "{more}: {told:?}");
        }
    }

    #[test]
    fn jobs_end_for_a_reason() {
        let job = |reason: &str| -> Job {
            serde_json::from_value(json!({ "status": { "conditions": [
                { "type": "Failed", "status": "True", "reason": reason, "message": "m" } ] } }))
            .unwrap()
        };
        assert_eq!(job_end(&job("DeadlineExceeded")), Some(JobEnd::Deadline));
        assert_eq!(
            job_end(&job("BackoffLimitExceeded")),
            Some(JobEnd::Failed("m".to_owned()))
        );
    }

    #[test]
    fn memory_is_named_where_it_was_the_reason() {
        let last = ["Error: building at STEP \"RUN x\": exit status 137".to_owned()];
        let text = explain(Stage::Build, 1, Memory::Fine, &last, 256 << 20);
        assert!(text.contains("256Mi"), "{text}");
        let text = explain(
            Stage::Build,
            1,
            Memory::Fine,
            &["no such file".to_owned()],
            1 << 30,
        );
        assert_eq!(text, "no such file");
        let text = explain(Stage::Push, 3, Memory::Fine, &[], 1 << 30);
        assert_eq!(text, "the container push ended with status 3");
    }
}
