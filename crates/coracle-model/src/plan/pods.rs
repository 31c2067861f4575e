//! Bare pods and one-off tasks.
//!
//! Theory of operation: a pod that a person made is a record, and a workload of one pod with the same name.
//! Its workload's generation is a fingerprint of its spec, so that a change of the spec replaces the pod and
//! nothing else does. A one-off command of an app is such a pod too: it has the image, the variables and the
//! volumes of a release, ends with the app, and is cleared away when it was not attached to, or had ended,
//! for [`TASK_KEPT`].

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::env::Secret;
use crate::name::{EnvName, PodName, ProjectName};
use crate::plan::{Knowledge, after, fingerprint};
use crate::pod::{Pod, PodSpec, PodStart, Restart};
use crate::workload::{
    Mount, ObservedPod, Owner, PodTemplate, Resources, TaskStart, Terminal, Workload, WorkloadId,
    WorkloadKind,
};

/// A one-off command of an app is kept this long after its end, and waits this long to be attached to.
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
pub fn plan(facts: Facts<'_>) -> (Option<Action>, Option<DateTime<Utc>>) {
    let all_known = facts.knowledge != Knowledge::Partial;
    let there = !facts.pods.is_empty() || facts.told.contains(facts.id);
    let Some(record) = facts.record else {
        return ((there && all_known).then_some(Action::Remove), None);
    };
    let until = expires(record, facts.pods);
    let expired = until.is_some_and(|until| all_known && until <= facts.now);
    if record.metadata.deleting.is_none() && facts.app == AppState::There && !expired {
        return (Some(Action::Apply), until);
    }
    let action = if there || !all_known {
        Action::Remove
    } else {
        Action::Forget
    };
    (Some(action), None)
}

/// When a one-off command of an app has been left lying for too long.
fn expires(record: &Pod, pods: &[&ObservedPod]) -> Option<DateTime<Utc>> {
    record.spec.app.as_ref()?;
    let since = match pods.first() {
        Some(pod) if pod.status.phase.is_ended() => {
            let end = pod.status.exit.as_ref().and_then(|exit| exit.at);
            end.or(pod.status.started).unwrap_or(pod.created)
        }
        Some(pod) if pod.status.started.is_some() => return None,
        // Nobody attached to it yet.
        Some(pod) => pod.created,
        None => record.metadata.created,
    };
    Some(after(since, TASK_KEPT))
}

/// What a pod has from the release that it is a one-off command of. Empty for bare pods.
#[derive(Clone, Debug, Default)]
pub struct FromRelease {
    /// Variables, opened; the pod's own win.
    pub env: Vec<(EnvName, Secret)>,
    /// Volumes.
    pub volumes: Vec<Mount>,
}

/// The workload of a bare pod or one-off command.
#[must_use]
pub fn workload(
    project: &ProjectName,
    name: &PodName,
    spec: &PodSpec,
    from: FromRelease,
) -> Workload {
    let own = spec.env.iter();
    let mut env = from.env;
    env.retain(|(name, _)| !spec.env.contains_key(name));
    env.extend(own.map(|(name, value)| (name.clone(), Secret::new(value.clone()))));
    Workload {
        id: WorkloadId {
            project: project.clone(),
            name: name.clone(),
        },
        generation: generation(spec),
        kind: kind(spec),
        owner: Owner {
            app: spec.app.clone(),
            process: spec.process.clone(),
            release: spec.release,
        },
        template: PodTemplate {
            image: spec.image.clone(),
            command: spec.command.clone(),
            env,
            port: spec.port,
            names: vec![format!("{name}.{project}.internal")],
            resources: Resources {
                cpu: spec.cpu,
                memory: spec.memory,
            },
            health: spec.health.clone(),
            volumes: from.volumes,
            stop_grace: STOP_GRACE,
            drain: Duration::ZERO,
        },
    }
}

fn kind(spec: &PodSpec) -> WorkloadKind {
    let start = match spec.start {
        PodStart::AtOnce => TaskStart::AtOnce,
        PodStart::Attached => TaskStart::OnAttach {
            terminal: Terminal::Streams,
        },
        PodStart::Terminal { columns, rows } => TaskStart::OnAttach {
            terminal: Terminal::Tty { columns, rows },
        },
    };
    match spec.restart {
        Restart::Always => WorkloadKind::Single,
        Restart::Never => WorkloadKind::Task { start },
    }
}

/// Names a version of a spec.
#[must_use]
pub fn generation(spec: &PodSpec) -> u64 {
    // A spec is plain data and always JSON; should it ever not be, its debug form names it as well.
    let text = serde_json::to_vec(spec).unwrap_or_else(|_never| format!("{spec:?}").into_bytes());
    fingerprint(&text)
}
