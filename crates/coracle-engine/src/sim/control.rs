//! The test's hand in a simulated world.

use std::sync::Arc;

use coracle_model::name::ProjectName;
use coracle_model::pod::{ExitCause, PodPhase};
use coracle_model::workload::{ObservedPod, PodId};

use super::Inner;
use super::build::BuildScript;
use super::image::SimImage;
use super::journal::{Act, Entry};
use super::state::{Daemon, State};
use crate::build::PullCredentials;
use crate::engine::EngineEvent;
use crate::fault::{Fault, Verb};

/// The test's hand in a simulated world: prepares it, breaks it, reads what happened.
#[derive(Clone, Debug)]
pub struct SimControl {
    pub(super) world: Arc<Inner>,
}

impl SimControl {
    /// Puts an image into the world, in place of one with the same reference. Pods that run keep what they have.
    pub fn define(&self, image: SimImage) {
        self.world.with(|state| {
            state.images.insert(image.reference.clone(), image);
        });
    }

    /// Takes an image out of the world: not here, and in no registry.
    pub fn forget_image(&self, reference: &str) {
        self.world.with(|state| state.images.remove(reference));
    }

    /// Says what the next build that is not yet scripted does.
    pub fn next_build(&self, script: BuildScript) {
        self.world.with(|state| state.builds.push_back(script));
    }

    /// Makes the next `times` calls of `verb` go wrong, after those already prepared.
    pub fn fail_next(&self, verb: Verb, times: usize, fault: Fault) {
        self.world.with(|state| {
            let faults = state.faults.entry(verb).or_default();
            faults.extend(std::iter::repeat_n(fault, times));
        });
    }

    /// Forgets all faults that were prepared and did not come up yet.
    pub fn heal(&self) {
        self.world.with(|state| state.faults.clear());
    }

    /// Kills a pod's command from outside (as the kernel or a person with `kill -9`).
    pub fn kill(&self, pod: &PodId) {
        self.world.with(|state| {
            state.note(Act::KilledOutside(pod.clone()));
            state.kill_now(pod, ExitCause::Exited);
        });
    }

    /// Lets a pod's command end by itself with this status.
    pub fn exit(&self, pod: &PodId, code: i64) {
        self.world.with(|state| {
            if state.pods.get(pod).is_some_and(|pod| pod.main.is_some()) {
                state.ended(pod, code, ExitCause::Exited);
            }
        });
    }

    /// Removes a pod behind the engine's back, as `docker rm -f` does.
    pub fn vanish(&self, pod: &PodId) {
        self.world.with(|state| {
            state.note(Act::VanishedOutside(pod.clone()));
            state.remove_pod(pod);
        });
    }

    /// Lets a pod hang (it listens and does not answer) until it is started again or told to answer.
    pub fn hang(&self, pod: &PodId) {
        self.set_hung(pod, true);
    }

    /// Lets a hanging pod answer again.
    pub fn answer(&self, pod: &PodId) {
        self.set_hung(pod, false);
    }

    fn set_hung(&self, id: &PodId, hung: bool) {
        self.world.with(|state| {
            if let Some(pod) = state.pods.get_mut(id) {
                pod.hung = hung;
            }
            state.reassess(id);
        });
    }

    /// The daemon stops answering; pods run on.
    pub fn daemon_down(&self) {
        self.world.with(|state| {
            state.note(Act::DaemonDown);
            // Told before it is down: an engine notices.
            state.daemon = Daemon::Down;
            state.nodes_changed();
        });
    }

    /// The daemon answers again; what happened meanwhile is told.
    pub fn daemon_up(&self) {
        self.world.with(|state| {
            state.note(Act::DaemonUp);
            state.daemon = Daemon::Up;
            state.changed_all();
            if let Some(seat) = &mut state.seat
                && !seat.synced
            {
                seat.synced = true;
                // No one watching is no fault.
                let _watchers = seat.events.send(EngineEvent::Synced);
            }
            let all = state.pods.values().map(|pod| pod.made_from.id.clone());
            let wished = state
                .seat
                .iter()
                .flat_map(|seat| seat.wishes.keys().cloned());
            state.touched = all.chain(wished).collect();
        });
    }

    /// The machine starts anew: every command was killed; the daemon starts those again that shall run always.
    pub fn reboot(&self) {
        self.world.with(|state| {
            let pods: Vec<PodId> = state.pods.keys().cloned().collect();
            for pod in pods {
                state.kill_now(&pod, ExitCause::Exited);
            }
        });
    }

    /// A node does not answer any more, for this reason: its pods become unready and it gets no new ones.
    pub fn node_not_ready(&self, node: &str, reason: &str) {
        self.set_trouble(node, Some(reason.to_owned()));
    }

    /// A node answers again.
    pub fn node_ready(&self, node: &str) {
        self.set_trouble(node, None);
    }

    fn set_trouble(&self, name: &str, trouble: Option<String>) {
        self.world.with(|state| {
            if let Some(node) = state.nodes.get_mut(name) {
                node.trouble = trouble.clone();
            }
            state.note(Act::Node {
                name: name.to_owned(),
                ready: trouble.is_none(),
            });
            state.nodes_changed();
            let pods: Vec<PodId> = state
                .pods
                .values()
                .filter(|pod| pod.node.as_deref() == Some(name))
                .map(|pod| pod.id.clone())
                .collect();
            for pod in pods {
                state.reassess(&pod);
            }
        });
    }

    /// The control plane's process dies: the engine answers nothing more and its watchers end. Pods run on.
    pub fn crash_engine(&self) {
        self.world.with(|state| {
            state.note(Act::EngineCrashed);
            state.stand_up();
        });
    }

    /// Pods as they are, whatever an engine was told.
    #[must_use]
    pub fn pods(&self) -> Vec<ObservedPod> {
        self.world
            .with(|state| state.pods.values().map(|pod| pod.observed()).collect())
    }

    /// The one pod that is in this phase, if there is just one.
    #[must_use]
    pub fn only(&self, phase: PodPhase) -> Option<PodId> {
        let mut pods = self
            .pods()
            .into_iter()
            .filter(|pod| pod.status.phase == phase);
        let first = pods.next()?;
        pods.next().is_none().then_some(first.id)
    }

    /// What the images of a project's pods are pulled with.
    #[must_use]
    pub fn pull_credentials(&self, project: &ProjectName) -> Option<PullCredentials> {
        self.world.with(|state| state.pulls.get(project).cloned())
    }

    /// Names of networks and volumes that exist: what a test of leaks looks at.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        self.world.with(|state| {
            let networks = state
                .networks
                .keys()
                .map(|project| format!("network {project}"));
            let volumes = state
                .volumes
                .keys()
                .map(|(project, volume)| format!("volume {project}/{volume}"));
            let pods = state.pods.keys().map(|pod| format!("pod {pod}"));
            networks.chain(volumes).chain(pods).collect()
        })
    }

    /// What happened.
    #[must_use]
    pub fn journal(&self) -> Vec<Entry> {
        self.world.with(|state| state.journal.all())
    }

    /// What happened, one thing a line, each with its second since the world began.
    #[must_use]
    pub fn journal_text(&self) -> String {
        let lines: Vec<String> = self.journal().iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    /// Forgets what happened so far.
    pub fn clear_journal(&self) {
        self.world.with(|state| state.journal.clear());
    }

    /// Laws that were broken so far, each in words. A test ends with `assert!(violations.is_empty())`.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.world.with(|state| state.violations.clone())
    }
}

impl State {
    /// The image of this reference, by name, pinned name or id.
    pub(super) fn find_image(&self, reference: &str) -> Option<&SimImage> {
        let pinned = reference
            .rsplit_once('@')
            .map_or(reference, |(_, digest)| digest);
        self.images
            .get(reference)
            .or_else(|| self.images.values().find(|image| image.id == pinned))
    }

    pub(super) fn find_image_mut(&mut self, reference: &str) -> Option<&mut SimImage> {
        let key = self.find_image(reference)?.reference.clone();
        self.images.get_mut(&key)
    }
}
