//! WebSockets of the platform.
//!
//! Theory of operation: the upgrade goes through the same HTTP client as every other request, so that TLS, the token and
//! refusals are as everywhere; only then the connection is handed to the WebSocket library.

use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, StatusCode};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::Result;
use crate::client::Client;

/// The largest message from the platform, in bytes.
const MESSAGE_BYTES: usize = 4 << 20;

/// Bytes that are read from a connection at once.
const READ_BYTES: usize = 32 << 10;

/// The most bytes in one message to the platform, which takes up to 256 KiB.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// A WebSocket.
pub(crate) type Socket = WebSocketStream<reqwest::Upgraded>;

impl Client {
    /// A WebSocket that speaks `protocol`.
    pub(crate) async fn socket(
        &self,
        path: &str,
        query: &[(&str, String)],
        protocol: &'static str,
    ) -> Result<Socket> {
        let key = generate_key();
        let request = self
            .request(Method::GET, path)
            .query(query)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .header(SEC_WEBSOCKET_PROTOCOL, protocol);
        let response = self.open(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.protocol(format!(
                "status {} instead of a WebSocket",
                response.status()
            )));
        }
        let header = |name| {
            response
                .headers()
                .get(name)
                .map(http::HeaderValue::as_bytes)
        };
        if header(SEC_WEBSOCKET_ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(self.protocol("the WebSocket's key is wrong"));
        }
        if header(SEC_WEBSOCKET_PROTOCOL) != Some(protocol.as_bytes()) {
            return Err(self.protocol(format!("it does not speak {protocol}")));
        }
        let connection = response
            .upgrade()
            .await
            .map_err(|error| self.failed(error))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES));
        Ok(WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await)
    }
}
