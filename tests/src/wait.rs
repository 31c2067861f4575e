//! Waiting for a condition, bounded.

use std::future::Future;
use std::time::{Duration, Instant};

/// More than anything takes on a machine that others use too.
pub const LONG: Duration = Duration::from_secs(90);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Asks until `condition` holds and gives the time that it took.
///
/// # Panics
/// When it does not hold within `limit`.
pub async fn until<F, C>(what: &str, limit: Duration, mut condition: C) -> Duration
where
    C: FnMut() -> F,
    F: Future<Output = bool>,
{
    until_ok(what, limit, || {
        let held = condition();
        async move {
            if held.await {
                Ok(())
            } else {
                Err("it does not hold".to_owned())
            }
        }
    })
    .await
    .1
}

/// Asks until `condition` gives a value; gives it and the time that it took.
///
/// # Panics
/// When there is none within `limit`, with the last reason.
pub async fn until_ok<T, F, C>(what: &str, limit: Duration, mut condition: C) -> (T, Duration)
where
    C: FnMut() -> F,
    F: Future<Output = Result<T, String>>,
{
    let began = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return (value, began.elapsed()),
            Err(reason) if began.elapsed() > limit => {
                panic!("{what}: not within {} s: {reason}", limit.as_secs())
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
