//! Nodes: what the cluster tells of them, what they use, and cordons.

use std::sync::Arc;

use coracle_engine::EngineError;
use coracle_model::node::{
    AddressScope, ConditionStatus, Node, NodeAddress, NodeCondition, NodeOverlay, NodeResources,
    NodeSpec, NodeStatus, Scheduling,
};
use coracle_model::object::{Kind, Metadata};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node as KubeNode, NodeCondition as KubeCondition};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::client::{engine_error, is_missing, merge};
use crate::facts::moment;
use crate::quantity;
use crate::state::{Core, version};
use crate::stats;

/// So many kubelets are asked at once.
const AT_ONCE: usize = 8;
/// A role stands in a label's name behind this.
const ROLE: &str = "node-role.kubernetes.io/";
/// What flannel writes on nodes.
const FLANNEL: &str = "flannel.alpha.coreos.com/";
/// The cluster's own taint of a cordoned node.
const CORDON_TAINT: &str = "node.kubernetes.io/unschedulable";

/// A node as the watch tells of it: use is left out, because it changes at every look.
pub(crate) fn read(node: &KubeNode) -> Node {
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let info = status.node_info.clone().unwrap_or_default();
    let conditions: Vec<NodeCondition> =
        status.conditions.iter().flatten().map(condition).collect();
    let ready = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Ready");
    let is_ready = ready.is_some_and(|c| c.status == "True");
    let reason = (!is_ready).then(|| {
        let words = ready.and_then(|c| c.message.clone());
        words.unwrap_or_else(|| "its kubelet has not told of itself yet".to_owned())
    });
    let addresses: Vec<NodeAddress> = status
        .addresses
        .iter()
        .flatten()
        .filter_map(|address| {
            let scope = match address.type_.as_str() {
                "InternalIP" | "InternalDNS" => AddressScope::Internal,
                "ExternalIP" | "ExternalDNS" => AddressScope::External,
                "Hostname" => AddressScope::Hostname,
                _ => return None,
            };
            let address = address.address.clone();
            Some(NodeAddress { scope, address })
        })
        .collect();
    let main = addresses.iter().find(|a| a.scope == AddressScope::Internal);
    let scheduling = if spec.unschedulable == Some(true) {
        Scheduling::Cordoned
    } else {
        Scheduling::Open
    };
    let subnets = match (&spec.pod_cidrs, &spec.pod_cidr) {
        (Some(all), _) if !all.is_empty() => all.clone(),
        (_, Some(one)) => vec![one.clone()],
        _ => Vec::new(),
    };
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let taints = spec
        .taints
        .iter()
        .flatten()
        .filter(|t| t.key != CORDON_TAINT)
        .map(|t| {
            let value = t.value.as_deref().unwrap_or_default();
            format!("{}={value}:{}", t.key, t.effect)
        });
    Node {
        kind: Kind::Node,
        metadata: Metadata {
            name: node.name_any(),
            project: None,
            uid: node.uid().unwrap_or_default(),
            revision: 0,
            created: node
                .metadata
                .creation_timestamp
                .as_ref()
                .map(moment)
                .unwrap_or_default(),
            deleting: node.metadata.deletion_timestamp.as_ref().map(moment),
        },
        spec: NodeSpec {
            scheduling,
            ..NodeSpec::default()
        },
        status: NodeStatus {
            ready: is_ready,
            reason,
            address: main.map(|a| a.address.clone()),
            addresses,
            capacity: resources(status.capacity.as_ref()),
            allocatable: status.allocatable.as_ref().map(|a| resources(Some(a))),
            used: None,
            pods: 0,
            os: info.os_image,
            kernel: info.kernel_version,
            architecture: info.architecture,
            runtime: info.container_runtime_version.replace("://", " "),
            kubelet: Some(info.kubelet_version).filter(|v| !v.is_empty()),
            conditions,
            pod_subnets: subnets,
            overlay: overlay(node),
            roles: labels
                .keys()
                .filter_map(|k| k.strip_prefix(ROLE))
                .map(str::to_owned)
                .collect(),
            labels,
            taints: taints.collect(),
            ..NodeStatus::default()
        },
    }
}

fn condition(condition: &KubeCondition) -> NodeCondition {
    NodeCondition {
        kind: condition.type_.clone(),
        status: match condition.status.as_str() {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        },
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since: condition.last_transition_time.as_ref().map(moment),
    }
}

fn resources(from: Option<&std::collections::BTreeMap<String, Quantity>>) -> NodeResources {
    let text = |name: &str| from.and_then(|map| map.get(name)).map(|q| q.0.as_str());
    NodeResources {
        cpu: text("cpu").and_then(quantity::number).unwrap_or_default(),
        memory_bytes: text("memory").and_then(quantity::bytes).unwrap_or_default(),
        disk_bytes: text("ephemeral-storage").and_then(quantity::bytes),
        pods: text("pods")
            .and_then(quantity::bytes)
            .and_then(|n| u32::try_from(n).ok()),
    }
}

fn overlay(node: &KubeNode) -> Option<NodeOverlay> {
    let annotation = |name: &str| node.annotations().get(&format!("{FLANNEL}{name}")).cloned();
    Some(NodeOverlay {
        back_end: annotation("backend-type")?,
        public_address: annotation("public-ip"),
    })
}

/// The nodes as they are now, with what they use where their kubelets tell.
pub(crate) async fn nodes(core: &Arc<Core>) -> Result<Vec<Node>, EngineError> {
    let api: Api<KubeNode> = Api::all(core.client.clone());
    let found = api
        .list(&ListParams::default())
        .await
        .map_err(engine_error)?;
    let looks = found.items.into_iter().map(|node| async move {
        let mut node = read(&node);
        if node.status.ready {
            node.status.used = used(core, &node.metadata.name).await;
        }
        node.status.pods = pods_on(core, &node.metadata.name);
        node
    });
    Ok(futures::stream::iter(looks)
        .buffered(AT_ONCE)
        .collect()
        .await)
}

fn pods_on(core: &Core, node: &str) -> u32 {
    core.with(|state| {
        let on = state
            .groups
            .values()
            .flat_map(|group| group.pods.values())
            .filter(|pod| pod.live.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(node))
            .filter(|pod| !crate::phase::has_ended(&pod.live));
        u32::try_from(on.count()).unwrap_or(u32::MAX)
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a billionth of a processor more or less is of no concern"
)]
async fn used(core: &Core, node: &str) -> Option<NodeResources> {
    match stats::summary(core, node).await {
        Ok(summary) => Some(NodeResources {
            cpu: summary.node.cpu.usage_nano_cores? as f64 / 1e9,
            memory_bytes: summary.node.memory.working_set_bytes?,
            disk_bytes: summary.node.fs.used_bytes,
            pods: None,
        }),
        Err(error) => {
            tracing::debug!(node, %error, "a node does not tell what it uses");
            None
        }
    }
}

/// Lets a node have no new pods, or lets it have them again.
pub(crate) async fn schedule(
    core: &Arc<Core>,
    name: &str,
    scheduling: Scheduling,
) -> Result<(), EngineError> {
    let api: Api<KubeNode> = Api::all(core.client.clone());
    let cordoned = scheduling == Scheduling::Cordoned;
    // False is left out by the API server, as kubectl's uncordon leaves it.
    let wish = if cordoned { json!(true) } else { json!(null) };
    let change = json!({ "spec": { "unschedulable": wish } });
    match merge(&api, name, &change).await {
        Ok(node) => {
            let version = version(node.metadata.resource_version.as_deref());
            tracing::debug!(node = name, version, ?scheduling, "scheduling is set");
            Ok(())
        }
        Err(error) if is_missing(&error) => Err(EngineError::NoSuchNode(name.to_owned())),
        Err(error) => Err(engine_error(error)),
    }
}
