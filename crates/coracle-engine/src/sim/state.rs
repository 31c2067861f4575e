//! The simulated world's state and its clock: events in virtual time.
//!
//! Theory of operation: everything is in one [`State`] behind one lock. What takes time is an event in a queue,
//! ordered by its moment and then by the order of asking, so a run depends on nothing but the calls made and
//! the seed. A pod has three slots for what comes next by itself (its life, its stop, its probe); an event
//! whose ticket is no longer in its slot is stale and is ignored: that is how things are cancelled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_model::name::{PodName, ProjectName, VolumeName};
use coracle_model::node::Scheduling;
use coracle_model::quantity::ByteSize;
use coracle_model::workload::{PodId, WorkloadId};
use tokio::time::Instant;

use super::build::BuildScript;
use super::config::{Latency, Rng, SimConfig};
use super::image::SimImage;
use super::journal::{Act, Journal};
use super::pod::{Life, Probe, SimPod, Stop};
use super::process::Process;
use super::watch::Seat;
use crate::build::PullCredentials;
use crate::fault::{Fault, Verb};

/// Everything that is.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: SimConfig,
    pub(super) rng: Rng,
    start: Instant,
    pub(super) now: Duration,
    tickets: u64,
    queue: BTreeMap<(Duration, u64), Event>,
    pub(super) daemon: Daemon,
    pub(super) pods: BTreeMap<PodId, SimPod>,
    pub(super) processes: BTreeMap<u64, Process>,
    pub(super) networks: BTreeMap<ProjectName, Network>,
    /// What pods' images are pulled with, at the nodes.
    pub(super) pulls: BTreeMap<ProjectName, PullCredentials>,
    pub(super) volumes: BTreeMap<(ProjectName, VolumeName), Volume>,
    pub(super) images: BTreeMap<String, SimImage>,
    pub(super) nodes: BTreeMap<String, SimNode>,
    pub(super) faults: BTreeMap<Verb, VecDeque<Fault>>,
    pub(super) builds: VecDeque<BuildScript>,
    pub(super) journal: Journal,
    pub(super) violations: Vec<String>,
    /// The engine whose process lives now.
    pub(super) seat: Option<Seat>,
    pub(super) seats: u64,
    /// Workloads to look at before the lock is let go.
    pub(super) touched: BTreeSet<WorkloadId>,
}

/// Does the daemon answer?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Daemon {
    Up,
    Down,
}

/// What comes due.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Process(u64),
    Life(PodId),
    Stop(PodId),
    Probe(PodId),
}

/// A project's network: a /24 of its own.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) subnet: u8,
    /// Where the search for a free address begins: one that was just given up is taken last.
    pub(super) next: u8,
    pub(super) removing: bool,
}

/// A volume.
#[derive(Debug, Default)]
pub(super) struct Volume {
    pub(super) size: Option<ByteSize>,
    pub(super) files: BTreeMap<String, String>,
}

/// A machine.
#[derive(Debug)]
pub(super) struct SimNode {
    pub(super) config: super::config::NodeConfig,
    /// Why it is not ready.
    pub(super) trouble: Option<String>,
    /// It outlives engines, as a real node's does.
    pub(super) scheduling: Scheduling,
}

impl State {
    pub(super) fn new(config: SimConfig) -> Self {
        let nodes = config
            .nodes
            .iter()
            .map(|node| {
                let sim = SimNode {
                    config: node.clone(),
                    trouble: None,
                    scheduling: Scheduling::Open,
                };
                (node.name.clone(), sim)
            })
            .collect();
        Self {
            rng: Rng::new(config.seed),
            start: Instant::now(),
            now: Duration::ZERO,
            tickets: 0,
            queue: BTreeMap::new(),
            daemon: Daemon::Up,
            pods: BTreeMap::new(),
            processes: BTreeMap::new(),
            networks: BTreeMap::new(),
            pulls: BTreeMap::new(),
            volumes: BTreeMap::new(),
            images: BTreeMap::new(),
            nodes,
            faults: BTreeMap::new(),
            builds: VecDeque::new(),
            journal: Journal::default(),
            violations: Vec::new(),
            seat: None,
            seats: 0,
            touched: BTreeSet::new(),
            config,
        }
    }

    /// The wall clock.
    pub(super) fn wall(&self) -> DateTime<Utc> {
        self.config.epoch + chrono::Duration::from_std(self.now).unwrap_or_default()
    }

    pub(super) fn note(&mut self, act: Act) {
        self.journal.note(self.now, act);
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn draw(
        &mut self,
        pick: impl FnOnce(&super::config::Latencies) -> Latency,
    ) -> Duration {
        pick(&self.config.latencies).draw(&mut self.rng)
    }

    /// The next fault that a test prepared for this verb.
    pub(super) fn fault(&mut self, verb: Verb) -> Option<Fault> {
        let fault = self.faults.get_mut(&verb)?.pop_front()?;
        self.note(Act::Faulted(verb));
        Some(fault)
    }

    /// When the next event is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let (at, _) = self.queue.keys().next()?;
        Some(self.start + *at)
    }

    fn schedule(&mut self, after: Duration, event: Event) -> u64 {
        let ticket = self.ticket();
        // Durations that a test means as "for ever" must not overflow the clock.
        let at = self.now + after.min(FOR_EVER);
        self.queue.insert((at, ticket), event);
        ticket
    }

    pub(super) fn after_process(&mut self, after: Duration, process: u64) -> u64 {
        self.schedule(after, Event::Process(process))
    }

    pub(super) fn after_life(&mut self, after: Duration, id: &PodId, life: Life) {
        let ticket = self.schedule(after, Event::Life(id.clone()));
        if let Some(pod) = self.pods.get_mut(id) {
            pod.life = Some((ticket, life));
        }
    }

    pub(super) fn after_stop(&mut self, after: Duration, id: &PodId, stop: Stop) {
        let ticket = self.schedule(after, Event::Stop(id.clone()));
        if let Some(pod) = self.pods.get_mut(id) {
            pod.stop = Some((ticket, stop));
        }
    }

    pub(super) fn after_probe(&mut self, after: Duration, id: &PodId, probe: Probe) {
        let ticket = self.schedule(after, Event::Probe(id.clone()));
        if let Some(pod) = self.pods.get_mut(id) {
            pod.probe = Some((ticket, probe));
        }
    }

    /// Lets everything happen that is due by now.
    pub(super) fn advance(&mut self) {
        let now = self.start.elapsed();
        while let Some(entry) = self.queue.first_entry() {
            let (at, ticket) = *entry.key();
            if at > now {
                break;
            }
            let event = entry.remove();
            self.now = self.now.max(at);
            self.happen(event, ticket);
            self.settle();
        }
        self.now = self.now.max(now);
    }

    fn happen(&mut self, event: Event, ticket: u64) {
        match event {
            Event::Process(process) => {
                let due = self
                    .processes
                    .get_mut(&process)
                    .is_some_and(|p| p.take_timer(ticket));
                if due {
                    self.run_process(process);
                }
            }
            Event::Life(id) => {
                let step = self
                    .pods
                    .get_mut(&id)
                    .and_then(|p| take(&mut p.life, ticket));
                match (step, self.daemon) {
                    (Some(step), Daemon::Up) => self.live(&id, step),
                    (Some(step), Daemon::Down) => {
                        if let Some(pod) = self.pods.get_mut(&id) {
                            pod.life = Some((ticket, step));
                        }
                        self.defer(Event::Life(id), ticket);
                    }
                    (None, _) => {}
                }
            }
            Event::Stop(id) => {
                let step = self
                    .pods
                    .get_mut(&id)
                    .and_then(|p| take(&mut p.stop, ticket));
                match (step, self.daemon) {
                    (Some(Stop::Obeys), _) => self.obeyed(&id),
                    (Some(step), Daemon::Up) => self.stop_step(&id, step),
                    (Some(step), Daemon::Down) => {
                        if let Some(pod) = self.pods.get_mut(&id) {
                            pod.stop = Some((ticket, step));
                        }
                        self.defer(Event::Stop(id), ticket);
                    }
                    (None, _) => {}
                }
            }
            Event::Probe(id) => {
                // Probes go past the daemon, straight to the pod; a restart does not.
                let step = self
                    .pods
                    .get_mut(&id)
                    .and_then(|p| take(&mut p.probe, ticket));
                match (step, self.daemon) {
                    (Some(Probe::FailsTooLong), Daemon::Down) => {
                        if let Some(pod) = self.pods.get_mut(&id) {
                            pod.probe = Some((ticket, Probe::FailsTooLong));
                        }
                        self.defer(Event::Probe(id), ticket);
                    }
                    (Some(step), _) => self.probed(&id, step),
                    (None, _) => {}
                }
            }
        }
    }

    fn defer(&mut self, event: Event, ticket: u64) {
        // One look a second until the daemon is back: an engine tries again and again.
        self.queue.insert((self.now + DAEMON_RETRY, ticket), event);
    }

    /// Brings the workloads that something happened to where they are wished to be, and checks the laws.
    pub(super) fn settle(&mut self) {
        if self.daemon == Daemon::Up {
            while let Some(id) = self.touched.pop_first() {
                self.reconcile(&id);
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let mut seen = BTreeMap::new();
        let mut wrong = Vec::new();
        for pod in self.pods.values() {
            if let Some(address) = pod.address
                && let Some(other) = seen.insert(address, &pod.id)
            {
                wrong.push(format!("{} and {other} share {address}", pod.id));
            }
        }
        self.violations.extend(wrong);
    }

    /// A free pod name for a workload.
    pub(super) fn free_name(&mut self, workload: &WorkloadId) -> Option<PodId> {
        const TRIES: usize = 100;
        // The longest name with a suffix is still a name.
        let base: String = workload.name.as_str().chars().take(74).collect();
        for _ in 0..TRIES {
            let name = format!("{}-{}", base.trim_end_matches('-'), self.rng.suffix());
            if let Ok(name) = PodName::new(name) {
                let id = PodId {
                    project: workload.project.clone(),
                    name,
                };
                if !self.pods.contains_key(&id) {
                    return Some(id);
                }
            }
        }
        None
    }
}

/// A century: further away nothing is waited for.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How soon an engine tries again when its daemon does not answer.
const DAEMON_RETRY: Duration = Duration::from_secs(1);

fn take<T>(slot: &mut Option<(u64, T)>, ticket: u64) -> Option<T> {
    slot.take_if(|(held, _)| *held == ticket).map(|(_, t)| t)
}
