//! Commands in pods, and connections to them.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::exec::CreateExecOptions;
use bollard::query_parameters::{
    InspectContainerOptions, ResizeContainerTTYOptions, ResizeExecOptions, StartContainerOptions,
};
use bytes::BytesMut;
use coracle_engine::EngineError;
use coracle_engine::stream::{Channel, Duplex, ExecRequest, Session, SessionInput, SessionOutput};
use coracle_model::workload::{PodId, Terminal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{engine_error, words_of};
use crate::container::{Container, ContainerState, start_error};
use crate::phase;
use crate::pod::{OpKind, Severity};
use crate::raw::{self, Frames, Raw};
use crate::reconcile::OpGuard;
use crate::state::{Core, State};

/// Pieces of input or output that wait.
const PIECES: usize = 32;
/// Bytes of output that are read at once.
const READ_BYTES: usize = 32 * 1024;
/// For a connection to a pod's port.
const CONNECT: Duration = Duration::from_secs(5);
/// A task's container may be on its way when somebody attaches already.
const CONTAINER_WAIT: Duration = Duration::from_mins(1);
/// What a terminal takes for the end of its input (Ctrl-D).
const END_OF_INPUT: &[u8] = &[4];
/// Docker tells the exit status of a command a moment after its output's end.
const EXIT_PAUSE: Duration = Duration::from_millis(20);
const EXIT_TRIES: u32 = 100;

/// The container of a pod that runs.
pub(crate) fn running(core: &Core, id: &PodId) -> Result<Container, EngineError> {
    core.with(|state| {
        let pod = state
            .pods
            .get(id)
            .ok_or_else(|| EngineError::NoSuchPod(id.clone()))?;
        match &pod.container {
            Some(container) if container.state == ContainerState::Running => Ok(container.clone()),
            _ => Err(EngineError::WrongPhase {
                pod: id.clone(),
                phase: phase::observed(pod, None).status.phase.word(),
                reason: "it must run for this",
            }),
        }
    })
}

pub(crate) async fn connect(
    core: &Core,
    pod: &PodId,
    port: u16,
) -> Result<Box<dyn Duplex>, EngineError> {
    let container = running(core, pod)?;
    let address = container.address.ok_or_else(|| EngineError::Failed {
        message: format!("pod {pod} has no address"),
        source: None,
    })?;
    let failed = |error: std::io::Error| EngineError::unreachable(pod, port, &error);
    let stream = tokio::time::timeout(
        CONNECT,
        TcpStream::connect(SocketAddrV4::new(address, port)),
    )
    .await
    .map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?
    .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(Box::new(stream))
}

pub(crate) async fn exec(
    core: &Arc<Core>,
    pod: &PodId,
    request: ExecRequest,
) -> Result<Session, EngineError> {
    if request.command.first().is_none_or(String::is_empty) {
        return Err(EngineError::Refused(
            "the command is empty: name a program".to_owned(),
        ));
    }
    let container = running(core, pod)?;
    let docker = core.client.docker().await?;
    let tty = matches!(request.terminal, Terminal::Tty { .. });
    let env = tty.then(|| vec!["TERM=xterm-256color".to_owned()]);
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(tty),
        cmd: Some(request.command),
        env,
        ..CreateExecOptions::default()
    };
    let exec = docker
        .create_exec(&container.id, options)
        .await
        .map_err(engine_error)?
        .id;
    let version = docker.client_version();
    let path = format!("/v{version}/exec/{exec}/start");
    let body = serde_json::json!({"Detach": false, "Tty": tty}).to_string();
    let raw = raw::upgrade(core.client.socket(), &path, body).await?;
    let command = Command::Exec(exec);
    if let Terminal::Tty { columns, rows } = request.terminal {
        resize(&docker, &command, columns, rows).await;
    }
    Ok(pump(core, docker, command, raw, tty))
}

pub(crate) async fn attach(core: &Arc<Core>, pod: &PodId) -> Result<Session, EngineError> {
    let (container, guard) = tokio::time::timeout(CONTAINER_WAIT, attachable(core, pod))
        .await
        .map_err(|_| EngineError::WrongPhase {
            pod: pod.clone(),
            phase: "pending",
            reason: "its container was not made in time",
        })??;
    let docker = core.client.docker().await?;
    let terminal = container.facts.kind.terminal().unwrap_or(Terminal::Streams);
    let tty = matches!(terminal, Terminal::Tty { .. });
    let version = docker.client_version();
    let id = container.id;
    let path =
        format!("/v{version}/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1&logs=0");
    let raw = raw::upgrade(core.client.socket(), &path, String::new()).await?;
    let started = docker
        .start_container(&id, None::<StartContainerOptions>)
        .await;
    if let Err(error) = started {
        let reason = start_error(&words_of(&error));
        core.change(pod, |pod| pod.fail(reason.clone(), Severity::Definite));
        return Err(EngineError::Refused(reason));
    }
    let command = Command::Container(id.clone());
    if let Terminal::Tty { columns, rows } = terminal {
        resize(&docker, &command, columns, rows).await;
    }
    crate::operate::read(core, &docker, &id)
        .await
        .map_err(engine_error)?;
    drop(guard);
    Ok(pump(core, docker, command, raw, tty))
}

/// Waits until a task that starts on attach has its container, and takes it.
async fn attachable(core: &Arc<Core>, id: &PodId) -> Result<(Container, OpGuard), EngineError> {
    loop {
        let container = core
            .when_freed(|state| waiting(state, id).transpose())
            .await?;
        if let Some(guard) = core.begin(id, OpKind::Start) {
            return Ok((container, guard));
        }
    }
}

/// The container of a task that waits for somebody to attach; nothing while it is being made.
fn waiting(state: &State, id: &PodId) -> Result<Option<Container>, EngineError> {
    let pod = state
        .pods
        .get(id)
        .ok_or_else(|| EngineError::NoSuchPod(id.clone()))?;
    let wrong = |reason| EngineError::WrongPhase {
        pod: id.clone(),
        phase: phase::observed(pod, None).status.phase.word(),
        reason,
    };
    if pod.facts.kind.terminal().is_none() {
        return Err(wrong(
            "only a task that starts on attach can be attached to",
        ));
    }
    if pod.leaving.is_some() || pod.lost {
        return Err(wrong("it must wait for somebody to attach"));
    }
    if pod.trouble.as_ref().is_some_and(|t| t.retry_at.is_none()) {
        return Err(wrong("it cannot start"));
    }
    let starting = pod.op.as_ref().is_some_and(|op| op.kind == OpKind::Start);
    match &pod.container {
        Some(container) if starting || container.state != ContainerState::Created => {
            Err(wrong("it was attached to before"))
        }
        Some(container) if pod.op.is_none() => Ok(Some(container.clone())),
        _ => Ok(None),
    }
}

/// What runs on the other side of a connection.
#[derive(Clone, Debug)]
enum Command {
    Exec(String),
    Container(String),
}

async fn resize(docker: &Docker, command: &Command, columns: u16, rows: u16) {
    let (h, w) = (i32::from(rows), i32::from(columns));
    let resized = match command {
        Command::Exec(id) => docker.resize_exec(id, ResizeExecOptions { h, w }).await,
        Command::Container(id) => {
            docker
                .resize_container_tty(id, ResizeContainerTTYOptions { h, w })
                .await
        }
    };
    if let Err(error) = resized {
        // A command that ended meanwhile has no terminal any more.
        tracing::debug!(%error, "a terminal cannot be resized");
    }
}

fn pump(core: &Arc<Core>, docker: Docker, command: Command, raw: Raw, tty: bool) -> Session {
    let (input, inputs) = mpsc::channel(PIECES);
    let (outputs, output) = mpsc::channel(PIECES);
    let (reader, writer) = tokio::io::split(raw);
    core.config.supervisor.spawn("docker-session", async move {
        let closed = outputs.clone();
        let work = async {
            let writing = write(&docker, &command, writer, inputs, tty);
            let reading = read(reader, tty, &outputs);
            tokio::pin!(writing, reading);
            // Output may go on long after the input's end, but not the other way round.
            let end = tokio::select! {
                end = &mut reading => end,
                () = &mut writing => reading.await,
            };
            let last = match end {
                Ok(()) => exit(&docker, &command).await,
                Err(error) => Err(EngineError::Unavailable(Box::new(error))),
            };
            drop(outputs.send(last.map(SessionOutput::Exit)).await);
        };
        tokio::select! {
            () = closed.closed() => {}
            () = work => {}
        }
    });
    Session {
        input,
        output: Box::pin(ReceiverStream::new(output)),
    }
}

async fn write(
    docker: &Docker,
    command: &Command,
    mut writer: WriteHalf<Raw>,
    mut inputs: mpsc::Receiver<SessionInput>,
    tty: bool,
) {
    let mut open = true;
    while let Some(input) = inputs.recv().await {
        match input {
            SessionInput::Stdin(bytes) if open => {
                // A command that does not read any more is no fault of the session.
                open = writer.write_all(&bytes).await.is_ok() && writer.flush().await.is_ok();
            }
            SessionInput::Stdin(_) => {}
            SessionInput::End => {
                if open && tty {
                    // Docker drops a terminal's output, too, when its input's connection is closed: a terminal's
                    // input ends as it does for a person.
                    open = writer.write_all(END_OF_INPUT).await.is_ok()
                        && writer.flush().await.is_ok();
                } else if open {
                    open = false;
                    drop(writer.shutdown().await);
                }
            }
            SessionInput::Resize { columns, rows } => {
                resize(docker, command, columns, rows).await;
            }
        }
    }
    if open && !tty {
        drop(writer.shutdown().await);
    }
}

async fn read(
    mut reader: ReadHalf<Raw>,
    tty: bool,
    outputs: &mpsc::Sender<Result<SessionOutput, EngineError>>,
) -> std::io::Result<()> {
    let mut frames = Frames::default();
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        buffer.reserve(READ_BYTES);
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let mut next = || {
            if tty {
                let piece = (!buffer.is_empty()).then(|| buffer.split().freeze());
                piece.map(|bytes| (Channel::Stdout, bytes))
            } else {
                frames.next(&mut buffer)
            }
        };
        while let Some((channel, bytes)) = next() {
            if outputs
                .send(Ok(SessionOutput::Data(channel, bytes)))
                .await
                .is_err()
            {
                return Ok(());
            }
        }
    }
}

/// The status that a command ended with, once Docker knows it.
async fn exit(docker: &Docker, command: &Command) -> Result<i64, EngineError> {
    for _ in 0..EXIT_TRIES {
        let (running, code) = match command {
            Command::Exec(id) => {
                let exec = docker.inspect_exec(id).await.map_err(engine_error)?;
                (exec.running.unwrap_or(false), exec.exit_code)
            }
            Command::Container(id) => {
                let state = docker
                    .inspect_container(id, None::<InspectContainerOptions>)
                    .await
                    .map_err(engine_error)?
                    .state
                    .unwrap_or_default();
                (state.running.unwrap_or(false), state.exit_code)
            }
        };
        if !running && let Some(code) = code {
            return Ok(code);
        }
        tokio::time::sleep(EXIT_PAUSE).await;
    }
    Err(EngineError::Failed {
        message: "the command's output ended, but Docker does not tell its exit status".to_owned(),
        source: None,
    })
}
