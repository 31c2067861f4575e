//! What a pod uses now.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptions;
use coracle_engine::EngineError;
use coracle_model::pod::PodStats;
use coracle_model::workload::PodId;
use futures::StreamExt as _;
use tokio::time::Instant;

use crate::client::{engine_error, is_missing};
use crate::state::Core;

/// More than any machine has memory: what cgroup v1 reports when there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// Processor time of pods when they were last looked at.
#[derive(Default)]
pub(crate) struct Samples(Mutex<HashMap<PodId, (Instant, u64)>>);

impl Samples {
    /// Processors in use since the last look.
    fn exchange(&self, core: &Core, pod: &PodId, nanos: u64) -> Option<f64> {
        let now = Instant::now();
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        core.with(|state| samples.retain(|id, _| state.pods.contains_key(id)));
        let (at, before) = samples.insert(pod.clone(), (now, nanos))?;
        let passed = now.duration_since(at).as_secs_f64();
        let used = std::time::Duration::from_nanos(nanos.checked_sub(before)?).as_secs_f64();
        (passed > 0.0).then_some(used / passed)
    }
}

pub(crate) async fn stats(core: &Core, pod: &PodId) -> Result<PodStats, EngineError> {
    let running = crate::session::running(core, pod)?;
    let docker = core.client.docker().await?;
    let options = StatsOptions {
        stream: false,
        one_shot: true,
    };
    let answer = docker.stats(&running.id, Some(options)).next().await;
    match answer {
        Some(Ok(answer)) => {
            let mut stats = read(&answer);
            stats.cpu = core.samples.exchange(core, pod, stats.cpu_nanos);
            Ok(stats)
        }
        Some(Err(error)) if is_missing(&error) => Err(EngineError::NoSuchPod(pod.clone())),
        Some(Err(error)) => Err(engine_error(error)),
        None => Err(EngineError::Failed {
            message: "Docker told no figures".to_owned(),
            source: None,
        }),
    }
}

fn read(answer: &ContainerStatsResponse) -> PodStats {
    let memory = answer.memory_stats.as_ref();
    let networks = answer.networks.as_ref();
    let sum = |of: fn(&bollard::models::ContainerNetworkStats) -> Option<u64>| {
        networks.map_or(0, |n| n.values().filter_map(of).sum())
    };
    PodStats {
        cpu_nanos: answer
            .cpu_stats
            .as_ref()
            .and_then(|c| c.cpu_usage.as_ref()?.total_usage)
            .unwrap_or_default(),
        cpu: None,
        memory_bytes: memory.map(memory_used).unwrap_or_default(),
        memory_limit_bytes: memory.and_then(|m| m.limit).filter(|l| *l < NO_LIMIT),
        network_rx_bytes: sum(|n| n.rx_bytes),
        network_tx_bytes: sum(|n| n.tx_bytes),
        pids: answer
            .pids_stats
            .as_ref()
            .and_then(|p| p.current)
            .unwrap_or_default(),
    }
}

/// Without page cache that can be given up at any time: cgroup v1 calls it `total_inactive_file`, v2
/// `inactive_file`.
fn memory_used(memory: &ContainerMemoryStats) -> u64 {
    let stat = |name: &str| memory.stats.as_ref().and_then(|s| s.get(name)).copied();
    let cache = stat("total_inactive_file")
        .or_else(|| stat("inactive_file"))
        .unwrap_or_default();
    memory.usage.unwrap_or_default().saturating_sub(cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_cache_is_no_use_of_memory() {
        let memory = |name: &str| ContainerMemoryStats {
            usage: Some(100),
            stats: Some(HashMap::from([(name.to_owned(), 30)])),
            ..ContainerMemoryStats::default()
        };
        assert_eq!(memory_used(&memory("total_inactive_file")), 70);
        assert_eq!(memory_used(&memory("inactive_file")), 70);
        assert_eq!(memory_used(&memory("other")), 100);
    }
}
