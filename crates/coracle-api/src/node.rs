//! Nodes.

use axum::extract::State;
use axum::http::StatusCode;
use coracle_control::OperationError;
use coracle_model::node::{Node, NodeSpec, NodeStatus};
use coracle_model::object::{Kind, List, Object as Resource};
use coracle_model::problem::Problem;

use crate::error::ApiResult;
use crate::extract::{Json, Path, Query, Tagged};
use crate::page::Page;
use crate::state::ApiState;

/// The nodes, with what they have and use.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", params(Page), responses(
    (status = 200, body = List<Resource<NodeSpec, NodeStatus>>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Query(page): Query<Page>,
) -> ApiResult<Json<List<Node>>> {
    let mut nodes = nodes(&state).await;
    nodes.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    Ok(Json(page.cut(nodes, |node| node.metadata.name.clone())))
}

/// A node.
#[utoipa::path(get, path = "/api/v1/nodes/{node}", tag = "nodes", params(("node" = String, Path)), responses(
    (status = 200, body = Resource<NodeSpec, NodeStatus>), (status = "default", body = Problem)))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    Path(name): Path<String>,
) -> ApiResult<Tagged<NodeSpec, NodeStatus>> {
    let node = nodes(&state)
        .await
        .into_iter()
        .find(|node| node.metadata.name == name);
    let missing = || OperationError::not_found(Kind::Node, coracle_model::name::shown(&name));
    Ok(Tagged(StatusCode::OK, node.ok_or_else(missing)?))
}

/// As the engine says now; when it does not answer, as it said last, which tells that it is away.
async fn nodes(state: &ApiState) -> Vec<Node> {
    match state.control.engine.nodes().await {
        Ok(nodes) => nodes,
        Err(error) => {
            tracing::warn!(%error, "nodes as last seen");
            state
                .control
                .observed
                .nodes()
                .iter()
                .map(|node| Node::clone(node))
                .collect()
        }
    }
}
