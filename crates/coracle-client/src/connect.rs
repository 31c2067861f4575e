//! Connections to ports of pods, over WebSockets (subprotocol `coracle.connect.v1`).
//!
//! Theory of operation: binary messages are bytes. Text messages are JSON about the stream: `{"end":true}` says that its
//! sender sends no more bytes, `{"problem":{…}}` from the platform why the stream broke. A connection that ends before
//! the pod's end was told was lost.

use bytes::Bytes;
use coracle_model::name::{PodName, ProjectName};
use coracle_model::problem::{Code, Problem};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::pod::path;
use crate::socket::{PIECE_BYTES, Socket};
use crate::{ClientError, Result};

const PROTOCOL: &str = "coracle.connect.v1";

/// Which ports of a pod may be connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// Those that it declares.
    #[default]
    Declared,
    /// Any.
    Any,
}

/// A connection to a port of a pod. Dropping both halves ends it.
#[derive(Debug)]
pub struct Connection {
    /// What goes to the pod.
    pub input: ConnectionInput,
    /// What comes from the pod.
    pub output: ConnectionOutput,
}

/// What goes to the pod.
#[derive(Debug)]
pub struct ConnectionInput {
    client: Client,
    sink: SplitSink<Socket, Message>,
}

/// What comes from the pod.
#[derive(Debug)]
pub struct ConnectionOutput {
    client: Client,
    stream: SplitStream<Socket>,
    ended: bool,
}

/// What the platform says about the stream.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    end: bool,
    #[serde(default)]
    problem: Option<Box<Problem>>,
}

impl Client {
    /// Connects to a port of a pod.
    ///
    /// # Errors
    /// [`ClientError`]. That nothing listens may also come as the first thing from the pod.
    pub async fn connect(
        &self,
        project: &ProjectName,
        pod: &PodName,
        port: u16,
        ports: Ports,
    ) -> Result<Connection> {
        let mut query = vec![("port", port.to_string())];
        if ports == Ports::Any {
            query.push(("any_port", "true".to_owned()));
        }
        let path = format!("{}/connect", path(project, pod));
        let (sink, stream) = self.socket(&path, &query, PROTOCOL).await?.split();
        Ok(Connection {
            input: ConnectionInput {
                client: self.clone(),
                sink,
            },
            output: ConnectionOutput {
                client: self.clone(),
                stream,
                ended: false,
            },
        })
    }
}

impl ConnectionInput {
    /// Sends bytes to the pod.
    ///
    /// # Errors
    /// [`ClientError::Interrupted`].
    pub async fn send(&mut self, mut data: Bytes) -> Result<()> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE_BYTES));
            self.message(Message::Binary(piece)).await?;
        }
        Ok(())
    }

    /// Says that no more will be sent. What comes from the pod goes on.
    ///
    /// # Errors
    /// [`ClientError::Interrupted`].
    pub async fn end(&mut self) -> Result<()> {
        self.message(Message::text(r#"{"end":true}"#)).await
    }

    async fn message(&mut self, message: Message) -> Result<()> {
        let sent = self.sink.send(message).await;
        sent.map_err(|_closed| self.client.interrupted())
    }
}

impl ConnectionOutput {
    /// The bytes that come next; nothing once the pod sends no more. Can be dropped while it waits without losing
    /// anything.
    ///
    /// # Errors
    /// Why the stream broke, or [`ClientError::Interrupted`].
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.ended {
            match self.stream.next().await {
                Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => return Ok(Some(bytes)),
                Some(Ok(Message::Text(text))) => self.said(&text)?,
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    return Err(self.client.interrupted());
                }
                Some(Ok(_)) => {}
            }
        }
        Ok(None)
    }

    /// Waits until the platform has closed the connection, once both directions have ended.
    ///
    /// # Errors
    /// Why the stream broke.
    pub async fn closed(&mut self) -> Result<()> {
        while let Some(Ok(message)) = self.stream.next().await {
            if let Message::Text(text) = message {
                self.said(&text)?;
            }
        }
        Ok(())
    }

    fn said(&mut self, text: &str) -> Result<()> {
        // What is not understood is of a later version.
        let Ok(said) = serde_json::from_str::<Said>(text) else {
            return Ok(());
        };
        self.ended |= said.end;
        match said.problem {
            Some(problem) if problem.code == Code::Unauthenticated => {
                Err(ClientError::Unauthenticated(problem))
            }
            Some(problem) => Err(ClientError::Problem(problem)),
            None => Ok(()),
        }
    }
}
