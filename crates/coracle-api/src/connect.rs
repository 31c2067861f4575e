//! Connections to ports of pods, over WebSockets (subprotocol `coracle.connect.v1`).
//!
//! Theory of operation: who may run commands in a pod may connect to it, and to nothing beside it: the address is the
//! engine's, never the caller's. A port that the pod does not declare is refused unless the caller says that they mean
//! it, so that a slip is a clear answer and a console of a later day can be held to what is declared. How many
//! are open at once is bounded for each project. The stream itself is a [`Tunnel`].
//!
//! A browser or a pool opens connections by the dozen: they are one entry of the audit log for each caller, pod and port
//! while any is open and for [`ConnectLimits::audit`] after the entry.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use coracle_control::OperationError;
use coracle_engine::EngineError;
use coracle_model::name::{PodName, ProjectName};
use coracle_model::object::Kind;
use coracle_model::problem::{Code, Problem};
use coracle_model::workload::PodId;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Path, Query};
use crate::socket::Upgrade;
use crate::state::ApiState;
use crate::tenure::Tenure;
use crate::tunnel::Tunnel;

/// The subprotocol.
const PROTOCOL: &str = "coracle.connect.v1";

/// Bounds of connections to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectLimits {
    /// Open at the same time in one project, through one control plane.
    pub per_project: usize,
    /// The most time without a byte in either direction.
    pub idle: Duration,
    /// After an entry of the audit log, how long the same caller, pod and port makes no other.
    pub audit: Duration,
}

impl Default for ConnectLimits {
    fn default() -> Self {
        Self {
            per_project: 256,
            idle: Duration::from_hours(1),
            audit: Duration::from_mins(10),
        }
    }
}

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

/// One caller (by the id of their token) at one port of a pod.
type Visit = (String, PodId, u16);

/// When a visit was recorded, and how many of its connections are open.
#[derive(Default)]
struct Seen {
    recorded: Option<Instant>,
    open: usize,
}

#[derive(Default)]
struct Open {
    projects: HashMap<ProjectName, usize>,
    visits: HashMap<Visit, Seen>,
}

/// The connections that are open. Clones share them.
#[derive(Clone)]
pub(crate) struct Connections {
    limits: ConnectLimits,
    open: Arc<Mutex<Open>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self::new(ConnectLimits::default())
    }
}

/// Is a visit told in the audit log?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audit {
    Record,
    Recorded,
}

/// The place of one connection; dropping it gives it back.
struct Place {
    open: Arc<Mutex<Open>>,
    visit: Visit,
}

impl Connections {
    pub(crate) fn new(limits: ConnectLimits) -> Self {
        Self {
            limits,
            open: Arc::default(),
        }
    }

    /// Takes a place, if there is one.
    fn enter(&self, visit: Visit) -> Option<Place> {
        let now = Instant::now();
        let mut open = lock(&self.open);
        let count = open.projects.entry(visit.1.project.clone()).or_default();
        if *count >= self.limits.per_project {
            return None;
        }
        *count += 1;
        // What is over is of no use any more, and is not kept for ever.
        open.visits.retain(|_, seen| {
            let fresh = |at: Instant| now < at + self.limits.audit;
            seen.open > 0 || seen.recorded.is_some_and(fresh)
        });
        open.visits.entry(visit.clone()).or_default().open += 1;
        Some(Place {
            open: Arc::clone(&self.open),
            visit,
        })
    }
}

impl Place {
    /// The connection was made: is that to be recorded?
    fn connected(&self) -> Audit {
        let mut open = lock(&self.open);
        match open.visits.get_mut(&self.visit) {
            Some(seen) if seen.recorded.is_none() => {
                seen.recorded = Some(Instant::now());
                Audit::Record
            }
            _ => Audit::Recorded,
        }
    }

    /// It could not be recorded: the next connection tries again.
    fn not_recorded(open: &Mutex<Open>, visit: &Visit) {
        if let Some(seen) = lock(open).visits.get_mut(visit) {
            seen.recorded = None;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.projects.get_mut(&self.visit.1.project) {
            *count -= 1;
            if *count == 0 {
                open.projects.remove(&self.visit.1.project);
            }
        }
        if let Some(seen) = open.visits.get_mut(&self.visit) {
            seen.open -= 1;
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
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
    let (open, visit) = (Arc::clone(&place.open), place.visit.clone());
    let (done, is_done) = oneshot::channel::<()>();
    state
        .supervisor
        .spawn_graceful("connection audit", async move {
            let (_, pod, port) = &visit;
            let what = (Kind::Pod, pod.name.as_str());
            let message = format!("connected to port {port}");
            let recorded =
                journal.try_record(&actor, "pod.connect", Some(&pod.project), what, message);
            if let Err(error) = recorded.await {
                tracing::warn!(%error, %pod, port, "a connection could not be recorded");
                Place::not_recorded(&open, &visit);
            }
            drop(done);
        });
    // Told by the end of the task.
    is_done.await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(token: &str, project: &str, port: u16) -> Visit {
        let pod = PodId {
            project: ProjectName::new(project).unwrap(),
            name: PodName::new("box").unwrap(),
        };
        (token.to_owned(), pod, port)
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_bounded_for_each_project_and_given_back() {
        let connections = Connections::new(ConnectLimits {
            per_project: 2,
            ..ConnectLimits::default()
        });
        let first = connections.enter(visit("t", "one", 1)).unwrap();
        let _second = connections.enter(visit("u", "one", 2)).unwrap();
        assert!(connections.enter(visit("t", "one", 1)).is_none());
        assert!(connections.enter(visit("t", "two", 1)).is_some());
        drop(first);
        assert!(connections.enter(visit("t", "one", 1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_visit_is_recorded_once_while_it_lasts() {
        let connections = Connections::default();
        let enter = |port| connections.enter(visit("t", "one", port)).unwrap();
        drop(enter(1));
        let first = enter(1);
        assert_eq!(first.connected(), Audit::Record, "the one before failed");
        assert_eq!(enter(1).connected(), Audit::Recorded);
        assert_eq!(enter(2).connected(), Audit::Record);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(enter(1).connected(), Audit::Recorded, "one is open still");
        drop(first);
        let again = enter(1);
        assert_eq!(again.connected(), Audit::Record);
        Place::not_recorded(&again.open, &again.visit);
        assert_eq!(
            enter(1).connected(),
            Audit::Record,
            "that before could not be recorded"
        );
        drop(again);
        assert_eq!(lock(&connections.open).visits.len(), 1, "nothing is kept");
    }

    #[test]
    fn a_port_is_one_that_the_pod_declares() {
        let (_, pod, _) = visit("t", "one", 1);
        assert!(check_declared(Some(80), &pod, 80).is_ok());
        assert!(check_declared(Some(80), &pod, 81).is_err());
        assert!(check_declared(None, &pod, 80).is_err());
    }
}
