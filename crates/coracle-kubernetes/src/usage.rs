//! What all pods and nodes use: each kubelet tells of its node and all pods on it in one answer.
//!
//! Theory of operation: one request per node that is ready, a few at a time, each with a short patience: a sample that comes
//! late is worth nothing. What a kubelet tells of pods that are not ours is dropped as it is read. Kubelets measure every ten
//! seconds or so, and say when: rates go by that. Nodes whose kubelet does not tell (the right to ask it was taken away) are
//! asked for at the metrics API, where there is one: two requests for all of them, and no figures of the network. A refusal is
//! remembered for some minutes: operators who have a metrics server take the right to ask kubelets away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_engine::{EngineError, EngineUsage};
use coracle_model::usage::{Processor, Reading, Total};
use coracle_model::workload::PodId;
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::time::Instant;

use crate::discovery;
use crate::facts::{MANAGED_BY, MANAGER};
use crate::object::CONTAINER;
use crate::phase;
use crate::quantity;
use crate::state::{Core, State};
use crate::stats::{self, CpuSummary, Named, NodeSummary, PodMetrics, PodSummary, Summary};

/// So many kubelets are asked at once: each answer may be a megabyte.
const AT_ONCE: usize = 4;
/// For one kubelet's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most nodes that are asked.
const MOST_NODES: usize = 1000;

/// So long kubelets are not asked that may not be, where there is somebody else to ask.
const REFUSED: Duration = Duration::from_mins(10);

/// When kubelets may be asked again.
#[derive(Debug, Default)]
pub(crate) struct Kubelets(Mutex<Option<Instant>>);

impl Kubelets {
    fn may_be_asked(&self) -> bool {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| Instant::now() >= until)
    }

    fn have_refused(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REFUSED);
    }
}

/// A pod of ours that runs.
struct Target {
    pod: PodId,
    memory_limit: Option<u64>,
}

/// By namespace and name in the cluster.
type Targets = HashMap<(String, String), Target>;

/// What was read so far.
#[derive(Default)]
struct Read {
    pods: BTreeMap<PodId, Reading>,
    nodes: BTreeMap<String, Reading>,
}

fn targets(state: &State) -> Targets {
    let pods = state.groups.values().flat_map(|group| &group.pods);
    let target = |(name, pod): (
        &String,
        &crate::group::Held<k8s_openapi::api::core::v1::Pod>,
    )| {
        phase::runs(&pod.live).then_some(())?;
        let key = (pod.live.metadata.namespace.clone()?, name.clone());
        let target = Target {
            pod: pod.facts.pod_id(name)?,
            memory_limit: phase::memory_limit(&pod.live),
        };
        Some((key, target))
    };
    pods.filter_map(target).collect()
}

pub(crate) async fn usage(core: &Arc<Core>) -> Result<EngineUsage, EngineError> {
    let (targets, nodes) = core.with(|state| {
        let ready = state.nodes.iter().filter(|(_, node)| node.status.ready);
        let names: Vec<String> = ready
            .map(|(name, _)| name.clone())
            .take(MOST_NODES)
            .collect();
        (targets(state), names)
    });
    let mut read = Read::default();
    let mut silent: BTreeSet<String> = BTreeSet::new();
    let mut failed = None;
    if !core.kubelets.may_be_asked() && discovery::metrics(core).await.unwrap_or(false) {
        silent.extend(nodes);
    } else {
        let looks = nodes.into_iter().map(|node| look(core, node));
        let mut looks = futures::stream::iter(looks).buffer_unordered(AT_ONCE);
        while let Some((node, summary)) = looks.next().await {
            match summary {
                Ok(summary) => {
                    for pod in summary.pods.into_iter().flatten() {
                        read.pod(&targets, pod);
                    }
                    read.nodes.insert(node, of_node(&summary.node));
                }
                Err(error) => {
                    tracing::debug!(node, %error, "a kubelet does not tell what is used");
                    if matches!(error, EngineError::Forbidden { .. }) {
                        core.kubelets.have_refused();
                    }
                    silent.insert(node);
                    failed = Some(error);
                }
            }
        }
    }
    if !silent.is_empty() {
        let filled = metrics(core, &targets, &silent, &mut read).await;
        // Nothing at all: whoever asked must know why.
        if read.nodes.is_empty() && read.pods.is_empty() {
            let why = filled.err().or(failed);
            return Err(why.unwrap_or(EngineError::Unsupported("figures of pods and nodes")));
        }
    }
    Ok(EngineUsage {
        pods: read.pods.into_iter().collect(),
        nodes: read.nodes.into_iter().collect(),
    })
}

/// What a node's kubelet tells, or why it does not.
async fn look(core: &Core, node: String) -> (String, Result<Summary, EngineError>) {
    let asked = tokio::time::timeout(PATIENCE, stats::summary(core, &node)).await;
    let late = |_elapsed| EngineError::Unavailable("a kubelet did not answer in time".into());
    (node, asked.map_err(late).flatten())
}

impl Read {
    fn pod(&mut self, targets: &Targets, pod: PodSummary) {
        let key = (pod.pod_ref.namespace, pod.pod_ref.name);
        let Some(target) = targets.get(&key) else {
            return;
        };
        let mut containers = pod.containers.into_iter().flatten();
        let Some(container) = containers.find(|container| container.name == CONTAINER) else {
            return;
        };
        let network = |amount| total(pod.network.time.as_deref(), amount);
        let reading = Reading {
            cpu: processor(&container.cpu),
            memory_bytes: container.memory.working_set_bytes,
            memory_limit_bytes: target.memory_limit,
            network_in: network(pod.network.rx_bytes),
            network_out: network(pod.network.tx_bytes),
            disk_bytes: None,
        };
        // A kubelet has the names of young pods before it has measured them.
        if reading.cpu.is_some() || reading.memory_bytes.is_some() {
            self.pods.insert(target.pod.clone(), reading);
        }
    }
}

fn of_node(node: &NodeSummary) -> Reading {
    let network = |amount| total(node.network.time.as_deref(), amount);
    Reading {
        cpu: processor(&node.cpu),
        memory_bytes: node.memory.working_set_bytes,
        memory_limit_bytes: None,
        network_in: network(node.network.rx_bytes),
        network_out: network(node.network.tx_bytes),
        disk_bytes: node.fs.used_bytes,
    }
}

/// A total that was measured at a moment; none without one, as no rate would follow.
fn total(time: Option<&str>, amount: Option<u64>) -> Option<Total> {
    let time: DateTime<Utc> = time?.parse().ok()?;
    let at = (time - DateTime::UNIX_EPOCH).to_std().ok()?;
    Some(Total {
        at,
        amount: amount?,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a billionth of a processor more or less is of no concern"
)]
fn processor(cpu: &CpuSummary) -> Option<Processor> {
    let time = total(cpu.time.as_deref(), cpu.usage_core_nano_seconds);
    let cores = || cpu.usage_nano_cores.map(|nanos| nanos as f64 / 1e9);
    time.map(Processor::Time)
        .or_else(|| cores().map(Processor::Cores))
}

#[derive(Deserialize)]
struct Listing<T> {
    items: Vec<T>,
}

/// An answer of the metrics API about a node.
#[derive(Deserialize)]
struct NodeMetrics {
    metadata: Named,
    usage: HashMap<String, String>,
}

fn measured(usage: &HashMap<String, String>, memory_limit: Option<u64>) -> Reading {
    let text = |name: &str| usage.get(name).map(String::as_str);
    Reading {
        cpu: text("cpu").and_then(quantity::number).map(Processor::Cores),
        memory_bytes: text("memory").and_then(quantity::bytes),
        memory_limit_bytes: memory_limit,
        ..Reading::default()
    }
}

/// Fills in from the metrics API what kubelets did not tell.
async fn metrics(
    core: &Core,
    targets: &Targets,
    silent: &BTreeSet<String>,
    read: &mut Read,
) -> Result<(), EngineError> {
    const API: &str = "/apis/metrics.k8s.io/v1beta1";
    if !discovery::metrics(core).await? {
        return Ok(());
    }
    let nodes = format!("{API}/nodes");
    let pods = format!("{API}/pods?labelSelector={MANAGED_BY}%3D{MANAGER}");
    let both = async {
        tokio::try_join!(
            stats::get::<Listing<NodeMetrics>>(core, &nodes),
            stats::get::<Listing<PodMetrics>>(core, &pods),
        )
    };
    let (nodes, pods) = tokio::time::timeout(PATIENCE, both)
        .await
        .map_err(|_elapsed| {
            EngineError::Unavailable("the metrics API did not answer in time".into())
        })?
        .map_err(crate::client::engine_error)?;
    for node in nodes.items {
        if silent.contains(&node.metadata.name) {
            read.nodes
                .insert(node.metadata.name, measured(&node.usage, None));
        }
    }
    for pod in pods.items {
        let key = (pod.metadata.namespace, pod.metadata.name);
        let container = pod
            .containers
            .iter()
            .find(|container| container.name == CONTAINER);
        if let (Some(target), Some(container)) = (targets.get(&key), container) {
            let reading = || measured(&container.usage, target.memory_limit);
            read.pods.entry(target.pod.clone()).or_insert_with(reading);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
