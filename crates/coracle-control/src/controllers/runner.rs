//! Runs a controller.
//!
//! Theory of operation: keys come from changes (`wake`), from times that a run asked for, and from a rescan of
//! all keys at the start and every minute or so, which makes a lost wake-up a delay instead of a fault. Each
//! run is a task of its own, bounded in number; a run that fails or panics is repeated after a growing pause.

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use coracle_task::Backoff;
use serde::Serialize;
use tokio::sync::{AcquireError, Notify, Semaphore};
use tokio::time::Instant;

use crate::controllers::change::Change;
use crate::controllers::queue::{Ended, Queue};
use crate::controllers::scene::Scene;
use crate::error::OperationError;

/// What is to be done for each of a set of keys, again and again.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// What there is one run of at a time.
    type Key: Ord + Clone + Display + Send + Sync + 'static;

    /// Its name in logs and statuses.
    const NAME: &'static str;

    /// The most runs at the same time.
    const AT_ONCE: usize;

    /// Every key that there is anything to do for.
    ///
    /// # Errors
    /// Tried again later.
    async fn keys(&self) -> Result<Vec<Self::Key>, OperationError>;

    /// The key that a change may concern.
    fn concerns(&self, change: &Change<'_>) -> Option<Self::Key>;

    /// Does what is to be done for a key now.
    ///
    /// # Errors
    /// Tried again after a pause.
    async fn reconcile(&self, key: &Self::Key) -> Result<Next, OperationError>;
}

/// When to look at a key again, should nothing happen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At the next rescan.
    Rest,
    /// After this time.
    After(Duration),
}

impl Next {
    /// At a time of the wall clock, if any.
    #[must_use]
    pub fn at(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        // A little late, so that the deadline has passed by any clock.
        const LATE: Duration = Duration::from_millis(10);
        at.map_or(Self::Rest, |at| {
            Self::After((at - now).to_std().unwrap_or_default() + LATE)
        })
    }
}

/// How a controller is.
#[derive(Clone, Debug, Serialize)]
pub struct ControllerStatus {
    /// Its name.
    pub name: &'static str,
    /// Runs since the start.
    pub runs: u64,
    /// Runs that failed.
    pub failures: u64,
    /// When the last run ended.
    pub last_run: Option<DateTime<Utc>>,
    /// What went wrong last, with the key, and when.
    pub last_error: Option<LastError>,
    /// Keys that wait for a time or a turn.
    pub waiting: usize,
    /// Keys that run.
    pub running: usize,
    /// Keys whose last run failed.
    pub failing: usize,
}

/// What went wrong last.
#[derive(Clone, Debug, Serialize)]
pub struct LastError {
    /// When.
    pub at: DateTime<Utc>,
    /// The key.
    pub key: String,
    /// What.
    pub message: String,
}

/// A controller that runs.
pub trait Running: Send + Sync {
    /// Something changed.
    fn wake(&self, change: &Change<'_>);
    /// Anything may have changed: look at everything, and do not wait for what failed.
    fn wake_all(&self);
    /// How it is.
    fn status(&self) -> ControllerStatus;
}

/// Wakes keys of a controller: for work that it does beside its runs.
#[derive(Debug)]
pub struct Kick<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Kick<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Ord + Clone> Kick<K> {
    /// Runs the key soon.
    pub fn kick(&self, key: K) {
        self.shared.add(key);
    }
}

#[derive(Debug)]
struct Shared<K> {
    queue: Mutex<Queue<K>>,
    wake: Notify,
    rescan: Notify,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    runs: u64,
    failures: u64,
    last_run: Option<DateTime<Utc>>,
    last_error: Option<LastError>,
}

impl<K: Ord + Clone> Shared<K> {
    fn queue(&self) -> MutexGuard<'_, Queue<K>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, key: K) {
        self.queue().add(key, Instant::now());
        self.wake.notify_one();
    }
}

struct Runner<R: Reconciler> {
    reconciler: Arc<R>,
    scene: Arc<Scene>,
    shared: Arc<Shared<R::Key>>,
}

impl<R: Reconciler> Clone for Runner<R> {
    fn clone(&self) -> Self {
        Self {
            reconciler: Arc::clone(&self.reconciler),
            scene: Arc::clone(&self.scene),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// Starts a controller.
pub fn start<R: Reconciler>(
    scene: &Arc<Scene>,
    make: impl FnOnce(Kick<R::Key>) -> R,
) -> Arc<dyn Running> {
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        wake: Notify::new(),
        rescan: Notify::new(),
        counts: Mutex::default(),
    });
    let kick = Kick {
        shared: Arc::clone(&shared),
    };
    let runner = Runner {
        reconciler: Arc::new(make(kick)),
        scene: Arc::clone(scene),
        shared,
    };
    let scanning = runner.clone();
    scene
        .supervisor
        .service(R::NAME, Backoff::default(), move || {
            let scanning = scanning.clone();
            async move { scanning.scan().await }
        });
    let working = runner.clone();
    scene
        .supervisor
        .service(R::NAME, Backoff::default(), move || {
            let working = working.clone();
            async move { working.work().await }
        });
    Arc::new(runner)
}

impl<R: Reconciler> Runner<R> {
    /// Adds all keys, now and then.
    async fn scan(&self) -> Result<(), Infallible> {
        loop {
            match self.reconciler.keys().await {
                Ok(keys) => {
                    for key in keys {
                        self.shared.add(key);
                    }
                }
                Err(error) => self.note_error("rescan".to_owned(), &error),
            }
            tokio::select! {
                () = tokio::time::sleep(self.scene.options.rescan) => {}
                () = self.shared.rescan.notified() => {}
            }
        }
    }

    /// Hands out keys that are due, as long as there is room.
    async fn work(&self) -> Result<(), AcquireError> {
        let room = Arc::new(Semaphore::new(R::AT_ONCE));
        loop {
            let permit = Arc::clone(&room).acquire_owned().await?;
            let key = self.next().await;
            let run = Run {
                runner: self.clone(),
                key,
                ended: Ended::Failed,
            };
            self.scene.supervisor.spawn(R::NAME, async move {
                let _permit = permit;
                run.run().await;
            });
        }
    }

    async fn next(&self) -> R::Key {
        loop {
            let next = {
                let mut queue = self.shared.queue();
                if let Some(key) = queue.take(Instant::now()) {
                    return key;
                }
                queue.next()
            };
            match next {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = self.shared.wake.notified() => {}
                },
                None => self.shared.wake.notified().await,
            }
        }
    }

    fn note_error(&self, key: String, error: &OperationError) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(controller = R::NAME, key, %error, cause, "a run failed and is tried again");
        let message = match cause {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        self.shared.counts().last_error = Some(LastError {
            at: self.scene.now(),
            key,
            message,
        });
    }
}

/// One run of a key. It gives the key back when it is dropped, also by a panic or a shutdown.
struct Run<R: Reconciler> {
    runner: Runner<R>,
    key: R::Key,
    ended: Ended,
}

impl<R: Reconciler> Run<R> {
    async fn run(mut self) {
        // Whoever was paused for so long that another may lead by now begins nothing: it is about to be ended.
        if !self.runner.scene.control.leading.holds() {
            return;
        }
        let outcome = self.runner.reconciler.reconcile(&self.key).await;
        self.ended = match outcome {
            Ok(Next::Rest) => Ended::Done(None),
            Ok(Next::After(pause)) => Ended::Done(Some(Instant::now() + pause)),
            // Somebody else wrote first: that is no fault, and what they wrote wakes the key anyway.
            Err(error) if error.is_race() => Ended::Done(Some(Instant::now())),
            Err(error) => {
                self.runner.note_error(self.key.to_string(), &error);
                Ended::Failed
            }
        };
    }
}

impl<R: Reconciler> Drop for Run<R> {
    fn drop(&mut self) {
        {
            let mut counts = self.runner.shared.counts();
            counts.runs += 1;
            counts.failures += u64::from(self.ended == Ended::Failed);
            counts.last_run = Some(self.runner.scene.now());
        }
        let shared = &self.runner.shared;
        shared
            .queue()
            .done(self.key.clone(), self.ended, Instant::now());
        shared.wake.notify_one();
    }
}

impl<R: Reconciler> Running for Runner<R> {
    fn wake(&self, change: &Change<'_>) {
        if let Some(key) = self.reconciler.concerns(change) {
            self.shared.add(key);
        }
    }

    fn wake_all(&self) {
        self.shared.queue().forgive(Instant::now());
        self.shared.wake.notify_one();
        self.shared.rescan.notify_one();
    }

    fn status(&self) -> ControllerStatus {
        let (waiting, running, failing) = {
            let queue = self.shared.queue();
            (queue.waiting(), queue.running(), queue.failing())
        };
        let counts = self.shared.counts();
        ControllerStatus {
            name: R::NAME,
            runs: counts.runs,
            failures: counts.failures,
            last_run: counts.last_run,
            last_error: counts.last_error.clone(),
            waiting,
            running,
            failing,
        }
    }
}
