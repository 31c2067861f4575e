//! Commands in pods, over WebSockets (subprotocol `coracle.exec.v1`).
//!
//! Theory of operation: each binary message begins with one byte that says what it is ([`channel`]). The two
//! directions run side by side and each waits for its receiver, so that a slow one holds its sender back
//! and nothing is gathered in memory. The exit status is the last message. A session ends with the credentials that
//! it was opened with; the client is told so in the place of an exit status.

use std::num::NonZeroU16;
use std::pin::pin;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, close_code};
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use coracle_control::journal::Actor;
use coracle_engine::EngineError;
use coracle_engine::stream::{Channel, ExecRequest, Session, SessionInput, SessionOutput};
use coracle_model::name::{PodName, ProjectName, shown};
use coracle_model::object::Kind;
use coracle_model::pod::PodSpec;
use coracle_model::problem::{Code, Problem};
use coracle_model::workload::{PodId, Terminal};
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::time::timeout;

use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::extract::Path;
use crate::socket::{self, FAREWELL, PING_EVERY, Upgrade};
use crate::state::ApiState;
use crate::tenure::Tenure;

/// The subprotocol.
const PROTOCOL: &str = "coracle.exec.v1";

/// How long a pod has to appear after it was asked for, before an attach gives up.
const APPEARS_WITHIN: Duration = Duration::from_secs(60);

/// The first byte of each message.
mod channel {
    /// Client to command: bytes of its input.
    pub(super) const STDIN: u8 = 0;
    /// Command to client: bytes of its output.
    pub(super) const STDOUT: u8 = 1;
    /// Command to client: bytes of its errors.
    pub(super) const STDERR: u8 = 2;
    /// Command to client: JSON, `{"code": 0}` or `{"problem": {…}}`. Nothing follows.
    pub(super) const EXIT: u8 = 3;
    /// Client to command: JSON, `{"columns": 80, "rows": 24}`.
    pub(super) const RESIZE: u8 = 4;
    /// Client to command: its input ends.
    pub(super) const END: u8 = 5;
}

#[derive(Deserialize)]
struct Size {
    columns: u16,
    rows: u16,
}

/// What to run: taken from the query by hand, because `command` may be there many times.
fn parse_query(query: &str) -> ApiResult<ExecRequest> {
    let mut command = Vec::new();
    let (mut tty, mut columns, mut rows) = (false, 80, 24);
    let number = |field: &str, value: &str| {
        value
            .parse::<NonZeroU16>()
            .map(NonZeroU16::get)
            .map_err(|_not_a_number| -> Box<Problem> {
                let detail = format!("{field} is a number of 1 to 65535");
                Box::new(Problem::new(Code::InvalidField, detail).field(field))
            })
    };
    for (name, value) in form_pairs(query) {
        match name.as_str() {
            "command" => command.push(value),
            "tty" => {
                tty = value.parse().map_err(|_not_a_bool| {
                    Problem::new(Code::InvalidField, "tty is true or false").field("tty")
                })?;
            }
            "columns" => columns = number("columns", &value)?,
            "rows" => rows = number("rows", &value)?,
            _ => {
                let problem = Problem::new(
                    Code::UnknownField,
                    "allowed are command, tty, columns and rows",
                );
                return Err(problem.field(shown(&name)).into());
            }
        }
    }
    if command.iter().any(|word| word.contains('\0')) {
        let problem = Problem::new(Code::InvalidField, "a command cannot hold a zero byte");
        return Err(problem.field("command").into());
    }
    if command.first().is_none_or(String::is_empty) {
        return Err(Problem::new(Code::InvalidField, "a command is needed")
            .field("command")
            .into());
    }
    let terminal = if tty {
        Terminal::Tty { columns, rows }
    } else {
        Terminal::Streams
    };
    Ok(ExecRequest { command, terminal })
}

/// `application/x-www-form-urlencoded` pairs of a query.
fn form_pairs(query: &str) -> Vec<(String, String)> {
    serde_urlencoded::from_str(query).unwrap_or_default()
}

/// Run a command in a pod: a WebSocket.
#[utoipa::path(get, path = "/api/v1/projects/{project}/pods/{pod}/exec", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path),
        ("command" = Vec<String>, Query, description = "The program and its arguments, each as a parameter"),
        ("tty" = Option<bool>, Query), ("columns" = Option<u16>, Query), ("rows" = Option<u16>, Query)),
    responses((status = 101, description = "WebSocket, subprotocol coracle.exec.v1"), (status = "default", body = Problem)))]
pub(crate) async fn exec(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, pod)): Path<(ProjectName, PodName)>,
    uri: axum::http::Uri,
    upgrade: Upgrade,
) -> ApiResult<Response> {
    let request = parse_query(uri.query().unwrap_or_default())?;
    let id = PodId {
        project: project.clone(),
        name: pod.clone(),
    };
    let command = request.command.first().cloned().unwrap_or_default();
    let session = state.control.engine.exec(&id, request).await?;
    let actor = Actor::User(caller.user.to_string());
    state
        .control
        .journal
        .record(
            &actor,
            "pod.exec",
            Some(&project),
            (Kind::Pod, pod.as_str()),
            format!("ran {command:?}"),
        )
        .await;
    let tenure = Tenure::new(&state, caller);
    Ok(upgrade.accept(PROTOCOL, move |socket| async move {
        relay(&state, socket, session, tenure).await;
    }))
}

/// Attach to a one-off command and start it: a WebSocket. Its pod is deleted when it ends.
#[utoipa::path(get, path = "/api/v1/projects/{project}/pods/{pod}/attach", tag = "pods",
    params(("project" = ProjectName, Path), ("pod" = PodName, Path)),
    responses((status = 101, description = "WebSocket, subprotocol coracle.exec.v1"), (status = "default", body = Problem)))]
pub(crate) async fn attach(
    State(state): State<ApiState>,
    caller: Caller,
    Path((project, pod)): Path<(ProjectName, PodName)>,
    upgrade: Upgrade,
) -> ApiResult<Response> {
    let key = coracle_control::keys::pod(&project, &pod);
    let object = state.control.objects.need::<PodSpec>(&key, &pod).await?;
    if object.spec.start.is_at_once() {
        return Err(ApiError::new(
            Code::Conflict,
            format!("pod {pod} does not wait for somebody to attach"),
        ));
    }
    let id = PodId {
        project: project.clone(),
        name: pod.clone(),
    };
    let session = attach_when_there(&state, &id).await?;
    let actor = caller.actor();
    let tenure = Tenure::new(&state, caller);
    Ok(upgrade.accept(PROTOCOL, move |socket| async move {
        relay(&state, socket, session, tenure).await;
        if let Err(error) = state.control.delete_pod(&project, &pod, None, &actor).await {
            tracing::warn!(%error, %pod, "a one-off command's pod could not be deleted; the sweep will");
        }
    }))
}

/// The controller makes the pod a moment after it was asked for.
async fn attach_when_there(state: &ApiState, id: &PodId) -> Result<Session, ApiError> {
    let attempt = async {
        let mut changes = state.control.observed.subscribe();
        loop {
            changes.mark_unchanged();
            match state.control.engine.attach(id).await {
                Err(EngineError::NoSuchPod(_)) => {}
                other => return other,
            }
            if changes.changed().await.is_err() {
                return Err(EngineError::NoSuchPod(id.clone()));
            }
        }
    };
    match timeout(APPEARS_WITHIN, attempt).await {
        Ok(session) => Ok(session?),
        Err(_elapsed) => Err(EngineError::NoSuchPod(id.clone()).into()),
    }
}

/// Carries a session over a socket until the command, the client or the client's credentials end.
async fn relay(state: &ApiState, socket: WebSocket, session: Session, tenure: Tenure) {
    let Session { input, mut output } = session;
    let (mut sink, mut stream) = socket.split();
    let to_client = async {
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut ended = pin!(tenure.ended());
        loop {
            let message = tokio::select! {
                () = &mut ended => {
                    let status = serde_json::json!({ "problem": Tenure::problem() });
                    let last = frame(channel::EXIT, status.to_string().as_bytes());
                    // Whoever does not read is not waited for.
                    let told = timeout(FAREWELL, sink.send(last)).await;
                    return matches!(told, Ok(Ok(()))).then_some(sink);
                }
                item = output.next() => match item {
                    Some(Ok(SessionOutput::Data(to, data))) => frame(to_channel(to), &data),
                    Some(Ok(SessionOutput::Exit(code))) => {
                        let status = serde_json::json!({ "code": code });
                        let last = frame(channel::EXIT, status.to_string().as_bytes());
                        return (sink.send(last).await.is_ok()).then_some(sink);
                    }
                    Some(Err(error)) => {
                        let problem = coracle_control::OperationError::from(error).problem();
                        let status = serde_json::json!({ "problem": problem });
                        let last = frame(channel::EXIT, status.to_string().as_bytes());
                        return (sink.send(last).await.is_ok()).then_some(sink);
                    }
                    None => return Some(sink),
                },
                _ = ping.tick() => Message::Ping(Bytes::new()),
            };
            tokio::select! {
                sent = sink.send(message) => if sent.is_err() { return None },
                () = &mut ended => return None,
            }
        }
    };
    let from_client = async {
        while let Some(Ok(message)) = stream.next().await {
            let Some(item) = parse(message) else { continue };
            if input.send(item).await.is_err() {
                // The command takes no input any more; its output goes on.
                std::future::pending::<()>().await;
            }
        }
    };
    let stop = state.supervisor.token();
    let finished = tokio::select! {
        sink = to_client => sink,
        () = from_client => None,
        () = stop.cancelled() => None,
    };
    if let Some(sink) = finished {
        socket::close(sink, stream, close_code::NORMAL, "").await;
    }
}

fn to_channel(channel: Channel) -> u8 {
    match channel {
        Channel::Stdout => channel::STDOUT,
        Channel::Stderr => channel::STDERR,
    }
}

fn frame(channel: u8, data: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(data);
    Message::Binary(bytes.freeze())
}

/// What a client's message is; unknown ones are passed over, so that the protocol can grow.
fn parse(message: Message) -> Option<SessionInput> {
    let Message::Binary(mut bytes) = message else {
        return None;
    };
    if bytes.is_empty() {
        return None;
    }
    let body = bytes.split_off(1);
    match bytes[0] {
        channel::STDIN => Some(SessionInput::Stdin(body)),
        channel::END => Some(SessionInput::End),
        channel::RESIZE => {
            let size: Size = serde_json::from_slice(&body).ok()?;
            Some(SessionInput::Resize {
                columns: size.columns,
                rows: size.rows,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_to_run() {
        let request = parse_query(
            "command=sh&command=-c&command=echo%20%24HOME&tty=true&columns=100&rows=30",
        )
        .unwrap();
        assert_eq!(request.command, ["sh", "-c", "echo $HOME"]);
        assert_eq!(
            request.terminal,
            Terminal::Tty {
                columns: 100,
                rows: 30
            }
        );
        assert!(parse_query("").is_err());
        assert!(parse_query("command=a&columns=70000").is_err());
        assert!(parse_query("command=a&privileged=true").is_err());
    }

    #[test]
    fn messages_are_told_apart_by_their_first_byte() {
        let binary = |bytes: &'static [u8]| Message::Binary(Bytes::from_static(bytes));
        assert!(
            matches!(parse(binary(b"\x00hi")), Some(SessionInput::Stdin(data)) if data == "hi")
        );
        assert!(matches!(parse(binary(b"\x05")), Some(SessionInput::End)));
        let size = parse(binary(b"\x04{\"columns\":1,\"rows\":2}"));
        assert!(matches!(
            size,
            Some(SessionInput::Resize {
                columns: 1,
                rows: 2
            })
        ));
        for other in [&b""[..], b"\x04nonsense", b"\x09x"] {
            assert!(parse(binary(other)).is_none());
        }
    }
}
