//! Nodes: machines that run pods.

use serde::{Deserialize, Serialize};

use crate::object::{Kind, Of, Spec};

/// A node.
pub type Node = Of<NodeSpec>;

/// What a node is asked to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSpec {
    /// May it get new pods?
    pub scheduling: Scheduling,
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
    /// What it has.
    pub capacity: NodeResources,
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
}

impl Spec for NodeSpec {
    const KIND: Kind = Kind::Node;
    type Status = NodeStatus;
}
