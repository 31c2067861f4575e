//! What happens to pods: making, starting, probing, ending, stopping.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use coracle_model::pod::{Exit, ExitCause};
use coracle_model::release::Health;
use coracle_model::workload::{PodId, TaskStart, Terminal, Workload, WorkloadKind};
use coracle_task::{Backoff, CancellationToken};

use super::console::PodLog;
use super::image::Place;
use super::journal::Act;
use super::pod::{Life, Probe, Readiness, Signal, SimPod, Stage, Stop, Stopping, Then, ended};
use super::process::Process;
use super::state::{Network, State};
use crate::fault::Verb;

impl State {
    /// Plans a pod of this name.
    pub(super) fn plan_pod(&mut self, workload: &Workload, id: PodId) {
        let order = self.ticket();
        self.note(Act::Created(id.clone()));
        let pod = SimPod {
            id: id.clone(),
            made_from: workload.clone(),
            created: self.wall(),
            order,
            node: None,
            address: None,
            stage: Stage::Planned("waits for its turn".into()),
            readiness: Readiness::NotYet,
            stopping: None,
            restarts: 0,
            started: None,
            exit: None,
            main: None,
            obeys_term: true,
            listening: BTreeSet::new(),
            hung: false,
            files: BTreeMap::new(),
            log: PodLog::new(),
            alive: CancellationToken::new(),
            backoff: Backoff::new(self.config.backoff_first, self.config.backoff_most),
            life: None,
            stop: None,
            probe: None,
        };
        self.pods.insert(id.clone(), pod);
        self.live(&id, Life::Begin);
    }

    fn plan_again(&mut self, id: &PodId, why: String) {
        if let Some(pod) = self.pods.get_mut(id) {
            pod.stage = Stage::Planned(why);
            let pause = pod.backoff.next_delay();
            self.after_life(pause, id, Life::Begin);
        }
        self.changed(id);
    }

    pub(super) fn live(&mut self, id: &PodId, step: Life) {
        let Some(pod) = self.pods.get(id) else {
            return;
        };
        let reference = pod.made_from.template.image.to_string();
        match step {
            Life::Begin => {
                let Some(node) = self.free_node() else {
                    return self.plan_again(id, "no node is ready".into());
                };
                let Some(image) = self.find_image(&reference) else {
                    return self.plan_again(
                        id,
                        format!("image {reference} cannot be had: there is no such image"),
                    );
                };
                let (next, why) = match image.place {
                    Place::Here => (Life::Created, "is being made".to_owned()),
                    Place::Registry => (Life::Pulled, format!("fetching image {reference}")),
                };
                let after = match next {
                    Life::Pulled => self.draw(|l| l.pull),
                    _ => self.draw(|l| l.create),
                };
                if let Some(pod) = self.pods.get_mut(id) {
                    pod.node = Some(node);
                    pod.stage = Stage::Planned(why);
                }
                self.after_life(after, id, next);
            }
            Life::Pulled => {
                if let Some(fault) = self.fault(Verb::PullForPod) {
                    let why = format!("image {reference} cannot be had: {}", fault.error());
                    return self.plan_again(id, why);
                }
                if let Some(image) = self.find_image_mut(&reference) {
                    image.place = Place::Here;
                }
                let after = self.draw(|l| l.create);
                self.after_life(after, id, Life::Created);
            }
            Life::Created => self.created(id),
            Life::Started => self.start_pod(id),
        }
        self.changed(id);
    }

    fn created(&mut self, id: &PodId) {
        if let Some(fault) = self.fault(Verb::CreatePod) {
            return self.plan_again(id, format!("cannot be made: {}", fault.error()));
        }
        let Some(address) = self.take_address(id) else {
            return self.plan_again(
                id,
                "there is no address left in its project's network".into(),
            );
        };
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        pod.address = Some(address);
        let mounts = pod.made_from.template.volumes.clone();
        let image = pod.made_from.template.image.to_string();
        let attaches = pod.starts_on_attach();
        pod.stage = if attaches {
            Stage::Attachable
        } else {
            Stage::Made("is being started".into())
        };
        for mount in mounts {
            let key = (id.project.clone(), mount.volume);
            self.volumes.entry(key).or_default();
        }
        let files = self.find_image(&image).map(|image| image.files.clone());
        if let Some(pod) = self.pods.get_mut(id) {
            pod.files = files.unwrap_or_default();
        }
        if !attaches {
            let after = self.draw(|l| l.start);
            self.after_life(after, id, Life::Started);
        }
    }

    /// Its command begins.
    pub(super) fn start_pod(&mut self, id: &PodId) {
        if let Some(fault) = self.fault(Verb::StartPod) {
            if let Some(pod) = self.pods.get_mut(id) {
                pod.stage = Stage::Made(format!("cannot be started: {}", fault.error()));
                let pause = pod.backoff.next_delay();
                self.after_life(pause, id, Life::Started);
            }
            return self.changed(id);
        }
        let now = self.wall();
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        if pod.started.is_some() {
            pod.restarts += 1;
        }
        pod.started = Some(now);
        pod.stage = Stage::Running;
        pod.readiness = Readiness::NotYet;
        pod.listening.clear();
        pod.obeys_term = true;
        pod.hung = false;
        pod.alive = CancellationToken::new();
        pod.life = None;
        let env = environment(pod);
        let command = pod.made_from.template.command.clone();
        let reference = pod.made_from.template.image.to_string();
        let terminal = match pod.made_from.kind {
            WorkloadKind::Task {
                start: TaskStart::OnAttach { terminal },
            } => terminal,
            _ => Terminal::Streams,
        };
        let takes_input = pod.starts_on_attach();
        let address = pod.address;
        let program = self
            .find_image(&reference)
            .map(|image| image.program(command.as_ref(), &env))
            .unwrap_or_default();
        let process = self.ticket();
        let mut made = Process::new(id.clone(), program, terminal, None);
        made.main = true;
        if !takes_input {
            made.input_ended = true;
        }
        self.processes.insert(process, made);
        if let Some(pod) = self.pods.get_mut(id) {
            pod.main = Some(process);
        }
        if let Some(address) = address {
            self.note(Act::Started(id.clone(), address));
        }
        self.changed(id);
        // With the next event, so that an attach can take its place as reader before the first output.
        let timer = self.after_process(std::time::Duration::ZERO, process);
        if let Some(process) = self.processes.get_mut(&process) {
            process.timer = Some(timer);
        }
        self.reassess(id);
    }

    /// Looks whether the pod answers, and lets probes find out.
    pub(super) fn reassess(&mut self, id: &PodId) {
        let Some(pod) = self.pods.get(id) else {
            return;
        };
        let node_ok = self.node_works(pod.node.as_deref());
        let answers = pod.answers() && node_ok;
        let health = pod.made_from.template.health.clone().unwrap_or_default();
        let asked = pod.probe.map(|(_, probe)| probe);
        match (answers, pod.readiness) {
            _ if pod.stage != Stage::Running => {}
            (true, Readiness::Yes) => {
                if let Some(pod) = self.pods.get_mut(id) {
                    pod.probe = None;
                }
            }
            (true, _) if asked != Some(Probe::Answers) => {
                if pod.made_from.template.port.is_none() {
                    return self.probed(id, Probe::Answers);
                }
                let after = self.draw(|l| l.probe);
                self.after_probe(after, id, Probe::Answers);
            }
            (false, Readiness::Yes) if asked != Some(Probe::Fails) => {
                self.after_probe(fails_after(&health, 1), id, Probe::Fails);
            }
            (false, Readiness::NotYet) => {
                if let Some(pod) = self.pods.get_mut(id) {
                    pod.probe = None;
                }
            }
            _ => {}
        }
    }

    pub(super) fn probed(&mut self, id: &PodId, probe: Probe) {
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        let health = pod.made_from.template.health.clone().unwrap_or_default();
        match probe {
            Probe::Answers => {
                pod.readiness = Readiness::Yes;
                let workload = pod.made_from.id.clone();
                // An old pod may go now.
                self.touched.insert(workload);
                self.note(Act::Ready(id.clone()));
            }
            Probe::Fails => {
                pod.readiness = Readiness::NoMore;
                self.note(Act::Unready(id.clone()));
                self.after_probe(fails_after(&health, 2), id, Probe::FailsTooLong);
            }
            Probe::FailsTooLong => {
                let alone =
                    pod.stopping.is_none() && self.node_works(self.pods[id].node.as_deref());
                if alone {
                    self.stop_pod(id, Then::Again, Some("did not answer for too long".into()));
                }
            }
        }
        self.changed(id);
    }

    /// Its command ended.
    pub(super) fn ended(&mut self, id: &PodId, code: i64, cause: ExitCause) {
        let at = self.wall();
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        let main = pod.main.take();
        pod.alive.cancel();
        pod.listening.clear();
        (pod.stop, pod.probe, pod.life) = (None, None, None);
        let exit = Exit {
            code,
            cause,
            at: Some(at),
        };
        let words = ended(&exit, pod.made_from.template.resources.memory);
        let ran = pod.started.map(|started| (at - started).to_std());
        pod.exit = Some(exit);
        pod.readiness = Readiness::NotYet;
        let stopping = pod.stopping.take();
        let task = pod.is_task();
        self.note(Act::Exited(id.clone(), code));
        self.end_processes(id, main, code);
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        match stopping.map(|s| s.then) {
            Some(Then::Gone) => return self.remove_pod(id),
            Some(Then::Again) => {
                pod.stage = Stage::Made("is being started again".into());
                let after = self.draw(|l| l.start);
                self.after_life(after, id, Life::Started);
            }
            None if task => pod.stage = Stage::Ended,
            None => {
                if ran.is_some_and(|ran| ran.is_ok_and(|ran| ran > Backoff::HEALTHY)) {
                    pod.backoff.reset();
                }
                let pause = pod.backoff.next_delay();
                let seconds = pause.as_secs_f64();
                pod.stage = Stage::Pause(format!("{words}; is started again after {seconds} s"));
                self.after_life(pause, id, Life::Started);
            }
        }
        self.changed(id);
    }

    /// A pod is to stop, for good or to begin anew.
    pub(super) fn stop_pod(&mut self, id: &PodId, then: Then, reason: Option<String>) {
        let now = self.now;
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        if let Some(stopping) = &mut pod.stopping {
            if then == Then::Gone {
                stopping.then = Then::Gone;
            }
            return;
        }
        if pod.stage != Stage::Running {
            return match then {
                Then::Gone => self.remove_pod(id),
                Then::Again if matches!(pod.stage, Stage::Pause(_)) => {
                    self.live(id, Life::Started);
                }
                Then::Again => {}
            };
        }
        // A pod that does not answer has nothing to be drained of.
        let drain = match (pod.readiness, &reason) {
            (Readiness::NotYet, _) | (_, Some(_)) => std::time::Duration::ZERO,
            _ => pod.made_from.template.drain,
        };
        pod.probe = None;
        pod.stopping = Some(Stopping {
            then,
            signal: Signal::None,
            reason,
            drain_until: now + drain,
            drained: false,
        });
        self.note(Act::Stopping(id.clone()));
        self.changed(id);
        if drain.is_zero() {
            self.signal(id);
        } else {
            self.after_stop(drain, id, Stop::DrainOver);
        }
    }

    /// SIGTERM.
    pub(super) fn signal(&mut self, id: &PodId) {
        let after = self.draw(|l| l.stop);
        let now = self.now;
        let told = self.was_told_stopping(id);
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        let Some(stopping) = &mut pod.stopping else {
            return;
        };
        if stopping.signal != Signal::None {
            return;
        }
        stopping.signal = Signal::Term;
        let early = !stopping.drained && now < stopping.drain_until;
        let grace = pod.made_from.template.stop_grace;
        let obeys = pod.obeys_term && after <= grace;
        if early {
            self.violations
                .push(format!("{id} got SIGTERM before it was drained"));
        }
        if !told {
            self.violations
                .push(format!("{id} got SIGTERM before it was reported stopping"));
        }
        self.note(Act::Sigterm(id.clone()));
        if obeys {
            self.after_stop(after, id, Stop::Obeys);
        } else {
            self.after_stop(grace, id, Stop::Kill);
        }
    }

    pub(super) fn stop_step(&mut self, id: &PodId, step: Stop) {
        match step {
            Stop::DrainOver => self.signal(id),
            Stop::Obeys => self.obeyed(id),
            Stop::Kill => {
                if let Some(stopping) = self.pods.get_mut(id).and_then(|p| p.stopping.as_mut()) {
                    stopping.signal = Signal::Kill;
                    self.note(Act::Sigkill(id.clone()));
                    self.ended(id, KILLED, ExitCause::Stopped);
                }
            }
        }
    }

    pub(super) fn obeyed(&mut self, id: &PodId) {
        self.ended(id, TERMINATED, ExitCause::Stopped);
    }

    /// Ends a pod's command at once, whoever does it.
    pub(super) fn kill_now(&mut self, id: &PodId, cause: ExitCause) {
        if self.pods.get(id).is_some_and(|pod| pod.main.is_some()) {
            self.ended(id, KILLED, cause);
        }
    }

    /// Nothing is left of it.
    pub(super) fn remove_pod(&mut self, id: &PodId) {
        let Some(pod) = self.pods.remove(id) else {
            return;
        };
        pod.alive.cancel();
        pod.log.close();
        self.end_processes(id, pod.main, KILLED);
        self.touched.insert(pod.made_from.id);
        self.note(Act::Gone(id.clone()));
        self.changed(id);
        let empty = !self.pods.keys().any(|other| other.project == id.project);
        if empty && self.networks.get(&id.project).is_some_and(|n| n.removing) {
            self.networks.remove(&id.project);
        }
    }

    fn take_address(&mut self, id: &PodId) -> Option<IpAddr> {
        self.ensure_network(&id.project)?;
        let network = self.networks.get_mut(&id.project)?;
        let used: BTreeSet<_> = self.pods.values().filter_map(|pod| pod.address).collect();
        for _ in FIRST_HOST..=LAST_HOST {
            let host = network.next;
            network.next = if host >= LAST_HOST {
                FIRST_HOST
            } else {
                host + 1
            };
            let address = IpAddr::V4(Ipv4Addr::new(10, 210, network.subnet, host));
            if !used.contains(&address) {
                return Some(address);
            }
        }
        None
    }

    /// The project's network; nothing when all subnets are taken.
    pub(super) fn ensure_network(
        &mut self,
        project: &coracle_model::name::ProjectName,
    ) -> Option<()> {
        if let Some(network) = self.networks.get_mut(project) {
            network.removing = false;
            return Some(());
        }
        let taken: BTreeSet<u8> = self.networks.values().map(|n| n.subnet).collect();
        let subnet = (0..=u8::MAX).find(|subnet| !taken.contains(subnet))?;
        let network = Network {
            subnet,
            next: FIRST_HOST,
            removing: false,
        };
        self.networks.insert(project.clone(), network);
        Some(())
    }

    fn free_node(&self) -> Option<String> {
        let pods_on = |name: &str| {
            self.pods
                .values()
                .filter(|pod| pod.node.as_deref() == Some(name))
                .count()
        };
        self.nodes
            .iter()
            .filter(|(_, node)| node.trouble.is_none())
            .map(|(name, _)| name)
            .min_by_key(|name| pods_on(name))
            .cloned()
    }

    fn node_works(&self, name: Option<&str>) -> bool {
        name.and_then(|name| self.nodes.get(name))
            .is_none_or(|node| node.trouble.is_none())
    }

    /// Words of a workload's command, for lookups that a pod's environment needs.
    pub(super) fn pod_env(&self, id: &PodId) -> BTreeMap<String, String> {
        self.pods.get(id).map(environment).unwrap_or_default()
    }
}

/// What a pod's processes find in their environment.
fn environment(pod: &SimPod) -> BTreeMap<String, String> {
    let template = &pod.made_from.template;
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), "/bin".to_owned()),
        ("HOSTNAME".to_owned(), pod.id.name.to_string()),
    ]);
    if let Some(port) = template.port {
        env.insert("PORT".to_owned(), port.to_string());
    }
    for (name, value) in &template.env {
        env.insert(name.to_string(), value.expose().to_owned());
    }
    env
}

fn fails_after(health: &Health, times: u32) -> std::time::Duration {
    health.interval.0 * health.failures.max(1) * times
}

/// Exit status of a command that SIGTERM ended.
const TERMINATED: i64 = 143;
/// Exit status of a command that SIGKILL ended.
pub(super) const KILLED: i64 = 137;
const FIRST_HOST: u8 = 2;
const LAST_HOST: u8 = 254;

/// A step's default port when neither workload nor command names one.
const DEFAULT_PORT: u16 = 8080;

/// What a listening step listens on.
pub(super) fn listens_on(step: Option<u16>, pod: &SimPod) -> u16 {
    let from_env = environment(pod)
        .get("PORT")
        .and_then(|port| port.parse().ok());
    step.or(from_env).unwrap_or(DEFAULT_PORT)
}
