//! Tables from the control plane.
//!
//! Theory of operation: one long answer carries a table per line, and an empty line as a sign of life. A table that
//! is not older than the one in force is put in force at once, then acknowledged, then saved. The same table again
//! is acknowledged again: a control plane that was restarted has forgotten what it was told. An older one is
//! ignored: generations survive restarts, so it can only be a late echo.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use coracle_model::route::RouteTable;
use coracle_task::Backoff;
use http::Method;
use http_body_util::BodyExt as _;
use tokio::sync::Notify;

use super::{Control, ControlError, Prefer};
use crate::disk::LARGEST;
use crate::gateway::Gateway;
use crate::signals::Signals;
use crate::table::Applied;

/// Silence after which the connection is given up: three heartbeats.
const SILENCE: Duration = Duration::from_secs(45);
/// First and longest pause between connects.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Follows the control plane's tables for ever.
pub(crate) async fn follow(gateway: &Gateway, control: &Control, signals: &Signals, save: &Notify) {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    let mut told = false;
    loop {
        let mut heard = false;
        let error = match stream(gateway, control, signals, save, &mut heard).await {
            Ok(()) => ControlError::Ended,
            Err(error) => error,
        };
        if heard {
            backoff.reset();
            told = false;
        }
        // Once per outage for the operator; the rest is detail.
        if told {
            tracing::debug!(error = &error as &dyn std::error::Error, "no route tables");
        } else {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "no route tables; trying again"
            );
            told = true;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn stream(
    gateway: &Gateway,
    control: &Control,
    signals: &Signals,
    save: &Notify,
    heard: &mut bool,
) -> Result<(), ControlError> {
    // While the stream is open the control plane counts this gateway as there, and waits for its reports.
    let path = format!("/internal/v1/routes?gateway={}", control.id);
    let (answer, address) = control
        .ask(Prefer::Another, Method::GET, &path, Bytes::new())
        .await?;
    control.fed_by(address);
    let mut answer = answer.into_body();
    let mut lines = Lines::default();
    loop {
        let frame = tokio::time::timeout(SILENCE, answer.frame())
            .await
            .map_err(|_elapsed| ControlError::Silent)?;
        let Some(frame) = frame else { return Ok(()) };
        let Ok(data) = frame.map_err(ControlError::Talk)?.into_data() else {
            continue;
        };
        lines.push(&data)?;
        while let Some(line) = lines.next() {
            *heard = true;
            if !line.is_empty() {
                let table = serde_json::from_slice(&line).map_err(ControlError::Parse)?;
                apply(gateway, signals, save, table);
            }
        }
    }
}

fn apply(gateway: &Gateway, signals: &Signals, save: &Notify, table: RouteTable) {
    let (generation, hosts) = (table.generation, table.routes.len());
    match gateway.routes.apply(table) {
        Applied::New => {
            tracing::info!(generation, hosts, "route table applied");
            signals.urgent.notify_one();
            save.notify_one();
        }
        Applied::Same => signals.urgent.notify_one(),
        Applied::Stale { current } => {
            tracing::warn!(
                generation,
                current,
                "ignored a route table older than the one in force"
            );
        }
    }
}

/// Bytes cut into lines.
#[derive(Default)]
struct Lines {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line's end.
    searched: usize,
}

impl Lines {
    fn push(&mut self, data: &[u8]) -> Result<(), ControlError> {
        if self.buffer.len() + data.len() > LARGEST {
            return Err(ControlError::TooLarge);
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    fn next(&mut self) -> Option<BytesMut> {
        let Some(end) = self.buffer[self.searched..]
            .iter()
            .position(|b| *b == b'\n')
        else {
            self.searched = self.buffer.len();
            if self.buffer.is_empty() {
                // A large table must not keep its memory until the next one.
                self.buffer = BytesMut::new();
            }
            return None;
        };
        let mut line = self.buffer.split_to(self.searched + end + 1);
        self.searched = 0;
        line.truncate(line.len() - 1);
        while line.first().is_some_and(u8::is_ascii_whitespace) {
            line.advance(1);
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_any_cut() {
        let text = b"{\"a\":1}\n\n\r\n{\"b\":2}\nrest";
        for cut in 1..text.len() {
            let mut lines = Lines::default();
            let mut got = Vec::new();
            for piece in text.chunks(cut) {
                lines.push(piece).unwrap();
                while let Some(line) = lines.next() {
                    got.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            assert_eq!(got, ["{\"a\":1}", "", "", "{\"b\":2}"], "cut {cut}");
            assert_eq!(&lines.buffer[..], b"rest");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; LARGEST / 2];
        lines.push(&piece).unwrap();
        lines.push(&piece).unwrap();
        assert!(matches!(lines.push(b"x"), Err(ControlError::TooLarge)));
    }
}
