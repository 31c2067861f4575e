//! Where each host goes.
//!
//! Theory of operation: a host belongs to an app (its claim says so), an app's requests go to the ready pods
//! of the web process of its live release, and when there are none the gateway is told what to say
//! instead. The result is a sorted map, so the same facts always make the same table, and whoever publishes it
//! gives it a new generation only when it differs from the one before.
//!
//! Two rules keep the traffic up while it moves: a stopping pod is never in the table; and should the live
//! release have no ready pod although it once took over, pods of the release before it that are still
//! ready are better than an error page.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::app::App;
use crate::domain::Domain;
use crate::name::{AppName, Hostname, ProcessName, ProjectName};
use crate::plan::app_status::trouble;
use crate::plan::verdict::Expectation;
use crate::plan::{Policy, job};
use crate::release::{Release, ReleasePhase};
use crate::route::{Route, Target};
use crate::workload::ObservedPod;

/// What is known of one app.
#[derive(Clone, Copy, Debug)]
pub struct AppFacts<'a> {
    /// The app.
    pub app: &'a App,
    /// Its releases, in any order; at least the live one and the newest.
    pub releases: &'a [Release],
    /// The pods of the app.
    pub pods: &'a [&'a ObservedPod],
}

/// Where each host goes.
#[must_use]
pub fn plan(
    domains: &[Domain],
    apps: &BTreeMap<(ProjectName, AppName), AppFacts<'_>>,
    policy: &Policy,
) -> BTreeMap<Hostname, Route> {
    domains
        .iter()
        .filter_map(|domain| {
            let host = Hostname::new(domain.metadata.name.as_str()).ok()?;
            let key = (domain.spec.project.clone(), domain.spec.app.clone());
            let facts = apps.get(&key)?;
            if facts.app.metadata.deleting.is_some() {
                return None;
            }
            let route = Route {
                project: key.0,
                app: key.1,
                target: target(*facts, policy),
            };
            Some((host, route))
        })
        .collect()
}

/// Where the requests of one app go.
#[must_use]
pub fn target(facts: AppFacts<'_>, policy: &Policy) -> Target {
    let live = facts
        .releases
        .iter()
        .find(|release| Some(release.spec.number) == facts.app.status.release);
    let newest = facts
        .releases
        .iter()
        .max_by_key(|release| release.spec.number);
    let Some(live) = live else {
        return match newest {
            None => Target::Stopped,
            Some(newest) if newest.status.phase == ReleasePhase::Failed => Target::Failed {
                reason: newest.status.reason.clone().unwrap_or_default(),
            },
            Some(_) => Target::Starting,
        };
    };
    let of = |release: &Release| ready(facts, release);
    let pods = of(live);
    if !pods.is_empty() {
        return Target::Pods { pods };
    }
    let web = ProcessName::web();
    let Some(spec) = live.spec.config.processes.get(&web) else {
        let reason =
            "it has no process named web, so there is nothing to answer requests".to_owned();
        return Target::Failed { reason };
    };
    if job::replicas(facts.app, &web, spec) == 0 {
        return Target::Stopped;
    }
    let before = facts
        .releases
        .iter()
        .filter(|release| {
            release.spec.number < live.spec.number
                && matches!(
                    release.status.phase,
                    ReleasePhase::Superseded | ReleasePhase::Live
                )
        })
        .max_by_key(|release| release.spec.number);
    if let Some(pods) = before.map(of).filter(|pods| !pods.is_empty()) {
        return Target::Pods { pods };
    }
    let expect = Expectation {
        name: web.as_str(),
        spec,
        port: job::port(live, &web),
        crash_limit: policy.crash_limit,
    };
    let reason = web_pods(facts, live).find_map(|pod| trouble(expect, pod));
    match reason {
        Some(reason) => Target::Failed { reason },
        None => Target::Starting,
    }
}

fn web_pods<'a>(facts: AppFacts<'a>, release: &Release) -> impl Iterator<Item = &'a ObservedPod> {
    let number = release.spec.number;
    facts.pods.iter().copied().filter(move |pod| {
        pod.owner.release == Some(number)
            && pod.owner.process.as_ref().is_some_and(ProcessName::is_web)
    })
}

fn ready(facts: AppFacts<'_>, release: &Release) -> Vec<SocketAddr> {
    let web = ProcessName::web();
    let mut pods: Vec<_> = web_pods(facts, release)
        .filter(|pod| pod.status.phase.can_serve())
        .filter_map(|pod| {
            let port = pod.port.or_else(|| job::port(release, &web))?;
            Some(SocketAddr::new(pod.status.address?, port))
        })
        .collect();
    pods.sort_unstable();
    pods.dedup();
    pods
}
