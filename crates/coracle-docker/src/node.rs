//! The machine: what Docker says of it, and what the kernel says of its use.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bollard::models::SystemInfo;
use chrono::Utc;
use coracle_engine::EngineError;
use coracle_model::node::{AddressScope, Node, NodeAddress, NodeResources, NodeSpec, NodeStatus};
use coracle_model::object::{Kind, Metadata};
use tokio::time::Instant;

use crate::client::engine_error;
use crate::container::Init;
use crate::state::Core;

/// Use of processors is averaged over at least this time.
const SHORTEST_SAMPLE: Duration = Duration::from_millis(100);

/// Does the daemon have an init process? It runs on this machine; Debian packages it apart.
pub(crate) fn init() -> Init {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/usr/local/bin", "/usr/libexec/docker"].map(Into::into);
    let found = std::env::split_paths(&path)
        .chain(usual)
        .any(|folder| folder.join("docker-init").exists());
    if found { Init::Yes } else { Init::No }
}

/// The node as Docker describes it.
pub(crate) fn of_info(info: &SystemInfo, pods: u32) -> Node {
    let disk = info.docker_root_dir.as_deref().and_then(disk);
    Node {
        kind: Kind::Node,
        metadata: Metadata {
            name: info.name.clone().unwrap_or_else(|| "docker".to_owned()),
            project: None,
            uid: info.id.clone().unwrap_or_default(),
            revision: 0,
            created: Utc::now(),
            deleting: None,
        },
        spec: NodeSpec::default(),
        status: NodeStatus {
            ready: true,
            reason: None,
            address: None,
            capacity: NodeResources {
                cpu: whole(info.ncpu),
                memory_bytes: info
                    .mem_total
                    .and_then(|m| u64::try_from(m).ok())
                    .unwrap_or_default(),
                disk_bytes: disk.map(|d| d.total),
                pods: None,
            },
            used: None,
            pods,
            os: info.operating_system.clone().unwrap_or_default(),
            kernel: info.kernel_version.clone().unwrap_or_default(),
            architecture: architecture(info.architecture.as_deref().unwrap_or_default()).to_owned(),
            runtime: format!(
                "docker {}",
                info.server_version.as_deref().unwrap_or_default()
            ),
            addresses: info
                .name
                .iter()
                .map(|name| NodeAddress {
                    scope: AddressScope::Hostname,
                    address: name.clone(),
                })
                .collect(),
            labels: labels(info.labels.as_deref().unwrap_or_default()),
            ..NodeStatus::default()
        },
    }
}

/// Labels of the daemon (`dockerd --label`), each `key=value`.
fn labels(labels: &[String]) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|label| label.split_once('=').unwrap_or((label, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// As image manifests call it.
fn architecture(kernel: &str) -> &str {
    match kernel {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a number of processors is a small whole number"
)]
fn whole(number: Option<i64>) -> f64 {
    number.unwrap_or_default() as f64
}

#[derive(Clone, Copy, Debug)]
struct Disk {
    total: u64,
    used: u64,
}

/// The size of the disk that a folder is on.
pub(crate) fn disk_bytes(folder: &Path) -> Option<u64> {
    disk(folder.to_str()?).map(|disk| disk.total)
}

/// Bytes in use of the disk that a folder is on.
pub(crate) fn disk_used(folder: &str) -> Option<u64> {
    disk(folder).map(|disk| disk.used)
}

fn disk(path: &str) -> Option<Disk> {
    let stat = rustix::fs::statvfs(Path::new(path)).ok()?;
    let total = stat.f_blocks.checked_mul(stat.f_frsize)?;
    let free = stat.f_bfree.checked_mul(stat.f_frsize)?;
    Some(Disk {
        total,
        used: total.saturating_sub(free),
    })
}

/// Processor time of the machine at a moment, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessorSample {
    at: Instant,
    busy: u64,
    all: u64,
}

fn processor_sample() -> Option<ProcessorSample> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let (busy, all) = ticks(stat.lines().next()?)?;
    Some(ProcessorSample {
        at: Instant::now(),
        busy,
        all,
    })
}

/// Busy and all ticks of the first line of `/proc/stat`.
pub(crate) fn ticks(line: &str) -> Option<(u64, u64)> {
    let numbers: Vec<u64> = line
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        // Guests' time is part of the users' already.
        .take(8)
        .map_while(|n| n.parse().ok())
        .collect();
    let all: u64 = numbers.iter().sum();
    let idle = numbers.get(3)? + numbers.get(4)?;
    Some((all - idle, all))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ticks between two looks are far below 2^52"
)]
fn share(before: ProcessorSample, now: ProcessorSample) -> Option<f64> {
    let all = now.all.checked_sub(before.all).filter(|d| *d > 0)?;
    Some(now.busy.saturating_sub(before.busy) as f64 / all as f64)
}

/// Used memory of `/proc/meminfo`, in bytes.
pub(crate) fn memory_used(meminfo: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(name))?;
        let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    };
    field("MemTotal:")?.checked_sub(field("MemAvailable:")?)
}

/// The node with its use.
pub(crate) async fn nodes(core: &Core) -> Result<Vec<Node>, EngineError> {
    let docker = core.client.docker().await?;
    let info = docker.info().await.map_err(engine_error)?;
    let running = core.with(|state| state.running());
    let mut node = of_info(&info, running);
    let share = processor_share(core).await.unwrap_or_default();
    let disk = info.docker_root_dir.as_deref().and_then(disk);
    let memory = tokio::fs::read_to_string("/proc/meminfo").await;
    node.status.used = Some(NodeResources {
        cpu: share * node.status.capacity.cpu,
        memory_bytes: memory
            .ok()
            .and_then(|m| memory_used(&m))
            .unwrap_or_default(),
        disk_bytes: disk.map(|d| d.used),
        pods: Some(running),
    });
    core.with(|state| {
        node.spec.scheduling = state.scheduling;
        node.status.pod_subnets = state.pod_subnets();
        if let Some(known) = &state.node {
            node.metadata.created = known.metadata.created;
        }
    });
    Ok(vec![node])
}

/// The share of the machine's processors in use since the last time that somebody asked.
async fn processor_share(core: &Core) -> Option<f64> {
    let exchange = |new| {
        let mut kept = core
            .processor_sample
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.replace(new)
    };
    let mut now = processor_sample()?;
    let before = exchange(now);
    let before = match before {
        Some(before) if now.at.duration_since(before.at) >= SHORTEST_SAMPLE => before,
        _ => {
            let first = now;
            tokio::time::sleep(SHORTEST_SAMPLE).await;
            now = processor_sample()?;
            exchange(now);
            first
        }
    };
    share(before, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        assert_eq!(ticks("cpu  10 20 30 400 50 6 7 8 100 200"), Some((81, 531)));
        assert_eq!(ticks("intr 1"), None);
        let meminfo = "MemTotal:       100 kB\nMemFree: 1 kB\nMemAvailable:    40 kB\n";
        assert_eq!(memory_used(meminfo), Some(60 * 1024));
    }
}
