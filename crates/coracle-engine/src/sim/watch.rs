//! The engine's place in the world: its wishes, and who watches it.
//!
//! Theory of operation: a world outlives engines. A [`Seat`] is all that one engine has in memory; the next
//! engine gets a new one and the old one's watchers see their stream end.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_model::node::{Node, NodeResources, NodeSpec, NodeStatus};
use coracle_model::object::{Kind, Metadata};
use coracle_model::pod::PodPhase;
use coracle_model::workload::{ObservedPod, PodId, WorkloadId};
use futures::stream::BoxStream;
use tokio::sync::broadcast;

use super::Inner;
use super::state::{Daemon, State};
use crate::engine::EngineEvent;
use crate::follow::{Beginning, follow};
use crate::wish::Wish;

/// What one engine has in memory.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) number: u64,
    pub(super) wishes: BTreeMap<WorkloadId, Wish>,
    pub(super) told: BTreeMap<PodId, ObservedPod>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) events: broadcast::Sender<EngineEvent>,
    /// Everything that exists was read at least once: not before the daemon answered.
    pub(super) synced: bool,
}

impl State {
    /// Tells the watchers what became of a pod, if that is news.
    pub(super) fn changed(&mut self, id: &PodId) {
        if self.daemon == Daemon::Down {
            return;
        }
        let now = self.pods.get(id).map(super::pod::SimPod::observed);
        let Some(seat) = &mut self.seat else {
            return;
        };
        let before = match &now {
            Some(pod) => seat.told.insert(id.clone(), pod.clone()),
            None => seat.told.remove(id),
        };
        if before == now {
            return;
        }
        if let (Some(before), Some(now)) = (&before, &now)
            && before.status.address.is_some()
            && before.created == now.created
            && before.status.address != now.status.address
        {
            self.violations.push(format!("{id} changed its address"));
        }
        let event = match now {
            Some(pod) => EngineEvent::Pod(pod),
            None => EngineEvent::PodGone(id.clone()),
        };
        // No one watching is no fault.
        let _watchers = seat.events.send(event);
    }

    pub(super) fn was_told_stopping(&self, id: &PodId) -> bool {
        self.seat.as_ref().is_none_or(|seat| {
            seat.told
                .get(id)
                .is_some_and(|pod| pod.status.phase == PodPhase::Stopping)
        })
    }

    /// Tells about everything whose news was missed.
    pub(super) fn changed_all(&mut self) {
        let told = self.seat.iter().flat_map(|seat| seat.told.keys());
        let ids: std::collections::BTreeSet<PodId> =
            told.chain(self.pods.keys()).cloned().collect();
        for id in ids {
            self.changed(&id);
        }
        self.nodes_changed();
    }

    pub(super) fn nodes_changed(&mut self) {
        let nodes: BTreeMap<String, Node> = self
            .nodes
            .keys()
            .map(|name| (name.clone(), self.node(name, 0, None)))
            .collect();
        let Some(seat) = &mut self.seat else {
            return;
        };
        for (name, node) in &nodes {
            if seat.nodes.get(name) != Some(node) {
                let _watchers = seat.events.send(EngineEvent::Node(Box::new(node.clone())));
            }
        }
        for name in seat.nodes.keys().filter(|name| !nodes.contains_key(*name)) {
            let _watchers = seat.events.send(EngineEvent::NodeGone(name.clone()));
        }
        seat.nodes = nodes;
    }

    /// A node as it is reported.
    pub(super) fn node(&self, name: &str, pods: u32, used: Option<NodeResources>) -> Node {
        let node = self.nodes.get(name);
        let trouble = match self.daemon {
            Daemon::Down => Some("the daemon does not answer".to_owned()),
            Daemon::Up => node.and_then(|node| node.trouble.clone()),
        };
        Node {
            kind: Kind::Node,
            metadata: Metadata {
                name: name.to_owned(),
                project: None,
                uid: format!("node-{name}"),
                revision: 0,
                created: self.config.epoch,
                deleting: None,
            },
            spec: NodeSpec {
                scheduling: node.map(|node| node.scheduling).unwrap_or_default(),
                drain: None,
            },
            status: NodeStatus {
                ready: trouble.is_none(),
                reason: trouble,
                address: Some("127.0.0.1".to_owned()),
                capacity: node.map(|node| node.config.capacity).unwrap_or_default(),
                used,
                pods,
                os: "Simulated".to_owned(),
                kernel: "0".to_owned(),
                architecture: "amd64".to_owned(),
                runtime: "sim".to_owned(),
                ..NodeStatus::default()
            },
        }
    }

    /// Everything that exists, and a place in the broadcast behind it.
    fn begin(&self, number: u64) -> Option<Beginning> {
        let seat = self.seat.as_ref().filter(|seat| seat.number == number)?;
        let nodes = seat
            .nodes
            .values()
            .cloned()
            .map(Box::new)
            .map(EngineEvent::Node);
        let pods = seat.told.values().cloned().map(EngineEvent::Pod);
        let synced = seat.synced.then_some(EngineEvent::Synced);
        Some(Beginning {
            all: nodes.chain(pods).chain(synced).collect(),
            then: seat.events.subscribe(),
        })
    }
}

/// Law 4, for the engine with this seat. It ends when that engine's process dies.
pub(super) fn watch(world: &Arc<Inner>, number: u64) -> BoxStream<'static, EngineEvent> {
    let world = Arc::downgrade(world);
    follow(move || world.upgrade()?.with(|state| state.begin(number)))
}
