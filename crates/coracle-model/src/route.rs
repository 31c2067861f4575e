//! What the gateway is told, and what it tells back.
//!
//! Theory of operation: the control plane publishes whole tables, never differences, each with a
//! generation that only grows. A gateway applies a table at once, keeps it on disk, and reports which
//! generation it applied and how many requests are still in flight to addresses that the table no longer
//! has. That report is what lets the control plane stop an old pod without cutting a request off.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::name::{AppName, Hostname, ProjectName};

/// Everything a gateway needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Grows with every change of the table; survives restarts of the control plane.
    pub generation: u64,
    /// Where each host goes. A host that is not here is "no such app".
    pub routes: BTreeMap<Hostname, Route>,
}

/// Where one host goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Project of the app.
    pub project: ProjectName,
    /// The app that gets the requests.
    pub app: AppName,
    /// What to do with a request.
    pub target: Target,
}

/// What to do with a request for a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Target {
    /// Send it to one of these pods, each an address and port.
    Pods {
        /// Ready pods. Never empty.
        pods: Vec<SocketAddr>,
    },
    /// The app has no ready pod yet: answer with the "starting" page (503, `Retry-After`).
    Starting,
    /// The app's only release failed: answer with the "failed" page (503).
    Failed {
        /// Why, in the words of the person who asked. May hold any text: escape it.
        reason: String,
    },
    /// The app was scaled to nothing: answer with the "stopped" page (503).
    Stopped,
}

/// What a gateway tells the control plane, after each table it applied and whenever a drain ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GatewayReport {
    /// Generation of the table in force.
    pub generation: u64,
    /// Requests in flight to addresses that are no longer in the table. An address that is not here has none.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub draining: BTreeMap<SocketAddr, u64>,
    /// Counters per `project/app` since the gateway's start.
    pub apps: BTreeMap<String, AppTraffic>,
}

/// Counters of one app at one gateway since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AppTraffic {
    /// Answers by class of status: index 0 is 1xx, 4 is 5xx.
    pub answers: [u64; 5],
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of answer bodies.
    pub bytes_out: u64,
    /// Sum of the times to the first byte of the answer, in microseconds.
    pub wait_micros: u64,
}
