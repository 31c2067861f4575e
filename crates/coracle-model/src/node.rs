//! Nodes: machines that run pods.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::name::{PodName, ProjectName};
use crate::object::{Kind, Of, Spec};
use crate::workload::WorkloadId;

/// A node.
pub type Node = Of<NodeSpec>;

/// What a node is asked to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSpec {
    /// May it get new pods?
    pub scheduling: Scheduling,
    /// That its pods move away, once somebody asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainWish>,
}

/// May a node get new pods?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheduling {
    /// Yes.
    #[default]
    Open,
    /// No; those that it has stay.
    Cordoned,
}

/// The wish that the pods of a node move away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainWish {
    /// What becomes of pods that cannot be replaced first.
    #[serde(default)]
    pub mode: DrainMode,
    /// When it was asked for.
    pub since: DateTime<Utc>,
}

/// What becomes of pods that cannot be replaced elsewhere before they stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DrainMode {
    /// They stay, and the drain says what blocks it.
    #[default]
    Gentle,
    /// They are stopped all the same.
    Force,
}

/// How far the drain of a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeDrain {
    /// Where it stands.
    pub phase: DrainPhase,
    /// When it came to that phase.
    pub since: DateTime<Utc>,
    /// When the drain was asked for.
    pub started: DateTime<Utc>,
    /// Pods that are still on the node and run.
    pub left: u32,
    /// The workload whose pods move now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<DrainMove>,
    /// What could not move so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<DrainBlock>,
}

/// A workload whose pods move away from a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrainMove {
    /// Its project.
    pub project: ProjectName,
    /// Its name within the project.
    pub workload: PodName,
    /// Since when.
    pub since: DateTime<Utc>,
}

impl DrainMove {
    /// The workload.
    #[must_use]
    pub fn id(&self) -> WorkloadId {
        WorkloadId {
            project: self.project.clone(),
            name: self.workload.clone(),
        }
    }
}

/// What keeps a workload's pods on a node that is drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrainBlock {
    /// Its project.
    pub project: ProjectName,
    /// The workload's name within the project.
    pub workload: PodName,
    /// Why, in plain words.
    pub reason: String,
}

/// Where the drain of a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DrainPhase {
    /// The node is told to take no new pods.
    Cordoning,
    /// Pods move away, one workload after another.
    Moving,
    /// It cannot go on by itself now; it does once what blocks it is over.
    Blocked,
    /// Nothing is left to move. It stays cordoned.
    Drained,
}

/// What is known of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct NodeStatus {
    /// Can it run pods now?
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// All of its addresses and names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<NodeAddress>,
    /// What it has.
    pub capacity: NodeResources,
    /// What of it pods can have; where the engine keeps something back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<NodeResources>,
    /// What is in use, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<NodeResources>,
    /// Pods of this platform on it.
    pub pods: u32,
    /// Operating system, in words.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// Processor architecture, as image manifests call it.
    pub architecture: String,
    /// What runs the pods, with its version.
    pub runtime: String,
    /// The kubelet's version, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubelet: Option<String>,
    /// What the engine watches of it: memory, disk, network, and so on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<NodeCondition>,
    /// Where its pods get their addresses from, in CIDR notation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_subnets: Vec<String>,
    /// How its pods reach those of other nodes, where the overlay tells (flannel annotates it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<NodeOverlay>,
    /// What it is for: `control-plane`, `worker`, and so on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Its labels, as the engine has them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What keeps pods away from it, each as `key=value:effect`. A cordon is told by `spec.scheduling`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<String>,
    /// How far its drain is, once one was asked for. Set by the platform, not by an engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<NodeDrain>,
}

/// An address or name of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeAddress {
    /// From where it is good.
    pub scope: AddressScope,
    /// An IP address or a name.
    pub address: String,
}

/// From where an address is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressScope {
    /// Within the cluster.
    Internal,
    /// From outside.
    External,
    /// Its name, where names are known.
    Hostname,
}

/// Something that the engine watches of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeCondition {
    /// What: `Ready`, `MemoryPressure`, `DiskPressure`, and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Is it so?
    pub status: ConditionStatus,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it became so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
}

/// Is a condition so?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConditionStatus {
    /// Yes.
    True,
    /// No.
    False,
    /// Nobody knows: the node does not tell.
    Unknown,
}

/// How a node's pods reach those of other nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeOverlay {
    /// The back end: `vxlan`, `wireguard`, `host-gw`, and so on.
    pub back_end: String,
    /// The address under which the other nodes reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_address: Option<String>,
}

/// Amounts of a node's resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct NodeResources {
    /// Processors.
    pub cpu: f64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk where images and volumes are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Pods, where their number is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<u32>,
}

impl Spec for NodeSpec {
    const KIND: Kind = Kind::Node;
    type Status = NodeStatus;
}

/// Why a pod waits whose nodes take no new pods, in the words that every engine uses. `nodes` are those that could run it.
#[must_use]
pub fn cordoned_reason<'a>(nodes: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = nodes.into_iter().collect();
    match names.as_slice() {
        [one] => format!(
            "node {one} is cordoned and takes no new pods: `coracle nodes uncordon {one}` lets it"
        ),
        _ => format!(
            "every node that could run it is cordoned ({}): `coracle nodes uncordon NODE` lets one take new pods",
            names.join(", ")
        ),
    }
}
