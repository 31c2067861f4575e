//! Users, all the time: a load generator that counts every request that did not get its answer.
//!
//! Theory of operation: so many connections are kept open, and all of them together ask so many times a second: a rate,
//! because a closed loop would take the processors away from what is tested. A request fails when its status is
//! not 200, when its connection breaks under it, or when no connection can be made. A connection that was closed between
//! two requests is opened again, as every client does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::wait::{LONG, until};
use crate::web::{Connection, Page};

/// So many connections at once the test image takes without losing one: BusyBox's `httpd` has no longer queue, serves one
/// request on each, and what its kernel drops there takes seconds to come again. For an app of one pod on a machine that may
/// be busy.
pub const ONE_POD: u32 = 9;
/// So many failures and sorts of bodies are kept.
const SHOWN: usize = 12;
/// So much of a body tells one sort from another.
const BODY: usize = 80;

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests with status 200.
    pub ok: u64,
    /// Requests without.
    pub failed: u64,
    /// The first failures, each with its time since the start.
    pub failures: Vec<String>,
    /// Answers by the beginning of their body.
    pub bodies: BTreeMap<String, u64>,
    /// The longest that a request took.
    pub slowest: Duration,
    /// How long the load lasted.
    pub lasted: Duration,
}

impl Tally {
    /// Asserts that there were requests, and that none failed.
    ///
    /// # Panics
    /// When one failed.
    #[track_caller]
    pub fn nothing_failed(&self, what: &str) {
        eprintln!(
            "{what}: {} requests in {:.1} s, {} failed, slowest {} ms, answers {:?}",
            self.ok + self.failed,
            self.lasted.as_secs_f64(),
            self.failed,
            self.slowest.as_millis(),
            self.bodies
        );
        assert_eq!(self.failed, 0, "{what}: {:#?}", self.failures);
        assert!(self.ok > 0, "{what}: no request was made");
    }
}

#[derive(Debug, Default)]
struct Shared {
    ok: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
    tally: Mutex<Tally>,
}

/// Users, all the time. Dropped, it just ends.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    users: JoinSet<()>,
    began: Instant,
}

impl Load {
    /// Asks `host` for `path` at `address`, over `connections`, so many times `per_second` in all.
    #[must_use]
    pub fn start(
        address: SocketAddr,
        host: &str,
        path: &str,
        connections: u32,
        per_second: u32,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let mut users = JoinSet::new();
        let began = Instant::now();
        let pause = Duration::from_secs(1) * connections / per_second.max(1);
        for number in 0..connections {
            let user = User {
                address,
                host: host.to_owned(),
                path: path.to_owned(),
                shared: Arc::clone(&shared),
                began,
            };
            // Not all in the same moment.
            let first = pause * number / connections;
            users.spawn(user.run(first, pause));
        }
        Self {
            shared,
            users,
            began,
        }
    }

    /// Waits until so many more requests succeeded.
    ///
    /// # Panics
    /// When they do not in time.
    pub async fn more(&self, count: u64) {
        let goal = self.shared.ok.load(Ordering::SeqCst) + count;
        let shared = &self.shared;
        until("more requests to succeed", LONG, || async {
            shared.ok.load(Ordering::SeqCst) >= goal
        })
        .await;
    }

    /// Failures so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::SeqCst)
    }

    /// Ends it after the requests that are under way, and counts.
    pub async fn stop(mut self) -> Tally {
        self.shared.stop.store(true, Ordering::SeqCst);
        while self.users.join_next().await.is_some() {}
        let mut tally = self.shared.lock().clone();
        tally.ok = self.shared.ok.load(Ordering::SeqCst);
        tally.failed = self.shared.failed.load(Ordering::SeqCst);
        tally.lasted = self.began.elapsed();
        tally
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct User {
    address: SocketAddr,
    host: String,
    path: String,
    shared: Arc<Shared>,
    began: Instant,
}

impl User {
    async fn run(self, first: Duration, pause: Duration) {
        let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + first, pause);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept: Option<Connection> = None;
        loop {
            clock.tick().await;
            if self.shared.stop.load(Ordering::SeqCst) {
                return;
            }
            let began = Instant::now();
            let outcome = self.ask(&mut kept).await;
            self.note(began, &outcome);
        }
    }

    async fn ask(&self, kept: &mut Option<Connection>) -> Result<Page, String> {
        let mut connection = match kept.take() {
            Some(open) => open,
            None => Connection::open(self.address).await?,
        };
        if !connection.is_open().await {
            connection = Connection::open(self.address).await?;
        }
        let page = connection.get(&self.host, &self.path).await?;
        *kept = Some(connection);
        Ok(page)
    }

    fn note(&self, began: Instant, outcome: &Result<Page, String>) {
        let took = began.elapsed();
        let failure = match outcome {
            Ok(page) if page.status == 200 => None,
            Ok(page) => Some(format!(
                "status {} {}",
                page.status,
                page.code.as_deref().unwrap_or("from the app")
            )),
            Err(error) => Some(error.clone()),
        };
        let mut tally = self.shared.lock();
        tally.slowest = tally.slowest.max(took);
        if let Some(failure) = failure {
            self.shared.failed.fetch_add(1, Ordering::SeqCst);
            if tally.failures.len() < SHOWN {
                let at = began.duration_since(self.began).as_secs_f64();
                tally.failures.push(format!(
                    "after {at:.3} s: {failure} ({} ms)",
                    took.as_millis()
                ));
            }
            return;
        }
        self.shared.ok.fetch_add(1, Ordering::SeqCst);
        if let Ok(page) = outcome {
            let sort: String = page.body.trim().chars().take(BODY).collect();
            if tally.bodies.len() < SHOWN || tally.bodies.contains_key(&sort) {
                *tally.bodies.entry(sort).or_default() += 1;
            }
        }
    }
}
