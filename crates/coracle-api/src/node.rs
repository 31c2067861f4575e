//! Nodes.

use axum::extract::State;
use axum::http::StatusCode;
use coracle_model::node::{DrainMode, Node, NodeSpec, NodeStatus};
use coracle_model::object::{List, Object as Resource};
use coracle_model::problem::Problem;
use serde::Deserialize;

use crate::caller::Caller;
use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Tagged};
use crate::page::Page;
use crate::state::ApiState;

type Answer = ApiResult<Tagged<NodeSpec, NodeStatus>>;

/// How a node is to be drained.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDrain {
    /// What becomes of pods that cannot be replaced elsewhere first.
    #[serde(default)]
    mode: DrainMode,
}

/// The nodes, with what they have and use.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", params(Page), responses(
    (status = 200, body = List<Resource<NodeSpec, NodeStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Node>>> {
    let nodes = state.control.nodes().await?;
    Ok(Json(page.cut(nodes, |node| node.metadata.name.clone())))
}

/// A node.
#[utoipa::path(get, path = "/api/v1/nodes/{node}", tag = "nodes", params(("node" = String, Path)), responses(
    (status = 200, body = Resource<NodeSpec, NodeStatus>), (status = "default", body = Problem)))]
pub(crate) async fn read(State(state): State<ApiState>, Path(name): Path<String>) -> Answer {
    let node = state.control.node(&name).await?;
    Ok(Tagged(StatusCode::OK, node))
}

/// Let a node get no new pods. Those that it has stay. Nothing changes when it is cordoned already.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/cordon", tag = "nodes", params(("node" = String, Path)), responses(
    (status = 202, body = Resource<NodeSpec, NodeStatus>), (status = "default", body = Problem)))]
pub(crate) async fn cordon(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer {
    let node = state.control.cordon_node(&name, &caller.actor()).await?;
    Ok(Tagged(StatusCode::ACCEPTED, node))
}

/// Let a node get new pods again. A drain of it ends.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/uncordon", tag = "nodes", params(("node" = String, Path)), responses(
    (status = 202, body = Resource<NodeSpec, NodeStatus>), (status = "default", body = Problem)))]
pub(crate) async fn uncordon(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer {
    let node = state.control.uncordon_node(&name, &caller.actor()).await?;
    Ok(Tagged(StatusCode::ACCEPTED, node))
}

/// Cordon a node and move its pods to others, one workload after another. `status.drain` tells how far it is, and
/// what keeps it from going on. Asked for again with another mode, a drain goes on in that one.
#[utoipa::path(post, path = "/api/v1/nodes/{node}/drain", tag = "nodes", params(("node" = String, Path)),
    request_body = NewDrain, responses(
    (status = 202, body = Resource<NodeSpec, NodeStatus>), (status = "default", body = Problem)))]
pub(crate) async fn drain(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    Json(new): Json<NewDrain>,
) -> Answer {
    let actor = caller.actor();
    let node = state.control.drain_node(&name, new.mode, &actor).await?;
    Ok(Tagged(StatusCode::ACCEPTED, node))
}

/// End the drain of a node. It stays cordoned, and pods that moved stay where they are.
#[utoipa::path(delete, path = "/api/v1/nodes/{node}/drain", tag = "nodes", params(("node" = String, Path)), responses(
    (status = 202, body = Resource<NodeSpec, NodeStatus>), (status = "default", body = Problem)))]
pub(crate) async fn cancel_drain(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer {
    let actor = caller.actor();
    let node = state.control.cancel_node_drain(&name, &actor).await?;
    Ok(Tagged(StatusCode::ACCEPTED, node))
}
