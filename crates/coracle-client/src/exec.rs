//! Commands in pods, over WebSockets (subprotocol `coracle.exec.v1`).
//!
//! Theory of operation: each binary message begins with one byte that says what it is. The command's exit status is its
//! last message: a connection that ends without one was lost.

use bytes::{BufMut as _, Bytes, BytesMut};
use coracle_model::name::{PodName, ProjectName};
use coracle_model::problem::Problem;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;

use crate::Result;
use crate::client::Client;
use crate::pod::{TerminalSize, path};
use crate::socket::{PIECE_BYTES, Socket};

const PROTOCOL: &str = "coracle.exec.v1";

/// The first byte of each message.
mod channel {
    pub(super) const STDIN: u8 = 0;
    pub(super) const STDOUT: u8 = 1;
    pub(super) const STDERR: u8 = 2;
    pub(super) const EXIT: u8 = 3;
    pub(super) const RESIZE: u8 = 4;
    pub(super) const END: u8 = 5;
}

/// A command that runs in a pod.
#[derive(Debug)]
pub struct Session {
    /// What goes to it.
    pub input: SessionInput,
    /// What comes from it.
    pub output: SessionOutput,
}

/// What goes to a command. Dropping it ends nothing.
#[derive(Debug)]
pub struct SessionInput {
    client: Client,
    sink: SplitSink<Socket, Message>,
}

/// What comes from a command.
#[derive(Debug)]
pub struct SessionOutput {
    client: Client,
    stream: SplitStream<Socket>,
}

/// Something that came from a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// It wrote this to its standard output, or to its terminal.
    Stdout(Bytes),
    /// It wrote this to its standard error.
    Stderr(Bytes),
    /// It ended with this status. Nothing follows.
    Exit(i64),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    Code(i64),
    Problem(Box<Problem>),
}

impl Client {
    /// Runs a command in a pod, in a terminal of this size or with plain streams.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn exec(
        &self,
        project: &ProjectName,
        pod: &PodName,
        command: &[String],
        tty: Option<TerminalSize>,
    ) -> Result<Session> {
        let mut query: Vec<(&str, String)> = Vec::new();
        query.extend(command.iter().map(|word| ("command", word.clone())));
        if let Some(TerminalSize { columns, rows }) = tty {
            query.push(("tty", "true".to_owned()));
            query.push(("columns", columns.to_string()));
            query.push(("rows", rows.to_string()));
        }
        self.session(&format!("{}/exec", path(project, pod)), &query)
            .await
    }

    /// Attaches to a one-off command ([`Client::run`]) and starts it.
    ///
    /// # Errors
    /// [`crate::ClientError`].
    pub async fn attach(&self, project: &ProjectName, pod: &PodName) -> Result<Session> {
        self.session(&format!("{}/attach", path(project, pod)), &[])
            .await
    }

    async fn session(&self, path: &str, query: &[(&str, String)]) -> Result<Session> {
        let (sink, stream) = self.socket(path, query, PROTOCOL).await?.split();
        Ok(Session {
            input: SessionInput {
                client: self.clone(),
                sink,
            },
            output: SessionOutput {
                client: self.clone(),
                stream,
            },
        })
    }
}

impl SessionInput {
    /// Sends bytes to the command's standard input.
    ///
    /// # Errors
    /// [`crate::ClientError::Interrupted`] when the connection is lost, or the command has ended.
    pub async fn send(&mut self, data: &[u8]) -> Result<()> {
        for piece in data.chunks(PIECE_BYTES) {
            self.frame(channel::STDIN, piece).await?;
        }
        Ok(())
    }

    /// Ends the command's standard input.
    ///
    /// # Errors
    /// [`crate::ClientError::Interrupted`].
    pub async fn end(&mut self) -> Result<()> {
        self.frame(channel::END, &[]).await
    }

    /// Tells the command that its terminal has another size.
    ///
    /// # Errors
    /// [`crate::ClientError::Interrupted`].
    pub async fn resize(&mut self, size: TerminalSize) -> Result<()> {
        let json = serde_json::to_vec(&size).map_err(|error| self.client.protocol(error))?;
        self.frame(channel::RESIZE, &json).await
    }

    async fn frame(&mut self, channel: u8, data: &[u8]) -> Result<()> {
        let mut bytes = BytesMut::with_capacity(data.len() + 1);
        bytes.put_u8(channel);
        bytes.put_slice(data);
        let sent = self.sink.send(Message::Binary(bytes.freeze())).await;
        sent.map_err(|_closed| self.client.interrupted())
    }
}

impl SessionOutput {
    /// What comes next; [`Output::Exit`] is the last. Can be dropped while it waits without losing anything.
    ///
    /// # Errors
    /// What the platform says when the command could not be run to its end, or
    /// [`crate::ClientError::Interrupted`] when the connection is lost before the command's end was told.
    pub async fn next(&mut self) -> Result<Output> {
        loop {
            let Some(Ok(message)) = self.stream.next().await else {
                return Err(self.client.interrupted());
            };
            let Message::Binary(mut bytes) = message else {
                continue;
            };
            if bytes.is_empty() {
                continue;
            }
            let data = bytes.split_off(1);
            match bytes[0] {
                channel::STDOUT => return Ok(Output::Stdout(data)),
                channel::STDERR => return Ok(Output::Stderr(data)),
                channel::EXIT => return self.exit(&data),
                // A later version may have more.
                _ => {}
            }
        }
    }

    fn exit(&self, data: &[u8]) -> Result<Output> {
        match serde_json::from_slice(data) {
            Ok(End::Code(code)) => Ok(Output::Exit(code)),
            Ok(End::Problem(problem)) => Err(crate::ClientError::Problem(problem)),
            Err(error) => Err(self.client.protocol(error)),
        }
    }
}
