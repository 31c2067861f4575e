//! Which key runs when.
//!
//! Laws: a key that is running is not handed out again before it is done; a key that is added while it runs is
//! run once more after that, however often it was added; a key waits for the earliest of the times it was
//! added for, but never less than the pause that its last failure earned it. Keys that are due are handed out
//! in the order in which they became due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_task::Backoff;
use tokio::time::Instant;

/// The first pause after a failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Keys with the time at which each is due.
#[derive(Debug)]
pub struct Queue<K> {
    due: BTreeMap<K, Instant>,
    running: BTreeSet<K>,
    failing: BTreeMap<K, Failing>,
}

#[derive(Debug)]
struct Failing {
    backoff: Backoff,
    not_before: Instant,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well; to be run again at that time, if any.
    Done(Option<Instant>),
    /// With an error.
    Failed,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            due: BTreeMap::new(),
            running: BTreeSet::new(),
            failing: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// The key is to run at `at`, or sooner if it was to.
    pub fn add(&mut self, key: K, at: Instant) {
        let at = match self.failing.get(&key) {
            Some(failing) => at.max(failing.not_before),
            None => at,
        };
        let due = self.due.entry(key).or_insert(at);
        *due = at.min(*due);
    }

    /// The reason of all failures may be gone: nobody waits any longer.
    pub fn forgive(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.failing).into_keys() {
            self.due.insert(key, now);
        }
    }

    /// A key that is due, which runs from now on.
    pub fn take(&mut self, now: Instant) -> Option<K> {
        let ready = self
            .due
            .iter()
            .filter(|(key, at)| **at <= now && !self.running.contains(*key));
        let key = ready
            .min_by_key(|(_, at)| **at)
            .map(|(key, _)| key.clone())?;
        self.due.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// When the next key will be due; a key that runs does not count until it is done.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let waiting = self
            .due
            .iter()
            .filter(|(key, _)| !self.running.contains(*key));
        waiting.map(|(_, at)| *at).min()
    }

    /// The run of a key has ended.
    pub fn done(&mut self, key: K, ended: Ended, now: Instant) {
        self.running.remove(&key);
        match ended {
            Ended::Done(again) => {
                self.failing.remove(&key);
                if let Some(at) = again {
                    self.add(key, at);
                }
            }
            Ended::Failed => {
                let failing = self.failing.entry(key.clone()).or_insert_with(|| Failing {
                    backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
                    not_before: now,
                });
                let at = now + failing.backoff.next_delay();
                failing.not_before = at;
                self.due.insert(key, at);
            }
        }
    }

    /// Keys that wait for a time or a turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.due.len()
    }

    /// Keys that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Keys whose last run failed.
    #[must_use]
    pub fn failing(&self) -> usize {
        self.failing.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_never_runs_twice_at_once_and_is_run_once_more_after() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add("a", now);
        queue.add("a", now);
        assert_eq!(queue.take(now), Some("a"));
        queue.add("a", now);
        queue.add("a", now);
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.next(), None, "nothing to wake up for while it runs");
        queue.done("a", Ended::Done(None), now);
        assert_eq!(queue.take(now), Some("a"));
        queue.done("a", Ended::Done(None), now);
        assert_eq!(queue.take(now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_time_counts_and_turns_are_fair() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut queue = Queue::default();
        queue.add("b", now + second);
        queue.add("a", now + 3 * second);
        queue.add("a", now + 2 * second);
        queue.add("a", now + 9 * second);
        assert_eq!(queue.next(), Some(now + second));
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.take(now + 2 * second), Some("b"));
        assert_eq!(queue.take(now + 2 * second), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_waits_longer_each_time_whoever_calls_until_it_is_forgiven() {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        let mut pauses = Vec::new();
        queue.add("a", now);
        for _ in 0..10 {
            assert_eq!(queue.take(now), Some("a"));
            queue.done("a", Ended::Failed, now);
            queue.add("a", now);
            let next = queue.next().unwrap();
            pauses.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(pauses[..4], [200, 400, 800, 1600]);
        assert_eq!(pauses[9], 30_000);
        queue.forgive(now - Duration::from_secs(20));
        assert_eq!(queue.take(now - Duration::from_secs(20)), Some("a"));
        queue.done("a", Ended::Done(None), now);
        assert_eq!(queue.failing(), 0);
    }
}
