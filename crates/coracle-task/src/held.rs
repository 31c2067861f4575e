//! Blocking work that holds something.

use tokio::task::JoinError;

/// Runs `work` on a blocking thread, and drops `held` (a permit, a lock) when the work has ended. Blocking work goes on when
/// whoever waits for it leaves: what bounds it must not be given back before.
///
/// # Errors
/// When `work` panicked, or the runtime ends.
pub async fn blocking_with<T: Send + 'static>(
    held: impl Send + 'static,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let done = tokio::task::spawn_blocking(move || {
        let answer = work();
        drop(held);
        answer
    });
    done.await
}
