//! How requests wake the reporter and the sweeper.
//!
//! Theory of operation: signals carry no data. Whoever wakes looks at the state as it is now, so a lost or doubled
//! signal costs nothing but time. Requests touch them only when something must be told, and then without a lock.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Reasons to wake up.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Tell the control plane at once: a table was applied, or an address that left it became idle.
    pub(crate) urgent: Notify,
    /// An address that left the table has one request less in flight.
    pub(crate) drained: Notify,
    /// Counters changed since the last report.
    pub(crate) traffic: Notify,
    counted: AtomicBool,
    /// A connection to a pod was kept for later use, after there may have been none.
    pub(crate) kept: Notify,
    any_kept: AtomicBool,
}

impl Signals {
    /// Counters changed. Cheap when the reporter knows already, as it does under load.
    pub(crate) fn count(&self) {
        if !self.counted.load(Ordering::Relaxed) && !self.counted.swap(true, Ordering::AcqRel) {
            self.traffic.notify_one();
        }
    }

    /// A report is about to be built: later changes have to be told again.
    pub(crate) fn reporting(&self) {
        self.counted.store(false, Ordering::Release);
    }

    /// A connection to a pod is kept for later use.
    pub(crate) fn keep(&self) {
        if !self.any_kept.load(Ordering::Relaxed) && !self.any_kept.swap(true, Ordering::AcqRel) {
            self.kept.notify_one();
        }
    }

    /// The kept connections are about to be looked at.
    pub(crate) fn sweeping(&self) {
        self.any_kept.store(false, Ordering::Release);
    }
}
