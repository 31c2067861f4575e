//! One of several processes leads.
//!
//! Theory of operation: the leader is who put the election's key, under a lease that it keeps alive; the key's
//! revision is its [`Fence`]. When it dies the lease ends, the key goes, the others, who watch it, try to put it,
//! and the store lets one through. That alone makes every *write* safe. For what a leader does elsewhere (an
//! engine cannot check a fence) there is a clock of its own: a [`Leadership`] allows acts only until the lease
//! could end, counted from *before* the last successful keep-alive was sent, less a margin in which whoever
//! acts stops. The clock is the one that goes on while the machine sleeps. So between the last act of one
//! leader and the first of the next lies the margin, as long as no single act takes longer than it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use rustix::time::{ClockId, clock_gettime};

use crate::error::StoreError;
use crate::fence::Fence;
use crate::store::{Event, Expected, LeaseId, Put, Store};

/// A keep-alive is sent so many times within a time to live.
const KEEP_PER_TTL: u32 = 6;
/// The last part of a time to live, in which a leader that could not keep its lease does not act any more.
const MARGIN_PER_TTL: u32 = 3;
/// Between two tries after the store failed,
const RETRY: Duration = Duration::from_millis(250);
/// and at most, when it goes on failing.
const MOST_RETRY: Duration = Duration::from_secs(2);

/// Nanoseconds since the machine started, with the time it slept: a lease ends meanwhile all the same.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1_000_000_000 + nanos
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Who wants to lead.
#[derive(Clone, Debug)]
pub struct Candidate {
    store: Arc<dyn Store>,
    key: String,
    value: Bytes,
    ttl: Duration,
}

impl Candidate {
    /// Wants to hold `key`, with a `value` that tells others who leads, and loses it at most about `ttl` after
    /// it has died.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        key: impl Into<String>,
        value: impl Into<Bytes>,
        ttl: Duration,
    ) -> Self {
        Self {
            store,
            key: key.into(),
            value: value.into(),
            ttl,
        }
    }

    /// Waits until this one leads, and goes on trying when the store fails in a way that may pass.
    ///
    /// # Errors
    /// When the store is closed or refuses.
    pub async fn campaign(&self) -> Result<Leadership, StoreError> {
        let (mut pause, mut told) = (RETRY, String::new());
        loop {
            match self.attempt().await {
                Ok(Some(leadership)) => return Ok(leadership),
                Ok(None) => (pause, told) = (RETRY, String::new()),
                Err(error @ (StoreError::Closed | StoreError::Refused { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    // A trouble that lasts is told once.
                    let text = error.to_string();
                    if text != told {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the election could not go on; trying again"
                        );
                        told = text;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MOST_RETRY);
                }
            }
        }
    }

    /// Leads, or waits until the key of another is gone.
    async fn attempt(&self) -> Result<Option<Leadership>, StoreError> {
        if let Some(other) = self.store.get(&self.key).await? {
            self.gone(other.modified).await?;
        }
        let granted = now();
        let lease = self.store.grant_lease(self.ttl).await?;
        let put = Put::new(&*self.key, self.value.clone())
            .expecting(Expected::Absent)
            .leased(lease);
        match self.store.put(put).await {
            Ok(revision) => Ok(Some(Leadership {
                store: Arc::clone(&self.store),
                fence: Fence::new(&self.key, revision),
                lease,
                ttl: self.ttl,
                kept: Arc::new(AtomicU64::new(granted)),
            })),
            Err(error) => {
                // Also when it is not known whether it was done: then the key goes with the lease.
                if let Err(error) = self.store.revoke(lease).await {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a lease is left to end"
                    );
                }
                match error {
                    StoreError::Conflict { .. } => Ok(None),
                    error => Err(error),
                }
            }
        }
    }

    /// Waits until the key that was put at `revision` is gone.
    async fn gone(&self, revision: u64) -> Result<(), StoreError> {
        let mut watch = match self.store.watch(&self.key, Some(revision + 1)).await {
            Err(StoreError::Compacted { .. }) => self.store.watch(&self.key, None).await?,
            watch => watch?,
        };
        // Read after the watch began: no end is missed, whatever was compacted.
        match self.store.get(&self.key).await? {
            Some(entry) if entry.modified == revision => {}
            _ => return Ok(()),
        }
        while let Some(event) = watch.next().await {
            match event {
                Ok(Event::Delete { key, .. }) if key == self.key => return Ok(()),
                Ok(_) => {}
                Err(StoreError::Compacted { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a leader has. Clones share it.
#[derive(Clone, Debug)]
pub struct Leadership {
    store: Arc<dyn Store>,
    fence: Fence,
    lease: LeaseId,
    ttl: Duration,
    /// Before the last successful keep-alive was sent.
    kept: Arc<AtomicU64>,
}

impl Leadership {
    /// What every write of the leader is made under.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// How long this leader may act without another word from the store; zero: not any more.
    #[must_use]
    pub fn left(&self) -> Duration {
        if self.fence.is_lost() {
            return Duration::ZERO;
        }
        let until = self.kept.load(Ordering::SeqCst) + nanos(self.ttl - self.ttl / MARGIN_PER_TTL);
        Duration::from_nanos(until.saturating_sub(now()))
    }

    /// May this leader act?
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.left().is_zero()
    }

    /// Keeps the lease until that fails for too long, or the fence is lost: then nothing may be begun any more,
    /// and what was begun has a third of the lease's time to end before another can lead.
    pub async fn keep(&self) {
        let pause = self.ttl / KEEP_PER_TTL;
        while self.holds() {
            let sent = now();
            let kept = tokio::select! {
                kept = tokio::time::timeout(self.left(), self.store.keep_alive(self.lease)) => kept,
                () = self.fence.lost() => break,
            };
            let pause = match kept {
                Ok(Ok(())) => {
                    self.kept.store(sent, Ordering::SeqCst);
                    pause
                }
                Ok(Err(StoreError::LeaseNotFound { .. } | StoreError::Closed)) | Err(_) => break,
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        left = self.left().as_millis(),
                        "the leader's lease was not kept alive; trying again"
                    );
                    RETRY.min(pause)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.fence.lost() => break,
            }
        }
        self.fence.note_lost();
    }

    /// Gives up leading at once. To be called when nothing acts any more.
    ///
    /// # Errors
    /// When the store fails; then the lease ends by itself.
    pub async fn resign(&self) -> Result<(), StoreError> {
        self.fence.note_lost();
        match self.store.revoke(self.lease).await {
            Ok(()) | Err(StoreError::LeaseNotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
