//! What a control plane answers until it can serve.

use std::os::fd::AsFd as _;
use std::time::Duration;

use coracle_api::Awaited;
use coracle_task::Supervisor;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::data_dir::DataDir;
use crate::error::{CliError, Result, chain};

/// A start that takes no longer is waited for by those who ask; then they are told.
const QUIET: Duration = Duration::from_secs(1);
/// What is answered while everything is opened. Strangers are told no details: those are in the log, and in a file for
/// whoever may look into the data directory.
pub(crate) struct Waiting {
    awaited: watch::Sender<Awaited>,
    reason: String,
    data: DataDir,
    answering: Supervisor,
}

impl Waiting {
    /// Answers at `listeners`, which whoever has them goes on with afterwards.
    pub(crate) fn begin<'a>(
        data: &DataDir,
        listeners: impl Iterator<Item = &'a TcpListener>,
    ) -> Result<Self> {
        let waiting = Self {
            awaited: watch::Sender::new(Awaited::Start),
            reason: String::new(),
            data: data.clone(),
            answering: Supervisor::new("waiting"),
        };
        // One that was killed while it waited left it.
        waiting.data.note_awaited(None);
        for listener in listeners {
            let unusable = |error| CliError::caused("the listener cannot be shared", &error);
            let listener = listener.as_fd().try_clone_to_owned().map_err(unusable)?;
            let listener = TcpListener::from_std(listener.into()).map_err(unusable)?;
            let (awaited, stop) = (waiting.awaited.subscribe(), waiting.answering.token());
            waiting.answering.spawn_graceful("answers", async move {
                if stop
                    .run_until_cancelled(tokio::time::sleep(QUIET))
                    .await
                    .is_some()
                    && let Err(error) = coracle_api::serve_waiting(listener, awaited, stop).await
                {
                    tracing::warn!(error = chain(&error), "nobody is told that this waits");
                }
            });
        }
        Ok(waiting)
    }

    /// Takes note of what is waited for; a reason that lasts is logged once.
    pub(crate) fn because(&mut self, reason: &CliError) {
        self.awaited.send_replace(Awaited::Store);
        if self.reason != reason.message {
            tracing::warn!(reason = reason.message, "waiting for the store");
            self.data.note_awaited(Some(&reason.message));
            self.reason.clone_from(&reason.message);
        }
    }

    pub(crate) async fn end(self) {
        self.data.note_awaited(None);
        self.answering.shutdown(QUIET).await;
    }
}
