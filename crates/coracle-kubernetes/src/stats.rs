//! What pods and nodes use now: from the metrics API where the cluster has it, else from the kubelet's summary through
//! the API server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_engine::EngineError;
use coracle_model::pod::PodStats;
use coracle_model::workload::PodId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::client::{engine_error, is_missing};
use crate::discovery;
use crate::object::CONTAINER;
use crate::phase;
use crate::quantity;
use crate::session::{Running, running};
use crate::state::Core;

/// For a kubelet to measure a pod that just began.
const YOUNG: Duration = Duration::from_secs(25);
/// Between two looks at a pod that was not measured yet.
const AGAIN: Duration = Duration::from_secs(1);

/// Processor time of pods when they were last looked at.
#[derive(Default)]
pub(crate) struct Samples(Mutex<HashMap<PodId, (Instant, u64)>>);

impl Samples {
    /// Processors in use since the last look.
    fn exchange(&self, core: &Core, pod: &PodId, nanos: u64) -> Option<f64> {
        let now = Instant::now();
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        core.with(|state| samples.retain(|id, _| state.record(id).is_some()));
        let (at, before) = samples.insert(pod.clone(), (now, nanos))?;
        let passed = now.duration_since(at).as_secs_f64();
        let used = std::time::Duration::from_nanos(nanos.checked_sub(before)?).as_secs_f64();
        (passed > 0.0).then_some(used / passed)
    }
}

/// What a kubelet knows of its node and pods. Only what is read of it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Summary {
    pub(crate) node: NodeSummary,
    pub(crate) pods: Option<Vec<PodSummary>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSummary {
    pub(crate) cpu: CpuSummary,
    pub(crate) memory: MemorySummary,
    pub(crate) fs: FsSummary,
    pub(crate) network: NetworkSummary,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CpuSummary {
    pub(crate) time: Option<String>,
    pub(crate) usage_nano_cores: Option<u64>,
    pub(crate) usage_core_nano_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct MemorySummary {
    pub(crate) working_set_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FsSummary {
    pub(crate) used_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSummary {
    pub(crate) pod_ref: PodRef,
    pub(crate) containers: Option<Vec<ContainerSummary>>,
    pub(crate) network: NetworkSummary,
    #[serde(alias = "process_stats")]
    process_stats: ProcessSummary,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodRef {
    pub(crate) name: String,
    pub(crate) namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerSummary {
    pub(crate) name: String,
    pub(crate) cpu: CpuSummary,
    pub(crate) memory: MemorySummary,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NetworkSummary {
    pub(crate) time: Option<String>,
    pub(crate) rx_bytes: Option<u64>,
    pub(crate) tx_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProcessSummary {
    #[serde(alias = "processCount")]
    process_count: Option<u64>,
}

/// An answer of the metrics API.
#[derive(Debug, Deserialize)]
pub(crate) struct PodMetrics {
    #[serde(default)]
    pub(crate) metadata: Named,
    pub(crate) containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ContainerMetrics {
    pub(crate) name: String,
    pub(crate) usage: HashMap<String, String>,
}

/// What an answer of the metrics API is of.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) namespace: String,
}

pub(crate) async fn get<T: DeserializeOwned>(core: &Core, path: &str) -> Result<T, kube::Error> {
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    core.client.request(request).await
}

/// What a node's kubelet knows.
pub(crate) async fn summary(core: &Core, node: &str) -> Result<Summary, EngineError> {
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
    get(core, &path).await.map_err(engine_error)
}

pub(crate) async fn stats(core: &Arc<Core>, id: &PodId) -> Result<PodStats, EngineError> {
    let pod = running(core, id)?;
    let mut stats = PodStats {
        memory_limit_bytes: phase::memory_limit(&pod.live),
        ..PodStats::default()
    };
    if discovery::metrics(core).await? {
        let path = format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods/{}",
            pod.namespace, pod.name
        );
        match get::<PodMetrics>(core, &path).await {
            Ok(metrics) => {
                measured(&metrics, &mut stats);
                return Ok(stats);
            }
            // Not measured yet: a pod's first minute.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(engine_error(error)),
        }
    }
    let found = look(core, &pod).await?;
    let container = found
        .containers
        .iter()
        .flatten()
        .find(|c| c.name == CONTAINER);
    if let Some(container) = container {
        stats.memory_bytes = container.memory.working_set_bytes.unwrap_or_default();
        stats.cpu_nanos = container.cpu.usage_core_nano_seconds.unwrap_or_default();
    }
    stats.network_rx_bytes = found.network.rx_bytes.unwrap_or_default();
    stats.network_tx_bytes = found.network.tx_bytes.unwrap_or_default();
    stats.pids = found.process_stats.process_count.unwrap_or_default();
    stats.cpu = core.samples.exchange(core, id, stats.cpu_nanos);
    Ok(stats)
}

/// What a pod's kubelet knows of it. A kubelet measures every ten seconds or so: of a young pod it is waited for.
async fn look(core: &Core, pod: &Running) -> Result<PodSummary, EngineError> {
    let node = pod.live.spec.as_ref().and_then(|s| s.node_name.as_deref());
    let mine = |p: &PodSummary| p.pod_ref.name == pod.name && p.pod_ref.namespace == pod.namespace;
    let measured = |p: &PodSummary| {
        let container = p.containers.iter().flatten().find(|c| c.name == CONTAINER);
        container.is_some_and(|c| c.memory.working_set_bytes.is_some_and(|bytes| bytes > 0))
    };
    let deadline = Instant::now() + YOUNG;
    loop {
        let summary = summary(core, node.unwrap_or_default()).await?;
        let found = summary.pods.into_iter().flatten().find(|p| mine(p));
        match found {
            Some(found) if measured(&found) => return Ok(found),
            _ if Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
            Some(found) => return Ok(found),
            None => {
                return Err(EngineError::Failed {
                    message: "its node has no figures of it yet".to_owned(),
                    source: None,
                });
            }
        }
    }
}

fn measured(metrics: &PodMetrics, stats: &mut PodStats) {
    let Some(container) = metrics.containers.iter().find(|c| c.name == CONTAINER) else {
        return;
    };
    let cpu = container.usage.get("cpu");
    stats.cpu = cpu.and_then(|text| quantity::number(text));
    stats.memory_bytes = container
        .usage
        .get("memory")
        .and_then(|text| quantity::bytes(text))
        .unwrap_or_default();
}
