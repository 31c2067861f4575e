//! One-off commands: Jobs that have no pod until somebody attaches.
//!
//! Theory of operation: plain output is read from the log, from its beginning, so that nothing is lost; a log that breaks is
//! opened again for as long as the command runs ([`crate::logs`]). Input goes over an attached stream whose end is the
//! input's end (`stdinOnce`). A terminal's output comes over the attached stream, and what it showed before from the log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use coracle_engine::EngineError;
use coracle_engine::stream::{Channel, Session, SessionOutput};
use coracle_model::pod::PodPhase;
use coracle_model::workload::{PodId, Terminal, WorkloadId};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::core::Request;
use kube::{Api, Resource as _};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::wire::{self, give_input};
use super::{Input, Output, PIECES, Wanted, channels, streams};
use crate::client::{engine_error, is_conflict, is_missing, merge, within};
use crate::facts::{ATTACHED, PodKind};
use crate::group::{Held, attached};
use crate::intake::From;
use crate::logs::{Beginning, Ending, Heard, LINGER, Line, Sink, Source, Told};
use crate::object::CONTAINER;
use crate::phase;
use crate::state::Core;

/// For the pod of a one-off command to run: its image may have to be pulled.
const START: Duration = Duration::from_mins(10);
/// For the cluster to tell how a command ended whose output has ended.
const EXIT: Duration = Duration::from_secs(30);

/// Does a Job wait for somebody to attach?
pub(crate) fn waits(job: &Held<Job>) -> bool {
    job.facts.kind.terminal().is_some() && !attached(&job.live) && !job.deleting
}

/// Connects to a one-off command, and lets it begin.
pub(crate) async fn attach(core: &Arc<Core>, id: &PodId) -> Result<Session, EngineError> {
    let namespace = core.namespace(&id.project)?;
    let refused = |phase: PodPhase, reason: &'static str| EngineError::WrongPhase {
        pod: id.clone(),
        phase: phase.word(),
        reason,
    };
    let found = core.with(|state| {
        let (workload, group) = state.group_of(id)?;
        let phase = state
            .told(id)
            .map_or(PodPhase::Pending, |pod| pod.status.phase);
        let job = group.jobs.values().find(|job| waits(job));
        let job = job.map(|job| (Arc::clone(&job.live), job.facts.kind));
        Some((workload.clone(), phase, job))
    });
    let Some((workload, phase, job)) = found else {
        return Err(EngineError::NoSuchPod(id.clone()));
    };
    let Some((job, kind)) = job else {
        return Err(refused(
            phase,
            "it must be a task that waits for somebody to attach",
        ));
    };
    let name = job.metadata.name.clone().unwrap_or_default();
    let change = json!({
        "metadata": {
            // Whoever comes second finds another version.
            "resourceVersion": job.metadata.resource_version,
            "annotations": { ATTACHED: Utc::now().to_rfc3339() },
        },
        "spec": { "parallelism": 1 },
    });
    let jobs: Api<Job> = within(&core.client, &namespace);
    match merge(&jobs, &name, &change).await {
        Ok(job) => core.take(job, From::Answer),
        Err(error) if is_missing(&error) => return Err(EngineError::NoSuchPod(id.clone())),
        Err(error) if is_conflict(&error) => {
            return Err(refused(
                phase,
                "somebody else attached, or it changed just now",
            ));
        }
        Err(error) => return Err(engine_error(error)),
    }
    let (session, input, output) = channels();
    let attachment = Attachment {
        core: Arc::clone(core),
        id: id.clone(),
        workload,
        namespace,
        kind,
    };
    core.config
        .supervisor
        .spawn("kubernetes-attach", async move {
            let closed = output.clone();
            tokio::select! {
                () = attachment.run(input, output) => {}
                () = closed.closed() => {}
            }
        });
    Ok(session)
}

/// Whether the log of a run that is over can still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Kept,
    Gone,
}

/// Output for whoever attached, byte for byte.
struct Shown<'a>(&'a Output);

impl Sink for Shown<'_> {
    async fn take(&mut self, line: Line) {
        let mut bytes = line.bytes;
        if line.ending == Ending::Line {
            bytes.push(b'\n');
        }
        let said = SessionOutput::Data(Channel::Stdout, Bytes::from(bytes));
        // Whoever has left is noticed by the task.
        drop(self.0.send(Ok(said)).await);
    }
}

/// Somebody attached to a one-off command.
struct Attachment {
    core: Arc<Core>,
    id: PodId,
    workload: WorkloadId,
    namespace: String,
    kind: PodKind,
}

impl Attachment {
    async fn run(self, input: Input, output: Output) {
        match self.begun().await {
            Ok(name) => {
                let terminal = self.kind.terminal().unwrap_or(Terminal::Streams);
                let carried = match terminal {
                    Terminal::Streams => self.plain(&name, input, &output).await,
                    Terminal::Tty { .. } => self.terminal(&name, terminal, input, &output).await,
                };
                let last = match carried {
                    Ok(()) => self.exit().await,
                    Err(error) => Err(error),
                };
                drop(output.send(last).await);
            }
            Err(error) => drop(output.send(Err(error)).await),
        }
    }

    /// Waits until the pod runs or has run, and says its name in the cluster.
    async fn begun(&self) -> Result<String, EngineError> {
        let begun = self.core.when(|state| {
            let Some(group) = state.groups.get(&self.workload) else {
                return Some(Err(EngineError::NoSuchPod(self.id.clone())));
            };
            if group.jobs.is_empty() && group.pods.is_empty() {
                return Some(Err(EngineError::NoSuchPod(self.id.clone())));
            }
            let pod = &group.find(&self.id)?.live;
            let begun = phase::runs(pod) || phase::has_ended(pod) || phase::exit(pod).is_some();
            begun.then(|| Ok(pod.metadata.name.clone().unwrap_or_default()))
        });
        match tokio::time::timeout(START, begun).await {
            Ok(begun) => begun,
            Err(_elapsed) => {
                let reason = self
                    .core
                    .with(|state| state.told(&self.id)?.status.reason.clone());
                let reason = reason.unwrap_or_else(|| "the cluster does not say why".to_owned());
                Err(EngineError::Failed {
                    message: format!("the command did not begin within {START:?}: {reason}"),
                    source: None,
                })
            }
        }
    }

    /// How the command ended, once the cluster tells.
    async fn exit(&self) -> Result<SessionOutput, EngineError> {
        let ended = self.core.when(|state| {
            let Some(record) = state.record(&self.id) else {
                return Some(None);
            };
            let exit = phase::exit(&record.live)?;
            Some(Some(exit.code))
        });
        match tokio::time::timeout(EXIT, ended).await {
            Ok(Some(code)) => Ok(SessionOutput::Exit(code)),
            Ok(None) => Err(EngineError::NoSuchPod(self.id.clone())),
            Err(_elapsed) => Err(EngineError::Failed {
                message: "the command's output ended, but the cluster does not say how it ended"
                    .to_owned(),
                source: None,
            }),
        }
    }

    fn pods(&self) -> Api<Pod> {
        within(&self.core.client, &self.namespace)
    }

    fn attach_request(
        &self,
        name: &str,
        terminal: Terminal,
        wanted: Wanted,
    ) -> Result<http::Request<Vec<u8>>, EngineError> {
        Request::new(Pod::url_path(&(), Some(&self.namespace)))
            .attach(name, &streams(terminal, wanted))
            .map_err(|error| EngineError::Refused(error.to_string()))
    }

    /// Waits until the pod's run is over, and says whether its log is still there.
    async fn over(&self, name: &str) -> Rest {
        let over = self.core.when(|state| {
            let record = state.record(&self.id);
            let Some(record) = record.filter(|r| r.live.metadata.name.as_deref() == Some(name))
            else {
                return Some(Rest::Gone);
            };
            let pod = &record.live;
            (phase::has_ended(pod) || phase::exit(pod).is_some()).then_some(Rest::Kept)
        });
        over.await
    }

    /// Output from the log, from its beginning to its end; input over an attached stream.
    async fn plain(&self, name: &str, input: Input, output: &Output) -> Result<(), EngineError> {
        let request = self.attach_request(name, Terminal::Streams, Wanted::Input)?;
        let core = Arc::clone(&self.core);
        let give = async {
            match wire::open(&core, request).await {
                Ok(wire) => give_input(wire, input).await,
                Err(error) => match self.exit().await {
                    // What has ended needs no input.
                    Ok(_) => Ok(()),
                    Err(_) => Err(error),
                },
            }
        };
        let pods = self.pods();
        let source = Source {
            pods: &pods,
            pod: name,
            container: CONTAINER,
            beginning: Beginning::default(),
            linger: LINGER,
        };
        let take = async {
            let (mut told, mut shown) = (Told::default(), Shown(output));
            let over = std::pin::pin!(self.over(name));
            let (rest, heard) = source.follow(&mut told, &mut shown, over).await?;
            if rest == Rest::Gone {
                return Ok(());
            }
            match source.rest(&mut told, &mut shown).await {
                // An end that nobody saw is no whole output.
                Err(error) if heard == Heard::Part => Err(error),
                _ => Ok(()),
            }
        };
        tokio::pin!(take);
        tokio::select! {
            taken = &mut take => taken,
            given = give => match given {
                Ok(()) => take.await,
                lost => lost,
            },
        }
    }

    /// What a terminal showed before we were there is read from the log; the rest comes as it is shown.
    async fn terminal(
        &self,
        name: &str,
        terminal: Terminal,
        input: Input,
        output: &Output,
    ) -> Result<(), EngineError> {
        let request = self.attach_request(name, terminal, Wanted::All)?;
        let wire = wire::open(&self.core, request).await;
        let before = self.log_so_far(name).await;
        let Ok(wire) = wire else {
            // It has ended already.
            if !before.is_empty() {
                let said = SessionOutput::Data(Channel::Stdout, before);
                drop(output.send(Ok(said)).await);
            }
            return Ok(());
        };
        let (told, mut shown) = mpsc::channel(PIECES);
        let talk = wire.talk(input, told, terminal);
        let forward = async {
            let mut before = Some(before);
            while let Some(piece) = shown.recv().await {
                let (piece, last) = match piece {
                    Ok(SessionOutput::Data(channel, bytes)) => (Some((channel, bytes)), false),
                    // How it ended is told by the pod.
                    Ok(SessionOutput::Exit(_)) | Err(_) => (None, true),
                };
                if let Some(before) = before.take() {
                    let first = piece
                        .as_ref()
                        .map(|(_, bytes)| bytes.clone())
                        .unwrap_or_default();
                    let head = unseen(&before, &first);
                    if !head.is_empty() {
                        let said = SessionOutput::Data(Channel::Stdout, head);
                        drop(output.send(Ok(said)).await);
                    }
                }
                if let Some((channel, bytes)) = piece {
                    let said = SessionOutput::Data(channel, bytes);
                    if output.send(Ok(said)).await.is_err() {
                        return;
                    }
                }
                if last {
                    return;
                }
            }
            if let Some(before) = before.take().filter(|b| !b.is_empty()) {
                let said = SessionOutput::Data(Channel::Stdout, before);
                drop(output.send(Ok(said)).await);
            }
        };
        let ((), ()) = tokio::join!(talk, forward);
        Ok(())
    }

    async fn log_so_far(&self, name: &str) -> Bytes {
        const MOST: u64 = 1 << 20;
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            ..LogParams::default()
        };
        let Ok(log) = self.pods().log_stream(name, &parameters).await else {
            return Bytes::new();
        };
        let mut text = Vec::new();
        if let Err(error) = log.compat().take(MOST).read_to_end(&mut text).await {
            tracing::debug!(%error, "the beginning of a terminal's output cannot be read");
        }
        Bytes::from(text)
    }
}

/// What of the log the terminal's first piece does not show again.
fn unseen(log: &Bytes, first: &Bytes) -> Bytes {
    let most = log.len().min(first.len());
    let overlap = (0..=most)
        .rev()
        .find(|n| log[log.len() - n..] == first[..*n]);
    log.slice(..log.len() - overlap.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_before_is_told_once() {
        let head = |log: &'static str, first: &'static str| {
            let bytes = unseen(
                &Bytes::from_static(log.as_bytes()),
                &Bytes::from_static(first.as_bytes()),
            );
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert_eq!(head("one\ntwo\n", "two\nthree\n"), "one\n");
        assert_eq!(head("one\n", "two\n"), "one\n");
        assert_eq!(head("one\n", "one\n"), "");
        assert_eq!(head("", "one\n"), "");
    }
}
