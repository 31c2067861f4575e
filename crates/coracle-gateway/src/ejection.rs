//! Passing over pods that do not answer.
//!
//! Theory of operation: a pod that refuses a connection is left alone for a time that doubles with every further
//! refusal, and gets a new chance after it. One connection that succeeds forgives everything. This only steers the
//! choice between pods: when all are passed over, all are asked again, so the last pod is never given up. Health
//! checks proper are the engine's; this bridges the moments until the table knows.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Pause after the first refusal.
const FIRST: Duration = Duration::from_millis(100);
/// Longest pause.
const MOST: Duration = Duration::from_secs(10);

/// Whether one pod is passed over.
#[derive(Debug)]
pub(crate) struct Ejection {
    born: Instant,
    refusals: AtomicU32,
    /// Milliseconds since `born`; 0 when not passed over, so that the usual case needs no clock.
    until: AtomicU64,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            refusals: AtomicU32::new(0),
            until: AtomicU64::new(0),
        }
    }
}

impl Ejection {
    /// The pod refused a connection at `now`.
    pub(crate) fn refused(&self, now: Instant) {
        let before = self.refusals.fetch_add(1, Ordering::Relaxed);
        let pause = FIRST
            .saturating_mul(2u32.saturating_pow(before.min(16)))
            .min(MOST);
        self.until
            .store(self.millis(now + pause).max(1), Ordering::Relaxed);
    }

    /// The pod took a connection.
    pub(crate) fn accepted(&self) {
        if self.refusals.load(Ordering::Relaxed) != 0 {
            self.refusals.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
        }
    }

    /// Is the pod to be passed over?
    pub(crate) fn holds(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0 && self.holds_at(Instant::now())
    }

    fn holds_at(&self, now: Instant) -> bool {
        self.millis(now) < self.until.load(Ordering::Relaxed)
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_is_bounded_and_ends() {
        let ejection = Ejection::default();
        let now = Instant::now();
        assert!(!ejection.holds_at(now));
        let mut pauses = Vec::new();
        for _ in 0..10 {
            ejection.refused(now);
            let until = ejection.until.load(Ordering::Relaxed);
            pauses.push(until - ejection.millis(now));
            assert!(ejection.holds_at(now));
            assert!(!ejection.holds_at(now + MOST + Duration::from_millis(1)));
        }
        assert_eq!(
            pauses,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]
        );
        ejection.accepted();
        assert!(!ejection.holds_at(now));
        ejection.refused(now);
        assert!(
            !ejection.holds_at(now + FIRST),
            "after a success the first pause is the short one"
        );
    }
}
