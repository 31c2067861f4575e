//! What probes find out about a pod, in the time that they take for it.
//!
//! Nothing polls: when something changes that a probe would notice, the moment of noticing is computed.

use std::time::Duration;

use coracle_model::release::Health;
use coracle_model::workload::PodId;

use super::journal::Act;
use super::pod::{Probe, Readiness, Stage, Then};
use super::state::State;

impl State {
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
}

fn fails_after(health: &Health, times: u32) -> Duration {
    health.interval.0 * health.failures.max(1) * times
}
