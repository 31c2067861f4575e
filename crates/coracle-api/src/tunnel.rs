//! A byte stream of a pod over a WebSocket.
//!
//! Theory of operation: binary messages are bytes and nothing else, so that what speaks to a pod from a browser needs no
//! framing of its own. Text messages are JSON about the stream: `{"end":true}` from either side says that it sends no more
//! bytes, `{"problem":{…}}` from the platform says why the stream broke. Unknown ones are passed over, so that the
//! protocol can grow.
//!
//! The two directions run side by side, and neither holds the other up. Each waits for its receiver: at most one message
//! of a client and one piece of a pod are in memory. The stream ends when both directions have, when either side
//! leaves, when the credentials end that it was opened with, when nothing was carried for too long, or with the platform.
//! What to reach, and who may, is the affair of the one who opens the stream.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, close_code};
use bytes::{Bytes, BytesMut};
use coracle_engine::stream::Duplex;
use coracle_model::problem::{Code, Problem};
use coracle_task::CancellationToken;
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::socket::{self, FAREWELL, Messages, PING_EVERY, Sink};
use crate::tenure::Tenure;

/// Bytes of a pod that are sent in one message.
const PIECE: usize = 32 * 1024;

/// What a client says about the stream.
#[derive(Deserialize)]
struct Said {
    /// It sends no more bytes.
    #[serde(default)]
    end: bool,
}

/// How a stream ended.
enum End {
    /// Both directions did.
    Both,
    /// The client left.
    Left,
    /// The pod's side broke.
    Broken(io::Error),
    /// The credentials ended.
    Credentials,
    /// Nothing was carried for so long.
    Idle,
    /// The platform stops.
    Stopping,
}

/// A stream to a pod, and what bounds it.
pub(crate) struct Tunnel<E> {
    /// The pod's side.
    pub(crate) stream: Box<dyn Duplex>,
    /// The credentials that it was opened with.
    pub(crate) tenure: Tenure,
    /// When the platform stops.
    pub(crate) stop: CancellationToken,
    /// The most time without a byte in either direction.
    pub(crate) idle: Duration,
    /// What is told of a pod's side that broke.
    pub(crate) explain: E,
}

/// When a byte was last carried.
struct Clock(Mutex<Instant>);

impl Clock {
    fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Resolves when nothing was carried for so long.
    async fn idle(&self, most: Duration) {
        loop {
            let end = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + most;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

impl<E: FnOnce(&io::Error) -> Problem> Tunnel<E> {
    /// Carries bytes both ways to the stream's end, and tells the client how it came about.
    pub(crate) async fn carry(self, socket: WebSocket) {
        let (mut sink, mut messages) = socket.split();
        let (mut from_pod, mut to_pod) = tokio::io::split(self.stream);
        let clock = Clock::new();
        let (client_ended, ended) = oneshot::channel();
        let end = tokio::select! {
            end = to_client(&mut from_pod, &mut sink, ended, &clock) => end,
            end = from_client(&mut messages, &mut to_pod, client_ended, &clock) => end,
            () = self.tenure.ended() => End::Credentials,
            () = clock.idle(self.idle) => End::Idle,
            () = self.stop.cancelled() => End::Stopping,
        };
        // The pod need not wait for the client's farewell.
        drop((from_pod, to_pod));
        let (problem, code, reason) = match end {
            End::Both => (None, close_code::NORMAL, ""),
            End::Left => return,
            End::Stopping => (None, close_code::AWAY, "the platform stops"),
            End::Broken(error) => (
                Some((self.explain)(&error)),
                close_code::ERROR,
                "the pod cannot be reached",
            ),
            End::Credentials => (
                Some(Tenure::problem()),
                close_code::POLICY,
                "the credentials have ended",
            ),
            End::Idle => (
                Some(Problem::new(Code::Idle, "nothing was sent for too long")),
                close_code::POLICY,
                "nothing was sent for too long",
            ),
        };
        if let Some(problem) = problem {
            let told = Message::text(json!({ "problem": problem }).to_string());
            // Whoever does not read is not waited for.
            if !matches!(timeout(FAREWELL, sink.send(told)).await, Ok(Ok(()))) {
                return;
            }
        }
        socket::close(sink, messages, code, reason).await;
    }
}

/// Carries what the pod sends, and signs of life.
async fn to_client(
    from_pod: &mut ReadHalf<Box<dyn Duplex>>,
    sink: &mut Sink,
    mut client_ended: oneshot::Receiver<()>,
    clock: &Clock,
) -> End {
    let mut piece = BytesMut::new();
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut pod_ended = false;
    loop {
        piece.reserve(PIECE);
        let message = tokio::select! {
            read = from_pod.read_buf(&mut piece), if !pod_ended => match read {
                Ok(0) => {
                    pod_ended = true;
                    Message::text(json!({ "end": true }).to_string())
                }
                Ok(_) => {
                    clock.touch();
                    Message::Binary(piece.split().freeze())
                }
                Err(error) => return End::Broken(error),
            },
            _ = &mut client_ended, if pod_ended => return End::Both,
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        if sink.send(message).await.is_err() {
            return End::Left;
        }
    }
}

/// Carries what the client sends.
async fn from_client(
    messages: &mut Messages,
    to_pod: &mut WriteHalf<Box<dyn Duplex>>,
    ended: oneshot::Sender<()>,
    clock: &Clock,
) -> End {
    // Gone when no more is taken.
    let mut ended = Some(ended);
    while let Some(Ok(message)) = messages.next().await {
        let taken = match message {
            Message::Binary(bytes) if ended.is_some() && !bytes.is_empty() => {
                clock.touch();
                to_pod.write_all(&bytes).await
            }
            Message::Text(text) if ended.is_some() => {
                let said = serde_json::from_str(&text).unwrap_or(Said { end: false });
                if !said.end {
                    continue;
                }
                let shut = to_pod.shutdown().await;
                if let Some(ended) = ended.take() {
                    let _listening = ended.send(());
                }
                shut
            }
            Message::Close(_) => return End::Left,
            _ => continue,
        };
        clock.touch();
        if taken.is_err()
            && let Some(ended) = ended.take()
        {
            // The pod takes no more; what it has sent is still to be carried, and says why.
            let _listening = ended.send(());
        }
    }
    // The connection is lost, or what came is no WebSocket: there is nobody to wait for.
    End::Left
}
