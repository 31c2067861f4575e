//! What stands in a container's labels: all that the engine must know of a pod after its own restart.

use std::collections::HashMap;
use std::time::Duration;

use coracle_model::name::{AppName, PodName, ProcessName, ProjectName};
use coracle_model::release::{Health, ReleaseNumber};
use coracle_model::workload::{
    Owner, PodId, TaskStart, Terminal, Workload, WorkloadId, WorkloadKind,
};

/// The label that everything of a platform carries, with its id.
pub(crate) const PLATFORM: &str = "io.coracle.platform";
/// The project of a container, network or volume.
pub(crate) const PROJECT: &str = "io.coracle.project";
/// The size that was asked for, of a volume.
pub(crate) const SIZE: &str = "io.coracle.size";
/// The name of a volume within its project.
pub(crate) const VOLUME: &str = "io.coracle.volume";
/// Since when the node is cordoned: on the volume that is there for as long as it is.
pub(crate) const CORDONED: &str = "io.coracle.cordoned";
/// The build that made an image.
pub(crate) const BUILD: &str = "io.coracle.build";
const POD: &str = "io.coracle.pod";
const WORKLOAD: &str = "io.coracle.workload";
const GENERATION: &str = "io.coracle.generation";
const KIND: &str = "io.coracle.kind";
const APP: &str = "io.coracle.app";
const PROCESS: &str = "io.coracle.process";
const RELEASE: &str = "io.coracle.release";
const IMAGE: &str = "io.coracle.image";
const PORT: &str = "io.coracle.port";
const DRAIN: &str = "io.coracle.drain-ms";
const GRACE: &str = "io.coracle.grace-ms";
const HEALTH: &str = "io.coracle.health";

/// What a pod's end means; the number of replicas is no fact of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PodKind {
    /// One of several.
    Replicated,
    /// The only one.
    Single,
    /// Runs once.
    Task(TaskStart),
}

impl PodKind {
    pub(crate) const fn of(kind: WorkloadKind) -> Self {
        match kind {
            WorkloadKind::Replicated { .. } => Self::Replicated,
            WorkloadKind::Single => Self::Single,
            WorkloadKind::Task { start } => Self::Task(start),
        }
    }

    pub(crate) const fn is_task(self) -> bool {
        matches!(self, Self::Task(_))
    }

    pub(crate) const fn terminal(self) -> Option<Terminal> {
        match self {
            Self::Task(TaskStart::OnAttach { terminal }) => Some(terminal),
            _ => None,
        }
    }

    fn to_label(self) -> String {
        match self {
            Self::Replicated => "replicated".to_owned(),
            Self::Single => "single".to_owned(),
            Self::Task(TaskStart::AtOnce) => "task".to_owned(),
            Self::Task(TaskStart::OnAttach {
                terminal: Terminal::Streams,
            }) => "task-on-attach".to_owned(),
            Self::Task(TaskStart::OnAttach {
                terminal: Terminal::Tty { columns, rows },
            }) => format!("task-on-attach-tty-{columns}x{rows}"),
        }
    }

    fn from_label(label: &str) -> Option<Self> {
        match label {
            "replicated" => Some(Self::Replicated),
            "single" => Some(Self::Single),
            "task" => Some(Self::Task(TaskStart::AtOnce)),
            "task-on-attach" => Some(Self::Task(TaskStart::OnAttach {
                terminal: Terminal::Streams,
            })),
            other => {
                let (columns, rows) = other.strip_prefix("task-on-attach-tty-")?.split_once('x')?;
                Some(Self::Task(TaskStart::OnAttach {
                    terminal: Terminal::Tty {
                        columns: columns.parse().ok()?,
                        rows: rows.parse().ok()?,
                    },
                }))
            }
        }
    }
}

/// What is known of a pod from its labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    pub(crate) pod: PodId,
    pub(crate) workload: WorkloadId,
    pub(crate) generation: u64,
    pub(crate) kind: PodKind,
    pub(crate) owner: Owner,
    pub(crate) image: String,
    pub(crate) port: Option<u16>,
    pub(crate) drain: Duration,
    pub(crate) grace: Duration,
    pub(crate) health: Option<Health>,
}

impl Facts {
    pub(crate) fn new(workload: &Workload, pod: PodName) -> Self {
        let template = &workload.template;
        Self {
            pod: PodId {
                project: workload.id.project.clone(),
                name: pod,
            },
            workload: workload.id.clone(),
            generation: workload.generation,
            kind: PodKind::of(workload.kind),
            owner: workload.owner.clone(),
            image: template.image.to_string(),
            port: template.port,
            drain: template.drain,
            grace: template.stop_grace,
            health: template.health.clone(),
        }
    }

    pub(crate) fn to_labels(&self, platform: &str) -> HashMap<String, String> {
        let mut labels = HashMap::new();
        let mut put = |name: &str, value: String| {
            labels.insert(name.to_owned(), value);
        };
        put(PLATFORM, platform.to_owned());
        put(PROJECT, self.pod.project.to_string());
        put(POD, self.pod.name.to_string());
        put(WORKLOAD, self.workload.name.to_string());
        put(GENERATION, self.generation.to_string());
        put(KIND, self.kind.to_label());
        put(IMAGE, self.image.clone());
        put(DRAIN, millis(self.drain));
        put(GRACE, millis(self.grace));
        if let Some(app) = &self.owner.app {
            put(APP, app.to_string());
        }
        if let Some(process) = &self.owner.process {
            put(PROCESS, process.to_string());
        }
        if let Some(release) = self.owner.release {
            put(RELEASE, release.to_string());
        }
        if let Some(port) = self.port {
            put(PORT, port.to_string());
        }
        if let Some(health) = &self.health
            && let Ok(json) = serde_json::to_string(health)
        {
            put(HEALTH, json);
        }
        labels
    }

    /// Reads labels. Nothing when they are not all there: an image that the platform built hands its labels on
    /// to containers that somebody makes of it by hand, and those are not the platform's pods.
    pub(crate) fn from_labels(labels: &HashMap<String, String>, platform: &str) -> Option<Self> {
        let get = |name: &str| labels.get(name).map(String::as_str);
        if get(PLATFORM)? != platform {
            return None;
        }
        let project = ProjectName::new(get(PROJECT)?).ok()?;
        Some(Self {
            pod: PodId {
                project: project.clone(),
                name: PodName::new(get(POD)?).ok()?,
            },
            workload: WorkloadId {
                project,
                name: PodName::new(get(WORKLOAD)?).ok()?,
            },
            generation: get(GENERATION)?.parse().ok()?,
            kind: PodKind::from_label(get(KIND)?)?,
            owner: Owner {
                app: get(APP).and_then(|v| AppName::new(v).ok()),
                process: get(PROCESS).and_then(|v| ProcessName::new(v).ok()),
                release: get(RELEASE).and_then(|v| v.parse::<ReleaseNumber>().ok()),
            },
            image: get(IMAGE)?.to_owned(),
            port: get(PORT).and_then(|v| v.parse().ok()),
            drain: Duration::from_millis(get(DRAIN)?.parse().ok()?),
            grace: Duration::from_millis(get(GRACE)?.parse().ok()?),
            health: get(HEALTH).and_then(|v| serde_json::from_str(v).ok()),
        })
    }
}

fn millis(duration: Duration) -> String {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn facts(kind: PodKind, generation: u64, port: Option<u16>, drain: u64) -> Facts {
        Facts {
            pod: PodId {
                project: ProjectName::new("default").unwrap(),
                name: PodName::new("web-1").unwrap(),
            },
            workload: WorkloadId {
                project: ProjectName::new("default").unwrap(),
                name: PodName::new("web").unwrap(),
            },
            generation,
            kind,
            owner: Owner {
                app: Some(AppName::new("shop").unwrap()),
                process: None,
                release: Some(ReleaseNumber(7)),
            },
            image: "coracle-test:1".to_owned(),
            port,
            drain: Duration::from_millis(drain),
            grace: Duration::from_secs(3),
            health: Some(Health {
                path: Some("/a \"b\"".to_owned()),
                ..Health::default()
            }),
        }
    }

    proptest! {
        #[test]
        fn labels_say_all_that_was_written(generation: u64, port: Option<u16>, drain in 0..u64::from(u32::MAX), columns: u16, rows: u16, which in 0..5) {
            let kind = match which {
                0 => PodKind::Replicated,
                1 => PodKind::Single,
                2 => PodKind::Task(TaskStart::AtOnce),
                3 => PodKind::Task(TaskStart::OnAttach { terminal: Terminal::Streams }),
                _ => PodKind::Task(TaskStart::OnAttach { terminal: Terminal::Tty { columns, rows } }),
            };
            let facts = facts(kind, generation, port, drain);
            let labels = facts.to_labels("p1");
            prop_assert_eq!(Facts::from_labels(&labels, "p1"), Some(facts));
            prop_assert_eq!(Facts::from_labels(&labels, "p2"), None);
        }
    }

    #[test]
    fn the_labels_of_an_image_alone_make_no_pod() {
        let labels = HashMap::from([(PLATFORM.to_owned(), "p1".to_owned())]);
        assert_eq!(Facts::from_labels(&labels, "p1"), None);
    }
}
