//! What it costs to remember.

use std::time::Duration;

use coracle_model::name::PodName;
use coracle_model::pod::{PodPhase, PodStatus};
use coracle_model::usage::{Processor, Reading, Total};
use coracle_model::workload::{Owner, WorkloadId};

use super::*;

const PODS: u64 = 200;
const APPS: u64 = 20;

fn pod(n: u64) -> Arc<ObservedPod> {
    let project = ProjectName::default_project();
    let name = PodName::new(format!("app-{}-{n}", n % APPS)).unwrap();
    Arc::new(ObservedPod {
        id: PodId {
            project: project.clone(),
            name: name.clone(),
        },
        workload: WorkloadId { project, name },
        generation: 1,
        owner: Owner {
            app: Some(AppName::new(format!("app-{}", n % APPS)).unwrap()),
            ..Owner::default()
        },
        image: "i:1".to_owned(),
        port: None,
        created: DateTime::UNIX_EPOCH,
        status: PodStatus {
            phase: PodPhase::Ready,
            ..PodStatus::default()
        },
    })
}

fn reading(step: u64) -> Reading {
    let total = |amount| {
        Some(Total {
            at: Duration::from_secs(15 * step),
            amount,
        })
    };
    Reading {
        cpu: total(step * 1_000_000).map(Processor::Time),
        memory_bytes: Some(step),
        memory_limit_bytes: Some(1 << 30),
        network_in: total(step),
        network_out: total(step),
        disk_bytes: None,
    }
}

/// The number that a line of a file in `/proc` has.
fn of_proc(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    let mut numbers = line.split_ascii_whitespace();
    numbers.find_map(|word| word.parse().ok()).unwrap()
}

/// Run by hand: a day of 200 pods, in memory and in processor time of this thread.
#[test]
#[ignore = "measures"]
fn the_cost_of_a_day_of_200_pods() {
    let pods: Vec<_> = (0..PODS).map(pod).collect();
    let history = UsageHistory::default();
    let resident = || of_proc("/proc/self/status", "VmRSS:");
    let on_processor = || of_proc("/proc/thread-self/schedstat", "");
    let (before, began) = (resident(), on_processor());
    let day = 24 * 3600 / 15;
    for step in 0..day {
        let read = EngineUsage {
            pods: pods
                .iter()
                .map(|pod| (pod.id.clone(), reading(step)))
                .collect(),
            nodes: Vec::new(),
        };
        let seen = Seen {
            pods: pods.clone(),
            nodes: Vec::new(),
            gateways: BTreeMap::new(),
        };
        let at = DateTime::from_timestamp(i64::try_from(1_000_000 + 15 * step).unwrap(), 0);
        history.take(at.unwrap(), &read, seen);
        if step == 0 || step == 240 {
            println!("after {step} samples: {} kB more", resident() - before);
        }
    }
    println!("after {day} samples: {} kB more", resident() - before);
    let each = Duration::from_nanos((on_processor() - began) / day);
    println!("{each:?} of a processor for a sample of {PODS} pods");
}
