//! Connections to ports of pods.
//!
//! Theory of operation: one WebSocket for each connection. Channel 0 carries its bytes, channel 1 why it broke, and each
//! begins with the number of the port. The two directions run side by side, with a bounded pipe between them and whoever
//! asked, so that neither holds the other up. (What the client library has for this ends both directions with the
//! first, and holds one up with the other.)
//!
//! That a port is refused comes as words, some time after the WebSocket was opened; so it is told by the first read.
//! The protocol has no word for "nothing more will be sent". After the sender's end the pod's answer is read until the
//! pod has been silent for [`QUIET`], so that what the pod would keep open for ever does not stay. A pod whose words wait
//! for their reader is not silent.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use coracle_engine::EngineError;
use coracle_engine::stream::Duplex;
use coracle_model::workload::PodId;
use coracle_task::CancellationToken;
use futures::{SinkExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource as _;
use kube::core::Request;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::DropGuard;

use super::{running, wire};
use crate::state::Core;

/// Bytes of one direction that wait.
const PIPE_BYTES: usize = 64 * 1024;
/// Bytes that are sent at once.
const PIECE: usize = 32 * 1024;
/// A connection without traffic is kept open by a sign of life.
const PING: Duration = Duration::from_secs(30);
/// For the pod to answer what was sent last, once nothing more is sent.
const QUIET: Duration = Duration::from_secs(10);

/// The channel of the bytes.
const DATA: u8 = 0;
/// The channel of the words that say why it broke.
const FAULT: u8 = 1;

type Fault = Arc<Mutex<Option<(io::ErrorKind, String)>>>;

/// Opens a byte stream to a port of a pod.
pub(crate) async fn connect(
    core: &Core,
    id: &PodId,
    port: u16,
) -> Result<Box<dyn Duplex>, EngineError> {
    let pod = running(core, id)?;
    let asked = Request::new(Pod::url_path(&(), Some(&pod.namespace)))
        .portforward(&pod.name, &[port])
        .map_err(|error| EngineError::Refused(error.to_string()))?;
    let socket = wire::open_port(core, asked).await?;
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let fault = Fault::default();
    let dropped = CancellationToken::new();
    let connection = Connection {
        pipe: ours,
        fault: Arc::clone(&fault),
        _drop: dropped.clone().drop_guard(),
    };
    core.config
        .supervisor
        .spawn("kubernetes-connection", async move {
            let _ended = dropped
                .run_until_cancelled_owned(carry(socket, theirs, fault, QUIET))
                .await;
        });
    Ok(Box::new(connection))
}

/// Since when a pod says nothing. Nothing: it has said something that its reader has no room for yet.
struct Silence(Mutex<Option<Instant>>);

impl Silence {
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has lasted for so long, from now on at the earliest.
    async fn lasts(&self, quiet: Duration) {
        let from = Instant::now();
        loop {
            let since = *self.since();
            let now = Instant::now();
            let end = since.map_or(now, |since| since.max(from)) + quiet;
            if end <= now {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// Carries bytes both ways until the pod's end, or until there is nothing to wait for.
async fn carry(socket: Box<dyn wire::Messages>, pipe: DuplexStream, fault: Fault, quiet: Duration) {
    let (mut sink, mut messages) = socket.split();
    let (mut outgoing, mut incoming) = tokio::io::split(pipe);
    let silence = Silence(Mutex::new(Some(Instant::now())));
    let read = async {
        let mut begun = [false; 2];
        while let Some(message) = messages.next().await {
            let message = match message {
                Ok(Message::Binary(bytes)) => bytes,
                Ok(Message::Close(_)) => break,
                Ok(_) => continue,
                Err(error) => {
                    return blame(&fault, io::ErrorKind::ConnectionReset, error.to_string());
                }
            };
            let Some((channel, bytes)) = take_channel(message) else {
                continue;
            };
            let Some(begun) = begun.get_mut(usize::from(channel)) else {
                continue;
            };
            if !std::mem::replace(begun, true) {
                continue;
            }
            if channel == FAULT {
                let (kind, words) = judge(&String::from_utf8_lossy(&bytes));
                return blame(&fault, kind, words);
            }
            *silence.since() = None;
            if incoming.write_all(&bytes).await.is_err() {
                return;
            }
            *silence.since() = Some(Instant::now());
        }
    };
    let write = async {
        let mut piece = BytesMut::new();
        loop {
            piece.reserve(PIECE);
            piece.extend_from_slice(&[DATA]);
            let sent = tokio::select! {
                read = outgoing.read_buf(&mut piece) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(_) => sink.send(Message::Binary(piece.split().freeze())).await,
                },
                () = tokio::time::sleep(PING) => {
                    piece.clear();
                    sink.send(Message::Ping(Bytes::new())).await
                }
            };
            if sent.is_err() {
                // Why, the other direction tells.
                return std::future::pending().await;
            }
        }
        silence.lasts(quiet).await;
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
    // Both halves of the pipe are gone now: what was not read yet is still to be had.
}

fn take_channel(mut message: Bytes) -> Option<(u8, Bytes)> {
    (!message.is_empty()).then(|| (message.get_u8(), message))
}

fn blame(fault: &Fault, kind: io::ErrorKind, words: String) {
    *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some((kind, words));
}

/// What a node's words mean. They name files and processes of the node; the last part is what happened.
fn judge(words: &str) -> (io::ErrorKind, String) {
    if words.to_ascii_lowercase().contains("refused") {
        return (
            io::ErrorKind::ConnectionRefused,
            "nothing listens there".to_owned(),
        );
    }
    let last = words.rsplit(": ").next().unwrap_or(words);
    (io::ErrorKind::Other, last.trim().to_owned())
}

/// Our end of a connection. Dropping it ends the connection.
struct Connection {
    pipe: DuplexStream,
    fault: Fault,
    _drop: DropGuard,
}

impl Connection {
    fn fault(&self) -> io::Result<()> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match &*fault {
            Some((kind, words)) => Err(io::Error::new(*kind, words.clone())),
            None => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = std::task::ready!(Pin::new(&mut self.pipe).poll_read(cx, buffer));
        if read.is_ok() && buffer.filled().len() == before && buffer.remaining() > 0 {
            return Poll::Ready(self.fault());
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.pipe).poll_write(cx, bytes));
        Poll::Ready(written.or_else(|error| self.fault().and(Err(error))))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_told_without_its_own_affairs() {
        let socat = "error forwarding port 81 to pod 0c4f, uid : exit status 1: 2026/11/23 17:00:00 socat[4711] E connect(5, AF=2 127.0.0.1:81, 16): Connection refused\n";
        let dial = "error forwarding port 81 to pod 0c4f, uid : failed to execute portforward in network namespace \"/var/run/netns/cni-1\": failed to connect to localhost:81 inside namespace: dial tcp4 127.0.0.1:81: connect: connection refused";
        for words in [socat, dial] {
            assert_eq!(judge(words).0, io::ErrorKind::ConnectionRefused);
        }
        assert_eq!(
            judge("error forwarding port 81 to pod 0c4f: no such container\n"),
            (io::ErrorKind::Other, "no such container".to_owned())
        );
    }

    /// Who has said all and reads slowly loses nothing, however much longer than the silence it takes.
    #[tokio::test]
    async fn a_slow_reader_gets_the_rest() {
        use tokio_tungstenite::WebSocketStream;
        use tokio_tungstenite::tungstenite::protocol::Role;
        const QUIET: Duration = Duration::from_millis(100);
        const PIECES: usize = 8;
        let (near, far) = tokio::io::duplex(4 * PIPE_BYTES);
        let socket = Box::new(WebSocketStream::from_raw_socket(near, Role::Client, None).await);
        let mut pod = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let (mut ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let data = |bytes: &[u8]| Message::binary([&[DATA][..], bytes].concat());
        // The pod sends more than the pipe holds, and keeps the connection.
        let sends = async {
            pod.send(data(&[80, 0])).await.unwrap();
            for _ in 0..PIECES {
                pod.send(data(&[b'x'; PIPE_BYTES])).await.unwrap();
            }
            while let Some(Ok(_)) = pod.next().await {}
        };
        let reads = async {
            ours.shutdown().await.unwrap();
            let mut all = 0;
            let mut piece = vec![0; PIPE_BYTES];
            let mut pause = tokio::time::interval(3 * QUIET);
            loop {
                pause.tick().await;
                match ours.read(&mut piece).await.unwrap() {
                    0 => return all,
                    n => all += n,
                }
            }
        };
        let carried = carry(socket, theirs, Fault::default(), QUIET);
        let ((), all, ()) = tokio::join!(carried, reads, sends);
        assert_eq!(all, PIECES * PIPE_BYTES);
    }
}
