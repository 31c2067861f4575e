//! What happens to one app: its releases, their workloads, its traffic, its end.
//!
//! Theory of operation: at any time at most two releases have workloads: the live one (`app.status.release`)
//! and the candidate, which is the newest release if nothing is decided about it yet. The candidate goes
//! through `pending → deploying → live`, or ends as `failed`, or as `superseded` when a newer release
//! arrives; the live one is never touched until the one write that moves the traffic. Every workload
//! that neither of the two wishes is removed. Nothing is remembered but what is in the store and on the pods,
//! so the process may be killed between any two steps of a plan and the next plan goes on from there.
//!
//! How far a candidate is, is told by its status alone: `started` (its image is being resolved), `image`
//! (pinned), `prepared` (its release command succeeded, or it has none: its workloads are wished from here
//! on, and its deadline runs).

mod step;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::app::App;
use crate::name::{AppName, ProcessName, ProjectName};
use crate::plan::app_status::{Shown, Standing, shown};
use crate::plan::job::{self, Job, Wish};
use crate::plan::verdict::{self, Expectation};
use crate::plan::{Knowledge, Policy, after, naming};
use crate::pod::PodPhase;
use crate::release::{Health, Release, ReleaseNumber, ReleasePhase};
use crate::workload::{ObservedPod, PodId, WorkloadId};

use self::step::step;
pub use self::step::{Action, Plan, ReleaseChange, Step};

/// What is known of one app.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its project.
    pub project: &'a ProjectName,
    /// Its name.
    pub name: &'a AppName,
    /// The app.
    pub app: &'a App,
    /// Its releases, in any order.
    pub releases: &'a [Release],
    /// Every pod that the engine reports for it.
    pub pods: &'a [&'a ObservedPod],
    /// Workloads of it that the engine was told to run in this process's life and not told to remove since:
    /// their pods may be about to appear.
    pub told: &'a BTreeSet<WorkloadId>,
    /// Workloads that move away from a node: they get one pod more than they are meant to have, meanwhile.
    pub moving: &'a BTreeSet<WorkloadId>,
    /// Whether `pods` is all there is.
    pub knowledge: Knowledge,
    /// What the platform was set up with.
    pub policy: &'a Policy,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What to do about an app now.
#[must_use]
pub fn plan(facts: Facts<'_>) -> Plan {
    let mut planner = Planner {
        facts,
        plan: Plan::default(),
        wished: BTreeSet::new(),
        moved: Traffic::Stays,
    };
    if facts.app.metadata.deleting.is_some() {
        planner.delete();
    } else {
        planner.run();
    }
    planner.plan
}

/// What to do about pods whose app has no record (any more).
#[must_use]
pub fn plan_without_app(
    pods: &[&ObservedPod],
    told: &BTreeSet<WorkloadId>,
    knowledge: Knowledge,
) -> Plan {
    let mut gone = told.clone();
    if let Knowledge::Complete { .. } = knowledge {
        gone.extend(pods.iter().map(|pod| pod.workload.clone()));
    }
    let steps = gone
        .into_iter()
        .map(|id| step(Action::Remove(id), "its app does not exist"))
        .collect();
    Plan {
        steps,
        wake_at: None,
    }
}

/// Does this plan move the traffic?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Traffic {
    Stays,
    Moves,
}

struct Planner<'a> {
    facts: Facts<'a>,
    plan: Plan,
    wished: BTreeSet<WorkloadId>,
    moved: Traffic,
}

impl<'a> Planner<'a> {
    fn push(&mut self, action: Action, why: impl Into<String>) {
        self.plan.steps.push(step(action, why));
    }

    fn wake(&mut self, at: DateTime<Utc>) {
        let earliest = self.plan.wake_at.map_or(at, |known| known.min(at));
        self.plan.wake_at = Some(earliest);
    }

    fn change(&mut self, release: &Release, change: ReleaseChange, why: impl Into<String>) {
        let release = release.spec.number;
        self.push(Action::SetRelease { release, change }, why);
    }

    fn pods_of(&self, id: &WorkloadId) -> Vec<&'a ObservedPod> {
        self.facts
            .pods
            .iter()
            .copied()
            .filter(|pod| pod.workload == *id)
            .collect()
    }

    fn run(&mut self) {
        let live_number = self.facts.app.status.release;
        let newest = self
            .facts
            .releases
            .iter()
            .max_by_key(|release| release.spec.number);
        let live = self
            .facts
            .releases
            .iter()
            .find(|release| Some(release.spec.number) == live_number);
        self.settle_phases(live_number, newest);
        let candidate = newest.filter(|newest| {
            Some(newest.spec.number) != live_number
                && matches!(
                    newest.status.phase,
                    ReleasePhase::Pending | ReleasePhase::Deploying
                )
        });
        if let Some(live) = live {
            self.apply_processes(live, "it is live");
        }
        if let Some(candidate) = candidate {
            self.advance(candidate);
        }
        self.remove_unwished(live_number.filter(|_| live.is_none()));
        if self.moved == Traffic::Stays {
            let standing = Standing {
                live,
                candidate,
                newest,
            };
            self.show(standing);
        }
    }

    /// Writes that were not made because the process ended in between, and releases that are overtaken.
    fn settle_phases(&mut self, live: Option<ReleaseNumber>, newest: Option<&Release>) {
        let mut releases: Vec<_> = self.facts.releases.iter().collect();
        releases.sort_by_key(|release| release.spec.number);
        for release in releases {
            let number = release.spec.number;
            match release.status.phase {
                ReleasePhase::Pending | ReleasePhase::Deploying if Some(number) == live => {
                    self.change(release, ReleaseChange::Live, "it has the traffic");
                }
                ReleasePhase::Live if Some(number) != live => {
                    let why = live.map_or("it has no traffic".to_owned(), |live| {
                        format!("{live} has the traffic")
                    });
                    self.change(release, ReleaseChange::Superseded { reason: None }, why);
                }
                ReleasePhase::Pending | ReleasePhase::Deploying => {
                    if let Some(newest) = newest.filter(|newest| newest.spec.number > number) {
                        let newest = newest.spec.number;
                        let reason = format!("replaced by {newest} before it was live");
                        let change = ReleaseChange::Superseded {
                            reason: Some(reason),
                        };
                        self.change(release, change, format!("{newest} is newer"));
                    }
                }
                _ => {}
            }
        }
    }

    fn apply_processes(&mut self, release: &Release, why: &str) {
        for (name, spec) in &release.spec.config.processes {
            let replicas = job::replicas(self.facts.app, name, spec);
            let mut wish =
                Wish::process(self.facts.project, self.facts.name, release, name, replicas);
            if self.facts.moving.contains(&wish.id) {
                wish.surge();
            }
            self.wish(wish, why);
        }
    }

    fn wish(&mut self, wish: Wish, why: &str) {
        self.wished.insert(wish.id.clone());
        self.push(Action::Apply(wish), why);
    }

    fn advance(&mut self, candidate: &Release) {
        let status = &candidate.status;
        if status.phase == ReleasePhase::Pending {
            self.change(candidate, ReleaseChange::Begin, "it is the newest release");
        }
        if status.image.is_none() {
            let why = "its image is not pinned yet";
            self.push(Action::ResolveImage(candidate.spec.number), why);
            return;
        }
        let Some(prepared) = status.prepared else {
            self.prepare(candidate);
            return;
        };
        self.apply_processes(candidate, "it is being deployed");
        self.judge(candidate, prepared);
    }

    /// The image is pinned; the release command, if there is one, did not succeed yet.
    fn prepare(&mut self, candidate: &Release) {
        if candidate.spec.config.release_command.is_none() {
            self.change(
                candidate,
                ReleaseChange::Prepared,
                "it has no release command",
            );
            return;
        }
        let wish = Wish::command(self.facts.project, self.facts.name, candidate);
        let pod = self.pods_of(&wish.id).into_iter().next();
        // Before everything is known, a command that ran already may just not be seen, and it runs once.
        let Knowledge::Complete { since } = self.facts.knowledge else {
            self.wished.insert(wish.id);
            return;
        };
        let Some(pod) = pod else {
            self.wish(wish, "its release command comes first");
            return;
        };
        self.wished.insert(wish.id.clone());
        let log_from = Some(pod.id.clone());
        match pod.status.phase {
            PodPhase::Exited => {
                self.change(
                    candidate,
                    ReleaseChange::Prepared,
                    "its release command succeeded",
                );
            }
            PodPhase::Failed => {
                let reason = match &pod.status.exit {
                    Some(exit) => format!("the release command {}", verdict::ended(exit)),
                    None => format!(
                        "the release command could not be started: {}",
                        pod.status
                            .reason
                            .as_deref()
                            .unwrap_or("the engine does not say why")
                    ),
                };
                self.fail(candidate, reason, log_from);
            }
            _ => {
                let limit = self.facts.policy.release_command;
                let deadline = after(pod.status.started.unwrap_or(pod.created).max(since), limit);
                if self.facts.now >= deadline {
                    let reason = format!(
                        "the release command did not end within {} s",
                        limit.as_secs()
                    );
                    self.fail(candidate, reason, log_from);
                } else {
                    // Told again: a process that has just started has not told the engine yet.
                    self.push(Action::Apply(wish), "its release command runs");
                    self.wake(deadline);
                }
            }
        }
    }

    fn fail(&mut self, candidate: &Release, reason: String, log_from: Option<PodId>) {
        let change = ReleaseChange::Failed { reason, log_from };
        self.change(candidate, change, "it will not be healthy");
    }

    fn expectation<'r>(
        &self,
        release: &'r Release,
        name: &'r ProcessName,
    ) -> Option<Expectation<'r>> {
        Some(Expectation {
            name: name.as_str(),
            spec: release.spec.config.processes.get(name)?,
            port: job::port(release, name),
            crash_limit: self.facts.policy.crash_limit,
        })
    }

    /// The candidate's workloads are wished: is it good, bad, or too late?
    fn judge(&mut self, candidate: &Release, prepared: DateTime<Utc>) {
        let Knowledge::Complete { since } = self.facts.knowledge else {
            return;
        };
        let mut unready = Vec::new();
        for (name, spec) in &candidate.spec.config.processes {
            let wanted = job::replicas(self.facts.app, name, spec);
            let Some(expect) = self.expectation(candidate, name) else {
                continue;
            };
            let id = naming::process(
                self.facts.project,
                self.facts.name,
                name,
                candidate.spec.number,
            );
            let pods = self.pods_of(&id);
            for pod in pods
                .iter()
                .filter(|pod| pod.status.phase != PodPhase::Stopping)
            {
                if let Some(reason) = verdict::fault(expect, pod) {
                    self.fail(candidate, reason, Some(pod.id.clone()));
                    return;
                }
            }
            let ready = pods
                .iter()
                .filter(|pod| pod.status.phase.can_serve())
                .count();
            if u32::try_from(ready).unwrap_or(u32::MAX) < wanted {
                let late = pods.into_iter().find(|pod| {
                    !pod.status.phase.can_serve() && pod.status.phase != PodPhase::Stopping
                });
                unready.push((expect, late));
            }
        }
        let Some((expect, pod)) = unready.first().copied() else {
            self.push(
                Action::MoveTraffic(candidate.spec.number),
                "all its pods are ready",
            );
            self.moved = Traffic::Moves;
            return;
        };
        let within = patience(candidate, self.facts.policy);
        let deadline = after(prepared.max(since), within);
        if self.facts.now >= deadline {
            let reason = verdict::late(expect, pod, within);
            self.fail(candidate, reason, pod.map(|pod| pod.id.clone()));
        } else {
            self.wake(deadline);
        }
    }

    /// Removes what neither the live release nor the candidate wishes. `unknown` is a live release without a
    /// record: what is not understood is left running.
    fn remove_unwished(&mut self, unknown: Option<ReleaseNumber>) {
        let mut unwished: BTreeSet<WorkloadId> = self.facts.told.clone();
        if let Knowledge::Complete { .. } = self.facts.knowledge {
            let ours = self
                .facts
                .pods
                .iter()
                .filter(|pod| is_rollouts(self.facts, pod));
            let unwanted = ours.filter(|pod| unknown.is_none() || pod.owner.release != unknown);
            unwished.extend(unwanted.map(|pod| pod.workload.clone()));
        }
        for id in unwished.difference(&self.wished.clone()) {
            self.push(Action::Remove(id.clone()), "no release wishes it any more");
        }
    }

    fn show(&mut self, standing: Standing<'_>) {
        let Facts {
            project,
            name,
            app,
            pods,
            policy,
            ..
        } = self.facts;
        // Before everything is known, an app would seem to be down.
        if self.facts.knowledge == Knowledge::Partial {
            return;
        }
        let show = shown(project, name, app, standing, pods, policy);
        if show != Shown::of(app) {
            self.push(Action::SetAppStatus(show), "it changed");
        }
    }

    fn delete(&mut self) {
        let mut all: BTreeSet<WorkloadId> = self.facts.told.clone();
        all.extend(self.facts.pods.iter().map(|pod| pod.workload.clone()));
        if all.is_empty() {
            if let Knowledge::Complete { .. } = self.facts.knowledge {
                self.push(Action::FinishDeletion, "nothing of it runs any more");
            }
            return;
        }
        for id in all {
            self.push(Action::Remove(id), "its app is being deleted");
        }
        self.show(Standing::default());
    }
}

/// Is this pod the rollout's to keep or remove? One-off tasks of the app are not: they are pods of their own.
fn is_rollouts(facts: Facts<'_>, pod: &ObservedPod) -> bool {
    pod.owner.process.is_some()
        || pod.owner.release.is_some_and(|release| {
            pod.workload == naming::release_command(facts.project, facts.name, release)
        })
}

/// How long all pods of a release may take to be ready: the longest grace of its processes, and some slack
/// for the engine.
fn patience(release: &Release, policy: &Policy) -> Duration {
    release
        .spec
        .config
        .processes
        .values()
        .map(|spec| spec.health.clone().unwrap_or_default().grace.0)
        .max()
        .unwrap_or(Health::default().grace.0)
        .saturating_add(policy.slack)
}

/// Is the wish that of a release command?
#[must_use]
pub fn is_command(wish: &Wish) -> bool {
    matches!(wish.job, Job::ReleaseCommand)
}
