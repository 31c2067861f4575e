//! Closing connections to pods that nobody uses.
//!
//! Theory of operation: unused connections are not watched (see [`crate::pod_connection`]), so they are looked at now
//! and then while there are any. When there are none, nothing runs until a connection is kept again.

use std::time::Duration;

use crate::gateway::Gateway;

/// Time between looks. A connection that the pod closed is noticed after at most this; if a request takes it
/// before, it notices itself.
const EVERY: Duration = Duration::from_secs(5);

/// Sweeps for ever.
pub(crate) async fn keep_sweeping(gateway: &Gateway) {
    loop {
        gateway.signals.kept.notified().await;
        loop {
            tokio::time::sleep(EVERY).await;
            // Before looking: a connection kept during the look wakes us again.
            gateway.signals.sweeping();
            if gateway.routes.sweep() == 0 {
                break;
            }
        }
    }
}
