//! From a build's pod and Job to what is going on. Pure.

use coracle_model::quantity::ByteSize;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::object::Stage;

/// Where a container of a build's pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StageState {
    /// It has not begun; why, where that is known.
    Waiting(Option<String>),
    /// It runs.
    Running,
    /// It has ended.
    Ended {
        /// Its exit status.
        status: i32,
        /// It went over its memory.
        memory: Memory,
    },
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
pub(crate) fn stage(pod: &Pod, stage: Stage) -> StageState {
    let Some(state) = status(pod, stage).and_then(|container| container.state.as_ref()) else {
        return StageState::Waiting(unschedulable(pod));
    };
    if let Some(ended) = &state.terminated {
        let memory = match ended.reason.as_deref() {
            Some("OOMKilled") => Memory::Exceeded,
            _ => Memory::Fine,
        };
        return StageState::Ended {
            status: ended.exit_code,
            memory,
        };
    }
    if state.running.is_some() {
        return StageState::Running;
    }
    let why = state.waiting.as_ref().and_then(|waiting| {
        let reason = waiting.reason.as_deref()?;
        // The usual way of things.
        if matches!(reason, "PodInitializing" | "ContainerCreating") {
            return None;
        }
        Some(match waiting.message.as_deref() {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        })
    });
    StageState::Waiting(why.or_else(|| unschedulable(pod)))
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

/// Why a pod was ended from outside: its node had no room, or it used more disk than it may.
pub(crate) fn ended_from_outside(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    let reason = status.reason.as_deref()?;
    let message = status.message.as_deref().unwrap_or_default();
    Some(format!("{reason}: {}", message.trim()))
}

/// Is it about the disk?
pub(crate) fn is_about_disk(words: &str) -> bool {
    let words = words.to_lowercase();
    words.contains("ephemeral") || words.contains("emptydir")
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
        let ended = |status, memory| StageState::Ended { status, memory };
        assert_eq!(stage(&told, Stage::Source), ended(0, Memory::Fine));
        assert_eq!(stage(&told, Stage::Build), ended(137, Memory::Exceeded));
        let why = "ImagePullBackOff: Back-off".to_owned();
        assert!(!is_hopeless(&why));
        assert_eq!(stage(&told, Stage::Push), StageState::Waiting(Some(why)));
        let usual = pod(json!({ "containerStatuses": [
            { "name": "build", "ready": false, "restartCount": 0, "image": "", "imageID": "",
              "state": { "waiting": { "reason": "PodInitializing" } } } ] }));
        assert_eq!(stage(&usual, Stage::Build), StageState::Waiting(None));
    }

    #[test]
    fn a_pod_without_a_place_says_so() {
        let told = pod(json!({ "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
              "message": "0/3 nodes are available: 3 Insufficient memory." } ] }));
        let why = "0/3 nodes are available: 3 Insufficient memory.".to_owned();
        assert_eq!(stage(&told, Stage::Source), StageState::Waiting(Some(why)));
    }

    #[test]
    fn ends_from_outside_have_their_reason() {
        let evicted = pod(json!({ "phase": "Failed", "reason": "Evicted",
            "message": "Usage of EmptyDir volume \"work\" exceeds the limit \"10Mi\". " }));
        let words = ended_from_outside(&evicted).unwrap();
        assert!(is_about_disk(&words), "{words}");
        assert_eq!(ended_from_outside(&pod(json!({ "phase": "Failed" }))), None);
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
