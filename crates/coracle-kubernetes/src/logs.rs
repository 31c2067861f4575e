//! Logs of pods.
//!
//! Theory of operation: the API server gives the log of one run of a container, as text with a time before each line.
//! Before the current run's comes what is kept of the run before it; following goes on with the next run, until the
//! pod is gone. Which of the two outputs a line came from is not told, so all count as standard output.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use coracle_engine::EngineError;
use coracle_engine::stream::{Channel, Follow, LogLine, LogRequest, LogStream};
use coracle_model::workload::PodId;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use crate::client::{engine_error, within};
use crate::object::CONTAINER;
use crate::phase;
use crate::state::Core;

/// Lines that wait for their reader.
const LINES: usize = 256;
/// A line's time takes so many bytes at most.
const TIME_BYTES: usize = 40;
/// Longer lines come in pieces.
const MOST: usize = LogLine::MOST_BYTES + TIME_BYTES;

type Lines = mpsc::Sender<Result<LogLine, EngineError>>;

/// A pod's log.
pub(crate) async fn logs(
    core: &Arc<Core>,
    id: &PodId,
    request: LogRequest,
) -> Result<LogStream, EngineError> {
    let namespace = core.namespace(&id.project)?;
    let known = core.with(|state| {
        state.told(id)?;
        Some(state.record(id).and_then(|record| {
            let name = record.live.metadata.name.clone()?;
            Some((name, record.live.metadata.uid.clone()))
        }))
    });
    let Some(pod) = known else {
        return Err(EngineError::NoSuchPod(id.clone()));
    };
    // What has no pod yet has written nothing.
    let Some((name, uid)) = pod else {
        return Ok(futures::stream::empty().boxed());
    };
    let reader = Reader {
        core: Arc::clone(core),
        id: id.clone(),
        uid,
        pods: within(&core.client, &namespace),
        name,
        request,
    };
    let (lines, stream) = mpsc::channel(LINES);
    core.config.supervisor.spawn("kubernetes-log", async move {
        let closed = lines.clone();
        tokio::select! {
            result = reader.read(&lines) => {
                if let Err(error) = result {
                    drop(lines.send(Err(error)).await);
                }
            }
            () = closed.closed() => {}
        }
    });
    Ok(ReceiverStream::new(stream).boxed())
}

struct Reader {
    core: Arc<Core>,
    id: PodId,
    uid: Option<String>,
    pods: Api<Pod>,
    name: String,
    request: LogRequest,
}

/// One run of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// The pod is gone.
    Gone,
    /// The container was never started.
    None,
    /// It was started again so often.
    Number(i32),
}

impl Reader {
    fn run_now(&self, state: &crate::state::State) -> Run {
        let Some(record) = state.record(&self.id) else {
            return Run::Gone;
        };
        if record.live.metadata.uid != self.uid {
            return Run::Gone;
        }
        match phase::container(&record.live) {
            Some(container) => {
                let begun = container
                    .state
                    .as_ref()
                    .is_some_and(|state| state.running.is_some() || state.terminated.is_some());
                if begun || container.restart_count > 0 {
                    Run::Number(container.restart_count)
                } else {
                    Run::None
                }
            }
            None => Run::None,
        }
    }

    async fn read(&self, lines: &Lines) -> Result<(), EngineError> {
        let mut run = self.core.with(|state| self.run_now(state));
        let mut first = true;
        loop {
            match run {
                Run::Gone => return Ok(()),
                Run::None => {
                    if self.request.follow == Follow::No {
                        return Ok(());
                    }
                }
                Run::Number(number) => {
                    let follow = self.request.follow == Follow::Yes;
                    if first && number > 0 && self.request.tail.is_none() {
                        self.kept(lines).await?;
                    }
                    let tail = self.request.tail.filter(|_| first).map(i64::from);
                    let begun = self.run_of(lines, follow, tail, false).await;
                    first = false;
                    match begun {
                        Ok(()) => {}
                        // The container is between two runs, or the pod goes away just now.
                        Err(EngineError::Refused(_) | EngineError::Failed { .. }) if follow => {}
                        Err(error) => return Err(error),
                    }
                    if !follow {
                        return Ok(());
                    }
                }
            }
            let before = run;
            let ended = move |state: &crate::state::State| {
                state
                    .record(&self.id)
                    .is_some_and(|record| phase::has_ended(&record.live))
            };
            run = self
                .core
                .when(|state| {
                    let now = self.run_now(state);
                    if now != before {
                        return Some(now);
                    }
                    // What has ended for good writes nothing more.
                    ended(state).then_some(Run::Gone)
                })
                .await;
        }
    }

    /// What is kept of the run before, as far as the request reaches back.
    async fn kept(&self, lines: &Lines) -> Result<(), EngineError> {
        let tail = self.request.tail.map(i64::from);
        match self.run_of(lines, false, tail, true).await {
            // It may have been cleaned away.
            Ok(()) | Err(EngineError::Refused(_) | EngineError::Failed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn run_of(
        &self,
        lines: &Lines,
        follow: bool,
        tail: Option<i64>,
        previous: bool,
    ) -> Result<(), EngineError> {
        // The API counts from now; the lines themselves say exactly.
        let since = self.request.since;
        let since_seconds =
            since.map(|at| (Utc::now() - at).num_seconds().saturating_add(1).max(1));
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow,
            previous,
            timestamps: true,
            tail_lines: tail,
            since_seconds,
            ..LogParams::default()
        };
        let log = self
            .pods
            .log_stream(&self.name, &parameters)
            .await
            .map_err(engine_error)?;
        let mut log = Log::of(log.compat());
        while let Some(line) = log.line().await {
            if since.is_some_and(|since| line.at < since) {
                continue;
            }
            if lines.send(Ok(line)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A log whose lines begin with their time.
pub(crate) struct Log<R> {
    from: R,
    /// What the piece before ended with.
    before: Ending,
    /// When the line was written that the piece before is of.
    at: DateTime<Utc>,
}

/// What a piece of a log ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Its line's end.
    Line,
    /// As much as a piece may hold: the rest of the line follows.
    Room,
    /// The log's end, which may be a connection that broke.
    Log,
}

impl<R: AsyncBufRead + Unpin> Log<R> {
    pub(crate) const fn of(from: R) -> Self {
        Self {
            from,
            before: Ending::Line,
            at: DateTime::UNIX_EPOCH,
        }
    }

    /// The next line, or a piece of one that is too long. What has no time is not the container's and is left out: kubelets
    /// write complaints of their own between its lines, such as that the container is gone meanwhile.
    pub(crate) async fn line(&mut self) -> Option<LogLine> {
        loop {
            let (piece, ending) = read_piece(&mut self.from).await?;
            let begins = std::mem::replace(&mut self.before, ending) != Ending::Room;
            let text = String::from_utf8_lossy(&piece);
            let text = match (begins, timed(&text)) {
                (false, _) => &text,
                (true, Some((at, text))) => {
                    self.at = at;
                    text
                }
                (true, None) => {
                    tracing::debug!(words = %text, "a kubelet's own words in a log");
                    continue;
                }
            };
            return Some(LogLine {
                at: self.at,
                channel: Channel::Stdout,
                text: text.strip_suffix('\r').unwrap_or(text).to_owned(),
            });
        }
    }

    /// Did the log end in the middle of the line that was given last?
    pub(crate) fn is_cut(&self) -> bool {
        self.before == Ending::Log
    }
}

/// A line with its time before it.
fn timed(line: &str) -> Option<(DateTime<Utc>, &str)> {
    let (at, text) = line.split_once(' ').unwrap_or((line, ""));
    let at = DateTime::parse_from_rfc3339(at).ok()?;
    Some((at.with_timezone(&Utc), text))
}

/// A line without its end, or a piece of one that is too long. Nothing at the end of all.
async fn read_piece(log: &mut (impl AsyncBufRead + Unpin)) -> Option<(Vec<u8>, Ending)> {
    let mut line = Vec::new();
    loop {
        // A connection that breaks ends the log as its end does.
        let buffer = log.fill_buf().await.unwrap_or_default();
        if buffer.is_empty() {
            return (!line.is_empty()).then_some((line, Ending::Log));
        }
        let room = MOST - line.len();
        let piece = &buffer[..buffer.len().min(room)];
        if let Some(end) = piece.iter().position(|b| *b == b'\n') {
            line.extend_from_slice(&piece[..end]);
            log.consume(end + 1);
            return Some((line, Ending::Line));
        }
        let taken = piece.len();
        line.extend_from_slice(piece);
        log.consume(taken);
        if line.len() >= MOST {
            return Some((line, Ending::Room));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_its_time() {
        let (at, text) = timed("2026-11-23T10:00:00.123456789Z hello world").unwrap();
        assert_eq!(text, "hello world");
        assert_eq!(at.timestamp_subsec_nanos(), 123_456_789);
        assert_eq!(timed("2026-11-23T10:00:00Z ").unwrap().1, "");
        assert_eq!(timed("no time here"), None);
    }
    #[tokio::test]
    async fn what_a_kubelet_says_is_not_the_containers() {
        let long = "x".repeat(MOST);
        let text = format!(
            "2026-11-23T10:00:00Z one\nrpc error: code = Unknown desc = Error: No such container: 1\n2026-11-23T10:00:01Z {long}\n2026-11-23T10:00:02Z two\nunable to retrieve container logs"
        );
        let mut log = Log::of(text.as_bytes());
        let mut lines = Vec::new();
        let mut times = Vec::new();
        while let Some(line) = log.line().await {
            lines.push(line.text);
            times.push(line.at.timestamp() % 60);
        }
        assert!(log.is_cut());
        assert_eq!(lines[0], "one");
        assert_eq!(lines[1].len() + lines[2].len(), MOST);
        assert_eq!(times, [0, 1, 1, 2], "a piece is as old as its line");
        assert_eq!(lines[3..], ["two"]);
    }
}
