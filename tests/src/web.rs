//! One request through the gateway, as a browser makes it: by the host's name.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its status.
    pub status: u16,
    /// The gateway's own code, where the answer is its own.
    pub code: Option<String>,
    /// Its body.
    pub body: String,
}

/// A connection that is kept.
pub(crate) struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    _driver: JoinSet<()>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| format!("connect: {error}"))?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("handshake: {error}"))?;
        let mut driver = JoinSet::new();
        // A fault of the connection shows in the request that it hits.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self {
            sender,
            _driver: driver,
        })
    }

    /// May another request be sent on it?
    pub(crate) async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Result<Page, String> {
        let request = http::Request::get(path)
            .header(http::header::HOST, host)
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let work = async {
            let answer = self
                .sender
                .send_request(request)
                .await
                .map_err(|e| explain("request", &e))?;
            let status = answer.status().as_u16();
            let code = answer
                .headers()
                .get("x-coracle-error")
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned);
            let body = answer
                .into_body()
                .collect()
                .await
                .map_err(|e| explain("body", &e))?
                .to_bytes();
            Ok(Page {
                status,
                code,
                body: String::from_utf8_lossy(&body).into_owned(),
            })
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }
}

fn explain(what: &str, error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error)
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    format!("{what}: {error}{cause}")
}

/// One request on a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Page, String> {
    Connection::open(address).await?.get(host, path).await
}
