//! Ends of simulated streams: what a session's reader and a log's follower wait on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::{Notify, watch};

use crate::error::EngineError;
use crate::stream::{Follow, LogLine, LogRequest, LogStream, SessionOutput};

/// Output of a session on its way to its reader.
#[derive(Debug, Default)]
pub(super) struct Console {
    queue: Mutex<ConsoleState>,
    more: Notify,
    less: Notify,
}

#[derive(Debug, Default)]
struct ConsoleState {
    chunks: VecDeque<SessionOutput>,
    closed: bool,
}

impl Console {
    /// Chunks that may wait for the reader before input is held back.
    const MOST: usize = 1024;

    pub(super) fn push(&self, output: SessionOutput) {
        let mut state = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed |= matches!(output, SessionOutput::Exit(_));
        state.chunks.push_back(output);
        drop(state);
        self.more.notify_one();
    }

    /// Waits until the reader has caught up enough.
    pub(super) async fn room(&self) {
        loop {
            let full = {
                let state = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                !state.closed && state.chunks.len() >= Self::MOST
            };
            if !full {
                return;
            }
            self.less.notified().await;
        }
    }

    async fn pop(&self) -> Option<SessionOutput> {
        loop {
            {
                let mut state = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(chunk) = state.chunks.pop_front() {
                    drop(state);
                    self.less.notify_one();
                    return Some(chunk);
                }
                if state.closed {
                    return None;
                }
            }
            self.more.notified().await;
        }
    }

    pub(super) fn stream(
        self: Arc<Self>,
    ) -> BoxStream<'static, Result<SessionOutput, EngineError>> {
        stream::unfold(self, |console| async move {
            let chunk = console.pop().await?;
            Some((Ok(chunk), console))
        })
        .boxed()
    }
}

/// The log of one pod, over its restarts.
#[derive(Debug)]
pub(super) struct PodLog {
    state: Mutex<LogState>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct LogState {
    lines: VecDeque<LogLine>,
    /// Number of the first line that is kept.
    first: usize,
    /// The pod is gone: nothing follows.
    closed: bool,
}

impl PodLog {
    /// Lines that are kept.
    const MOST: usize = 10_000;

    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        })
    }

    pub(super) fn push(&self, line: LogLine) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lines.len() == Self::MOST {
            state.lines.pop_front();
            state.first += 1;
        }
        state.lines.push_back(line);
        drop(state);
        self.changed.send_replace(());
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        drop(state);
        self.changed.send_replace(());
    }

    /// The line with this number (or the oldest after it) and the number of the one behind it.
    fn at(&self, number: usize) -> (Option<(LogLine, usize)>, bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = number.max(state.first);
        let line = state.lines.get(number - state.first).cloned();
        (line.map(|line| (line, number + 1)), state.closed)
    }

    fn start(&self, tail: Option<u32>) -> usize {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let end = state.first + state.lines.len();
        let keep = tail.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        end.saturating_sub(keep).max(state.first)
    }

    pub(super) fn read(self: &Arc<Self>, request: &LogRequest) -> LogStream {
        let from = self.start(request.tail);
        let since: Option<DateTime<Utc>> = request.since;
        let follow = request.follow;
        let end = self.start(Some(0));
        let seed = (Arc::clone(self), self.changed.subscribe(), from);
        stream::unfold(seed, move |(log, mut changed, mut number)| async move {
            loop {
                if follow == Follow::No && number >= end {
                    return None;
                }
                changed.mark_unchanged();
                match log.at(number) {
                    (Some((line, next)), _) => {
                        number = next;
                        if since.is_none_or(|since| line.at >= since) {
                            return Some((Ok(line), (log, changed, number)));
                        }
                    }
                    (None, true) => return None,
                    (None, false) if follow == Follow::No => return None,
                    (None, false) => changed.changed().await.ok()?,
                }
            }
        })
        .boxed()
    }
}
