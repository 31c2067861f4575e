//! How the platform itself is.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::client::Client;

/// How the platform itself is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct System {
    /// Its version.
    pub version: String,
    /// Seconds since its start.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// Apps are served under this domain.
    #[serde(default)]
    pub domain: String,
    /// What runs the pods.
    pub engine: EngineState,
    /// The last revision of the store.
    #[serde(default)]
    pub store_revision: u64,
    /// Where the platform's objects are; an older platform does not say how that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreState>,
    /// The gateways that are there.
    #[serde(default)]
    pub gateways: Vec<GatewayState>,
    /// How the controllers are, by name.
    #[serde(default)]
    pub controllers: serde_json::Value,
}

/// How the engine is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EngineState {
    /// Such as `docker`.
    pub name: String,
    /// Does it answer?
    pub ready: bool,
    /// Of its software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How the store is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoreState {
    /// Would it take a write?
    pub writable: bool,
    /// Why not, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a gateway is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GatewayState {
    /// Its id.
    pub id: String,
    /// Is it connected?
    pub connected: bool,
    /// The generation of its routes.
    pub generation: u64,
    /// Seconds since it last reported.
    pub reported_seconds_ago: u64,
}

impl Client {
    /// How the platform itself is.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn system(&self) -> Result<System> {
        self.get("/system").await
    }
}
