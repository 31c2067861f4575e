//! Bare pods and one-off tasks.
//!
//! Theory of operation: a pod that a person made is a record, and a workload of one pod with the same name.
//! Its workload's generation is a fingerprint of its spec, so that a change of the spec replaces the pod and
//! nothing else does. A task runs once to its end and stays to be looked at until it is deleted or was left
//! lying too long. A pod that belongs to an app ends with the app.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::env::Secret;
use crate::name::{PodName, ProjectName};
use crate::plan::{Knowledge, after, fingerprint};
use crate::pod::{Pod, PodSpec, Restart};
use crate::workload::{
    ObservedPod, Owner, PodTemplate, Resources, TaskStart, Workload, WorkloadId, WorkloadKind,
};

/// An ended task without a record of its own is kept this long.
pub const TASK_KEPT: Duration = Duration::from_secs(600);

/// The time between SIGTERM and SIGKILL for a bare pod.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Does the app that a pod belongs to exist?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppState {
    /// Yes, or it belongs to none.
    There,
    /// No, or it is being deleted.
    Gone,
}

/// What is known of one pod name.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The workload of that name.
    pub id: &'a WorkloadId,
    /// Its record.
    pub record: Option<&'a Pod>,
    /// The app it belongs to.
    pub app: AppState,
    /// The pods that the engine reports for it.
    pub pods: &'a [&'a ObservedPod],
    /// Was the engine told in this process's life to run it, and not told to remove it since?
    pub told: &'a BTreeSet<WorkloadId>,
    /// Whether `pods` is all there is.
    pub knowledge: Knowledge,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Something to do about a bare pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Wish that it runs, as its record says.
    Apply,
    /// Wish that it does not run.
    Remove,
    /// It does not run any more: delete its record.
    Forget,
}

/// What to do about a pod name now, and when to look again.
#[must_use]
pub fn plan(facts: Facts<'_>) -> (Vec<Action>, Option<DateTime<Utc>>) {
    let all_known = facts.knowledge != Knowledge::Partial;
    let there = !facts.pods.is_empty() || facts.told.contains(facts.id);
    let Some(record) = facts.record else {
        return without_record(facts, all_known && there);
    };
    if record.metadata.deleting.is_none() && facts.app == AppState::There {
        return (vec![Action::Apply], None);
    }
    let action = if there || !all_known {
        Action::Remove
    } else {
        Action::Forget
    };
    (vec![action], None)
}

fn without_record(facts: Facts<'_>, there: bool) -> (Vec<Action>, Option<DateTime<Utc>>) {
    if !there {
        return (Vec::new(), None);
    }
    // A one-off task of an app may have no record: whoever started it watches it, and it may still be read
    // for a while after its end.
    let task = facts.pods.iter().find(|pod| pod.owner.app.is_some());
    match task {
        Some(task) if facts.app == AppState::There => {
            if !task.status.phase.is_ended() {
                return (Vec::new(), None);
            }
            let end = task.status.exit.as_ref().and_then(|exit| exit.at);
            let until = after(
                end.or(task.status.started).unwrap_or(task.created),
                TASK_KEPT,
            );
            if facts.now < until {
                return (Vec::new(), Some(until));
            }
            (vec![Action::Remove], None)
        }
        _ => (vec![Action::Remove], None),
    }
}

/// The workload of a bare pod. `names` are DNS names beside the pod's own.
#[must_use]
pub fn workload(project: &ProjectName, name: &PodName, spec: &PodSpec) -> Workload {
    Workload {
        id: WorkloadId {
            project: project.clone(),
            name: name.clone(),
        },
        generation: generation(spec),
        kind: match spec.restart {
            Restart::Always => WorkloadKind::Single,
            Restart::Never => WorkloadKind::Task {
                start: TaskStart::AtOnce,
            },
        },
        owner: Owner {
            app: spec.app.clone(),
            process: spec.process.clone(),
            release: spec.release,
        },
        template: PodTemplate {
            image: spec.image.clone(),
            command: spec.command.clone(),
            env: spec
                .env
                .iter()
                .map(|(name, value)| (name.clone(), Secret::new(value.clone())))
                .collect(),
            port: spec.port,
            names: vec![format!("{name}.{project}.internal")],
            resources: Resources {
                cpu: spec.cpu,
                memory: spec.memory,
            },
            health: spec.health.clone(),
            volumes: Vec::new(),
            stop_grace: STOP_GRACE,
            drain: Duration::ZERO,
        },
    }
}

/// Names a version of a spec.
#[must_use]
pub fn generation(spec: &PodSpec) -> u64 {
    // A spec is plain data and always JSON; should it ever not be, its debug form names it as well.
    let text = serde_json::to_vec(spec).unwrap_or_else(|_never| format!("{spec:?}").into_bytes());
    fingerprint(&text)
}
