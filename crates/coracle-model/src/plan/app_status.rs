//! What is shown of an app.
//!
//! Theory of operation: an app's phase is derived, never remembered: from its releases, the scale that is
//! wished and the pods that are seen. Where the phase alone does not say why, the reason does.

use std::collections::BTreeMap;

use crate::app::{App, AppPhase, ProcessStatus};
use crate::name::{AppName, ProcessName, ProjectName};
use crate::plan::verdict::{self, Expectation};
use crate::plan::{Policy, job, naming};
use crate::pod::PodPhase;
use crate::release::{Release, ReleasePhase};
use crate::workload::ObservedPod;

/// The derived part of [`crate::app::AppStatus`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where it stands.
    pub phase: AppPhase,
    /// Where people reach it.
    pub url: Option<String>,
    /// Why it is so.
    pub reason: Option<String>,
    /// Its processes.
    pub processes: BTreeMap<ProcessName, ProcessStatus>,
}

impl Shown {
    /// What is shown already.
    #[must_use]
    pub fn of(app: &App) -> Self {
        Self {
            phase: app.status.phase,
            url: app.status.url.clone(),
            reason: app.status.reason.clone(),
            processes: app.status.processes.clone(),
        }
    }

    /// Shows it.
    pub fn set(&self, app: &mut App) {
        app.status.phase = self.phase;
        app.status.url.clone_from(&self.url);
        app.status.reason.clone_from(&self.reason);
        app.status.processes.clone_from(&self.processes);
    }
}

/// The releases that matter for what is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing<'a> {
    /// The one that has the traffic.
    pub live: Option<&'a Release>,
    /// The one that is being deployed.
    pub candidate: Option<&'a Release>,
    /// The one with the highest number.
    pub newest: Option<&'a Release>,
}

/// What to show of an app.
#[must_use]
pub fn shown(
    project: &ProjectName,
    name: &AppName,
    app: &App,
    standing: Standing<'_>,
    pods: &[&ObservedPod],
    policy: &Policy,
) -> Shown {
    let processes = standing
        .live
        .or(standing.candidate)
        .map(|release| counts(project, name, app, release, pods))
        .unwrap_or_default();
    let (phase, reason) = phase(project, name, app, standing, pods, &processes, policy);
    Shown {
        phase,
        url: Some(policy.site.url(project, name)),
        reason,
        processes,
    }
}

fn counts(
    project: &ProjectName,
    name: &AppName,
    app: &App,
    release: &Release,
    pods: &[&ObservedPod],
) -> BTreeMap<ProcessName, ProcessStatus> {
    let count = |process: &ProcessName| {
        let id = naming::process(project, name, process, release.spec.number);
        let ready = pods
            .iter()
            .filter(|pod| pod.workload == id && pod.status.phase.can_serve())
            .count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    };
    release
        .spec
        .config
        .processes
        .iter()
        .map(|(process, spec)| {
            let status = ProcessStatus {
                replicas: job::replicas(app, process, spec),
                ready: count(process),
            };
            (process.clone(), status)
        })
        .collect()
}

fn phase(
    project: &ProjectName,
    name: &AppName,
    app: &App,
    standing: Standing<'_>,
    pods: &[&ObservedPod],
    processes: &BTreeMap<ProcessName, ProcessStatus>,
    policy: &Policy,
) -> (AppPhase, Option<String>) {
    if app.metadata.deleting.is_some() {
        return (app.status.phase, Some("it is being deleted".to_owned()));
    }
    if let Some(candidate) = standing.candidate {
        let number = candidate.spec.number;
        return (
            AppPhase::Deploying,
            Some(format!("{number} is being deployed")),
        );
    }
    let Some(live) = standing.live else {
        return match standing.newest {
            Some(newest) if newest.status.phase == ReleasePhase::Failed => {
                (AppPhase::Failed, Some(failed(newest)))
            }
            _ => (
                AppPhase::Stopped,
                Some("nothing was deployed yet".to_owned()),
            ),
        };
    };
    if processes.values().all(|process| process.replicas == 0) {
        return (
            AppPhase::Stopped,
            Some("every process is scaled to 0".to_owned()),
        );
    }
    let down: Vec<_> = processes
        .iter()
        .filter(|(_, status)| status.replicas > 0 && status.ready == 0)
        .map(|(process, _)| process)
        .collect();
    let trouble = down.iter().find_map(|process| {
        let id = naming::process(project, name, process, live.spec.number);
        let spec = live.spec.config.processes.get(*process)?;
        let expect = Expectation {
            name: process.as_str(),
            spec,
            port: job::port(live, process),
            crash_limit: policy.crash_limit,
        };
        pods.iter()
            .filter(|pod| pod.workload == id)
            .find_map(|pod| trouble(expect, pod))
    });
    let names: Vec<_> = down.iter().map(|process| process.as_str()).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    let waiting = (!names.is_empty()).then(|| format!("{} {verb} starting", names.join(", ")));
    if serves(processes) {
        // An attempt that failed is news as long as nothing newer was tried.
        let attempt = standing
            .newest
            .filter(|newest| {
                newest.spec.number > live.spec.number && newest.status.phase == ReleasePhase::Failed
            })
            .map(|newest| format!("{}; {} serves on", failed(newest), live.spec.number));
        return (AppPhase::Running, trouble.or(attempt).or(waiting));
    }
    match trouble {
        Some(reason) => (AppPhase::Failed, Some(reason)),
        None => (AppPhase::Deploying, waiting),
    }
}

/// Does the app do its work? That is what `web` does, if it is to run; else any process.
fn serves(processes: &BTreeMap<ProcessName, ProcessStatus>) -> bool {
    match processes.get(&ProcessName::web()) {
        Some(web) if web.replicas > 0 => web.ready > 0,
        _ => processes.values().any(|process| process.ready > 0),
    }
}

/// What keeps a pod of the live release from serving, when that is more than starting up.
pub(crate) fn trouble(expect: Expectation<'_>, pod: &ObservedPod) -> Option<String> {
    if let Some(fault) = verdict::fault(expect, pod) {
        return Some(fault);
    }
    let name = expect.name;
    match (pod.status.phase, &pod.status.exit) {
        (PodPhase::Unready, _) => Some(format!("{name} does not answer")),
        (PodPhase::Pending, Some(exit)) => Some(format!("{name} {}", verdict::ended(exit))),
        _ => None,
    }
}

fn failed(release: &Release) -> String {
    let reason = release.status.reason.as_deref().unwrap_or("it failed");
    format!("{} failed: {reason}", release.spec.number)
}
