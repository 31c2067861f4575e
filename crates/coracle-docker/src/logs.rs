//! Logs of pods.
//!
//! Theory of operation: Docker ends a followed log when the container ends, even if it starts it again at once.
//! So a follower asks again from the last line on whenever the pod's next run begins, and leaves out what it has
//! told already: lines have moments in nanoseconds, and lines of the same moment are counted.

use std::sync::Arc;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use coracle_engine::stream::{Channel, Follow, LogLine, LogRequest, LogStream};
use coracle_engine::{EngineError, EngineEvent};
use coracle_model::workload::PodId;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{engine_error, is_missing};
use crate::container::ContainerState;
use crate::state::Core;

/// Lines that wait for a reader; more wait in Docker.
const LINES: usize = 64;

type Sender = mpsc::Sender<Result<LogLine, EngineError>>;

pub(crate) async fn logs(
    core: &Arc<Core>,
    pod: &PodId,
    request: LogRequest,
) -> Result<LogStream, EngineError> {
    if !core.with(|state| state.pods.contains_key(pod)) {
        return Err(EngineError::NoSuchPod(pod.clone()));
    }
    let docker = core.client.docker().await?;
    let (sender, receiver) = mpsc::channel(LINES);
    let (owner, core, pod) = (
        core.config.supervisor.clone(),
        Arc::clone(core),
        pod.clone(),
    );
    owner.spawn("docker-logs", async move {
        let closed = sender.clone();
        tokio::select! {
            () = closed.closed() => {}
            () = tell(&core, &docker, &pod, request, &sender) => {}
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// Where a follower is: the newest second that it told lines of, and how many.
///
/// The two channels are stamped apart, so a line may carry an earlier moment than the one before it. The
/// order of the log itself never changes, though, and Docker answers from a whole second on: what was told
/// of that second is what comes first when it is asked again.
#[derive(Debug, Default)]
struct Position {
    second: Option<i64>,
    /// Lines told of that second.
    told: u32,
    /// Lines of that second that an answer begins with and that were told.
    skip: u32,
}

impl Position {
    /// A new answer begins, from [`Position::second`] on.
    const fn rewind(&mut self) {
        self.skip = self.told;
    }

    /// Is this line new?
    fn pass(&mut self, at: DateTime<Utc>) -> bool {
        let second = at.timestamp();
        if self.second.is_none_or(|newest| second > newest) {
            *self = Self {
                second: Some(second),
                told: 1,
                skip: 0,
            };
        } else if self.second == Some(second) {
            if self.skip > 0 {
                self.skip -= 1;
                return false;
            }
            self.told += 1;
        }
        true
    }
}

async fn tell(
    core: &Arc<Core>,
    docker: &Docker,
    pod: &PodId,
    request: LogRequest,
    sender: &Sender,
) {
    let mut changes = core.watch();
    let mut position = Position::default();
    let mut tail = request.tail;
    loop {
        let run = current(core, pod);
        if let Some((id, started)) = &run {
            position.rewind();
            let since = position
                .second
                .max(request.since.map(|since| since.timestamp()));
            match answer(docker, id, since, tail, &request, &mut position, sender).await {
                Ok(()) => {}
                Err(error) => {
                    // The reader may have gone: nobody is left to tell.
                    drop(sender.send(Err(error)).await);
                    return;
                }
            }
            // Later answers begin where this one ended.
            tail = None;
            if request.follow == Follow::No || is_over(core, pod, id, *started) {
                return;
            }
        } else if request.follow == Follow::No {
            return;
        }
        // Wait until the pod runs again or is gone.
        loop {
            let now = current(core, pod);
            match &now {
                None if !core.with(|state| state.pods.contains_key(pod)) => return,
                Some((id, started)) if is_over(core, pod, id, *started) && now == run => return,
                _ if now != run && now.is_some() => break,
                _ => {}
            }
            match changes.next().await {
                Some(EngineEvent::PodGone(gone)) if gone == *pod => return,
                Some(_) => {}
                None => return,
            }
        }
    }
}

type Run = (String, Option<DateTime<Utc>>);

/// The pod's container and its last start.
fn current(core: &Core, pod: &PodId) -> Option<Run> {
    core.with(|state| {
        let container = state.pods.get(pod)?.container.as_ref()?;
        Some((container.id.clone(), container.started))
    })
}

/// Will there be no more lines? So for a task that ended, and a pod that is gone.
fn is_over(core: &Core, pod: &PodId, id: &str, started: Option<DateTime<Utc>>) -> bool {
    core.with(|state| {
        let Some(pod) = state.pods.get(pod) else {
            return true;
        };
        let Some(container) = &pod.container else {
            return pod.lost || pod.leaving.is_some();
        };
        container.id == id
            && container.started == started
            && container.state == ContainerState::Ended
            && (pod.facts.kind.is_task() || pod.leaving.is_some())
    })
}

async fn answer(
    docker: &Docker,
    id: &str,
    since: Option<i64>,
    tail: Option<u32>,
    request: &LogRequest,
    position: &mut Position,
    sender: &Sender,
) -> Result<(), EngineError> {
    let options = LogsOptions {
        follow: request.follow == Follow::Yes,
        stdout: true,
        stderr: true,
        // Whole seconds: earlier lines are left out here.
        since: since.and_then(|s| i32::try_from(s).ok()).unwrap_or(0),
        timestamps: true,
        tail: tail.map_or_else(|| "all".to_owned(), |n| n.to_string()),
        ..LogsOptions::default()
    };
    let mut lines = Box::pin(docker.logs(id, Some(options)));
    while let Some(line) = lines.next().await {
        let output = match line {
            Ok(output) => output,
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(engine_error(error)),
        };
        for line in read(output) {
            let wanted = request.since.is_none_or(|since| line.at >= since);
            if wanted && position.pass(line.at) && sender.send(Ok(line)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The line of one message, cut to size.
fn read(output: LogOutput) -> Vec<LogLine> {
    let (channel, message): (Channel, Bytes) = match output {
        LogOutput::StdErr { message } => (Channel::Stderr, message),
        LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message } => (Channel::Stdout, message),
    };
    let Some(space) = message.iter().position(|b| *b == b' ') else {
        return Vec::new();
    };
    let at = std::str::from_utf8(&message[..space])
        .ok()
        .and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    let Some(at) = at else { return Vec::new() };
    let at = at.with_timezone(&Utc);
    let text = &message[space + 1..];
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        return vec![LogLine {
            at,
            channel,
            text: String::new(),
        }];
    }
    text.chunks(LogLine::MOST_BYTES)
        .map(|part| LogLine {
            at,
            channel,
            text: String::from_utf8_lossy(part).into_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<LogLine> {
        read(LogOutput::StdErr {
            message: Bytes::copy_from_slice(text.as_bytes()),
        })
    }

    #[test]
    fn a_line_has_its_moment_and_no_end() {
        let lines = line("2024-05-01T10:00:00.000000001Z hello world\n");
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].text, "hello world");
        assert_eq!(lines[0].channel, Channel::Stderr);
        assert_eq!(lines[0].at.timestamp_subsec_nanos(), 1);
        assert_eq!(line("2024-05-01T10:00:00Z \n")[0].text, "");
        assert!(line("nonsense\n").is_empty());
    }

    #[test]
    fn a_long_line_is_cut_into_several() {
        let long = "x".repeat(LogLine::MOST_BYTES + 1);
        let lines = line(&format!("2024-05-01T10:00:00Z {long}\n"));
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].text, "x");
    }

    #[test]
    fn nothing_is_told_twice_and_nothing_is_left_out() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        let mut position = Position::default();
        // The channels' stamps are out of order, within a second and over its end.
        let told = [900, 1200, 1100, 950].map(|millis| position.pass(at(millis)));
        assert_eq!(told, [true; 4]);
        position.rewind();
        // From second 1 on: what was told of it, then what is new.
        let again = [1200, 1100, 1150, 2000, 1990].map(|millis| position.pass(at(millis)));
        assert_eq!(again, [false, false, true, true, true]);
    }
}
