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
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::LogParams;
use tokio::io::AsyncBufRead;
use tokio::time::{Instant, timeout};
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::line::{Ending, Line, Log};
use crate::client::engine_error;

/// A log that is silent for so long is opened anew: its connection may be dead.
const QUIET: Duration = Duration::from_mins(1);
/// For the next line of a log that lies there whole.
const LEFT: Duration = Duration::from_secs(10);
/// Before a log that broke is opened again; twice as long each time that nothing new comes, …
const AGAIN: Duration = Duration::from_secs(1);
/// … up to this.
const AGAIN_MOST: Duration = Duration::from_secs(10);
/// Tries to read what is left.
const TRIES: u32 = 5;

/// Where a log was told to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// When it was opened first.
    opened: Option<DateTime<Utc>>,
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
                self.at = Some(at);
                self.lines = 1;
            }
        }
        true
    }

    /// Was any of it ever opened?
    pub(crate) fn is_opened(self) -> bool {
        self.opened.is_some()
    }

    /// As the API server takes it: by the second, which it counts by itself.
    fn since(self) -> Option<Timestamp> {
        Timestamp::from_second(self.at?.timestamp()).ok()
    }
}

/// What a log is read from, when it is opened first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beginning {
    /// Only its last lines.
    pub(crate) tail: Option<u32>,
    /// Nothing much older. Whoever wants it exactly looks at the lines' times.
    pub(crate) since: Option<DateTime<Utc>>,
}

/// The log of a container.
pub(crate) struct Source<'a> {
    pub(crate) pods: &'a Api<Pod>,
    pub(crate) pod: &'a str,
    pub(crate) container: &'a str,
    pub(crate) beginning: Beginning,
    /// For a followed log to end once the container is over: what a pod that is deleted says at last cannot be read again.
    pub(crate) linger: Duration,
}

/// To whom lines are told.
pub(crate) trait Sink: Send {
    fn take(&mut self, line: Line) -> impl Future<Output = ()> + Send;
}

/// How much of a log came while it was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It seems that all did.
    All,
    /// There may be more.
    Part,
}

/// Whether a log is waited for or read as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Followed,
    Whole,
    /// As it is, of the run before.
    Previous,
}

impl Source<'_> {
    /// Tells what comes until `over` is known, and gives that.
    ///
    /// # Errors
    /// When the platform may not read it, at the first try: one that could goes on.
    pub(crate) async fn follow<T>(
        &self,
        told: &mut Told,
        sink: &mut impl Sink,
        mut over: Pin<&mut (impl Future<Output = T> + Send)>,
    ) -> Result<(T, Heard), EngineError> {
        let mut pause = AGAIN;
        loop {
            let (from, begun) = (*told, Instant::now());
            let opened = tokio::select! {
                biased;
                over = &mut over => return Ok((over, Heard::Part)),
                opened = timeout(QUIET, self.open(Reading::Followed, told)) => opened,
            };
            match opened {
                Ok(Ok(log)) => {
                    let each = Each { log, told, sink };
                    if let Some(over) = each.until(over.as_mut(), self.linger).await {
                        return Ok(over);
                    }
                }
                Ok(Err(error @ (EngineError::Forbidden { .. } | EngineError::Credentials(_))))
                    if !told.is_opened() =>
                {
                    return Err(error);
                }
                Ok(Err(error)) => {
                    let (pod, container) = (self.pod, self.container);
                    tracing::debug!(%error, pod, container, "a log cannot be followed just now");
                }
                // Nothing to say yet, or nobody there to say it.
                Err(_elapsed) => {}
            }
            if *told != from || begun.elapsed() >= QUIET {
                pause = AGAIN;
            }
            tokio::select! {
                biased;
                over = &mut over => return Ok((over, Heard::Part)),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(AGAIN_MOST);
        }
    }

    /// Tells what is left of a container that has ended.
    ///
    /// # Errors
    /// When it cannot be had, or not within some tries.
    pub(crate) async fn rest(
        &self,
        told: &mut Told,
        sink: &mut impl Sink,
    ) -> Result<(), EngineError> {
        let mut pause = AGAIN;
        for _ in 1..TRIES {
            let error = match self.once(Reading::Whole, told, sink).await {
                Err(error @ EngineError::Unavailable(_)) => error,
                other => return other,
            };
            let (pod, container) = (self.pod, self.container);
            tracing::debug!(%error, pod, container, "the rest of a log cannot be read just now");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MOST);
        }
        self.once(Reading::Whole, told, sink).await
    }

    /// Tells what there is, and was not told yet.
    ///
    /// # Errors
    /// When it cannot be read to its end.
    pub(crate) async fn once(
        &self,
        reading: Reading,
        told: &mut Told,
        sink: &mut impl Sink,
    ) -> Result<(), EngineError> {
        let log = self.open(reading, told).await?;
        Each { log, told, sink }.finish().await
    }

    async fn open(
        &self,
        reading: Reading,
        told: &mut Told,
    ) -> Result<Log<impl AsyncBufRead + Unpin + Send + use<>>, EngineError> {
        let now = Utc::now();
        // The API counts from now; the lines themselves say exactly.
        let seconds = |at: DateTime<Utc>| (now - at).num_seconds().saturating_add(1).max(1);
        let Beginning { tail, since } = self.beginning;
        let (tail, since) = match told.opened {
            None => (tail, since),
            // The last lines were none: all that came since is new.
            Some(opened) if tail.is_some() => (None, since.max(Some(opened))),
            Some(_) => (None, since),
        };
        let since_time = told.since();
        let parameters = LogParams {
            container: Some(self.container.to_owned()),
            follow: reading == Reading::Followed,
            previous: reading == Reading::Previous,
            timestamps: true,
            tail_lines: tail.map(i64::from),
            since_seconds: since.filter(|_| since_time.is_none()).map(seconds),
            since_time,
            ..LogParams::default()
        };
        let log = self.pods.log_stream(self.pod, &parameters).await;
        let log = log.map_err(engine_error)?;
        told.opened.get_or_insert(now);
        Ok(Log::of(Box::pin(log.compat())))
    }
}

/// One reading of a log.
struct Each<'a, R, S> {
    log: Log<R>,
    told: &'a mut Told,
    sink: &'a mut S,
}

impl<R: AsyncBufRead + Unpin + Send, S: Sink> Each<'_, R, S> {
    /// Tells lines until `over` is known, and gives that; or until the log ends, breaks or is silent.
    async fn until<T>(
        mut self,
        mut over: Pin<&mut (impl Future<Output = T> + Send)>,
        linger: Duration,
    ) -> Option<(T, Heard)> {
        let (from, mut again) = (*self.told, 0);
        let over = loop {
            // A line that was read is told: only the wait for one is given up.
            let line = tokio::select! {
                biased;
                over = &mut over => break over,
                line = timeout(QUIET, self.log.line()) => line.ok()??,
            };
            if line.ending == Ending::Log {
                return None;
            }
            self.tell(from, &mut again, line).await;
        };
        while !linger.is_zero() {
            match timeout(linger, self.log.line()).await {
                Ok(Some(line)) if line.ending != Ending::Log => {
                    self.tell(from, &mut again, line).await;
                }
                Ok(None) if self.log.broken().is_none() => return Some((over, Heard::All)),
                _ => break,
            }
        }
        Some((over, Heard::Part))
    }

    /// Tells all that there is.
    async fn finish(mut self) -> Result<(), EngineError> {
        let (from, mut again) = (*self.told, 0);
        loop {
            match timeout(LEFT, self.log.line()).await {
                Ok(Some(line)) => self.tell(from, &mut again, line).await,
                Ok(None) => {
                    return match self.log.broken() {
                        None => Ok(()),
                        Some(error) => Err(EngineError::Unavailable(Box::new(error))),
                    };
                }
                Err(elapsed) => return Err(EngineError::Unavailable(Box::new(elapsed))),
            }
        }
    }

    async fn tell(&mut self, from: Told, again: &mut usize, line: Line) {
        if self.told.take(from, again, line.at) {
            self.sink.take(line).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    impl Sink for Vec<String> {
        async fn take(&mut self, line: Line) {
            self.push(line.text());
        }
    }

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
            let mut seen = Vec::new();
            let mut told = Told::default();
            for cut in cuts.into_iter().map(Some).chain([None]) {
                // What a kubelet gives: from the second on.
                let since = told.at.map_or(0, |at| at.timestamp() * 1000);
                let given: Vec<_> = lines.iter().copied().filter(|(at, _)| *at >= since).collect();
                let bytes = text(&given);
                let bytes = &bytes[..cut.unwrap_or(bytes.len()).min(bytes.len())];
                let each = Each { log: Log::of(bytes), told: &mut told, sink: &mut seen };
                runtime.block_on(async {
                    match cut {
                        Some(_) => {
                            let never = std::pin::pin!(std::future::pending::<()>());
                            assert_eq!(each.until(never, Duration::ZERO).await, None);
                        }
                        None => each.finish().await.unwrap(),
                    }
                });
            }
            let written: Vec<_> = lines.iter().map(|(_, n)| format!("line {n}")).collect();
            prop_assert_eq!(seen, written);
        }
    }
}
