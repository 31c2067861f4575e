//! A container's log while it runs and to its end, each line once.
//!
//! Theory of operation: the log is followed for as long as the container runs; what the pod's watch tells ends that, not
//! the log's own end, because a connection may break, or die and never say so. After the container's end what was not told yet
//! is read once more, as it lies on the node. Where a log was told to is kept as the time of the last line, with how many
//! lines of that very time there were; a line that a connection broke off counts as not told.

use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_engine::EngineError;
use coracle_engine::build::{BuildEvent, BuildProgress};
use coracle_engine::stream::LogLine;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::LogParams;
use tokio::io::AsyncBufRead;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::object::Stage;
use super::progress::Progress;
use crate::client::engine_error;
use crate::logs::Log;

/// A log that is silent for so long is opened anew: its connection may be dead.
const QUIET: Duration = Duration::from_mins(1);
/// For the next line of a log that lies there whole.
const LEFT: Duration = Duration::from_secs(10);
/// Before a log that broke is opened again.
const AGAIN: Duration = Duration::from_secs(1);
/// Tries to read what is left.
const TRIES: u32 = 3;

/// Where a log was told to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    at: Option<DateTime<Utc>>,
    /// Lines of that very time.
    lines: usize,
}

impl Told {
    /// Takes the next line of a log that was opened when it was told to `from`; `again` counts the lines of that very time
    /// that came again. Is the line new?
    fn take(&mut self, from: Self, again: &mut usize, at: DateTime<Utc>) -> bool {
        match from.at {
            Some(before) if at < before => return false,
            Some(before) if at == before && *again < from.lines => {
                *again += 1;
                return false;
            }
            _ => {}
        }
        match self.at {
            Some(last) if at == last => self.lines += 1,
            // Two outputs of a container overtake each other by moments.
            Some(last) if at < last => {}
            _ => {
                *self = Self {
                    at: Some(at),
                    lines: 1,
                }
            }
        }
        true
    }

    /// As the API server takes it: by the second, which it counts by itself.
    fn since(self) -> Option<Timestamp> {
        Timestamp::from_second(self.at?.timestamp()).ok()
    }
}

/// The log of a container.
pub(super) struct Source<'a> {
    pub(super) pods: &'a Api<Pod>,
    pub(super) pod: &'a str,
    pub(super) stage: Stage,
}

/// To whom lines are told.
pub(super) struct Telling<'a> {
    pub(super) progress: &'a mut Progress,
    pub(super) events: &'a BuildProgress,
}

/// Whether a log is waited for or read as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Followed,
    Whole,
}

impl Source<'_> {
    /// Tells what comes until `over` is known, and gives that.
    pub(super) async fn follow<T>(
        &self,
        told: &mut Told,
        telling: &mut Telling<'_>,
        mut over: Pin<&mut (impl Future<Output = T> + Send)>,
    ) -> T {
        loop {
            let opened = tokio::select! {
                biased;
                over = &mut over => return over,
                opened = self.open(Reading::Followed, *told) => opened,
            };
            match opened {
                Ok(log) => {
                    let each = Each { log, told, telling };
                    if let Some(over) = each.until(over.as_mut()).await {
                        return over;
                    }
                }
                Err(error) => {
                    let stage = self.stage.name();
                    tracing::debug!(%error, stage, "a build's log cannot be followed just now");
                }
            }
            tokio::select! {
                biased;
                over = &mut over => return over,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// Tells what is left of a container that has ended, as far as it can still be had.
    pub(super) async fn rest(&self, told: &mut Told, telling: &mut Telling<'_>) {
        for _ in 0..TRIES {
            let error = match self.open(Reading::Whole, *told).await {
                Ok(log) => match (Each { log, told, telling }).finish().await {
                    Ok(()) => return,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let stage = self.stage.name();
            tracing::debug!(%error, stage, "the rest of a build's log cannot be read");
            if !matches!(error, EngineError::Unavailable(_)) {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn open(
        &self,
        reading: Reading,
        told: Told,
    ) -> Result<Log<impl AsyncBufRead + Unpin + Send + use<>>, EngineError> {
        let parameters = LogParams {
            container: Some(self.stage.name().to_owned()),
            follow: reading == Reading::Followed,
            timestamps: true,
            since_time: told.since(),
            ..LogParams::default()
        };
        let log = self.pods.log_stream(self.pod, &parameters).await;
        Ok(Log::of(Box::pin(log.map_err(engine_error)?.compat())))
    }
}

/// One reading of a log.
struct Each<'a, 'b, R> {
    log: Log<R>,
    told: &'a mut Told,
    telling: &'a mut Telling<'b>,
}

impl<R: AsyncBufRead + Unpin + Send> Each<'_, '_, R> {
    /// Tells lines until `over` is known, and gives that; or until the log ends, breaks or is silent.
    async fn until<T>(mut self, mut over: Pin<&mut (impl Future<Output = T> + Send)>) -> Option<T> {
        let (from, mut again) = (*self.told, 0);
        loop {
            // A line that was read is told: only the wait for one is given up.
            let line = tokio::select! {
                biased;
                over = &mut over => return Some(over),
                line = tokio::time::timeout(QUIET, self.log.line()) => line.ok()??,
            };
            if self.log.is_cut() {
                return None;
            }
            self.tell(from, &mut again, line).await;
        }
    }

    /// Tells all that there is.
    async fn finish(mut self) -> Result<(), EngineError> {
        let (from, mut again) = (*self.told, 0);
        loop {
            match tokio::time::timeout(LEFT, self.log.line()).await {
                Ok(Some(line)) => self.tell(from, &mut again, line).await,
                Ok(None) => return Ok(()),
                Err(elapsed) => return Err(EngineError::Unavailable(Box::new(elapsed))),
            }
        }
    }

    async fn tell(&mut self, from: Told, again: &mut usize, line: LogLine) {
        if self.told.take(from, again, line.at) {
            for event in self.telling.progress.line(line.at, &line.text) {
                tell(self.telling.events, event).await;
            }
        }
    }
}

/// Nobody who reads is no reason not to build.
pub(super) async fn tell(events: &BuildProgress, event: BuildEvent) {
    if events.send(event).await.is_err() {
        tracing::trace!("nobody reads the build's progress");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use tokio::sync::mpsc;

    use super::super::config::BuildTool;

    fn text(lines: &[(i64, usize)]) -> Vec<u8> {
        let at = |millis| (DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis)).to_rfc3339();
        let lines = lines.iter().map(|(t, n)| format!("{} line {n}\n", at(*t)));
        lines.collect::<String>().into_bytes()
    }

    proptest! {
        /// Broken off anywhere, as often as it may be, opened again by the second: each line once, in its order.
        #[test]
        fn no_line_is_lost_or_doubled(
            steps in prop::collection::vec(prop_oneof![3 => Just(0_i64), 2 => 1_i64..3000], 1..40),
            cuts in prop::collection::vec(0_usize..2000, 0..6),
        ) {
            let mut now = 0;
            let lines: Vec<(i64, usize)> = steps.iter().enumerate().map(|(n, step)| {
                now += step;
                (now, n)
            }).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let (events, mut seen) = mpsc::channel(64);
            let mut progress = Progress::new(BuildTool::Buildah, Stage::Source);
            let mut telling = Telling { progress: &mut progress, events: &events };
            let mut told = Told::default();
            for cut in cuts.into_iter().map(Some).chain([None]) {
                // What a kubelet gives: from the second on.
                let since = told.at.map_or(0, |at| at.timestamp() * 1000);
                let given: Vec<_> = lines.iter().copied().filter(|(at, _)| *at >= since).collect();
                let bytes = text(&given);
                let bytes = &bytes[..cut.unwrap_or(bytes.len()).min(bytes.len())];
                let each = Each { log: Log::of(bytes), told: &mut told, telling: &mut telling };
                runtime.block_on(async {
                    match cut {
                        Some(_) => {
                            let never = std::pin::pin!(std::future::pending::<()>());
                            assert_eq!(each.until(never).await, None);
                        }
                        None => each.finish().await.unwrap(),
                    }
                });
            }
            for (_, n) in lines {
                let line = BuildEvent::Output { id: "source".to_owned(), text: format!("line {n}") };
                prop_assert_eq!(seen.try_recv().ok(), Some(line));
            }
            prop_assert!(seen.try_recv().is_err());
        }
    }
}
