//! What all pods and the machine use, read from the kernel's files.
//!
//! Theory of operation: whoever samples asks every few seconds, for all pods. The daemon would take a request for each, and
//! some milliseconds of its own: so its containers' control groups are read, which it and the kernel keep under
//! `/sys/fs/cgroup`, and the counters of their networks, which each of their processes shows in `/proc`. Which control group
//! is a container's, its first process tells: so it does not matter which version of control groups there is, and who laid
//! them out (Docker itself, or systemd). A process that is not in a group of that container's id is somebody else's by now,
//! and nothing is told. Where the daemon runs elsewhere, in a virtual machine of its own, there is nothing to read, and
//! pods are left out.

mod files;

use std::sync::Arc;
use std::time::Duration;

use coracle_engine::{EngineError, EngineUsage};
use coracle_model::usage::{Processor, Reading, Total};
use coracle_model::workload::PodId;
use tokio::sync::OnceCell;

use crate::client::engine_error;
use crate::container::ContainerState;
use crate::node;
use crate::state::{Core, State};
use files::Files;

/// The kernel counts a processor's time in hundredths of a second, wherever it tells programs of it.
const TICK: Duration = Duration::from_millis(10);

/// So many pods are read in less than a millisecond or two.
const FEW: usize = 32;

/// Where the daemon keeps its data: it does not change while it runs.
#[derive(Debug, Default)]
pub(crate) struct Places {
    root: OnceCell<Option<String>>,
}

/// A pod that runs.
struct Target {
    pod: PodId,
    container: String,
    process: u32,
    memory_limit: Option<u64>,
}

fn targets(state: &State) -> Vec<Target> {
    let target = |(id, pod): (&PodId, &crate::pod::Pod)| {
        let container = pod.container.as_ref()?;
        (container.state == ContainerState::Running).then_some(())?;
        Some(Target {
            pod: id.clone(),
            container: container.id.clone(),
            process: container.process?,
            memory_limit: container.memory_limit,
        })
    };
    state.pods.iter().filter_map(target).collect()
}

pub(crate) async fn usage(core: &Arc<Core>) -> Result<EngineUsage, EngineError> {
    let (targets, node) = core.with(|state| {
        let node = state.node.as_ref().map(|node| node.metadata.name.clone());
        (targets(state), node)
    });
    let root = root(core).await?;
    let few = targets.len() <= FEW;
    let read = move || {
        let mut files = Files::of_this_machine();
        EngineUsage {
            nodes: node
                .map(|name| (name, machine(&mut files, root.as_deref())))
                .into_iter()
                .collect(),
            pods: pods(&mut files, targets),
        }
    };
    // The files are the kernel's own and take microseconds each: for a few of them no thread is begun, which would have
    // to be begun again for each look.
    if few {
        return Ok(read());
    }
    let read = coracle_task::blocking_with((), read).await;
    read.map_err(|error| EngineError::Failed {
        message: "the machine's figures could not be read".to_owned(),
        source: Some(Box::new(error)),
    })
}

/// The daemon's own folder. Asked for once; while the daemon is away, the disk is left out.
async fn root(core: &Core) -> Result<Option<String>, EngineError> {
    let ask = || async {
        let docker = core.client.docker().await?;
        let info = docker.info().await.map_err(engine_error)?;
        Ok::<_, EngineError>(info.docker_root_dir)
    };
    match core.places.root.get_or_try_init(ask).await {
        Ok(root) => Ok(root.clone()),
        Err(EngineError::Unavailable(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn pods(files: &mut Files, targets: Vec<Target>) -> Vec<(PodId, Reading)> {
    let read = |target: Target| {
        let mut reading = files.container(&target.container, target.process)?;
        reading.memory_limit_bytes = target.memory_limit;
        Some((target.pod, reading))
    };
    targets.into_iter().filter_map(read).collect()
}

/// What the whole machine uses.
fn machine(files: &mut Files, root: Option<&str>) -> Reading {
    let busy = files.proc("stat").and_then(|stat| {
        let (busy, _all) = node::ticks(stat.lines().next()?)?;
        busy.checked_mul(u64::try_from(TICK.as_nanos()).ok()?)
    });
    let at = files.now();
    let memory_bytes = files.proc("meminfo").and_then(node::memory_used);
    let network = files.machine_network();
    Reading {
        cpu: busy.map(|amount| Processor::Time(Total { at, amount })),
        memory_bytes,
        memory_limit_bytes: None,
        network_in: network.map(|(received, _)| Total {
            at,
            amount: received,
        }),
        network_out: network.map(|(_, sent)| Total { at, amount: sent }),
        disk_bytes: root.and_then(node::disk_used),
    }
}

#[cfg(test)]
mod tests;
