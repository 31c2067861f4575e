//! Commands in pods, one-off commands, and connections to pods.
//!
//! Theory of operation: the API server speaks WebSocket for these, one channel per stream (`wire`). One-off commands
//! (`attach`) are Jobs that have no pod until somebody attaches.

mod attach;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use coracle_engine::EngineError;
use coracle_engine::stream::{Duplex, ExecRequest, Session, SessionInput, SessionOutput};
use coracle_model::workload::{PodId, Terminal};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use kube::core::Request;
use kube::{Api, Resource as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{engine_error, within};
use crate::object::CONTAINER;
use crate::phase;
use crate::state::Core;

pub(crate) use attach::{attach, waits};

/// Pieces of input or output that wait.
const PIECES: usize = 32;
/// For the node to tell that nobody listens on a port; the protocol has no word for success.
const REFUSAL: Duration = Duration::from_millis(400);

type Input = mpsc::Receiver<SessionInput>;
type Output = mpsc::Sender<Result<SessionOutput, EngineError>>;

/// A pod that runs, by its name in the cluster.
pub(crate) struct Running {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) live: Arc<Pod>,
}

/// The pod of this name, if there is a process inside.
pub(crate) fn running(core: &Core, id: &PodId) -> Result<Running, EngineError> {
    let namespace = core.namespace(&id.project)?;
    core.with(|state| {
        let told = state.told(id).map(|pod| pod.status.phase);
        let record = state.record(id);
        let Some(record) = record.filter(|record| phase::runs(&record.live)) else {
            return Err(match told {
                None => EngineError::NoSuchPod(id.clone()),
                Some(phase) => EngineError::WrongPhase {
                    pod: id.clone(),
                    phase: phase.word(),
                    reason: "it must run for this",
                },
            });
        };
        Ok(Running {
            namespace,
            name: record.live.metadata.name.clone().unwrap_or_default(),
            live: Arc::clone(&record.live),
        })
    })
}

/// Runs a command in a pod.
pub(crate) async fn exec(
    core: &Arc<Core>,
    id: &PodId,
    request: ExecRequest,
) -> Result<Session, EngineError> {
    if request.command.first().is_none_or(String::is_empty) {
        return Err(EngineError::Refused(
            "the command is empty: name a program".to_owned(),
        ));
    }
    let pod = running(core, id)?;
    let parameters = streams(request.terminal, Wanted::All);
    let asked = Request::new(Pod::url_path(&(), Some(&pod.namespace)))
        .exec(&pod.name, request.command, &parameters)
        .map_err(|error| EngineError::Refused(error.to_string()))?;
    let wire = wire::open(core, asked).await?;
    let (session, input, output) = channels();
    let terminal = request.terminal;
    core.config.supervisor.spawn("kubernetes-exec", async move {
        wire.talk(input, output, terminal).await;
    });
    Ok(session)
}

fn channels() -> (Session, Input, Output) {
    let (to, input) = mpsc::channel(PIECES);
    let (output, from) = mpsc::channel(PIECES);
    let session = Session {
        input: to,
        output: ReceiverStream::new(from).boxed(),
    };
    (session, input, output)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    Input,
}

fn streams(terminal: Terminal, wanted: Wanted) -> AttachParams {
    let tty = matches!(terminal, Terminal::Tty { .. });
    let parameters = AttachParams::default()
        .container(CONTAINER)
        .stdin(true)
        .tty(tty);
    match wanted {
        // A terminal has one output.
        Wanted::All => parameters.stdout(true).stderr(!tty),
        Wanted::Input => parameters.stdout(false).stderr(false),
    }
}

/// Opens a byte stream to a port of a pod.
pub(crate) async fn connect(
    core: &Core,
    id: &PodId,
    port: u16,
) -> Result<Box<dyn Duplex>, EngineError> {
    let pod = running(core, id)?;
    let pods: Api<Pod> = within(&core.client, &pod.namespace);
    let failed = |why: String| EngineError::Failed {
        message: format!("port {port} of pod {id} cannot be reached: {why}"),
        source: None,
    };
    let mut forward = pods
        .portforward(&pod.name, &[port])
        .await
        .map_err(engine_error)?;
    let stream = forward.take_stream(port);
    let refusal = forward.take_error(port);
    let (Some(stream), Some(refusal)) = (stream, refusal) else {
        return Err(failed("the API server gave no stream".to_owned()));
    };
    match tokio::time::timeout(REFUSAL, refusal).await {
        Ok(Some(why)) => Err(failed(why)),
        // Still open, or closed without a complaint.
        Ok(None) | Err(_) => Ok(Box::new(stream)),
    }
}
