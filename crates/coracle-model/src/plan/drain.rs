//! Which stopping pods have no request in flight any more.
//!
//! Theory of operation: a stopping pod leaves the route table; a gateway that applied a table without it sends
//! it nothing new, and reports how many of its old requests are still in flight. A pod is drained when every
//! gateway that is there says both. The [`Ledger`] knows in which generation an address was last seen in the
//! table. It is memory only: after a restart the first table that is published counts, which is later than
//! needed, never earlier. Without any gateway nobody can tell, and the engine's own deadline decides.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::pod::PodPhase;
use crate::route::{GatewayReport, RouteTable, Target};
use crate::workload::{ObservedPod, PodId};

/// The most addresses that are remembered after they left the table.
const MOST_GONE: usize = 10_000;

/// Which generation of the table each address was last in.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    first: Option<u64>,
    current: u64,
    last_in: BTreeMap<SocketAddr, u64>,
}

impl Ledger {
    /// Takes note of a table that was published.
    pub fn note(&mut self, table: &RouteTable) {
        if self.first.is_some() && table.generation <= self.current {
            return;
        }
        self.first.get_or_insert(table.generation);
        self.current = table.generation;
        for route in table.routes.values() {
            if let Target::Pods { pods } = &route.target {
                for address in pods {
                    self.last_in.insert(*address, table.generation);
                }
            }
        }
        if self.last_in.len() > MOST_GONE {
            // The oldest go; an address that is not known is waited for as long as the current table.
            let oldest = self.last_in.values().min().copied().unwrap_or_default();
            self.last_in.retain(|_, last| *last > oldest);
        }
    }

    /// The first generation without the address; `None` while the table has it, or before any table.
    #[must_use]
    pub fn free_since(&self, address: SocketAddr) -> Option<u64> {
        let first = self.first?;
        match self.last_in.get(&address) {
            Some(last) if *last >= self.current => None,
            Some(last) => Some(last + 1),
            // Never seen in this process's life: it may have been in a table of the process before.
            None => Some(first),
        }
    }
}

/// Which of the stopping pods are drained. `gateways` are the last reports of those that are there.
#[must_use]
pub fn plan(ledger: &Ledger, gateways: &[GatewayReport], pods: &[&ObservedPod]) -> Vec<PodId> {
    pods.iter()
        .filter(|pod| pod.status.phase == PodPhase::Stopping)
        .filter(|pod| is_drained(ledger, gateways, pod))
        .map(|pod| pod.id.clone())
        .collect()
}

fn is_drained(ledger: &Ledger, gateways: &[GatewayReport], pod: &ObservedPod) -> bool {
    let gets_requests = pod
        .owner
        .process
        .as_ref()
        .is_some_and(crate::name::ProcessName::is_web);
    if !gets_requests {
        return true;
    }
    let (Some(address), Some(port)) = (pod.status.address, pod.port) else {
        // Nothing was ever sent to a pod without an address.
        return pod.status.address.is_none();
    };
    let address = SocketAddr::new(address, port);
    let Some(free_since) = ledger.free_since(address) else {
        return false;
    };
    !gateways.is_empty()
        && gateways.iter().all(|report| {
            report.generation >= free_since
                && report.draining.get(&address).copied().unwrap_or(0) == 0
        })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::name::{AppName, Hostname, PodName, ProcessName, ProjectName};
    use crate::pod::PodStatus;
    use crate::route::Route;
    use crate::workload::{Owner, WorkloadId};

    fn table(generation: u64, pods: &[&str]) -> RouteTable {
        let target = Target::Pods {
            pods: pods.iter().map(|pod| pod.parse().unwrap()).collect(),
        };
        let route = Route {
            project: ProjectName::default_project(),
            app: AppName::new("hello").unwrap(),
            target,
        };
        RouteTable {
            generation,
            routes: BTreeMap::from([(Hostname::new("hello.localhost").unwrap(), route)]),
        }
    }

    fn pod(phase: PodPhase, process: Option<&str>) -> ObservedPod {
        let project = ProjectName::default_project();
        let name = PodName::new("hello-web-v1-a").unwrap();
        ObservedPod {
            id: PodId {
                project: project.clone(),
                name: name.clone(),
            },
            workload: WorkloadId { project, name },
            generation: 1,
            owner: Owner {
                process: process.map(|name| ProcessName::new(name).unwrap()),
                ..Owner::default()
            },
            image: String::new(),
            port: Some(80),
            created: DateTime::UNIX_EPOCH,
            status: PodStatus {
                phase,
                address: Some("10.0.0.2".parse().unwrap()),
                ..PodStatus::default()
            },
        }
    }

    fn report(generation: u64, in_flight: u64) -> GatewayReport {
        GatewayReport {
            generation,
            draining: BTreeMap::from([("10.0.0.2:80".parse().unwrap(), in_flight)]),
            ..GatewayReport::default()
        }
    }

    fn drained(ledger: &Ledger, gateways: &[GatewayReport]) -> bool {
        !plan(ledger, gateways, &[&pod(PodPhase::Stopping, Some("web"))]).is_empty()
    }

    #[test]
    fn every_gateway_must_have_let_go() {
        let mut ledger = Ledger::default();
        assert!(
            !drained(&ledger, &[report(9, 0)]),
            "no table was published yet"
        );
        ledger.note(&table(5, &["10.0.0.2:80"]));
        assert!(!drained(&ledger, &[report(5, 0)]), "the table still has it");
        ledger.note(&table(6, &["10.0.0.3:80"]));
        assert!(!drained(&ledger, &[report(5, 0)]), "not acknowledged");
        assert!(!drained(&ledger, &[report(6, 2)]), "two in flight");
        assert!(
            !drained(&ledger, &[report(6, 0), report(5, 0)]),
            "one of two"
        );
        assert!(!drained(&ledger, &[]), "nobody can tell");
        assert!(drained(&ledger, &[report(6, 0), report(7, 0)]));
        ledger.note(&table(7, &["10.0.0.3:80", "10.0.0.4:80"]));
        assert!(
            drained(&ledger, &[report(6, 0)]),
            "6 was free of it already"
        );
    }

    #[test]
    fn after_a_restart_the_first_table_counts() {
        let mut ledger = Ledger::default();
        ledger.note(&table(1001, &["10.0.0.3:80"]));
        assert!(!drained(&ledger, &[report(7, 0)]));
        assert!(drained(&ledger, &[report(1001, 0)]));
    }

    #[test]
    fn only_web_pods_have_requests_and_only_stopping_ones_are_drained() {
        let ledger = Ledger::default();
        let worker = pod(PodPhase::Stopping, Some("worker"));
        let bare = pod(PodPhase::Stopping, None);
        let ready = pod(PodPhase::Ready, Some("worker"));
        assert_eq!(plan(&ledger, &[], &[&worker, &bare, &ready]).len(), 2);
    }
}
