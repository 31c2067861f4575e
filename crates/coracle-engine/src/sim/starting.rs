//! How a pod comes to run: its node, its image, its address, its command.

use std::collections::BTreeMap;

use coracle_model::workload::{PodId, TaskStart, Terminal, Workload, WorkloadKind};
use coracle_task::{Backoff, CancellationToken};

use super::console::PodLog;
use super::image::Place;
use super::journal::Act;
use super::pod::{Life, Readiness, SimPod, Stage};
use super::process::Process;
use super::state::State;
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
            listening: BTreeMap::new(),
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
                // A second try starts over: the node of the first may be cordoned by now.
                let workload = pod.made_from.id.clone();
                if let Some(pod) = self.pods.get_mut(id) {
                    pod.node = None;
                }
                let node = match self.free_node(&workload) {
                    Ok(node) => node,
                    Err(why) => return self.plan_again(id, why),
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
        let env = pod.environment();
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
}
