//! One HTTP/1.1 connection to a pod.
//!
//! Theory of operation: the codec's connection is a future that somebody has to poll. The usual way is a task for
//! each connection, and channels between it and the request; that costs several task switches per request, and a
//! second write to the client because the body arrives one switch after the head. Here the request that uses the
//! connection polls it itself: one request is one task, as in an event loop written by hand. It also makes
//! cancellation exact (dropping the request closes the connection) and ownership plain: whoever holds the box may use
//! the connection. While unused, nobody polls it: it is looked at when it is taken, and by the sweeper.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::body::RequestBody;
use crate::config::Limits;

type Io = TokioIo<TcpStream>;

/// A connection to a pod, for one request at a time.
#[derive(Debug)]
pub(crate) struct PodConnection {
    sender: SendRequest<RequestBody>,
    connection: Connection<Io, RequestBody>,
    ended: bool,
    idle_for: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct SendFailed {
    /// The request, when no byte of it was written.
    pub(crate) unsent: Option<Box<Request<RequestBody>>>,
    pub(crate) error: hyper::Error,
}

impl PodConnection {
    /// Speaks HTTP/1.1 over `stream`.
    pub(crate) async fn start(
        stream: TcpStream,
        limits: &Limits,
    ) -> Result<Box<Self>, hyper::Error> {
        let (sender, connection) = Builder::new()
            .max_buf_size(limits.buffer_bytes.max(Limits::MIN_BUFFER))
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Box::new(Self {
            sender,
            connection,
            ended: false,
            idle_for: limits.pool_idle,
        }))
    }

    /// Sends a request and waits for the head of its answer. Dropping the future closes the connection with it, if
    /// the connection is dropped too.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendFailed> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let ended = &mut self.ended;
        let sent = std::future::poll_fn(move |cx| {
            drive(connection, ended, cx);
            // Only driving completes it, and that has just been done: nobody else has to wake us.
            let mut deaf = Context::from_waker(Waker::noop());
            let polled = answer.as_mut().poll(&mut deaf);
            if polled.is_ready() {
                // The connection waits for somebody to ask for the body. Whoever asks drives it, too: without this,
                // the asking would schedule the very task that asks, once per answer, for nothing.
                drive(connection, ended, &mut deaf);
            }
            polled
        })
        .await;
        sent.map_err(|mut failed: TrySendError<_>| SendFailed {
            unsent: failed.take_message().map(Box::new),
            error: failed.into_error(),
        })
    }

    /// Moves bytes, as far as both sides let it.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.connection, &mut self.ended, cx);
    }

    /// Can the next request be sent? Notices when the pod closed the connection.
    pub(crate) fn is_usable(&mut self) -> bool {
        // Nobody is to be woken for an unused connection.
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }

    /// How long the connection may be unused.
    pub(crate) fn idle_for(&self) -> Duration {
        self.idle_for
    }

    /// The pod said that it keeps the connection for so long.
    pub(crate) fn set_idle_for(&mut self, pods: Duration) {
        self.idle_for = self.idle_for.min(pods);
    }

    /// The connection alone, for a task that drives it to its end. It serves no further request.
    pub(crate) fn into_driver(self) -> Connection<Io, RequestBody> {
        self.connection
    }
}

fn drive(connection: &mut Connection<Io, RequestBody>, ended: &mut bool, cx: &mut Context<'_>) {
    if *ended {
        return;
    }
    if let Poll::Ready(end) = Pin::new(connection).poll(cx) {
        *ended = true;
        if let Err(error) = end {
            // Whoever waits for an answer on it gets the error; on an unused one it is only news.
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "connection to a pod ended"
            );
        }
    }
}
