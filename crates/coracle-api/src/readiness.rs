//! Does the store answer?
//!
//! Theory of operation: that is asked by anybody and again and again, so the store is read at most once in [`FRESH`],
//! however many ask meanwhile, and never written. Why it cannot be read is in the log, once. Who asks may have less patience
//! than the store needs: the read goes on without them, for whoever asks next.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use coracle_store::{Store, StoreError};
use coracle_task::Supervisor;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

/// How long what was found out is told again.
pub(crate) const FRESH: Duration = Duration::from_secs(1);
/// How long a store has to answer: whoever asks is waited for by somebody.
const PATIENCE: Duration = Duration::from_secs(2);

/// Does the store answer?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Yes,
    No,
}

/// What was found out last of whether the store answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<Option<(Instant, Ready)>>>);

impl Readiness {
    /// As it was found out within [`FRESH`]. Who comes while it is found out waits for that.
    pub(crate) async fn of(&self, store: &Arc<dyn Store>, supervisor: &Supervisor) -> Ready {
        let mut last = Arc::clone(&self.0).lock_owned().await;
        let before = match *last {
            Some((at, ready)) if at.elapsed() < FRESH => return ready,
            before => before.map(|(_, ready)| ready),
        };
        let (tell, told) = oneshot::channel();
        let store = Arc::clone(store);
        supervisor.spawn("readiness", async move {
            let now = look(&*store, before).await;
            *last = Some((Instant::now(), now));
            // Who asked may have left.
            tell.send(now).ok();
        });
        told.await.unwrap_or(Ready::No)
    }
}

/// Asks the store, and tells the log when its answer is another than before.
async fn look(store: &dyn Store, before: Option<Ready>) -> Ready {
    let read = tokio::time::timeout(PATIENCE, store.revision());
    match read.await {
        Ok(Ok(_revision)) => {
            if before == Some(Ready::No) {
                tracing::info!("the store answers again: ready");
            }
            Ready::Yes
        }
        Ok(Err(error)) => {
            log(before, Some(&error));
            Ready::No
        }
        Err(_elapsed) => {
            log(before, None);
            Ready::No
        }
    }
}

/// A trouble that lasts is told once.
fn log(before: Option<Ready>, error: Option<&StoreError>) {
    if before == Some(Ready::No) {
        return;
    }
    let seconds = PATIENCE.as_secs();
    let silence = format!("there was no answer within {seconds} s");
    let cause = error
        .and_then(|error| error.source())
        .map(ToString::to_string);
    let error = error.map_or(silence, ToString::to_string);
    tracing::warn!(error, cause, "not ready: the store does not answer");
}
