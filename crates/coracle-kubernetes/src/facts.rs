//! What stands on the objects in the cluster: all that the engine must know of them after its own restart.
//!
//! Theory of operation: labels are for selecting (and for people with `kubectl`), one annotation in JSON is for
//! reading back. What has no such annotation, or another platform's id, is not ours.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_model::name::{AppName, PodName, ProcessName, ProjectName};
use coracle_model::pod::PodStatus;
use coracle_model::release::ReleaseNumber;
use coracle_model::workload::{
    ObservedPod, Owner, PodId, TaskStart, Terminal, Workload, WorkloadId, WorkloadKind,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::naming;

/// Who made it, in the label that tools know.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and the field manager of everything that is applied.
pub(crate) const MANAGER: &str = "coracle";
/// The platform's id.
pub(crate) const PLATFORM: &str = "coracle.io/platform";
/// The project, on its namespace and everything in it.
pub(crate) const PROJECT: &str = "coracle.io/project";
/// The workload's name, cut to a label's length.
pub(crate) const WORKLOAD: &str = "coracle.io/workload";
/// The Deployment or Job that a pod belongs to. A pod without it was taken out.
pub(crate) const SET: &str = "coracle.io/set";
/// Before a name that a pod is found under.
pub(crate) const NAME_PREFIX: &str = "name.coracle.io/";
/// [`Facts`] in JSON.
pub(crate) const FACTS: &str = "coracle.io/facts";
/// On a Deployment, Job or pod: on its way out since this moment (RFC 3339).
pub(crate) const STOPPING: &str = "coracle.io/stopping-since";
/// On a pod that is being deleted: its kubelet was reminded of that at this moment (RFC 3339).
pub(crate) const REMINDED: &str = "coracle.io/reminded-at";
/// On a Deployment: the number of replicas that we gave it.
pub(crate) const REPLICAS: &str = "coracle.io/replicas";
/// On a namespace: its project was removed at this moment, and only its volumes are left.
pub(crate) const REMOVED: &str = "coracle.io/removed-at";
/// On a Job: somebody attached at this moment.
pub(crate) const ATTACHED: &str = "coracle.io/attached-at";
/// The volume's own name, on its claim.
pub(crate) const VOLUME: &str = "coracle.io/volume";
/// The size that was asked for, on a claim.
pub(crate) const SIZE: &str = "coracle.io/size";
const APP: &str = "coracle.io/app";
const PROCESS: &str = "coracle.io/process";
const RELEASE: &str = "coracle.io/release";

/// What a pod's end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PodKind {
    /// One of several.
    Replicated,
    /// The only one.
    Single,
    /// Runs once.
    Task,
    /// Runs once, when somebody attaches.
    TaskOnAttach,
    /// The same, with a terminal of this size.
    TaskOnTerminal {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
}

impl PodKind {
    pub(crate) const fn of(kind: WorkloadKind) -> Self {
        match kind {
            WorkloadKind::Replicated { .. } => Self::Replicated,
            WorkloadKind::Single => Self::Single,
            WorkloadKind::Task { start } => match start {
                TaskStart::AtOnce => Self::Task,
                TaskStart::OnAttach { terminal } => match terminal {
                    Terminal::Streams => Self::TaskOnAttach,
                    Terminal::Tty { columns, rows } => Self::TaskOnTerminal { columns, rows },
                },
            },
        }
    }

    pub(crate) const fn is_task(self) -> bool {
        matches!(
            self,
            Self::Task | Self::TaskOnAttach | Self::TaskOnTerminal { .. }
        )
    }

    pub(crate) const fn terminal(self) -> Option<Terminal> {
        match self {
            Self::TaskOnAttach => Some(Terminal::Streams),
            Self::TaskOnTerminal { columns, rows } => Some(Terminal::Tty { columns, rows }),
            _ => None,
        }
    }
}

/// What is known of an object from its annotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) project: ProjectName,
    pub(crate) workload: PodName,
    pub(crate) generation: u64,
    pub(crate) kind: PodKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<AppName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<ProcessName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseNumber>,
    pub(crate) image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    drain_ms: u64,
}

impl Facts {
    pub(crate) fn of(workload: &Workload) -> Self {
        let template = &workload.template;
        let owner = &workload.owner;
        Self {
            project: workload.id.project.clone(),
            workload: workload.id.name.clone(),
            generation: workload.generation,
            kind: PodKind::of(workload.kind),
            app: owner.app.clone(),
            process: owner.process.clone(),
            release: owner.release,
            image: template.image.to_string(),
            port: template.port,
            path: template.health.as_ref().and_then(|h| h.path.clone()),
            drain_ms: u64::try_from(template.drain.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn id(&self) -> WorkloadId {
        WorkloadId {
            project: self.project.clone(),
            name: self.workload.clone(),
        }
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner {
            app: self.app.clone(),
            process: self.process.clone(),
            release: self.release,
        }
    }

    pub(crate) const fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }

    /// What a pod is called outside: the workload's own name where it is the only one, whatever Kubernetes calls it.
    pub(crate) fn pod_id(&self, object: &str) -> Option<PodId> {
        let name = match self.kind {
            PodKind::Replicated => PodName::new(object).ok()?,
            _ => self.workload.clone(),
        };
        Some(PodId {
            project: self.project.clone(),
            name,
        })
    }

    /// Reads an object's annotation. Nothing when it is not this platform's.
    pub(crate) fn read(meta: &ObjectMeta, platform: &str) -> Option<Self> {
        if !is_ours(meta, platform) {
            return None;
        }
        serde_json::from_str(meta.annotations.as_ref()?.get(FACTS)?).ok()
    }

    /// The annotation, and no other.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        let json = serde_json::to_string(self).unwrap_or_default();
        BTreeMap::from([(FACTS.to_owned(), json)])
    }

    /// A pod of the workload, as watchers are told of it.
    pub(crate) fn observed(
        &self,
        id: PodId,
        created: Option<DateTime<Utc>>,
        status: PodStatus,
    ) -> ObservedPod {
        ObservedPod {
            id,
            workload: self.id(),
            generation: self.generation,
            owner: self.owner(),
            image: self.image.clone(),
            port: self.port,
            created: created.unwrap_or_default(),
            status,
        }
    }

    /// Labels of a Deployment, Job, pod, Secret or Service of a workload.
    pub(crate) fn labels(&self, platform: &str) -> BTreeMap<String, String> {
        let mut labels = labels(platform, &self.project);
        let mut put = |name: &str, value: String| {
            labels.insert(name.to_owned(), value);
        };
        put(WORKLOAD, naming::workload_label(&self.workload));
        if let Some(app) = &self.app {
            put(APP, app.to_string());
        }
        if let Some(process) = &self.process {
            put(PROCESS, process.to_string());
        }
        if let Some(release) = self.release {
            put(RELEASE, release.to_string());
        }
        labels
    }
}

/// Labels that everything of a project has.
pub(crate) fn labels(platform: &str, project: &ProjectName) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.to_owned(), MANAGER.to_owned()),
        (PLATFORM.to_owned(), platform.to_owned()),
        (PROJECT.to_owned(), project.to_string()),
    ])
}

/// Does an object carry this platform's label?
pub(crate) fn is_ours(meta: &ObjectMeta, platform: &str) -> bool {
    label(meta, PLATFORM) == Some(platform)
}

pub(crate) fn label<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    Some(meta.labels.as_ref()?.get(name)?.as_str())
}

pub(crate) fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    Some(meta.annotations.as_ref()?.get(name)?.as_str())
}

/// Since when an object is on its way out.
pub(crate) fn stopping_since(meta: &ObjectMeta) -> Option<DateTime<Utc>> {
    marked_at(meta, STOPPING)
}

/// The annotation of something that is on its way out from now on.
pub(crate) fn stopping_now() -> (&'static str, String) {
    (STOPPING, written(Utc::now()))
}

/// A moment as annotations have it.
pub(crate) fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// The moment in an annotation.
pub(crate) fn marked_at(meta: &ObjectMeta, mark: &str) -> Option<DateTime<Utc>> {
    let text = annotation(meta, mark)?;
    let at = DateTime::parse_from_rfc3339(text);
    // A moment that somebody made unreadable is one that is over: it must not keep the pod for ever.
    Some(at.map_or(DateTime::UNIX_EPOCH, |at| at.with_timezone(&Utc)))
}

/// A moment as the cluster writes it, in our type.
pub(crate) fn moment(time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time) -> DateTime<Utc> {
    let nanos = u32::try_from(time.0.subsec_nanosecond()).unwrap_or_default();
    DateTime::from_timestamp(time.0.as_second(), nanos).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(kind: PodKind, generation: u64, drain_ms: u64, port: Option<u16>) -> Facts {
        Facts {
            project: ProjectName::new("default").unwrap(),
            workload: PodName::new("web").unwrap(),
            generation,
            kind,
            app: Some(AppName::new("shop").unwrap()),
            process: None,
            release: Some(ReleaseNumber(7)),
            image: "coracle-test:1".to_owned(),
            port,
            path: Some("/a \"b\"".to_owned()),
            drain_ms,
        }
    }

    proptest! {
        #[test]
        fn the_annotation_says_all_that_was_written(generation: u64, port: Option<u16>, drain: u64, columns: u16, rows: u16, which in 0..5) {
            let kind = match which {
                0 => PodKind::Replicated,
                1 => PodKind::Single,
                2 => PodKind::Task,
                3 => PodKind::TaskOnAttach,
                _ => PodKind::TaskOnTerminal { columns, rows },
            };
            let facts = facts(kind, generation, drain, port);
            let meta = ObjectMeta {
                labels: Some(facts.labels("p1")),
                annotations: Some(facts.annotations()),
                ..ObjectMeta::default()
            };
            prop_assert_eq!(Facts::read(&meta, "p1"), Some(facts));
            prop_assert_eq!(Facts::read(&meta, "p2"), None);
        }
    }

    #[test]
    fn an_unreadable_moment_is_over() {
        let meta = ObjectMeta {
            annotations: Some(BTreeMap::from([(STOPPING.to_owned(), "soon".to_owned())])),
            ..ObjectMeta::default()
        };
        assert_eq!(stopping_since(&meta), Some(DateTime::UNIX_EPOCH));
    }
}
