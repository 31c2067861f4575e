//! Calls, and the one owner of their retries.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use tokio::sync::watch;
use tokio::time::Instant;

use super::failure::{self, Sides};
use crate::error::StoreError;

/// The most that a member has for an answer. etcd itself gives up on a proposal after 7 s.
const ANSWER: Duration = Duration::from_secs(8);
/// The most that a call takes in all, with its retries: longer than a cluster needs for a new leader.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// Between two tries.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// When a call may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Whenever it failed for a passing reason: doing it twice is doing it once.
    Always,
    /// Only when it was surely not done.
    NeverSent,
}

/// The connection. Clones share it.
#[derive(Clone)]
pub(super) struct Caller {
    client: Arc<Client>,
    sides: Arc<Sides>,
    closed: Arc<watch::Sender<bool>>,
}

impl Caller {
    pub(super) fn new(client: Client, sides: Arc<Sides>) -> Self {
        Self {
            client: Arc::new(client),
            sides,
            closed: Arc::new(watch::Sender::new(false)),
        }
    }

    pub(super) fn endpoints(&self) -> &str {
        &self.sides.endpoints
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn sides(&self) -> &Sides {
        &self.sides
    }

    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until it is closed.
    pub(super) async fn closed(&self) {
        // The sender lives as long as `self`.
        drop(self.closed.subscribe().wait_for(|closed| *closed).await);
    }

    /// Calls, and calls again where `repeat` allows it, for as long as [`PATIENCE`].
    pub(super) async fn call<T, F>(
        &self,
        action: &'static str,
        repeat: Repeat,
        call: impl Fn(Client) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        self.call_within(PATIENCE, action, repeat, call).await
    }

    /// The same, for as long as `patience`.
    pub(super) async fn call_within<T, F>(
        &self,
        patience: Duration,
        action: &'static str,
        repeat: Repeat,
        call: impl Fn(Client) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        if *self.closed.borrow() {
            return Err(StoreError::Closed);
        }
        let deadline = Instant::now() + patience;
        loop {
            // In a box: what the client makes of a call is large, and it would be part of every caller.
            let until = deadline.min(Instant::now() + ANSWER);
            let failure = match tokio::time::timeout_at(
                until,
                Box::pin(call((*self.client).clone())),
            )
            .await
            {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => failure::judge(action, error, &self.sides),
                Err(_elapsed) => failure::no_answer(action),
            };
            let again = match repeat {
                Repeat::Always => failure.passes(),
                Repeat::NeverSent => failure.never_sent(),
            };
            if !again || Instant::now() + PAUSE >= deadline {
                return Err(match repeat {
                    Repeat::Always => failure.into_not_done(&self.sides),
                    Repeat::NeverSent => failure.error,
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
