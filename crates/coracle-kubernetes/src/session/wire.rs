//! Streams of a command over one WebSocket.
//!
//! Theory of operation: the first byte of a message is its channel. Before protocol v5 (Kubernetes 1.30) there is no way to
//! tell a command that its input has ended; that is said on its standard error when it would matter.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use coracle_engine::EngineError;
use coracle_engine::stream::{Channel, SessionInput, SessionOutput};
use coracle_model::workload::Terminal;
use futures::{SinkExt as _, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde_json::json;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Input, Output};
use crate::client::{chain, engine_error};
use crate::state::Core;

/// Bytes that are sent at once.
const PIECE: usize = 16 * 1024;
/// An idle connection is kept open by a sign of life.
const PING: Duration = Duration::from_secs(30);
/// What a terminal takes for the end of its input (Ctrl-D).
const END_OF_INPUT: &[u8] = &[4];

/// A WebSocket with channels.
pub(super) struct Wire {
    stream: Box<dyn Messages>,
    /// The other side understands that a channel is closed.
    closes: bool,
}

/// Messages both ways.
pub(super) trait Messages:
    futures::Stream<Item = Result<Message, Error>>
    + futures::Sink<Message, Error = Error>
    + Send
    + Unpin
{
}
impl<T> Messages for T where
    T: futures::Stream<Item = Result<Message, Error>>
        + futures::Sink<Message, Error = Error>
        + Send
        + Unpin
{
}

pub(super) async fn open(
    core: &Core,
    request: http::Request<Vec<u8>>,
) -> Result<Wire, EngineError> {
    let wire = Wire::open(core, request).await?;
    core.closes.store(wire.closes, Ordering::Relaxed);
    Ok(wire)
}

/// The same for what is no command: there the protocol says nothing about the end of a command's input.
pub(super) async fn open_port(
    core: &Core,
    request: http::Request<Vec<u8>>,
) -> Result<Box<dyn Messages>, EngineError> {
    Ok(Wire::open(core, request).await?.stream)
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
    async fn open(core: &Core, request: http::Request<Vec<u8>>) -> Result<Self, EngineError> {
        let connection = core.client.connect(request).await.map_err(engine_error)?;
        let closes = connection.supports_stream_close();
        Ok(Self {
            stream: Box::new(connection.into_stream()),
            closes,
        })
    }

    /// Carries input and output until the command's end, or until nobody reads its output.
    pub(super) async fn talk(self, input: Input, output: Output, terminal: Terminal) {
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

/// Sends input, at most [`PIECE`] at once.
async fn send_stdin<S>(sink: &mut S, bytes: &[u8]) -> Result<(), S::Error>
where
    S: futures::Sink<Message> + Unpin,
{
    for piece in bytes.chunks(PIECE) {
        sink.send(frame(STDIN, piece)).await?;
    }
    Ok(())
}

/// Sends input until there is no more; then signs of life.
async fn feed<S>(mut sink: S, mut input: Input, terminal: Terminal, closes: bool, told: &Output)
where
    S: futures::Sink<Message, Error = Error> + Unpin,
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
                send_stdin(&mut sink, &bytes).await
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

/// Sends input to an attached stream; its end is the input's end. That the command takes no more of it is no error.
///
/// # Errors
/// When the connection breaks before all was sent: the command takes what it got for all that there is.
pub(super) async fn give_input(wire: Wire, mut input: Input) -> Result<(), EngineError> {
    let (mut sink, mut stream) = wire.stream.split();
    let read = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Close(_))) => return None,
                Some(Ok(Message::Binary(piece))) if piece.len() > 1 && piece[0] == STATUS => {
                    return None;
                }
                Some(Ok(_)) => {}
                // So ends, without a word, what clusters have for a command that ends before its input (seen on 1.20).
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) | None => {
                    return None;
                }
                Some(Err(error)) => return Some(chain(&error)),
            }
        }
    };
    let write = async {
        loop {
            let sent = match input.recv().await {
                Some(SessionInput::Stdin(bytes)) => send_stdin(&mut sink, &bytes).await,
                Some(SessionInput::Resize { .. }) => Ok(()),
                // It goes in order behind the last piece.
                Some(SessionInput::End) | None => return sink.close().await.is_ok(),
            };
            if sent.is_err() {
                return false;
            }
        }
    };
    tokio::pin!(read);
    let ended = tokio::select! {
        ended = &mut read => ended,
        whole = write => {
            let ended = read.await;
            // What ends it after the last piece says nothing about the pieces.
            ended.filter(|_| !whole)
        }
    };
    match ended {
        None => Ok(()),
        Some(why) => Err(EngineError::Failed {
            message: format!("the connection over which the command got its input broke: {why}"),
            source: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    type Socket = tokio_tungstenite::WebSocketStream<tokio::io::DuplexStream>;

    /// A small wire, so that more than one piece does not fit on it, and its other end.
    async fn wire() -> (Wire, Socket) {
        use tokio_tungstenite::tungstenite::protocol::Role;
        let (ours, theirs) = tokio::io::duplex(1024);
        let wire = Wire {
            stream: Box::new(Socket::from_raw_socket(ours, Role::Client, None).await),
            closes: false,
        };
        (
            wire,
            Socket::from_raw_socket(theirs, Role::Server, None).await,
        )
    }

    /// A socket whose peer is taken for dead.
    struct Lost;

    fn dead<T>() -> std::task::Poll<std::io::Result<T>> {
        std::task::Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }

    impl tokio::io::AsyncRead for Lost {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            dead()
        }
    }

    impl tokio::io::AsyncWrite for Lost {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            dead()
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            dead()
        }

        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            dead()
        }
    }

    fn dump() -> (tokio::sync::mpsc::Sender<SessionInput>, Input) {
        let (to, input) = tokio::sync::mpsc::channel(2);
        let much = SessionInput::Stdin(Bytes::from(vec![b'x'; 1 << 20]));
        to.try_send(much).unwrap();
        (to, input)
    }

    /// Bytes come, and then the network says that there is nobody any more.
    #[tokio::test]
    async fn input_that_breaks_off_is_no_clean_end() {
        use tokio_tungstenite::tungstenite::protocol::Role;
        let socket = tokio_tungstenite::WebSocketStream::from_raw_socket(Lost, Role::Client, None);
        let wire = Wire {
            stream: Box::new(socket.await),
            closes: false,
        };
        let (_more, input) = dump();
        let words = give_input(wire, input).await.unwrap_err().to_string();
        assert!(words.contains("input broke"), "{words}");
    }

    #[tokio::test]
    async fn a_command_need_not_take_all_of_its_input() {
        let (wire, mut other) = wire().await;
        let (_more, input) = dump();
        let ends = async {
            other.next().await.unwrap().unwrap();
            let end = frame(STATUS, br#"{"status":"Success"}"#);
            other.send(end).await.unwrap();
            drop(other);
        };
        let (given, ()) = tokio::join!(give_input(wire, input), ends);
        given.unwrap();
    }

    #[tokio::test]
    async fn input_that_was_sent_whole_was_given() {
        let (wire, mut other) = wire().await;
        let (more, input) = dump();
        drop(more);
        let takes = async {
            let mut bytes = 0;
            while let Some(Ok(Message::Binary(piece))) = other.next().await {
                bytes += piece.len() - 1;
            }
            // Without a word, as a server that has seen the end may.
            drop(other);
            bytes
        };
        let (given, taken) = tokio::join!(give_input(wire, input), takes);
        given.unwrap();
        assert_eq!(taken, 1 << 20);
    }
}
