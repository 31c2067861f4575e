//! One simulated pod, and how it is reported.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_model::pod::{Exit, PodPhase, PodStatus};
use coracle_model::workload::{ObservedPod, PodId, TaskStart, Workload, WorkloadKind};
use coracle_task::{Backoff, CancellationToken};

use super::console::PodLog;
use super::program::Service;
use crate::describe::redact;

/// A pod of the simulated world.
#[derive(Debug)]
pub(super) struct SimPod {
    pub(super) id: PodId,
    /// What it was made from.
    pub(super) made_from: Workload,
    pub(super) created: DateTime<Utc>,
    /// Order of making: the youngest goes first when pods are too many.
    pub(super) order: u64,
    pub(super) node: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) stage: Stage,
    pub(super) readiness: Readiness,
    pub(super) stopping: Option<Stopping>,
    pub(super) restarts: u32,
    pub(super) started: Option<DateTime<Utc>>,
    pub(super) exit: Option<Exit>,
    /// Its command's process.
    pub(super) main: Option<u64>,
    pub(super) obeys_term: bool,
    pub(super) listening: BTreeMap<u16, Service>,
    /// A test made it hang: it listens and does not answer.
    pub(super) hung: bool,
    pub(super) files: BTreeMap<String, String>,
    pub(super) log: Arc<PodLog>,
    /// Cancelled when its command ends: connections to it break.
    pub(super) alive: CancellationToken,
    pub(super) backoff: Backoff,
    /// What happens next by itself, by the ticket of the event that brings it.
    pub(super) life: Option<(u64, Life)>,
    pub(super) stop: Option<(u64, Stop)>,
    pub(super) probe: Option<(u64, Probe)>,
}

/// Where a pod is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing of it exists outside the engine's memory: image or node are waited for.
    Planned(String),
    /// It exists and does not run.
    Made(String),
    /// It exists and waits for somebody to attach.
    Attachable,
    Running,
    /// It ended and is started again after a pause.
    Pause(String),
    /// It ended for good.
    Ended,
}

/// Does it answer?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    NotYet,
    Yes,
    NoMore,
}

/// On its way out.
#[derive(Clone, Debug)]
pub(super) struct Stopping {
    pub(super) then: Then,
    pub(super) signal: Signal,
    pub(super) reason: Option<String>,
    /// Before this moment only `drained` lets it be signalled.
    pub(super) drain_until: Duration,
    pub(super) drained: bool,
}

/// What was sent to a stopping pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    None,
    Term,
    Kill,
}

/// What becomes of a stopping pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Gone,
    Again,
}

/// What brings a pod on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Look for node and image again.
    Begin,
    Pulled,
    Created,
    Started,
}

/// What comes next in a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    DrainOver,
    Obeys,
    Kill,
}

/// What probes will find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Answers,
    Fails,
    FailsTooLong,
}

impl SimPod {
    pub(super) fn is_task(&self) -> bool {
        matches!(self.made_from.kind, WorkloadKind::Task { .. })
    }

    pub(super) fn starts_on_attach(&self) -> bool {
        matches!(
            self.made_from.kind,
            WorkloadKind::Task {
                start: TaskStart::OnAttach { .. }
            }
        )
    }

    pub(super) fn phase(&self) -> PodPhase {
        if self.stopping.is_some() {
            return PodPhase::Stopping;
        }
        match (&self.stage, self.readiness) {
            (Stage::Planned(_) | Stage::Made(_) | Stage::Attachable | Stage::Pause(_), _) => {
                PodPhase::Pending
            }
            (Stage::Running, Readiness::NotYet) => PodPhase::Starting,
            (Stage::Running, Readiness::Yes) => PodPhase::Ready,
            (Stage::Running, Readiness::NoMore) => PodPhase::Unready,
            (Stage::Ended, _) if self.exit.as_ref().is_some_and(|exit| exit.code == 0) => {
                PodPhase::Exited
            }
            (Stage::Ended, _) => PodPhase::Failed,
        }
    }

    fn reason(&self, phase: PodPhase) -> Option<String> {
        let port = self.made_from.template.port;
        match (phase, &self.stage) {
            (PodPhase::Stopping, _) => self.stopping.as_ref().and_then(|s| s.reason.clone()),
            (_, Stage::Planned(why) | Stage::Made(why) | Stage::Pause(why)) => Some(why.clone()),
            (_, Stage::Attachable) => Some("waits for somebody to attach".to_owned()),
            (PodPhase::Starting | PodPhase::Unready, _) => {
                let port = port.unwrap_or_default();
                Some(match self.health_path() {
                    Some(path) => format!("http://…:{port}{path} does not answer well"),
                    None => format!("nothing answers on port {port}"),
                })
            }
            (PodPhase::Failed, _) => self
                .exit
                .as_ref()
                .map(|exit| ended(exit, self.made_from.template.resources.memory)),
            _ => None,
        }
    }

    pub(super) fn health_path(&self) -> Option<&str> {
        self.made_from.template.health.as_ref()?.path.as_deref()
    }

    pub(super) fn observed(&self) -> ObservedPod {
        let phase = self.phase();
        ObservedPod {
            id: self.id.clone(),
            workload: self.made_from.id.clone(),
            generation: self.made_from.generation,
            owner: self.made_from.owner.clone(),
            image: self.made_from.template.image.to_string(),
            port: self.made_from.template.port,
            created: self.created,
            status: PodStatus {
                phase,
                address: self.address,
                node: self.node.clone(),
                restarts: self.restarts,
                started: self.started,
                exit: self.exit.clone(),
                reason: self.reason(phase),
            },
        }
    }

    /// As an engine's own words would be: with all that it was made with, and then without what is secret.
    pub(super) fn describe(&self) -> serde_json::Value {
        let template = &self.made_from.template;
        let env = template.env.iter();
        let env = env.map(|(name, value)| format!("{name}={}", value.expose()));
        let raw = serde_json::json!({
            "name": self.id.name,
            "image": template.image,
            "stage": format!("{:?}", self.stage),
            "command": format!("{:?}", template.command),
            "env": env.collect::<Vec<_>>(),
        });
        redact(raw, [])
    }

    /// What its processes find in their environment.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let template = &self.made_from.template;
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), "/bin".to_owned()),
            ("HOSTNAME".to_owned(), self.id.name.to_string()),
        ]);
        if let Some(port) = template.port {
            env.insert("PORT".to_owned(), port.to_string());
        }
        for (name, value) in &template.env {
            env.insert(name.to_string(), value.expose().to_owned());
        }
        env
    }

    /// What a step listens on that names this port or none.
    pub(super) fn listens_on(&self, step: Option<u16>) -> u16 {
        let env = self.environment();
        let from_env = env.get("PORT").and_then(|port| port.parse().ok());
        step.or(from_env).unwrap_or(DEFAULT_PORT)
    }

    /// Would a probe succeed now?
    pub(super) fn answers(&self) -> bool {
        if self.stage != Stage::Running || self.hung {
            return false;
        }
        let Some(port) = self.made_from.template.port else {
            return true;
        };
        // An image without files is one whose web server a test did not describe: every path answers.
        let path_ok = self.health_path().is_none_or(|path| {
            let has_files = self.files.keys().any(|file| file.starts_with("/www/"));
            !has_files || self.files.contains_key(&format!("/www{path}"))
        });
        self.listening.contains_key(&port) && path_ok
    }
}

/// What is listened on when neither workload nor command names a port.
const DEFAULT_PORT: u16 = 8080;

/// How a command ended, in words.
pub(super) fn ended(exit: &Exit, limit: Option<coracle_model::quantity::ByteSize>) -> String {
    use coracle_model::pod::ExitCause;
    match (exit.cause, limit) {
        (ExitCause::OutOfMemory, Some(limit)) => {
            format!("used up its memory ({limit}) and was killed")
        }
        (ExitCause::OutOfMemory, None) => "used up its memory and was killed".to_owned(),
        _ => format!("ended with status {}", exit.code),
    }
}
