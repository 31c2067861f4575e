//! Where pods are: their project's network with their address, and their node.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use coracle_model::name::ProjectName;
use coracle_model::workload::PodId;

use super::state::{Network, State};

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

    pub(super) fn free_node(&self) -> Option<String> {
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

    pub(super) fn node_works(&self, name: Option<&str>) -> bool {
        name.and_then(|name| self.nodes.get(name))
            .is_none_or(|node| node.trouble.is_none())
    }
}
