//! Connections to ports of pods, over WebSockets (subprotocol `coracle.connect.v1`).
//!
//! Theory of operation: who may run commands in a pod may connect to it, and to nothing beside it: the address is the
//! engine's, never the caller's. A port that the pod does not declare is refused unless the caller says that they mean
//! it, so that a slip is a clear answer and a console of a later day can be held to what is declared. How many
//! are open at once is bounded for each project ([`Connections`](places::Connections)). The stream itself is a
//! [`Tunnel`].

pub(crate) mod places;

use std::num::NonZeroU16;

use axum::extract::State;
use axum::response::Response;
use coracle_control::OperationError;
use coracle_engine::EngineError;
use coracle_model::name::{PodName, ProjectName};
use coracle_model::object::Kind;
use coracle_model::problem::{Code, Problem};
use coracle_model::workload::PodId;
use places::{Audit, Place};
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Path, Query};
use crate::socket::Upgrade;
use crate::state::ApiState;
use crate::tenure::Tenure;
use crate::tunnel::Tunnel;

/// The subprotocol.
const PROTOCOL: &str = "coracle.connect.v1";

/// Which port.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectQuery {
    /// The port.
    #[param(value_type = u16, minimum = 1)]
    port: NonZeroU16,
    /// `true`: also one that the pod does not declare.
    #[serde(default)]
    any_port: bool,
}

/// Does the pod say that it listens there?
fn check_declared(declared: Option<u16>, pod: &PodId, port: u16) -> ApiResult<()> {
    let detail = match declared {
        Some(declared) if declared == port => return Ok(()),
        Some(declared) => format!("pod {pod} declares port {declared}, and not {port}"),
        None => format!("pod {pod} declares no port"),
    };
    let hint = "declare the port, or say that you mean any port of the pod: `any_port=true` here, `--any-port` on the command line";
    let problem = Problem::new(Code::InvalidField, detail);
    Err(problem.field("port").hint(hint).into())
}

/// Connect to a port of a pod: a WebSocket. Binary messages are bytes. Text messages are JSON: `{"end":true}` says that
/// its sender sends no more bytes, `{"problem":{…}}` why the stream broke.
#[utoipa::path(get, path = "/api/v1/projects/{project}/pods/{pod}/connect", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path), ConnectQuery),
    responses((status = 101, description = "WebSocket, subprotocol coracle.connect.v1"), (status = "default", body = Problem)))]
pub(crate) async fn connect(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, pod)): Path<(ProjectName, PodName)>,
    Query(query): Query<ConnectQuery>,
    upgrade: Upgrade,
) -> ApiResult<Response> {
    let id = PodId { project, name: pod };
    let port = query.port.get();
    let Some(seen) = state.control.observed.pod(&id) else {
        return Err(EngineError::NoSuchPod(id).into());
    };
    if !query.any_port {
        check_declared(seen.port, &id, port)?;
    }
    let visit = (caller.token.metadata.uid.clone(), id.clone(), port);
    let Some(place) = state.connections.enter(visit) else {
        let most = state.connections.limits.per_project;
        let detail = format!("project {} has {most} connections to pods open", id.project);
        return Err(ApiError::new(Code::RateLimited, detail)
            .hint("close some of them, then try again")
            .retry_after(1));
    };
    let stream = state.control.engine.connect(&id, port).await?;
    if place.connected() == Audit::Record {
        record(&state, &caller, &place).await;
    }
    let tunnel = Tunnel {
        stream,
        tenure: Tenure::new(&state, caller),
        stop: state.supervisor.token(),
        idle: state.connections.limits.idle,
        explain: move |error: &std::io::Error| {
            OperationError::from(EngineError::unreachable(&id, port, error)).problem()
        },
    };
    Ok(upgrade.accept(PROTOCOL, move |socket| async move {
        tunnel.carry(socket).await;
        drop(place);
    }))
}

/// Records a visit, also of who leaves at once.
async fn record(state: &ApiState, caller: &Caller, place: &Place) {
    let (journal, actor) = (state.control.journal.clone(), caller.actor());
    let entry = place.entry();
    let (done, is_done) = oneshot::channel::<()>();
    state
        .supervisor
        .spawn_graceful("connection audit", async move {
            let (_, pod, port) = &entry.visit;
            let what = (Kind::Pod, pod.name.as_str());
            let message = format!("connected to port {port}");
            let recorded =
                journal.try_record(&actor, "pod.connect", Some(&pod.project), what, message);
            if let Err(error) = recorded.await {
                tracing::warn!(%error, %pod, port, "a connection could not be recorded");
                entry.failed();
            }
            drop(done);
        });
    // Told by the end of the task.
    is_done.await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_that_the_pod_declares() {
        let pod = PodId {
            project: ProjectName::new("one").unwrap(),
            name: PodName::new("box").unwrap(),
        };
        assert!(check_declared(Some(80), &pod, 80).is_ok());
        assert!(check_declared(Some(80), &pod, 81).is_err());
        assert!(check_declared(None, &pod, 80).is_err());
    }
}
