//! A limit to failed logins, per user name and per address.
//!
//! Theory of operation: each name and each address has a bucket of tries that fills up again with time; a
//! failure takes one, a success gives all back to the name. Both are bounded in number, so that an attacker cannot
//! fill the memory with names; when there are too many, those with the most tries left are forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Tries in a full bucket.
const TRIES: f64 = 10.0;

/// Time in which one try comes back.
const REFILL: Duration = Duration::from_secs(6);

/// The most buckets that are kept.
const MOST_BUCKETS: usize = 10_000;

/// Counts failed logins.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn left_at(&self, now: Instant) -> f64 {
        (self.left + now.duration_since(self.at).as_secs_f64() / REFILL.as_secs_f64()).min(TRIES)
    }
}

impl Throttle {
    /// Takes a try from every one of `keys`, or says how long to wait.
    pub(crate) fn take(&self, keys: &[String]) -> Result<(), Duration> {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > MOST_BUCKETS {
            buckets.retain(|_, bucket| bucket.left_at(now) < TRIES - 1.0);
        }
        let lowest = keys
            .iter()
            .map(|key| buckets.get(key).map_or(TRIES, |bucket| bucket.left_at(now)))
            .fold(TRIES, f64::min);
        if lowest < 1.0 {
            return Err(REFILL.mul_f64(1.0 - lowest));
        }
        for key in keys {
            let left = buckets.get(key).map_or(TRIES, |bucket| bucket.left_at(now)) - 1.0;
            buckets.insert(key.clone(), Bucket { left, at: now });
        }
        Ok(())
    }

    /// The login was good: `name` gets all its tries back, and the other keys the one that was taken. Else
    /// somebody who can log in could try the passwords of others without end from the same address.
    pub(crate) fn good(&self, name: &str, others: &[String]) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.remove(name);
        for key in others {
            if let Some(bucket) = buckets.get_mut(key) {
                bucket.left += 1.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_tries_then_one_every_six_seconds() {
        let throttle = Throttle::default();
        let key = ["ann".to_owned()];
        for _ in 0..10 {
            throttle.take(&key).unwrap();
        }
        let wait = throttle.take(&key).unwrap_err();
        assert!(wait <= REFILL && wait > Duration::from_secs(5), "{wait:?}");
        throttle.take(&["bob".to_owned()]).unwrap();
        tokio::time::advance(REFILL).await;
        throttle.take(&key).unwrap();
        assert!(throttle.take(&key).is_err());
        throttle.good("ann", &[]);
        throttle.take(&key).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_login_gives_the_address_no_more_than_it_took() {
        let throttle = Throttle::default();
        let keys = |name: &str| [name.to_owned(), "address".to_owned()];
        for other in 0..9 {
            throttle.take(&keys(&format!("other{other}"))).unwrap();
            throttle.take(&keys("own")).unwrap();
            throttle.good("own", &["address".to_owned()]);
        }
        throttle.take(&keys("last")).unwrap();
        throttle.take(&keys("too-many")).unwrap_err();
    }
}
