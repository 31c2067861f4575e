//! Logs of pods.
//!
//! Theory of operation: the API server gives the log of one run of a container, as text with a time before each line.
//! Before the current run's comes what is kept of the run before it; following goes on with the next run, until the
//! pod is gone. Whether a run goes on is what the watch says: a log that ends or breaks meanwhile is opened again
//! (`source`). Which of the two outputs a line came from is not told, so all count as standard output (`line`).

mod line;
mod source;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_engine::EngineError;
use coracle_engine::stream::{Follow, LogLine, LogRequest, LogStream};
use coracle_model::workload::PodId;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::within;
use crate::object::CONTAINER;
use crate::phase;
use crate::state::{Core, State};

pub(crate) use line::{Ending, Line};
use source::Reading;
pub(crate) use source::{Beginning, Heard, Sink, Source, Told};

/// Lines that wait for their reader.
const LINES: usize = 256;
/// For a followed log to end once its container has.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

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
            () = reader.read(lines) => {}
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
    Number(i32, Standing),
}

/// How a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It goes on.
    Runs,
    /// It has ended, and another one may follow.
    Waits,
    /// It has ended for good.
    Ended,
}

/// Lines for whoever asked for the log.
struct Asker {
    lines: Lines,
    since: Option<DateTime<Utc>>,
}

impl Sink for Asker {
    async fn take(&mut self, line: Line) {
        if self.since.is_none_or(|since| line.at >= since) {
            // Whoever has left is noticed by the task.
            drop(self.lines.send(Ok(line.told())).await);
        }
    }
}

impl Reader {
    fn run_now(&self, state: &State) -> Run {
        let Some(record) = state.record(&self.id) else {
            return Run::Gone;
        };
        if record.live.metadata.uid != self.uid {
            return Run::Gone;
        }
        let Some(container) = phase::container(&record.live) else {
            return Run::None;
        };
        let now = container.state.as_ref();
        let begun = now.is_some_and(|now| now.running.is_some() || now.terminated.is_some());
        if !begun && container.restart_count == 0 {
            return Run::None;
        }
        let standing = if phase::has_ended(&record.live) {
            Standing::Ended
        } else if phase::runs(&record.live) {
            Standing::Runs
        } else {
            Standing::Waits
        };
        Run::Number(container.restart_count, standing)
    }

    /// Waits until it is another run, or this one stands otherwise.
    async fn after(&self, run: Run) -> Run {
        let other = |state: &State| Some(self.run_now(state)).filter(|now| *now != run);
        self.core.when(other).await
    }

    async fn read(&self, lines: Lines) {
        let mut asker = Asker {
            lines,
            since: self.request.since,
        };
        if let Err(error) = self.tell(&mut asker).await {
            drop(asker.lines.send(Err(error)).await);
        }
    }

    async fn tell(&self, asker: &mut Asker) -> Result<(), EngineError> {
        let source = Source {
            pods: &self.pods,
            pod: &self.name,
            container: CONTAINER,
            beginning: Beginning {
                tail: self.request.tail,
                since: self.request.since,
            },
            linger: LINGER,
        };
        // One for all runs: a kubelet knows of the next one before the watch does.
        let mut told = Told::default();
        let mut before = None;
        let mut run = self.core.with(|state| self.run_now(state));
        loop {
            let Run::Number(number, standing) = run else {
                if run == Run::Gone || self.request.follow == Follow::No {
                    return Ok(());
                }
                run = self.after(run).await;
                continue;
            };
            let reaches_back = before.is_some() || self.request.tail.is_none();
            if number > before.unwrap_or_default() && reaches_back {
                let kept = source.once(Reading::Previous, &mut told, asker).await;
                // It may have been cleaned away.
                readable(kept)?;
            }
            before = Some(number);
            if self.request.follow == Follow::No {
                return match source.once(Reading::Whole, &mut told, asker).await {
                    Err(EngineError::Unavailable(_)) if told.is_opened() => {
                        source.rest(&mut told, asker).await
                    }
                    other => other,
                };
            }
            let mut heard = Heard::Part;
            if standing == Standing::Runs {
                let over = std::pin::pin!(self.after(run));
                (run, heard) = source.follow(&mut told, asker, over).await?;
            }
            if !matches!(run, Run::Number(same, _) if same == number) {
                continue;
            }
            match readable(source.rest(&mut told, asker).await) {
                Err(error) if heard == Heard::Part => return Err(error),
                _ => {}
            }
            if run == Run::Number(number, Standing::Ended) {
                return Ok(());
            }
            run = self.after(run).await;
        }
    }
}

/// A container between two runs has no log, nor has a pod that goes away just now.
fn readable(read: Result<(), EngineError>) -> Result<(), EngineError> {
    match read {
        Err(EngineError::Refused(_) | EngineError::Failed { .. }) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
