//! One pod's address: requests in flight to it, and unused connections.
//!
//! Theory of operation: an [`Endpoint`] is shared by every table that names its address, so a count of requests
//! lives on when the address leaves the table and comes back. Counting is only possible through [`InFlight`],
//! which takes itself back on drop: a cancelled, failed or finished request cannot leave a count behind.
//!
//! Leaving the table ([`Endpoint::retire`]) is ordered against the last request's end: the retirer sets `retired`
//! and then reads the count, the request lowers the count and then reads `retired`, all sequentially consistent,
//! so at least one of them sees that the drain is over.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ejection::Ejection;
use crate::pod_connection::PodConnection;
use crate::signals::Signals;

/// A pod's address and what the gateway knows of it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) addr: SocketAddr,
    pub(crate) ejection: Ejection,
    in_flight: AtomicU64,
    retired: AtomicBool,
    signals: Arc<Signals>,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    connection: Box<PodConnection>,
}

impl Endpoint {
    pub(crate) fn new(addr: SocketAddr, signals: Arc<Signals>) -> Self {
        Self {
            addr,
            ejection: Ejection::default(),
            in_flight: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            signals,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Requests in flight.
    pub(crate) fn load(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// The table has this address.
    pub(crate) fn enlist(&self) {
        self.retired.store(false, Ordering::SeqCst);
    }

    /// The table no longer has this address. Returns its unused connections for the caller to close, outside of
    /// whatever lock it holds.
    pub(crate) fn retire(&self) -> Retired {
        self.retired.store(true, Ordering::SeqCst);
        Retired {
            _connections: std::mem::take(&mut *self.idle()),
        }
    }

    /// Takes the most recently used connection that still works and is unused for less than `freshness`.
    pub(crate) fn take_idle(&self, freshness: Duration) -> Option<Box<PodConnection>> {
        loop {
            let Idle {
                since,
                mut connection,
            } = self.idle().pop()?;
            let unused = since.elapsed();
            if unused < connection.idle_for().min(freshness) && connection.is_usable() {
                return Some(connection);
            }
            if unused >= freshness {
                // Last in, first out: the ones below are older still. This one may serve another kind of request.
                if unused < connection.idle_for() && connection.is_usable() {
                    self.idle().push(Idle { since, connection });
                }
                return None;
            }
        }
    }

    /// Keeps a connection for the next request, unless the address left the table or enough are kept.
    /// Returns whether it was kept.
    pub(crate) fn keep_idle(&self, connection: Box<PodConnection>, most: usize) -> bool {
        let mut idle = self.idle();
        // Read under the lock that `retire` takes after setting it: nothing is kept after `retire` emptied the list.
        if self.retired.load(Ordering::SeqCst) || idle.len() >= most {
            drop(idle);
            return false;
        }
        idle.push(Idle {
            since: Instant::now(),
            connection,
        });
        drop(idle);
        self.signals.keep();
        true
    }

    /// Closes unused connections that are too old or that the pod closed. Returns how many are left.
    pub(crate) fn sweep(&self) -> usize {
        let all = std::mem::take(&mut *self.idle());
        let kept: Vec<_> = all
            .into_iter()
            .filter_map(|mut i| {
                let good = i.since.elapsed() < i.connection.idle_for() && i.connection.is_usable();
                good.then_some(i)
            })
            .collect();
        let mut idle = self.idle();
        if self.retired.load(Ordering::SeqCst) {
            return 0;
        }
        // What came back meanwhile is newer: it belongs on top.
        let newer = std::mem::replace(&mut *idle, kept);
        idle.extend(newer);
        idle.len()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unused connections of an address that left the table; dropping it closes them.
#[must_use = "drop it outside of locks"]
pub(crate) struct Retired {
    _connections: Vec<Idle>,
}

/// One request in flight to a pod: counted from the pick, before any connection, until drop.
#[derive(Debug)]
pub(crate) struct InFlight {
    endpoint: Arc<Endpoint>,
}

impl InFlight {
    /// Counts one request. Only the route table calls this, under its read lock: see [`crate::table`].
    pub(crate) fn begin(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::SeqCst);
        Self {
            endpoint: Arc::clone(endpoint),
        }
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.endpoint.in_flight.fetch_sub(1, Ordering::SeqCst);
        if self.endpoint.retired.load(Ordering::SeqCst) {
            if before == 1 {
                self.endpoint.signals.urgent.notify_one();
            } else {
                self.endpoint.signals.drained.notify_one();
            }
        }
    }
}
