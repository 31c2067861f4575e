//! Readiness and liveness, asked from the host over the bridge, never with tools inside the image.
//!
//! Theory of operation: one task follows one run of a container. Until the first answer it asks often (an
//! answer must be noticed within some 50 ms of the moment when it became possible, because a deploy waits for
//! it), more seldom the longer it takes. A pod without a health check is not asked again after that: Docker
//! tells of its end. With one it is asked at its interval, for as long as it runs.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use coracle_model::release::Health;
use coracle_model::workload::PodId;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::pod::{OpKind, Pod, Readiness, RunKey};
use crate::restart::{self, Why};
use crate::state::Core;

/// The pause between two questions at first.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause before a pod without a health check has answered.
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// The pause grows to this part of the time since the start.
const PAUSE_PART: u32 = 20;
/// For one answer, without a health check.
const TIMEOUT: Duration = Duration::from_secs(2);
/// So many times the failures that make a pod unready make it restart.
const RESTART_FACTOR: u32 = 3;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pod: PodId,
    key: RunKey,
    question: Question,
    health: Option<Health>,
    answered: bool,
}

/// A question to a pod.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    address: SocketAddrV4,
    /// HTTP path; absent: a connection is answer enough.
    path: Option<String>,
    timeout: Duration,
}

impl Question {
    pub(crate) fn new(address: Ipv4Addr, port: u16, health: Option<&Health>) -> Self {
        Self {
            address: SocketAddrV4::new(address, port),
            path: health.and_then(|h| h.path.clone()),
            timeout: health.map_or(TIMEOUT, |h| h.timeout.0),
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// Why the answer is no.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        match tokio::time::timeout(self.timeout, self.ask_patiently()).await {
            Ok(answer) => answer,
            Err(_) => Err(match &self.path {
                Some(path) => format!("GET {path} was not answered in {:?}", self.timeout),
                None => format!(
                    "port {} was not answered in {:?}",
                    self.address.port(),
                    self.timeout
                ),
            }),
        }
    }

    async fn ask_patiently(&self) -> Result<(), String> {
        let stream =
            TcpStream::connect(self.address)
                .await
                .map_err(|error| match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => {
                        format!("it does not listen on port {}", self.address.port())
                    }
                    _ => format!("port {} cannot be reached: {error}", self.address.port()),
                })?;
        match &self.path {
            None => Ok(()),
            Some(path) => self.get(stream, path).await,
        }
    }

    async fn get(&self, stream: TcpStream, path: &str) -> Result<(), String> {
        let broken = |error: hyper::Error| format!("GET {path} was not answered: {error}");
        let request = Request::get(path)
            .header(hyper::header::HOST, self.address.to_string())
            .header(hyper::header::USER_AGENT, "coracle-probe")
            .header(hyper::header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("the health path {path:?} cannot be asked for: {error}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // The body is not read, so its size is of no concern.
        let answer = tokio::select! {
            answer = sender.send_request(request) => answer.map_err(broken)?,
            Err(error) = connection => return Err(broken(error)),
        };
        let status = answer.status();
        if (200..400).contains(&status.as_u16()) {
            Ok(())
        } else {
            Err(format!("GET {path} answered {}", status.as_u16()))
        }
    }
}

impl Target {
    /// What is to be followed of a pod whose run has just begun; nothing when there is nothing to ask any more.
    pub(crate) fn of(pod: &Pod, key: RunKey, readiness: &Readiness) -> Option<Self> {
        let answered = *readiness == Readiness::Ready;
        if answered && pod.facts.health.is_none() {
            return None;
        }
        let question = Question::new(pod.address?, pod.facts.port?, pod.facts.health.as_ref());
        Some(Self {
            pod: pod.facts.pod.clone(),
            key,
            question,
            health: pod.facts.health.clone(),
            answered,
        })
    }
}

/// Follows a run to its end, or to the first answer when there is no health check.
pub(crate) async fn follow(core: Arc<Core>, target: Target) {
    if !target.answered {
        until_ready(&core, &target).await;
    }
    if let Some(health) = &target.health {
        while_running(&core, &target, health).await;
    }
}

async fn until_ready(core: &Arc<Core>, target: &Target) {
    let began = Instant::now();
    let last_pause = target
        .health
        .as_ref()
        .map_or(LAST_PAUSE, |h| h.interval.0)
        .max(FIRST_PAUSE);
    loop {
        match target.question.ask().await {
            Ok(()) => {
                set(core, target, Readiness::Ready);
                return;
            }
            Err(reason) => set(core, target, Readiness::NotYet(Some(reason))),
        }
        let pause = (began.elapsed() / PAUSE_PART).clamp(FIRST_PAUSE, last_pause);
        tokio::time::sleep(pause).await;
    }
}

async fn while_running(core: &Arc<Core>, target: &Target, health: &Health) {
    let tolerated = health.failures.max(1);
    let mut failures = 0;
    loop {
        tokio::time::sleep(health.interval.0.max(FIRST_PAUSE)).await;
        match target.question.ask().await {
            Ok(()) => {
                failures = 0;
                set(core, target, Readiness::Ready);
            }
            Err(reason) => {
                failures += 1;
                if failures >= tolerated {
                    set(core, target, Readiness::Unready(reason));
                }
                if failures >= tolerated.saturating_mul(RESTART_FACTOR) && restart(core, target) {
                    return;
                }
            }
        }
    }
}

/// Notes an answer, if the run is still the one that was asked.
fn set(core: &Arc<Core>, target: &Target, readiness: Readiness) {
    let changed = core.with(|state| {
        let pod = state.pods.get_mut(&target.pod)?;
        let run = pod.run.as_mut().filter(|run| run.key == target.key)?;
        if run.readiness == readiness {
            return None;
        }
        let turned = (run.readiness == Readiness::Ready) != (readiness == Readiness::Ready);
        run.was_ready |= readiness == Readiness::Ready;
        run.readiness = readiness;
        let workload = pod.facts.workload.clone();
        state.publish(&target.pod);
        turned.then_some(workload)
    });
    if let Some(workload) = changed {
        core.reconcile(&workload);
    }
}

/// Restarts a pod that does not answer, in a task of its own: this one ends with the run. False when it cannot be
/// done now.
fn restart(core: &Arc<Core>, target: &Target) -> bool {
    let wished = core.with(|state| {
        let pod = state.pods.get(&target.pod);
        pod.is_some_and(|pod| !pod.facts.kind.is_task() && state.is_wished(&pod.facts.workload))
    });
    if !wished {
        return false;
    }
    let Some(guard) = core.begin(&target.pod, OpKind::Restart { draining: false }) else {
        return false;
    };
    tracing::warn!(pod = %target.pod, "a pod does not answer any more and is restarted");
    let (owner, core) = (core.config.supervisor.clone(), Arc::clone(core));
    let pod = target.pod.clone();
    owner.spawn("docker-restart", async move {
        if let Err(error) = restart::restart(&core, &pod, Why::NotAnswering, &guard).await {
            tracing::warn!(%pod, %error, "a pod cannot be restarted");
        }
    });
    true
}
