//! Logs, sessions and byte streams of pods.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use coracle_model::workload::Terminal;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::error::EngineError;

/// A byte stream both ways to a port of a pod.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Which lines of a pod's log.
#[derive(Clone, Debug, Default)]
pub struct LogRequest {
    /// Only the last so many lines; all that are kept when absent.
    pub tail: Option<u32>,
    /// Only lines from this moment on.
    pub since: Option<DateTime<Utc>>,
    /// What to do at the end.
    pub follow: Follow,
}

/// What to do at the end of what was logged so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    /// End.
    #[default]
    No,
    /// Wait for more, over restarts of the pod, until the pod is gone.
    Yes,
}

/// One line of a pod's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Where to.
    pub channel: Channel,
    /// Its text without the line's end; bytes that are no UTF-8 are replaced. At most [`LogLine::MOST_BYTES`].
    pub text: String,
}

impl LogLine {
    /// A longer line is cut into several.
    pub const MOST_BYTES: usize = 16 * 1024;
}

/// Standard output or standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Lines as they come.
pub type LogStream = BoxStream<'static, Result<LogLine, EngineError>>;

/// A command to run in a pod.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// The program and its arguments; no shell.
    pub command: Vec<String>,
    /// What its input and output are.
    pub terminal: Terminal,
}

/// What goes into a running command.
#[derive(Clone, Debug)]
pub enum SessionInput {
    /// Bytes for its standard input.
    Stdin(Bytes),
    /// Its standard input ends.
    End,
    /// Its terminal has a new size.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
}

/// What comes out of a running command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionOutput {
    /// Bytes of its output.
    Data(Channel, Bytes),
    /// It ended with this status. Nothing follows.
    Exit(i64),
}

/// A running command: dropping it ends the connection (and the command's input), not the command by force.
pub struct Session {
    /// Bounded: a command that does not read holds its writer back.
    pub input: mpsc::Sender<SessionInput>,
    /// Bounded by the reader's pace.
    pub output: BoxStream<'static, Result<SessionOutput, EngineError>>,
}
