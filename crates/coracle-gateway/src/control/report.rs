//! Reports to the control plane.
//!
//! Theory of operation: a report is the whole truth of its moment, so a lost one costs nothing once the next arrives,
//! and several reasons make one report. An applied table and an address that became idle are told at once, since a
//! deploy waits for them; other changes of draining addresses wait for a quarter of a second, counters for ten.
//! Without a reason nothing runs. A report that did not arrive is built anew and sent again until one does.

use std::time::Duration;

use bytes::Bytes;
use coracle_task::{Backoff, CancellationToken};
use http::Method;
use http_body_util::{BodyExt as _, Limited};
use tokio::time::Instant;

use super::{Control, ControlError, Prefer};
use crate::gateway::Gateway;
use crate::signals::Signals;

/// Shortest time between reports of draining addresses that are not idle yet.
const DRAINING: Duration = Duration::from_millis(250);
/// Shortest time between reports for counters alone.
const TRAFFIC: Duration = Duration::from_secs(10);
/// First and longest pause between tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long the last report may take when the gateway ends.
const LAST: Duration = Duration::from_millis(500);
/// What is read of the control plane's answer.
const ANSWER_BYTES: usize = 4096;

/// Reports until `end`, and then once more.
pub(crate) async fn keep_reporting(
    gateway: &Gateway,
    control: &Control,
    signals: &Signals,
    end: CancellationToken,
) {
    if end
        .run_until_cancelled(whenever_needed(gateway, control, signals))
        .await
        .is_none()
        && let Ok(Err(error)) = tokio::time::timeout(LAST, send(gateway, control)).await
    {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "the last report did not arrive"
        );
    }
}

async fn whenever_needed(gateway: &Gateway, control: &Control, signals: &Signals) {
    let mut last = None;
    loop {
        reason(signals, last).await;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while let Err(error) = send(gateway, control).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a report did not arrive"
            );
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay()) => {}
                () = signals.urgent.notified() => {}
            }
        }
        last = Some(Instant::now());
    }
}

/// Waits until there is something to tell.
async fn reason(signals: &Signals, last: Option<Instant>) {
    let after = |pause| last.map_or_else(Instant::now, |last| last + pause);
    let mut due: Option<Instant> = None;
    loop {
        let time = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let at = tokio::select! {
            biased;
            () = signals.urgent.notified() => return,
            () = time => return,
            () = signals.drained.notified() => after(DRAINING),
            () = signals.traffic.notified() => after(TRAFFIC),
        };
        due = Some(due.map_or(at, |due| due.min(at)));
    }
}

async fn send(gateway: &Gateway, control: &Control) -> Result<(), ControlError> {
    let Some(report) = gateway.routes.report() else {
        return Ok(());
    };
    let body = serde_json::to_vec(&report).map_err(ControlError::Parse)?;
    let path = format!("/internal/v1/gateways/{}", control.id);
    let (answer, _address) = control
        .ask(Prefer::Feeder, Method::POST, &path, Bytes::from(body))
        .await?;
    // Reading to the end lets the control plane finish in peace; what it says beyond the status is not needed.
    if let Err(error) = Limited::new(answer.into_body(), ANSWER_BYTES)
        .collect()
        .await
    {
        tracing::debug!(%error, "the answer to a report broke off");
    }
    Ok(())
}
