//! The laws of [`Store`] as a suite that any implementation can be put through.
//!
//! Theory of operation: an implementation gives a [`Fixture`], which makes stores, and calls [`run`] in a test of
//! its own. Each case gets a store without the keys of others, but not necessarily at revision 0, does one
//! thing to it that a law is about, and panics when the law is broken. Nothing here knows any implementation,
//! and nothing waits for time to pass: cases wait for events, with a deadline.

mod bound;
mod fence;
mod lease;
mod watch;
mod write;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};

use crate::error::StoreError;
use crate::store::{Event, Store, WatchStream};

/// The longest that one case may take.
const CASE_DEADLINE: Duration = Duration::from_secs(120);
/// The longest that an event may take to come.
const EVENT_DEADLINE: Duration = Duration::from_secs(30);

/// What makes stores for the suite.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A store without keys. Only the last one that was made is used.
    async fn open(&self) -> Arc<dyn Store>;

    /// The same store after a restart of what it runs on. What cannot be restarted stays as it is.
    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store
    }

    /// A short time to live that the implementation can grant.
    fn ttl(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Puts an implementation through all cases, in order.
///
/// # Panics
/// When it breaks a law: the message names the case and what was found.
pub async fn run(fixture: &dyn Fixture) {
    write::run(fixture).await;
    bound::run(fixture).await;
    watch::run(fixture).await;
    lease::run(fixture).await;
    fence::run(fixture).await;
}

/// Runs one case with a deadline, and names it when it fails.
#[expect(
    clippy::panic,
    reason = "a broken law ends the test that runs the suite"
)]
async fn case(name: &str, work: BoxFuture<'_, ()>) {
    match tokio::time::timeout(CASE_DEADLINE, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => panic!("case `{name}`: {}", message(&*panic)),
        Err(_elapsed) => panic!("case `{name}` did not end within {CASE_DEADLINE:?}"),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked")
}

/// The next item of a watch.
#[expect(
    clippy::expect_used,
    reason = "a broken law ends the test that runs the suite"
)]
async fn next(watch: &mut WatchStream) -> Result<Event, StoreError> {
    tokio::time::timeout(EVENT_DEADLINE, watch.next())
        .await
        .expect("an event was due, none came")
        .expect("a watch ends only after an error")
}

/// The next `count` events of a watch.
#[expect(
    clippy::expect_used,
    reason = "a broken law ends the test that runs the suite"
)]
async fn take(watch: &mut WatchStream, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.push(
            next(watch)
                .await
                .expect("a watch that is not behind has no error"),
        );
    }
    events
}

/// An event in short: `+key@revision` or `-key@revision`.
fn brief(event: &Event) -> String {
    let sign = match event {
        Event::Put(_) => '+',
        Event::Delete { .. } => '-',
    };
    format!("{sign}{}@{}", event.key(), event.revision())
}
