//! Which pod a connection goes to.
//!
//! Theory of operation: of the pods that are meant (of one process, and with the port declared, unless any port is meant)
//! the one that was chosen last, while it is ready: what a person looks into by several connections is one pod. Else one
//! that is ready, of the newest release; else one that runs, because a program that is not ready is what one looks into.

use std::collections::BTreeSet;

use coracle_client::connect::Ports;
use coracle_model::name::ProcessName;
use coracle_model::pod::{Pod, PodPhase};

/// What a connection is to reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Of this process only.
    pub(super) process: Option<&'a ProcessName>,
    /// This port.
    pub(super) port: u16,
    /// Declared, or any.
    pub(super) ports: Ports,
    /// The pod that was chosen last.
    pub(super) last: Option<&'a str>,
}

/// Why there is no pod for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoPod {
    /// None runs now.
    NotRunning,
    /// None declares the port; these are declared.
    NotDeclared(BTreeSet<u16>),
    /// Pods of several processes are meant alike.
    Ambiguous(BTreeSet<ProcessName>),
}

/// The pod for a connection.
pub(super) fn choose<'p>(pods: &'p [Pod], wanted: &Wanted<'_>) -> Result<&'p Pod, NoPod> {
    let of_process = |pod: &&Pod| {
        let named = |process| pod.spec.process.as_ref() == Some(process);
        !pod.status.phase.is_ended() && wanted.process.is_none_or(named)
    };
    let pods: Vec<&Pod> = pods.iter().filter(of_process).collect();
    if pods.is_empty() {
        return Err(NoPod::NotRunning);
    }
    let declares = |pod: &&&Pod| pod.spec.port == Some(wanted.port);
    let mut meant: Vec<&Pod> = pods.iter().filter(declares).copied().collect();
    if meant.is_empty() {
        if wanted.ports == Ports::Declared {
            return Err(NoPod::NotDeclared(
                pods.iter().filter_map(|pod| pod.spec.port).collect(),
            ));
        }
        meant = pods;
    }
    // What belongs to no process is a one-off command, or the only one of its name.
    if meant.iter().any(|pod| pod.spec.process.is_some()) {
        meant.retain(|pod| pod.spec.process.is_some());
    }
    let processes: BTreeSet<&ProcessName> = meant
        .iter()
        .filter_map(|pod| pod.spec.process.as_ref())
        .collect();
    if processes.len() > 1 {
        if !processes.iter().any(|process| process.is_web()) {
            return Err(NoPod::Ambiguous(processes.into_iter().cloned().collect()));
        }
        meant.retain(|pod| pod.spec.process.as_ref().is_some_and(ProcessName::is_web));
    }
    meant
        .into_iter()
        .filter(|pod| suitability(pod.status.phase) > 0)
        .max_by_key(|pod| {
            let ready = suitability(pod.status.phase);
            let last = wanted.last == Some(pod.metadata.name.as_str());
            (ready, last, pod.spec.release)
        })
        .ok_or(NoPod::NotRunning)
}

/// The more, the better; nothing listens where it is 0.
const fn suitability(phase: PodPhase) -> u8 {
    match phase {
        PodPhase::Ready => 3,
        PodPhase::Unready => 2,
        PodPhase::Starting => 1,
        PodPhase::Pending | PodPhase::Stopping | PodPhase::Exited | PodPhase::Failed => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, process: &str, port: Option<u16>, release: u32, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "kind": "Pod",
            "metadata": {"name": name, "project": "default", "uid": "u", "revision": 1,
                "created": "2026-01-01T00:00:00Z"},
            "spec": {"image": "x", "app": "shop", "process": process, "port": port,
                "release": release},
            "status": {"phase": phase, "restarts": 0},
        }))
        .unwrap()
    }

    const fn wanted(port: u16) -> Wanted<'static> {
        Wanted {
            process: None,
            port,
            ports: Ports::Declared,
            last: None,
        }
    }

    fn chosen(pods: &[Pod], wanted: &Wanted<'_>) -> Result<String, NoPod> {
        choose(pods, wanted).map(|pod| pod.metadata.name.clone())
    }

    #[test]
    fn a_pod_is_kept_while_it_is_ready_and_left_when_it_stops() {
        let pods = |old, new| {
            [
                pod("old", "web", Some(80), 1, old),
                pod("new", "web", Some(80), 2, new),
            ]
        };
        let last = Wanted {
            last: Some("old"),
            ..wanted(80)
        };
        for (old, new, name) in [
            ("ready", "starting", Ok("old")),
            ("ready", "ready", Ok("old")),
            ("unready", "ready", Ok("new")),
            ("stopping", "ready", Ok("new")),
            ("stopping", "starting", Ok("new")),
            ("stopping", "pending", Err(NoPod::NotRunning)),
            ("exited", "failed", Err(NoPod::NotRunning)),
        ] {
            let name = name.map(str::to_owned);
            assert_eq!(chosen(&pods(old, new), &last), name, "{old} {new}");
        }
        assert_eq!(chosen(&pods("ready", "ready"), &wanted(80)).unwrap(), "new");
    }

    #[test]
    fn the_port_says_which_process_is_meant() {
        let pods = [
            pod("web", "web", Some(80), 1, "ready"),
            pod("db", "db", Some(5432), 1, "ready"),
            pod("work", "worker", None, 1, "ready"),
        ];
        assert_eq!(chosen(&pods, &wanted(5432)).unwrap(), "db");
        let declared = BTreeSet::from([80, 5432]);
        assert_eq!(
            chosen(&pods, &wanted(9229)),
            Err(NoPod::NotDeclared(declared))
        );
        let any = Wanted {
            ports: Ports::Any,
            ..wanted(9229)
        };
        assert_eq!(chosen(&pods, &any).unwrap(), "web");
        let worker: ProcessName = "worker".parse().unwrap();
        let any = Wanted {
            process: Some(&worker),
            ..any
        };
        assert_eq!(chosen(&pods, &any).unwrap(), "work");
        let same = [
            pod("a", "api", Some(80), 1, "ready"),
            pod("b", "admin", Some(80), 1, "ready"),
        ];
        let processes = ["admin", "api"].map(|name| name.parse().unwrap());
        assert_eq!(
            chosen(&same, &wanted(80)),
            Err(NoPod::Ambiguous(processes.into()))
        );
    }
}
