//! What simulated pods and nodes use: one percent of a processor and the same memory each, since their last start.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_model::usage::{Processor, Reading, Total};

use super::engine::POD_MEMORY;
use super::pod::Stage;
use super::state::State;
use crate::usage::EngineUsage;

/// Of each second that a pod runs, the part that it has a processor.
const SHARE: u32 = 100;

impl State {
    /// What everything uses now.
    pub(super) fn usage(&self) -> EngineUsage {
        let now = self.wall();
        let mut on: BTreeMap<&str, u32> =
            self.nodes.keys().map(|name| (name.as_str(), 0)).collect();
        let mut pods = Vec::new();
        for pod in self.pods.values().filter(|pod| pod.stage == Stage::Running) {
            if let Some(count) = pod.node.as_deref().and_then(|node| on.get_mut(node)) {
                *count += 1;
            }
            let began = pod.started.unwrap_or(now);
            let ran = (now - began).to_std().unwrap_or_default();
            let reading = Reading {
                cpu: Some(Processor::Time(total(self.now, ran / SHARE))),
                memory_bytes: Some(POD_MEMORY),
                memory_limit_bytes: pod.made_from.template.resources.memory.map(|limit| limit.0),
                ..Reading::default()
            };
            pods.push((pod.id.clone(), reading));
        }
        let nodes = on.into_iter().map(|(name, pods)| {
            let reading = Reading {
                cpu: Some(Processor::Cores(f64::from(pods) / f64::from(SHARE))),
                memory_bytes: Some(POD_MEMORY * u64::from(pods)),
                ..Reading::default()
            };
            (name.to_owned(), reading)
        });
        EngineUsage {
            nodes: nodes.collect(),
            pods,
        }
    }
}

fn total(at: Duration, used: Duration) -> Total {
    Total {
        at,
        amount: u64::try_from(used.as_nanos()).unwrap_or(u64::MAX),
    }
}
