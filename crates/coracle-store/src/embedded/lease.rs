//! When leases end.
//!
//! Theory of operation: which leases there are, and which keys they hold, is in the file; here is only until
//! when each lives, on the monotonic clock, which no change of the wall clock moves. So keeping a lease alive
//! costs no write, and after a restart every lease has its full time again. The writer asks for the next
//! end and sleeps until then; it marks what it is about to end, so that no keeper is told that a lease lives
//! whose keys are being deleted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::LeaseId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Alive,
    /// The writer is deleting its keys.
    Ending,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    until: Instant,
    phase: Phase,
}

/// The leases that live.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_id: Mutex<HashMap<LeaseId, Lease>>,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseId, Lease>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the time of a lease.
    pub(super) fn grant(&self, id: LeaseId, ttl: Duration, now: Instant) {
        self.lock().insert(
            id,
            Lease {
                ttl,
                until: now + ttl,
                phase: Phase::Alive,
            },
        );
    }

    /// Gives a lease its full time again; the answer is whether it lives.
    pub(super) fn keep_alive(&self, id: LeaseId, now: Instant) -> bool {
        match self.lock().get_mut(&id) {
            Some(lease) if lease.phase == Phase::Alive => {
                lease.until = now + lease.ttl;
                true
            }
            Some(_) | None => false,
        }
    }

    /// When the next lease ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let leases = self.lock();
        leases
            .values()
            .filter(|lease| lease.phase == Phase::Alive)
            .map(|lease| lease.until)
            .min()
    }

    /// Marks the leases whose time is over, and names them, the longest overdue first.
    pub(super) fn begin_expiry(&self, now: Instant) -> Vec<LeaseId> {
        let mut due = Vec::new();
        for (id, lease) in self.lock().iter_mut() {
            if lease.phase == Phase::Alive && lease.until <= now {
                lease.phase = Phase::Ending;
                due.push((lease.until, *id));
            }
        }
        due.sort_unstable();
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// Marks a lease that is being revoked.
    pub(super) fn begin_end(&self, id: LeaseId) {
        if let Some(lease) = self.lock().get_mut(&id) {
            lease.phase = Phase::Ending;
        }
    }

    /// Forgets leases that have ended.
    pub(super) fn ended(&self, ids: &[LeaseId]) {
        let mut leases = self.lock();
        for id in ids {
            leases.remove(id);
        }
    }

    /// Lets leases that could not be ended live on until `retry`.
    pub(super) fn postpone(&self, ids: &[LeaseId], retry: Instant) {
        let mut leases = self.lock();
        for id in ids {
            if let Some(lease) = leases.get_mut(id) {
                lease.phase = Phase::Alive;
                lease.until = lease.until.max(retry);
            }
        }
    }

    /// Takes over what the file says after a failed commit: leases that it has and that are not known start
    /// their time, those that it has not are forgotten, and those that could not be ended live on, at
    /// least until `retry`.
    pub(super) fn reload(&self, stored: &[(LeaseId, Duration)], now: Instant, retry: Instant) {
        let mut leases = self.lock();
        let mut known = std::mem::take(&mut *leases);
        for (id, ttl) in stored {
            let mut lease = known.remove(id).unwrap_or(Lease {
                ttl: *ttl,
                until: now + *ttl,
                phase: Phase::Alive,
            });
            if lease.phase == Phase::Ending {
                lease.phase = Phase::Alive;
                lease.until = lease.until.max(retry);
            }
            leases.insert(*id, lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_lease_ends_after_its_time_and_not_before() {
        let (leases, start) = (Leases::default(), Instant::now());
        leases.grant(LeaseId(1), SECOND * 2, start);
        leases.grant(LeaseId(2), SECOND, start);
        assert_eq!(leases.next_end(), Some(start + SECOND));
        assert!(
            leases
                .begin_expiry(start + SECOND - Duration::from_nanos(1))
                .is_empty()
        );
        assert!(leases.keep_alive(LeaseId(2), start + SECOND));
        assert!(leases.begin_expiry(start + SECOND).is_empty());
        assert_eq!(
            leases.begin_expiry(start + SECOND * 2),
            [LeaseId(1), LeaseId(2)]
        );
        assert!(
            !leases.keep_alive(LeaseId(1), start + SECOND * 2),
            "it is being ended"
        );
        assert_eq!(leases.next_end(), None);
        leases.ended(&[LeaseId(1), LeaseId(2)]);
        assert!(!leases.keep_alive(LeaseId(2), start));
    }

    #[test]
    fn what_could_not_be_ended_is_tried_again_later() {
        let (leases, start) = (Leases::default(), Instant::now());
        leases.grant(LeaseId(1), SECOND, start);
        leases.grant(LeaseId(2), SECOND * 9, start);
        let now = start + SECOND;
        assert_eq!(leases.begin_expiry(now), [LeaseId(1)]);
        let stored = [(LeaseId(1), SECOND), (LeaseId(3), SECOND * 5)];
        leases.reload(&stored, now, now + SECOND);
        assert_eq!(leases.next_end(), Some(now + SECOND));
        assert!(leases.keep_alive(LeaseId(1), now));
        assert!(
            !leases.keep_alive(LeaseId(2), now),
            "the file does not have it"
        );
        assert!(leases.keep_alive(LeaseId(3), now), "the file has it");
    }
}
