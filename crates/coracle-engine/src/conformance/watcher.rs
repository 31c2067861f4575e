//! Waiting for something to be observed, within a bound.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use coracle_model::name::PodName;
use coracle_model::node::Node;
use coracle_model::pod::PodPhase;
use coracle_model::workload::{ObservedPod, PodId, WorkloadId};
use futures::stream::{BoxStream, StreamExt as _};
use tokio::time::Instant;

use crate::engine::{Engine, EngineEvent};

/// What a watcher saw up to now.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Pods that exist.
    pub pods: BTreeMap<PodId, ObservedPod>,
    /// Nodes that exist.
    pub nodes: BTreeMap<String, Node>,
    /// Was everything told that existed at first?
    pub synced: bool,
}

impl Seen {
    /// Pods of one workload, by name.
    #[must_use]
    pub fn of(&self, workload: &WorkloadId) -> Vec<&ObservedPod> {
        let mine = |pod: &&ObservedPod| pod.workload == *workload;
        self.pods.values().filter(mine).collect()
    }

    /// Pods of one workload that are in this phase.
    #[must_use]
    pub fn in_phase(&self, workload: &WorkloadId, phase: PodPhase) -> Vec<&ObservedPod> {
        let mut pods = self.of(workload);
        pods.retain(|pod| pod.status.phase == phase);
        pods
    }

    /// The pods of a workload, if there are just `count` and all are in this phase.
    #[must_use]
    pub fn all_in(
        &self,
        workload: &WorkloadId,
        count: usize,
        phase: PodPhase,
    ) -> Option<Vec<ObservedPod>> {
        let pods = self.of(workload);
        let fits = pods.len() == count && pods.iter().all(|pod| pod.status.phase == phase);
        fits.then(|| pods.into_iter().cloned().collect())
    }

    /// The pod of this name in a workload's project.
    #[must_use]
    pub fn named(&self, workload: &WorkloadId, name: &PodName) -> Option<&ObservedPod> {
        self.pods.get(&PodId {
            project: workload.project.clone(),
            name: name.clone(),
        })
    }

    fn take(&mut self, event: &EngineEvent) {
        match event {
            EngineEvent::Pod(pod) => {
                self.check(pod);
                self.pods.insert(pod.id.clone(), pod.clone());
            }
            EngineEvent::PodGone(id) => {
                self.pods.remove(id);
            }
            EngineEvent::Node(node) => {
                let node = Node::clone(node);
                self.nodes.insert(node.metadata.name.clone(), node);
            }
            EngineEvent::NodeGone(name) => {
                self.nodes.remove(name);
            }
            EngineEvent::Reset => *self = Self::default(),
            EngineEvent::Synced => self.synced = true,
        }
    }

    /// Law 7 holds at every moment, so every watcher checks it.
    fn check(&self, pod: &ObservedPod) {
        let Some(address) = pod.status.address else {
            return;
        };
        for other in self.pods.values() {
            let same = other.id == pod.id;
            let shared = other.status.address == Some(address);
            assert!(
                same || !shared,
                "{} and {} share {address}",
                pod.id,
                other.id
            );
            if same && other.created == pod.created {
                let before = other.status.address.unwrap_or(address);
                assert_eq!(before, address, "{} changed its address", pod.id);
            }
        }
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for pod in self.pods.values() {
            let status = &pod.status;
            // Writing to a String does not fail.
            let _written = writeln!(
                text,
                "  {} generation {} {:?} restarts {} exit {:?} reason {:?}",
                pod.id, pod.generation, status.phase, status.restarts, status.exit, status.reason
            );
        }
        text
    }
}

/// A watch that remembers what it saw.
pub struct Watcher {
    events: BoxStream<'static, EngineEvent>,
    seen: Seen,
    patience: Duration,
    /// Every event so far.
    pub history: Vec<EngineEvent>,
}

impl Watcher {
    /// Begins to watch; each wait is at most `patience` long.
    #[must_use]
    pub fn on(engine: &dyn Engine, patience: Duration) -> Self {
        Self {
            events: engine.watch(),
            seen: Seen::default(),
            patience,
            history: Vec::new(),
        }
    }

    /// What was seen up to now.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The next event, if it comes in time; panics when the watch ended.
    pub async fn next(&mut self, what: &str) -> EngineEvent {
        match tokio::time::timeout(self.patience, self.events.next()).await {
            Ok(Some(event)) => {
                self.seen.take(&event);
                self.history.push(event.clone());
                event
            }
            Ok(None) => panic!("the watch ended while waiting until {what}"),
            Err(_elapsed) => panic!(
                "waited {:?} in vain until {what}; seen:\n{}",
                self.patience,
                self.seen.describe()
            ),
        }
    }

    /// Waits until `find` finds something in what was seen. Nothing is looked at before all was told (`Synced`).
    pub async fn until<T>(&mut self, what: &str, mut find: impl FnMut(&Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + self.patience;
        loop {
            if self.seen.synced
                && let Some(found) = find(&self.seen)
            {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "waited {:?} in vain until {what}; seen:\n{}",
                self.patience,
                self.seen.describe()
            );
            self.next(what).await;
        }
    }
}

/// Watches `engine` from now on until `find` finds something, at most for `within`; panics then.
pub async fn until<T>(
    engine: &dyn Engine,
    what: &str,
    within: Duration,
    find: impl FnMut(&Seen) -> Option<T>,
) -> T {
    Watcher::on(engine, within).until(what, find).await
}
