//! Commands in pods, one-off commands, and connections to pods.
//!
//! Theory of operation: the API server speaks WebSocket for these, one channel per stream (`wire`). One-off commands
//! (`attach`) are Jobs that have no pod until somebody attaches. A connection to a port (`port`) is a WebSocket of its own.

mod attach;
mod port;
mod wire;

use std::sync::Arc;

use coracle_engine::EngineError;
use coracle_engine::stream::{ExecRequest, Session, SessionInput, SessionOutput};
use coracle_model::workload::{PodId, Terminal};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource as _;
use kube::api::AttachParams;
use kube::core::Request;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::object::CONTAINER;
use crate::phase;
use crate::state::Core;

pub(crate) use attach::{attach, waits};
pub(crate) use port::connect;

/// Pieces of input or output that wait.
const PIECES: usize = 32;

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
