//! How the platform itself is.

use axum::extract::State;
use coracle_model::problem::Problem;
use serde::Serialize;

use crate::error::ApiResult;
use crate::extract::Json;
use crate::state::ApiState;

/// How the platform itself is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct System {
    /// Its version.
    version: &'static str,
    /// Seconds since its start.
    uptime_seconds: u64,
    /// Apps are served under this domain.
    domain: String,
    /// What runs the pods.
    engine: EngineState,
    /// The last revision of the store.
    store_revision: u64,
    /// Where the platform's objects are.
    store: StoreState,
    /// The gateways that are there.
    gateways: Vec<GatewayState>,
    /// How the controllers are, by name.
    #[schema(value_type = Object)]
    controllers: serde_json::Value,
}

/// How the engine is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct EngineState {
    /// Such as `docker`.
    name: &'static str,
    /// Does it answer?
    ready: bool,
    /// Of its software.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// How the store is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct StoreState {
    /// Would it take a write?
    writable: bool,
    /// Why not, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// How a gateway is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct GatewayState {
    /// Its id.
    id: String,
    /// Is it connected?
    connected: bool,
    /// The generation of its routes.
    generation: u64,
    /// Seconds since it last reported.
    reported_seconds_ago: u64,
}

/// How the platform itself is.
#[utoipa::path(get, path = "/api/v1/system", tag = "platform", responses(
    (status = 200, body = System), (status = "default", body = Problem)))]
pub(crate) async fn read(State(state): State<ApiState>) -> ApiResult<Json<System>> {
    let control = &state.control;
    let name = control.engine.capabilities().name;
    let engine = match control.engine.ping().await {
        Ok(version) => EngineState {
            name,
            ready: true,
            version: Some(version.software),
            reason: None,
        },
        Err(error) => EngineState {
            name,
            ready: false,
            version: None,
            reason: Some(error.to_string()),
        },
    };
    let gateways = control
        .feed
        .gateways()
        .into_iter()
        .map(|(id, seen)| GatewayState {
            id,
            connected: seen.connections > 0,
            generation: seen.report.generation,
            reported_seconds_ago: seen.at.elapsed().as_secs(),
        })
        .collect();
    let store = control.objects.store();
    let refusal = store.writable().await.err();
    Ok(Json(System {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: state.started.elapsed().as_secs(),
        domain: control.domain().to_string(),
        engine,
        store: StoreState {
            writable: refusal.is_none(),
            reason: refusal.map(|error| error.to_string()),
        },
        store_revision: store
            .revision()
            .await
            .map_err(coracle_control::OperationError::from)?,
        gateways,
        controllers: state.statuses.controllers(),
    }))
}
