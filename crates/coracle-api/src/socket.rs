//! WebSockets: from a request to a socket, and its end.
//!
//! Theory of operation: what can be refused is refused before the upgrade, as a problem like everywhere. A socket keeps the
//! place of the connection that it was made of, so that they count as long as they last.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::response::Response;
use coracle_model::problem::Code;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;

use crate::connection::Seat;
use crate::error::ApiError;

/// The largest message from a client, in bytes.
pub(crate) const MESSAGE_BYTES: usize = 256 * 1024;

/// Bytes that are read from a connection at once.
const READ_BYTES: usize = 32 * 1024;

/// Between two pings, so that a connection that is dead is noticed.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(20);

/// How long a client has to take its last message, and to close after it.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// What goes to a client.
pub(crate) type Sink = SplitSink<WebSocket, Message>;

/// What comes from a client.
pub(crate) type Messages = SplitStream<WebSocket>;

/// The way to a WebSocket; a request that does not ask for one is told so.
pub(crate) struct Upgrade {
    way: WebSocketUpgrade,
    seat: Option<Seat>,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let seat = parts.extensions.get::<Seat>().cloned();
        WebSocketUpgrade::from_request_parts(parts, state)
            .await
            .map(|way| Self { way, seat })
            .map_err(|error| {
                ApiError::new(Code::InvalidRequest, "this is spoken over a WebSocket")
                    .hint(format!("ask for an upgrade: {}", error.body_text()))
            })
    }
}

impl Upgrade {
    /// Answers with a socket that speaks `protocol`, and runs `run` on it.
    pub(crate) fn accept<F, R>(self, protocol: &'static str, run: F) -> Response
    where
        F: FnOnce(WebSocket) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let Self { way, seat } = self;
        way.protocols([protocol])
            .read_buffer_size(READ_BYTES)
            .max_message_size(MESSAGE_BYTES)
            .on_upgrade(move |socket| async move {
                run(socket).await;
                drop(seat);
            })
    }
}

/// Ends a socket, in bounded time.
pub(crate) async fn close(mut sink: Sink, mut messages: Messages, code: u16, reason: &'static str) {
    let close = CloseFrame {
        code,
        reason: Utf8Bytes::from_static(reason),
    };
    let farewell = async {
        if sink.send(Message::Close(Some(close))).await.is_err() {
            tracing::debug!("the client left before the end was told");
            return;
        }
        // A socket that is closed with something unread is reset, and the client may lose the last message that is
        // still on its way. So what comes is read until the client closes too.
        while let Some(Ok(_)) = messages.next().await {}
    };
    if timeout(FAREWELL, farewell).await.is_err() {
        tracing::debug!("the client did not close in time");
    }
}
