//! A small world for the rollout planner: a store with one app, an engine that does what it is told when it is
//! told to, and a clock that is moved by hand. It does what a plan says the way the controller does, one step
//! at a time, so that it can be stopped between any two.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use coracle_model::app::{App, AppSpec, AppStatus};
use coracle_model::domain::{Claim, Domain, DomainSpec, DomainStatus};
use coracle_model::name::{AppName, Hostname, ImageRef, PodName, ProcessName, ProjectName};
use coracle_model::object::{Kind, Metadata};
use coracle_model::plan::job::{self, Job, Wish};
use coracle_model::plan::rollout::{self, Action, Facts, Plan, ReleaseChange};
use coracle_model::plan::{Knowledge, Policy, routes};
use coracle_model::pod::{PodPhase, PodStatus};
use coracle_model::release::{
    CommandLine, Origin, PinnedImage, ProcessSpec, Release, ReleaseNumber, ReleasePhase,
    ReleaseSpec, ReleaseStatus, RunConfig,
};
use coracle_model::route::Target;
use coracle_model::workload::{ObservedPod, Owner, PodId, WorkloadId};

/// The world.
pub(crate) struct World {
    /// Project of the app.
    pub(crate) project: ProjectName,
    /// Name of the app.
    pub(crate) name: AppName,
    /// Its record.
    pub(crate) app: Option<App>,
    /// Its releases.
    pub(crate) releases: Vec<Release>,
    /// What the engine runs.
    pub(crate) pods: Vec<ObservedPod>,
    /// What it was told in the controller's life.
    pub(crate) told: BTreeMap<WorkloadId, Wish>,
    /// What the controller knows of the engine.
    pub(crate) knowledge: Knowledge,
    /// The clock.
    pub(crate) now: DateTime<Utc>,
    /// Set-up.
    pub(crate) policy: Policy,
    /// When the engine does what it was told.
    pub(crate) pace: Pace,
    next_pod: u16,
}

/// When the engine does what it was told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once.
    Prompt,
    /// When [`World::converge`] is called.
    Lazy,
}

impl World {
    /// With an app without releases.
    pub(crate) fn new() -> Self {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut world = Self {
            project: ProjectName::default_project(),
            name: AppName::new("hello").unwrap(),
            app: None,
            releases: Vec::new(),
            pods: Vec::new(),
            told: BTreeMap::new(),
            knowledge: Knowledge::Complete { since: now },
            now,
            policy: Policy::default(),
            pace: Pace::Prompt,
            next_pod: 1,
        };
        world.app = Some(App {
            kind: Kind::App,
            metadata: world.metadata("hello"),
            spec: AppSpec::default(),
            status: AppStatus::default(),
        });
        world
    }

    fn metadata(&self, name: &str) -> Metadata {
        Metadata {
            name: name.to_owned(),
            project: Some(self.project.clone()),
            uid: name.to_owned(),
            revision: 1,
            created: self.now,
            deleting: None,
        }
    }

    /// A new release with these processes.
    pub(crate) fn release(&mut self, processes: &[(&str, u32)], command: Option<&str>) -> u32 {
        let number = u32::try_from(self.releases.len()).unwrap() + 1;
        let processes = processes
            .iter()
            .map(|(name, replicas)| {
                let spec = ProcessSpec {
                    replicas: *replicas,
                    ..ProcessSpec::default()
                };
                (ProcessName::new(*name).unwrap(), spec)
            })
            .collect();
        self.releases.push(Release {
            kind: Kind::Release,
            metadata: self.metadata(&format!("v{number}")),
            spec: ReleaseSpec {
                app: self.name.clone(),
                number: ReleaseNumber(number),
                image: ImageRef::new(format!("hello:{number}")).unwrap(),
                config: RunConfig {
                    processes,
                    release_command: command.map(|line| CommandLine::Shell(line.to_owned())),
                    ..RunConfig::default()
                },
                env: BTreeMap::new(),
                origin: Origin::Image,
                created_by: "ann".into(),
            },
            status: ReleaseStatus::default(),
        });
        number
    }

    /// A release by number.
    pub(crate) fn release_mut(&mut self, number: u32) -> &mut Release {
        &mut self.releases[number as usize - 1]
    }

    /// The number of the release with the traffic.
    pub(crate) fn live(&self) -> Option<u32> {
        Some(self.app.as_ref()?.status.release?.0)
    }

    /// What the planner says now.
    pub(crate) fn plan(&self) -> Plan {
        let pods: Vec<_> = self.pods.iter().collect();
        let told: BTreeSet<_> = self.told.keys().cloned().collect();
        let Some(app) = &self.app else {
            return rollout::plan_without_app(&pods, &told, self.knowledge);
        };
        rollout::plan(Facts {
            project: &self.project,
            name: &self.name,
            app,
            releases: &self.releases,
            pods: &pods,
            told: &told,
            moving: &BTreeSet::new(),
            knowledge: self.knowledge,
            policy: &self.policy,
            now: self.now,
        })
    }

    /// Does one step. Whether it was anything new.
    pub(crate) fn execute(&mut self, action: &Action) -> bool {
        let now = self.now;
        match action {
            Action::SetRelease { release, change } => {
                let log = match change {
                    ReleaseChange::Failed {
                        log_from: Some(pod),
                        ..
                    } => vec![format!("last line of {}", pod.name)],
                    _ => Vec::new(),
                };
                let status = &mut self.release_mut(release.0).status;
                let before = status.clone();
                change.apply(status, log, now);
                before != *status
            }
            // The world answers later, by `resolved`.
            Action::ResolveImage(_) => false,
            Action::Apply(wish) => {
                if self.told.get(&wish.id) == Some(wish) {
                    return false;
                }
                self.told.insert(wish.id.clone(), wish.clone());
                if self.pace == Pace::Prompt {
                    self.converge();
                }
                true
            }
            Action::Remove(id) => {
                let news = self.told.remove(id).is_some();
                let mut stopped = false;
                for pod in &mut self.pods {
                    if pod.workload == *id && pod.status.phase != PodPhase::Stopping {
                        pod.status.phase = PodPhase::Stopping;
                        stopped = true;
                    }
                }
                news || stopped
            }
            Action::MoveTraffic(release) => {
                self.app.as_mut().unwrap().status.release = Some(*release);
                // The controller writes both at once; the planner must not depend on it.
                true
            }
            Action::SetAppStatus(shown) => {
                shown.set(self.app.as_mut().unwrap());
                true
            }
            Action::FinishDeletion => {
                self.app = None;
                self.releases.clear();
                true
            }
        }
    }

    /// Makes the pods as many as was told, as an engine would.
    pub(crate) fn converge(&mut self) {
        for (id, wish) in self.told.clone() {
            let (wanted, process) = match &wish.job {
                Job::Process { name, replicas } => (*replicas as usize, Some(name.clone())),
                Job::ReleaseCommand => (1, None),
            };
            let release = self.releases[wish.release.0 as usize - 1].clone();
            while self.standing(&id) < wanted {
                let n = self.next_pod;
                self.next_pod += 1;
                let name = match &wish.job {
                    Job::Process { .. } => format!("{}-p{n}", id.name),
                    Job::ReleaseCommand => id.name.to_string(),
                };
                self.pods.push(ObservedPod {
                    id: PodId {
                        project: self.project.clone(),
                        name: PodName::new(name).unwrap(),
                    },
                    workload: id.clone(),
                    generation: 1,
                    owner: Owner {
                        app: Some(self.name.clone()),
                        process: process.clone(),
                        release: Some(wish.release),
                    },
                    image: release.spec.image.to_string(),
                    port: process
                        .as_ref()
                        .and_then(|process| job::port(&release, process)),
                    created: self.now,
                    status: PodStatus {
                        phase: PodPhase::Starting,
                        address: Some(IpAddr::V4(Ipv4Addr::new(
                            10,
                            0,
                            n.to_be_bytes()[0],
                            n.to_be_bytes()[1],
                        ))),
                        started: Some(self.now),
                        ..PodStatus::default()
                    },
                });
            }
            let mut left = wanted;
            for pod in self.pods.iter_mut().filter(|pod| pod.workload == id) {
                if pod.status.phase == PodPhase::Stopping {
                    continue;
                }
                if left == 0 {
                    pod.status.phase = PodPhase::Stopping;
                } else {
                    left -= 1;
                }
            }
        }
    }

    fn standing(&self, id: &WorkloadId) -> usize {
        let of = |pod: &&ObservedPod| pod.workload == *id && pod.status.phase != PodPhase::Stopping;
        self.pods.iter().filter(of).count()
    }

    /// The image of a release is there.
    pub(crate) fn resolved(&mut self, number: u32, ports: Vec<u16>) {
        let status = &mut self.release_mut(number).status;
        if status.image.is_none() && status.phase == ReleasePhase::Deploying {
            status.image = Some(PinnedImage {
                reference: ImageRef::new(format!("hello@sha256:{number:064}")).unwrap(),
                ports,
            });
        }
    }

    /// Changes every pod whose name begins so.
    pub(crate) fn pods_named(&mut self, prefix: &str, mut change: impl FnMut(&mut ObservedPod)) {
        let mut found = 0;
        for pod in &mut self.pods {
            if pod.id.name.as_str().starts_with(prefix) {
                change(pod);
                found += 1;
            }
        }
        assert!(found > 0, "no pod is called {prefix}…");
    }

    /// Stopping pods stop.
    pub(crate) fn stop_stopping(&mut self) {
        self.pods
            .retain(|pod| pod.status.phase != PodPhase::Stopping);
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.now += TimeDelta::from_std(span).unwrap();
    }

    /// The controller is killed and starts again: it forgets what it told the engine.
    pub(crate) fn restart(&mut self) {
        self.told.clear();
        self.knowledge = Knowledge::Partial;
    }

    /// The engine told everything.
    pub(crate) fn synced(&mut self) {
        self.knowledge = Knowledge::Complete { since: self.now };
    }

    /// Where the app's host goes.
    pub(crate) fn target(&self) -> Option<Target> {
        let app = self.app.as_ref()?;
        let pods: Vec<_> = self.pods.iter().collect();
        let facts = routes::AppFacts {
            app,
            releases: &self.releases,
            pods: &pods,
        };
        let host = "hello.localhost";
        let domain = Domain {
            kind: Kind::Domain,
            metadata: self.metadata(host),
            spec: DomainSpec {
                project: self.project.clone(),
                app: self.name.clone(),
                claim: Claim::Default,
            },
            status: DomainStatus {},
        };
        let apps = BTreeMap::from([((self.project.clone(), self.name.clone()), facts)]);
        let mut table = routes::plan(&[domain], &apps, &self.policy);
        Some(table.remove(&Hostname::new(host).unwrap())?.target)
    }
}
