//! Connections into simulated pods: sessions and byte streams.

use std::sync::{Arc, Weak};

use coracle_model::workload::PodId;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream,
};
use tokio::sync::mpsc;

use super::Inner;
use super::console::Console;
use super::pod::SimPod;
use super::process::Process;
use super::program::Service;
use super::state::State;
use crate::error::EngineError;
use crate::stream::{ExecRequest, Session, SessionInput};

/// Pieces of input that may wait for a command.
const INPUT_PIECES: usize = 16;
/// Bytes that may wait in one direction of a connection.
pub(super) const PIPE_BYTES: usize = 64 * 1024;
/// The longest request that the simulated web server takes.
const REQUEST_BYTES: u64 = 16 << 20;

impl State {
    /// Starts a command beside a pod's own.
    pub(super) fn exec(&mut self, id: &PodId, request: &ExecRequest, console: Arc<Console>) -> u64 {
        let env = self
            .pods
            .get(id)
            .map(SimPod::environment)
            .unwrap_or_default();
        let image = self
            .pods
            .get(id)
            .map(|pod| pod.made_from.template.image.to_string());
        let program = image
            .and_then(|image| self.find_image(&image))
            .map(|image| image.exec_program(&request.command, &env))
            .unwrap_or_default();
        let key = self.ticket();
        let process = Process::new(id.clone(), program, request.terminal, Some(console));
        self.processes.insert(key, process);
        self.run_process(key);
        key
    }
}

/// The session of a process: its output from `console`, its input to it.
pub(super) fn session(world: &Arc<Inner>, key: u64, console: Arc<Console>) -> Session {
    let (input, mut pieces) = mpsc::channel(INPUT_PIECES);
    let weak: Weak<Inner> = Arc::downgrade(world);
    let room = Arc::clone(&console);
    world.tasks.spawn("session input", async move {
        loop {
            let piece = pieces.recv().await;
            let ended = piece.is_none();
            room.room().await;
            let Some(world) = weak.upgrade() else {
                return;
            };
            // Whoever drops the session ends the command's input.
            world.with(|state| state.feed(key, piece.unwrap_or(SessionInput::End)));
            if ended {
                return;
            }
        }
    });
    Session {
        input,
        output: console.stream(),
    }
}

/// What a pod answers on a connection: HTTP/1.0 as the test image's server does.
///
/// `/` and files of the image, `/cgi-bin/echo` with the request's body, `/cgi-bin/whoami` with the pod's name.
pub(super) async fn serve(
    world: Weak<Inner>,
    pod: PodId,
    service: Service,
    mut stream: DuplexStream,
) {
    let served = match service {
        Service::Web => answer(world, pod, &mut stream).await,
        Service::Echo => echo(stream).await,
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a simulated connection broke");
    }
}

/// Sends back what comes, until its end.
async fn echo(stream: DuplexStream) -> std::io::Result<()> {
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

async fn answer(world: Weak<Inner>, pod: PodId, stream: &mut DuplexStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    let mut length = 0u64;
    {
        let mut head = (&mut reader).take(REQUEST_BYTES);
        head.read_line(&mut first).await?;
        loop {
            let mut line = String::new();
            head.read_line(&mut line).await?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
    }
    let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut body = Vec::new();
    if path == "/cgi-bin/echo" {
        (&mut reader)
            .take(length.min(REQUEST_BYTES))
            .read_to_end(&mut body)
            .await?;
    }
    let text = match path.as_str() {
        "/cgi-bin/echo" => Some(body),
        "/cgi-bin/whoami" => Some(format!("{}\n", pod.name).into_bytes()),
        path => {
            let file = if path == "/" { "/index.html" } else { path };
            let text = world.upgrade().and_then(|world| {
                world.with(|state| {
                    state
                        .pods
                        .get(&pod)?
                        .files
                        .get(&format!("/www{file}"))
                        .cloned()
                })
            });
            text.map(String::into_bytes)
                .or_else(|| (path == "/").then(|| format!("{}\n", pod.name).into_bytes()))
        }
    };
    let (status, text) = match text {
        Some(text) => ("200 OK", text),
        None => ("404 Not Found", b"not found\n".to_vec()),
    };
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    let stream = reader.get_mut();
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&text).await?;
    stream.shutdown().await
}

/// Nobody listens there.
pub(super) fn refused(pod: &PodId, port: u16) -> EngineError {
    EngineError::unreachable(pod, port, &std::io::ErrorKind::ConnectionRefused.into())
}
