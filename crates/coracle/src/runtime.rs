//! What the platform's own processes share: runtime, log, signals.

use std::future::Future;
use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::env_vars;
use crate::error::{CliError, Result};

/// Threads for blocking work (files, password hashes, packing). They end after a pause.
const BLOCKING_THREADS: usize = 16;
/// How long a thread for blocking work waits for more of it.
const BLOCKING_IDLE: Duration = Duration::from_secs(5);

/// A runtime with `workers` threads.
pub(crate) fn new(workers: usize) -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_IDLE)
        .thread_name("coracle")
        .enable_all()
        .build()
        .map_err(|error| CliError::caused("no threads can be started", &error))
}

/// Logs to standard error, as the environment asks.
pub(crate) fn log() -> Result {
    let wanted = env_vars::read(env_vars::LOG);
    let filter = match &wanted {
        Some(wanted) => EnvFilter::builder().parse(wanted).map_err(|error| {
            CliError::usage(format!("{}: {error}", env_vars::LOG))
                .hint("use a level such as debug, or parts such as coracle_api=debug,info")
        })?,
        None => EnvFilter::new("info"),
    };
    let terminal = std::io::stderr().is_terminal() && env_vars::read(env_vars::NO_COLOR).is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .try_init()
        .map_err(|error| CliError::new(format!("the log cannot be opened: {error}")))
}

/// Ends when the process is asked to (SIGTERM, SIGINT). A terminal that goes away (SIGHUP) asks nothing.
pub(crate) fn asked_to_end() -> Result<impl Future<Output = ()>> {
    let listen =
        |kind| signal(kind).map_err(|error| CliError::caused("signals cannot be received", &error));
    let (mut terminate, mut interrupt, mut hangup) = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
        listen(SignalKind::hangup())?,
    );
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => {}
            }
        }
    })
}
