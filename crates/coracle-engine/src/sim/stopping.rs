//! How a pod ends: by itself, by a wish, or by somebody outside.

use std::time::Duration;

use coracle_model::pod::{Exit, ExitCause};
use coracle_model::workload::PodId;
use coracle_task::Backoff;

use super::journal::Act;
use super::pod::{Life, Readiness, Signal, Stage, Stop, Stopping, Then, ended};
use super::state::State;

/// Exit status of a command that SIGTERM ended.
const TERMINATED: i64 = 143;
/// Exit status of a command that SIGKILL ended.
pub(super) const KILLED: i64 = 137;

impl State {
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
            (Readiness::NotYet, _) | (_, Some(_)) => Duration::ZERO,
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
}
