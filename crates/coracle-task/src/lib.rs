//! Supervised tasks.
//!
//! Theory of operation: a task that nobody owns dies unseen or outlives its reason. Here every task belongs
//! to a [`Supervisor`], has a name that shows in the log, and ends when the supervisor is shut down: first it
//! is asked to (its [`CancellationToken`] is cancelled), and after a bounded time it is aborted. A service
//! that must not end is started with [`Supervisor::service`]: when it returns an error or panics it is
//! started again after a growing pause, so that one fault does not end the platform and a permanent one
//! does not burn a core.

mod backoff;
mod held;

pub use backoff::Backoff;
pub use held::blocking_with;
pub use tokio_util::sync::CancellationToken;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio_util::task::TaskTracker;

/// Owner of a group of tasks.
///
/// Clones are handles to the same group. Dropping handles ends nothing: call [`Supervisor::shutdown`].
#[derive(Clone, Debug)]
pub struct Supervisor {
    name: &'static str,
    tracker: TaskTracker,
    cancel: CancellationToken,
    kill: CancellationToken,
}

/// How a [`Supervisor::shutdown`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Every task ended by itself within the deadline.
    Clean,
    /// This many tasks were still running at the deadline; they were aborted.
    Aborted(usize),
}

impl Supervisor {
    /// A new group called `name` in log lines.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            tracker: TaskTracker::new(),
            cancel: CancellationToken::new(),
            kill: CancellationToken::new(),
        }
    }

    /// A group that ends when this one is told to end, and that can be ended alone before.
    #[must_use]
    pub fn child(&self, name: &'static str) -> Self {
        Self {
            name,
            tracker: self.tracker.clone(),
            cancel: self.cancel.child_token(),
            kill: self.kill.child_token(),
        }
    }

    /// The token that is cancelled when this group is told to end.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Tasks of this group (children's included) that have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Runs `future` once. It is dropped at its next await point when the group is told to end, unless it
    /// watches [`Supervisor::token`] itself and is started with [`Supervisor::spawn_graceful`].
    pub fn spawn<F>(&self, task: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cancel = self.cancel.clone();
        self.spawn_graceful(task, async move {
            let _ended = cancel.run_until_cancelled_owned(future).await;
        });
    }

    /// Runs `future` once and waits for it at shutdown: it must watch [`Supervisor::token`].
    /// A panic is logged with the task's name.
    pub fn spawn_graceful<F>(&self, task: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let group = self.name;
        let kill = self.kill.clone();
        let _handle = self.tracker.spawn(async move {
            let guarded = AssertUnwindSafe(future).catch_unwind();
            match kill.run_until_cancelled_owned(guarded).await {
                Some(Ok(())) => {}
                Some(Err(_panic)) => tracing::error!(group, task, "task panicked"),
                None => tracing::warn!(group, task, "task aborted at the drain deadline"),
            }
        });
    }

    /// Runs what `start` makes, again and again with `backoff` between, until the group is told to end.
    /// For loops that must not end: an end by itself is logged as a fault.
    pub fn service<S, F, E>(&self, task: &'static str, mut backoff: Backoff, mut start: S)
    where
        S: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + Send,
        E: std::fmt::Display + Send,
    {
        let group = self.name;
        self.spawn(task, async move {
            loop {
                let started = tokio::time::Instant::now();
                match AssertUnwindSafe(start()).catch_unwind().await {
                    Ok(Ok(())) => tracing::warn!(group, task, "service ended by itself"),
                    Ok(Err(error)) => tracing::warn!(group, task, %error, "service failed"),
                    Err(_panic) => tracing::error!(group, task, "service panicked"),
                }
                if started.elapsed() > Backoff::HEALTHY {
                    backoff.reset();
                }
                tokio::time::sleep(backoff.next_delay()).await;
            }
        });
    }

    /// Tells every task of the group to end and waits for them, at most for `deadline`.
    pub async fn shutdown(&self, deadline: Duration) -> Drain {
        self.cancel.cancel();
        self.tracker.close();
        match tokio::time::timeout(deadline, self.tracker.wait()).await {
            Ok(()) => Drain::Clean,
            Err(_elapsed) => {
                let left = self.tracker.len();
                self.kill.cancel();
                Drain::Aborted(left)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_service_is_started_again_after_error_and_panic() {
        let group = Supervisor::new("test");
        let runs = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&runs);
        group.service("flaky", Backoff::default(), move || {
            let run = seen.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(run != 1, "second run panics");
                Err::<(), _>("first and later runs fail")
            }
        });
        while runs.load(Ordering::SeqCst) < 4 {
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        assert_eq!(group.shutdown(Duration::from_secs(1)).await, Drain::Clean);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_plain_tasks_and_reports_the_stubborn() {
        let group = Supervisor::new("test");
        group.spawn("plain", std::future::pending());
        group.spawn_graceful("stubborn", std::future::pending());
        assert_eq!(group.running(), 2);
        assert_eq!(
            group.shutdown(Duration::from_secs(1)).await,
            Drain::Aborted(1)
        );
    }

    #[tokio::test]
    async fn ending_a_child_leaves_the_parent() {
        let parent = Supervisor::new("parent");
        let child = parent.child("child");
        child.token().cancel();
        assert!(!parent.token().is_cancelled());
    }
}
