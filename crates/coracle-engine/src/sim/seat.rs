//! The life of an engine on a world: what a new one finds, and what is lost with one that dies.

use coracle_model::workload::PodId;
use tokio::sync::broadcast;

use super::journal::Act;
use super::pod::{Signal, Stage};
use super::state::{Daemon, State};
use super::watch::Seat;

impl State {
    /// A new engine's process: no wishes, and all that exists is known.
    pub(super) fn sit_down(&mut self) -> u64 {
        if self.seat.is_some() {
            self.note(Act::EngineCrashed);
            self.stand_up();
        }
        self.seats += 1;
        let (events, _) = broadcast::channel(self.config.watch_buffer.max(1));
        self.seat = Some(Seat {
            number: self.seats,
            wishes: Default::default(),
            told: Default::default(),
            nodes: Default::default(),
            events,
            synced: self.daemon == Daemon::Up,
        });
        self.note(Act::EngineStarted);
        self.changed_all();
        self.seats
    }

    /// The engine's process dies. What was only in its memory is lost: wishes, pods that were not made yet, and stops
    /// whose signal was not sent.
    pub(super) fn stand_up(&mut self) {
        self.seat = None;
        self.touched.clear();
        let unmade: Vec<PodId> = self
            .pods
            .values()
            .filter(|pod| matches!(pod.stage, Stage::Planned(_)))
            .map(|pod| pod.id.clone())
            .collect();
        for pod in unmade {
            self.remove_pod(&pod);
        }
        let mut kept = Vec::new();
        for pod in self.pods.values_mut() {
            if pod
                .stopping
                .as_ref()
                .is_some_and(|s| s.signal == Signal::None)
            {
                (pod.stopping, pod.stop) = (None, None);
                kept.push(pod.id.clone());
            }
        }
        for pod in kept {
            self.reassess(&pod);
        }
    }
}
