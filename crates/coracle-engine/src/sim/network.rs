//! Where pods are: their project's network with their address, and their node.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use coracle_model::name::ProjectName;
use coracle_model::node::{Scheduling, cordoned_reason};
use coracle_model::workload::{PodId, WorkloadId};

use super::journal::Act;
use super::pod::Life;
use super::state::{Network, State};
use crate::error::EngineError;

const FIRST_HOST: u8 = 2;
const LAST_HOST: u8 = 254;

impl State {
    pub(super) fn take_address(&mut self, id: &PodId) -> Option<IpAddr> {
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
    pub(super) fn ensure_network(&mut self, project: &ProjectName) -> Option<()> {
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

    /// The node that a new pod of a workload comes to: the ready and open one with the fewest pods of it, then with
    /// the fewest at all (laws 8 and 9). In words, why there is none.
    pub(super) fn free_node(&self, workload: &WorkloadId) -> Result<String, String> {
        let pods_on = |name: &str| {
            let on = self
                .pods
                .values()
                .filter(|pod| pod.node.as_deref() == Some(name));
            let of_it = on.clone().filter(|pod| pod.made_from.id == *workload);
            (of_it.count(), on.count())
        };
        let ready: Vec<(&String, Scheduling)> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.trouble.is_none())
            .map(|(name, node)| (name, node.scheduling))
            .collect();
        let open = ready.iter().filter(|(_, may)| *may == Scheduling::Open);
        match open.min_by_key(|(name, _)| pods_on(name)) {
            Some((name, _)) => Ok((*name).clone()),
            None if ready.is_empty() => Err("no node is ready".to_owned()),
            None => Err(cordoned_reason(ready.iter().map(|(name, _)| name.as_str()))),
        }
    }

    /// Tells a node whether it gets new pods; those that waited for one look again.
    pub(super) fn schedule_on(&mut self, name: &str, may: Scheduling) -> Result<(), EngineError> {
        let Some(node) = self.nodes.get_mut(name) else {
            return Err(EngineError::NoSuchNode(name.to_owned()));
        };
        if node.scheduling == may {
            return Ok(());
        }
        node.scheduling = may;
        self.note(match may {
            Scheduling::Open => Act::Uncordoned(name.to_owned()),
            Scheduling::Cordoned => Act::Cordoned(name.to_owned()),
        });
        self.nodes_changed();
        if may == Scheduling::Open {
            let homeless: Vec<PodId> = self
                .pods
                .values()
                .filter(|pod| pod.node.is_none() && pod.stopping.is_none())
                .map(|pod| pod.id.clone())
                .collect();
            for pod in homeless {
                self.live(&pod, Life::Begin);
            }
        }
        Ok(())
    }

    pub(super) fn node_works(&self, name: Option<&str>) -> bool {
        name.and_then(|name| self.nodes.get(name))
            .is_none_or(|node| node.trouble.is_none())
    }
}
