//! Commands in pods, one-off commands, and connections to pods.
//!
//! Theory of operation: the API server speaks WebSocket for these, one channel per stream. Before protocol v5 (Kubernetes
//! 1.30) there is no way to tell a command that its input has ended; that is said on its standard error when it would
//! matter. One-off commands are Jobs that have no pod until somebody attaches; their plain output is read from the log,
//! from its beginning, so that nothing is lost, and their input goes over an attached stream whose end is the input's
//! end (`stdinOnce`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use coracle_engine::EngineError;
use coracle_engine::stream::{Channel, Duplex, ExecRequest, Session, SessionInput, SessionOutput};
use coracle_model::pod::PodPhase;
use coracle_model::workload::{PodId, Terminal, WorkloadId};
use futures::{SinkExt as _, StreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, LogParams};
use kube::core::Request;
use kube::{Api, Resource as _};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use crate::client::{engine_error, is_conflict, is_missing, merge, within};
use crate::facts::{ATTACHED, PodKind};
use crate::object::CONTAINER;
use crate::phase;
use crate::reconcile::From;
use crate::state::{Core, Held, attached};

/// Pieces of input or output that wait.
const PIECES: usize = 32;
/// Bytes that are sent at once.
const PIECE: usize = 16 * 1024;
/// An idle connection is kept open by a sign of life.
const PING: Duration = Duration::from_secs(30);
/// What a terminal takes for the end of its input (Ctrl-D).
const END_OF_INPUT: &[u8] = &[4];
/// For the pod of a one-off command to run: its image may have to be pulled.
const START: Duration = Duration::from_mins(10);
/// For the cluster to tell how a command ended whose output has ended.
const EXIT: Duration = Duration::from_secs(30);
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
                    phase: word(phase),
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

pub(crate) const fn word(phase: PodPhase) -> &'static str {
    match phase {
        PodPhase::Pending => "pending",
        PodPhase::Starting => "starting",
        PodPhase::Ready => "ready",
        PodPhase::Unready => "unready",
        PodPhase::Stopping => "stopping",
        PodPhase::Exited => "exited",
        PodPhase::Failed => "failed",
    }
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
    let wire = open(core, asked).await?;
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

/// A WebSocket with channels.
struct Wire {
    stream: Box<dyn Messages>,
    /// The other side understands that a channel is closed.
    closes: bool,
}

/// Messages both ways.
trait Messages:
    futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>>
    + futures::Sink<Message, Error = tokio_tungstenite::tungstenite::Error>
    + Send
    + Unpin
{
}
impl<T> Messages for T where
    T: futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>>
        + futures::Sink<Message, Error = tokio_tungstenite::tungstenite::Error>
        + Send
        + Unpin
{
}

async fn open(core: &Core, request: http::Request<Vec<u8>>) -> Result<Wire, EngineError> {
    let connection = core.client.connect(request).await.map_err(engine_error)?;
    let closes = connection.supports_stream_close();
    core.closes.store(closes, Ordering::Relaxed);
    Ok(Wire {
        stream: Box::new(connection.into_stream()),
        closes,
    })
}

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

fn frame(channel: u8, bytes: &[u8]) -> Message {
    let mut frame = Vec::with_capacity(bytes.len() + 1);
    frame.push(channel);
    frame.extend_from_slice(bytes);
    Message::binary(frame)
}

fn size(columns: u16, rows: u16) -> Message {
    let text = json!({ "Width": columns, "Height": rows }).to_string();
    frame(RESIZE, text.as_bytes())
}

impl Wire {
    /// Carries input and output until the command's end, or until nobody reads its output.
    async fn talk(self, input: Input, output: Output, terminal: Terminal) {
        let closes = self.closes;
        let (sink, mut stream) = self.stream.split();
        let told = output.clone();
        let read = async {
            while let Some(message) = stream.next().await {
                let piece = match message {
                    Ok(Message::Binary(piece)) => piece,
                    Ok(_) => continue,
                    Err(error) => {
                        let lost = EngineError::Unavailable(Box::new(error));
                        return drop(output.send(Err(lost)).await);
                    }
                };
                let Some((channel, rest)) = piece.split_first() else {
                    continue;
                };
                let rest = Bytes::copy_from_slice(rest);
                let (said, last) = match *channel {
                    STDOUT if !rest.is_empty() => {
                        (Ok(SessionOutput::Data(Channel::Stdout, rest)), false)
                    }
                    STDERR if !rest.is_empty() => {
                        (Ok(SessionOutput::Data(Channel::Stderr, rest)), false)
                    }
                    STATUS if !rest.is_empty() => (outcome(&rest), true),
                    _ => continue,
                };
                if output.send(said).await.is_err() || last {
                    return;
                }
            }
            let lost = EngineError::Failed {
                message: "the connection to the command was lost".to_owned(),
                source: None,
            };
            drop(output.send(Err(lost)).await);
        };
        let write = async {
            feed(sink, input, terminal, closes, &told).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = read => {}
            () = write => {}
            () = told.closed() => {}
        }
    }
}

/// Sends input until there is no more; then signs of life.
async fn feed<S>(mut sink: S, mut input: Input, terminal: Terminal, closes: bool, told: &Output)
where
    S: futures::Sink<Message, Error = tokio_tungstenite::tungstenite::Error> + Unpin,
{
    let tty = matches!(terminal, Terminal::Tty { .. });
    if let Terminal::Tty { columns, rows } = terminal
        && sink.send(size(columns, rows)).await.is_err()
    {
        return;
    }
    let (mut ended, mut given) = (false, false);
    loop {
        let next = tokio::select! {
            next = input.recv(), if !ended => next,
            () = tokio::time::sleep(PING) => {
                if sink.send(Message::Ping(Bytes::new())).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let sent = match next {
            Some(SessionInput::Stdin(bytes)) => {
                given = true;
                let mut sent = Ok(());
                for piece in bytes.chunks(PIECE) {
                    sent = sink.send(frame(STDIN, piece)).await;
                    if sent.is_err() {
                        break;
                    }
                }
                sent
            }
            Some(SessionInput::Resize { columns, rows }) if tty => {
                sink.send(size(columns, rows)).await
            }
            Some(SessionInput::Resize { .. }) => Ok(()),
            Some(SessionInput::End) | None => {
                ended = true;
                if tty {
                    sink.send(frame(STDIN, END_OF_INPUT)).await
                } else if closes {
                    sink.send(frame(CLOSE, &[STDIN])).await
                } else {
                    if given {
                        // Without it a person would wait for a command that waits for more.
                        let note = "coracle: this cluster (before Kubernetes 1.30) cannot tell a command that its input has ended\n";
                        let note = SessionOutput::Data(
                            Channel::Stderr,
                            Bytes::from_static(note.as_bytes()),
                        );
                        drop(told.send(Ok(note)).await);
                    }
                    Ok(())
                }
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// How a command ended, from the status that ends its streams.
fn outcome(bytes: &[u8]) -> Result<SessionOutput, EngineError> {
    let status: Status = serde_json::from_slice(bytes).map_err(|error| EngineError::Failed {
        message: "how the command ended cannot be read".to_owned(),
        source: Some(Box::new(error)),
    })?;
    if status.status.as_deref() == Some("Success") {
        return Ok(SessionOutput::Exit(0));
    }
    let causes = status.details.as_ref().and_then(|d| d.causes.as_deref());
    let code = causes.unwrap_or_default().iter().find_map(|cause| {
        let is_code = cause.reason.as_deref() == Some("ExitCode");
        is_code
            .then(|| cause.message.as_deref()?.parse().ok())
            .flatten()
    });
    if let Some(code) = code {
        return Ok(SessionOutput::Exit(code));
    }
    let words = status.message.unwrap_or_default();
    let cannot = [
        "executable file not found",
        "permission denied",
        "no such file",
    ];
    if cannot.iter().any(|sign| words.contains(sign)) {
        return Err(EngineError::Refused(words));
    }
    Err(EngineError::Failed {
        message: words,
        source: None,
    })
}

/// Does a Job wait for somebody to attach?
pub(crate) fn waits(job: &Held<Job>) -> bool {
    job.facts.kind.terminal().is_some() && !attached(&job.live) && !job.deleting
}

/// Connects to a one-off command, and lets it begin.
pub(crate) async fn attach(core: &Arc<Core>, id: &PodId) -> Result<Session, EngineError> {
    let namespace = core.namespace(&id.project)?;
    let refused = |phase: PodPhase, reason: &'static str| EngineError::WrongPhase {
        pod: id.clone(),
        phase: word(phase),
        reason,
    };
    let found = core.with(|state| {
        let (workload, group) = state.group_of(id)?;
        let phase = state
            .told(id)
            .map_or(PodPhase::Pending, |pod| pod.status.phase);
        let job = group.jobs.values().find(|job| waits(job));
        let job = job.map(|job| (Arc::clone(&job.live), job.facts.kind));
        Some((workload.clone(), phase, job))
    });
    let Some((workload, phase, job)) = found else {
        return Err(EngineError::NoSuchPod(id.clone()));
    };
    let Some((job, kind)) = job else {
        return Err(refused(
            phase,
            "it must be a task that waits for somebody to attach",
        ));
    };
    let name = job.metadata.name.clone().unwrap_or_default();
    let change = json!({
        "metadata": {
            // Whoever comes second finds another version.
            "resourceVersion": job.metadata.resource_version,
            "annotations": { ATTACHED: Utc::now().to_rfc3339() },
        },
        "spec": { "parallelism": 1 },
    });
    let jobs: Api<Job> = within(&core.client, &namespace);
    match merge(&jobs, &name, &change).await {
        Ok(job) => core.take_job(job, From::Answer),
        Err(error) if is_missing(&error) => return Err(EngineError::NoSuchPod(id.clone())),
        Err(error) if is_conflict(&error) => {
            return Err(refused(
                phase,
                "somebody else attached, or it changed just now",
            ));
        }
        Err(error) => return Err(engine_error(error)),
    }
    let (session, input, output) = channels();
    let attachment = Attachment {
        core: Arc::clone(core),
        id: id.clone(),
        workload,
        namespace,
        kind,
    };
    core.config
        .supervisor
        .spawn("kubernetes-attach", async move {
            let closed = output.clone();
            tokio::select! {
                () = attachment.run(input, output) => {}
                () = closed.closed() => {}
            }
        });
    Ok(session)
}

/// Somebody attached to a one-off command.
struct Attachment {
    core: Arc<Core>,
    id: PodId,
    workload: WorkloadId,
    namespace: String,
    kind: PodKind,
}

impl Attachment {
    async fn run(self, input: Input, output: Output) {
        match self.begun().await {
            Ok(name) => {
                let terminal = self.kind.terminal().unwrap_or(Terminal::Streams);
                let carried = match terminal {
                    Terminal::Streams => self.plain(&name, input, &output).await,
                    Terminal::Tty { .. } => self.terminal(&name, terminal, input, &output).await,
                };
                let last = match carried {
                    Ok(()) => self.exit().await,
                    Err(error) => Err(error),
                };
                drop(output.send(last).await);
            }
            Err(error) => drop(output.send(Err(error)).await),
        }
    }

    /// Waits until the pod runs or has run, and says its name in the cluster.
    async fn begun(&self) -> Result<String, EngineError> {
        let begun = self.core.when(|state| {
            let Some(group) = state.groups.get(&self.workload) else {
                return Some(Err(EngineError::NoSuchPod(self.id.clone())));
            };
            if group.jobs.is_empty() && group.pods.is_empty() {
                return Some(Err(EngineError::NoSuchPod(self.id.clone())));
            }
            let pod = &group.find(&self.id)?.live;
            let begun = phase::runs(pod) || phase::has_ended(pod) || phase::exit(pod).is_some();
            begun.then(|| Ok(pod.metadata.name.clone().unwrap_or_default()))
        });
        match tokio::time::timeout(START, begun).await {
            Ok(begun) => begun,
            Err(_elapsed) => {
                let reason = self
                    .core
                    .with(|state| state.told(&self.id)?.status.reason.clone());
                let reason = reason.unwrap_or_else(|| "the cluster does not say why".to_owned());
                Err(EngineError::Failed {
                    message: format!("the command did not begin within {START:?}: {reason}"),
                    source: None,
                })
            }
        }
    }

    /// How the command ended, once the cluster tells.
    async fn exit(&self) -> Result<SessionOutput, EngineError> {
        let ended = self.core.when(|state| {
            let Some(record) = state.record(&self.id) else {
                return Some(None);
            };
            let exit = phase::exit(&record.live)?;
            Some(Some(exit.code))
        });
        match tokio::time::timeout(EXIT, ended).await {
            Ok(Some(code)) => Ok(SessionOutput::Exit(code)),
            Ok(None) => Err(EngineError::NoSuchPod(self.id.clone())),
            Err(_elapsed) => Err(EngineError::Failed {
                message: "the command's output ended, but the cluster does not say how it ended"
                    .to_owned(),
                source: None,
            }),
        }
    }

    fn pods(&self) -> Api<Pod> {
        within(&self.core.client, &self.namespace)
    }

    fn attach_request(
        &self,
        name: &str,
        terminal: Terminal,
        wanted: Wanted,
    ) -> Result<http::Request<Vec<u8>>, EngineError> {
        Request::new(Pod::url_path(&(), Some(&self.namespace)))
            .attach(name, &streams(terminal, wanted))
            .map_err(|error| EngineError::Refused(error.to_string()))
    }

    /// Output from the log, from its beginning to its end; input over an attached stream.
    async fn plain(&self, name: &str, input: Input, output: &Output) -> Result<(), EngineError> {
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: true,
            ..LogParams::default()
        };
        let log = self
            .pods()
            .log_stream(name, &parameters)
            .await
            .map_err(engine_error)?;
        let mut log = log.compat();
        let request = self.attach_request(name, Terminal::Streams, Wanted::Input)?;
        let core = Arc::clone(&self.core);
        let give = async {
            // What has ended needs no input.
            if let Ok(wire) = open(&core, request).await {
                give_input(wire, input).await;
            }
            std::future::pending::<()>().await;
        };
        let take = async {
            loop {
                let piece = match log.fill_buf().await {
                    Ok([]) | Err(_) => return,
                    Ok(piece) => Bytes::copy_from_slice(piece),
                };
                log.consume(piece.len());
                let said = SessionOutput::Data(Channel::Stdout, piece);
                if output.send(Ok(said)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = take => {}
            () = give => {}
        }
        Ok(())
    }

    /// What a terminal showed before we were there is read from the log; the rest comes as it is shown.
    async fn terminal(
        &self,
        name: &str,
        terminal: Terminal,
        input: Input,
        output: &Output,
    ) -> Result<(), EngineError> {
        let request = self.attach_request(name, terminal, Wanted::All)?;
        let wire = open(&self.core, request).await;
        let before = self.log_so_far(name).await;
        let Ok(wire) = wire else {
            // It has ended already.
            if !before.is_empty() {
                let said = SessionOutput::Data(Channel::Stdout, before);
                drop(output.send(Ok(said)).await);
            }
            return Ok(());
        };
        let (told, mut shown) = mpsc::channel(PIECES);
        let talk = wire.talk(input, told, terminal);
        let forward = async {
            let mut before = Some(before);
            while let Some(piece) = shown.recv().await {
                let (piece, last) = match piece {
                    Ok(SessionOutput::Data(channel, bytes)) => (Some((channel, bytes)), false),
                    // How it ended is told by the pod.
                    Ok(SessionOutput::Exit(_)) | Err(_) => (None, true),
                };
                if let Some(before) = before.take() {
                    let first = piece
                        .as_ref()
                        .map(|(_, bytes)| bytes.clone())
                        .unwrap_or_default();
                    let head = unseen(&before, &first);
                    if !head.is_empty() {
                        let said = SessionOutput::Data(Channel::Stdout, head);
                        drop(output.send(Ok(said)).await);
                    }
                }
                if let Some((channel, bytes)) = piece {
                    let said = SessionOutput::Data(channel, bytes);
                    if output.send(Ok(said)).await.is_err() {
                        return;
                    }
                }
                if last {
                    return;
                }
            }
            if let Some(before) = before.take().filter(|b| !b.is_empty()) {
                let said = SessionOutput::Data(Channel::Stdout, before);
                drop(output.send(Ok(said)).await);
            }
        };
        let ((), ()) = tokio::join!(talk, forward);
        Ok(())
    }

    async fn log_so_far(&self, name: &str) -> Bytes {
        const MOST: u64 = 1 << 20;
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            ..LogParams::default()
        };
        let Ok(log) = self.pods().log_stream(name, &parameters).await else {
            return Bytes::new();
        };
        let mut text = Vec::new();
        if let Err(error) = log.compat().take(MOST).read_to_end(&mut text).await {
            tracing::debug!(%error, "the beginning of a terminal's output cannot be read");
        }
        Bytes::from(text)
    }
}

/// What of the log the terminal's first piece does not show again.
fn unseen(log: &Bytes, first: &Bytes) -> Bytes {
    let most = log.len().min(first.len());
    let overlap = (0..=most)
        .rev()
        .find(|n| log[log.len() - n..] == first[..*n]);
    log.slice(..log.len() - overlap.unwrap_or_default())
}

/// Sends input to an attached stream; its end is the input's end.
async fn give_input(wire: Wire, mut input: Input) {
    let (mut sink, mut stream) = wire.stream.split();
    let read = async { while let Some(Ok(_)) = stream.next().await {} };
    let write = async {
        loop {
            let sent = match input.recv().await {
                Some(SessionInput::Stdin(bytes)) => {
                    let mut sent = Ok(());
                    for piece in bytes.chunks(PIECE) {
                        sent = sink.send(frame(STDIN, piece)).await;
                        if sent.is_err() {
                            break;
                        }
                    }
                    sent
                }
                Some(SessionInput::Resize { .. }) => Ok(()),
                Some(SessionInput::End) | None => break,
            };
            if sent.is_err() {
                return;
            }
        }
        // It goes in order behind the last piece.
        drop(sink.close().await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = read => {}
        () = write => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_before_is_told_once() {
        let head = |log: &'static str, first: &'static str| {
            let bytes = unseen(
                &Bytes::from_static(log.as_bytes()),
                &Bytes::from_static(first.as_bytes()),
            );
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert_eq!(head("one\ntwo\n", "two\nthree\n"), "one\n");
        assert_eq!(head("one\n", "two\n"), "one\n");
        assert_eq!(head("one\n", "one\n"), "");
        assert_eq!(head("", "one\n"), "");
    }

    #[test]
    fn a_commands_end_is_read() {
        let exit = |json: &str| outcome(json.as_bytes());
        assert!(matches!(
            exit(r#"{"status":"Success"}"#),
            Ok(SessionOutput::Exit(0))
        ));
        let seven = r#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
        assert!(matches!(exit(seven), Ok(SessionOutput::Exit(7))));
        let absent =
            r#"{"status":"Failure","message":"exec: \"x\": executable file not found in $PATH"}"#;
        assert!(matches!(exit(absent), Err(EngineError::Refused(_))));
    }
}
