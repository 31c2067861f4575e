//! What every case has: a platform, its engine, and short words for the usual.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_model::env::Secret;
use coracle_model::name::{EnvName, ImageRef, PodName, ProjectName};
use coracle_model::pod::PodPhase;
use coracle_model::quantity::Span;
use coracle_model::release::{CommandLine, Health};
use coracle_model::workload::{
    ObservedPod, Owner, PodId, PodTemplate, Resources, TaskStart, Terminal, Workload, WorkloadId,
    WorkloadKind,
};
use futures::StreamExt as _;

use super::watcher::{Seen, Watcher, until};
use super::{Factory, World};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::stream::{Channel, ExecRequest, Session, SessionInput, SessionOutput};

/// What every case has.
pub struct Bench {
    world: Box<dyn World>,
    engine: Mutex<Arc<dyn Engine>>,
}

/// A result that a case cannot go on without.
pub trait Given<T> {
    /// The value; panics with `what` otherwise.
    #[track_caller]
    fn given(self, what: &str) -> T;
}

impl<T, E: Debug> Given<T> for Result<T, E> {
    #[track_caller]
    fn given(self, what: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
}

impl<T> Given<T> for Option<T> {
    #[track_caller]
    fn given(self, what: &str) -> T {
        match self {
            Some(value) => value,
            None => panic!("{what}: there is none"),
        }
    }
}

impl Bench {
    /// A fresh platform with its first engine.
    pub async fn open(factory: &dyn Factory) -> Self {
        Self::on(factory.world().await).await
    }

    /// On this platform, with its first engine.
    pub async fn on(world: Box<dyn World>) -> Self {
        let engine = Mutex::new(world.engine().await);
        Self { world, engine }
    }

    /// Ends a case that passed.
    pub async fn close(self) {
        self.world.close().await;
    }

    /// The platform.
    #[must_use]
    pub fn world(&self) -> &dyn World {
        &*self.world
    }

    /// The engine that lives now.
    #[must_use]
    pub fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The control plane dies and begins anew, without wishes.
    pub async fn begin_anew(&self) {
        let engine = self.world.engine().await;
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = engine;
    }

    /// A watch that remembers.
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        Watcher::on(&*self.engine(), self.world.patience())
    }

    /// Waits until `find` finds something.
    pub async fn until<T>(&self, what: &str, find: impl FnMut(&Seen) -> Option<T>) -> T {
        until(&*self.engine(), what, self.world.patience(), find).await
    }

    /// Wishes a workload.
    pub async fn apply(&self, workload: &Workload) {
        let applied = self.engine().apply(workload.clone()).await;
        applied.given("apply");
    }

    /// Wishes a workload and waits until it has its pods and all are ready.
    pub async fn running(&self, workload: &Workload) -> Vec<ObservedPod> {
        self.apply(workload).await;
        self.ready(workload).await
    }

    /// Waits until a workload has its pods, all of its generation, and all are ready.
    pub async fn ready(&self, workload: &Workload) -> Vec<ObservedPod> {
        let count = match workload.kind {
            WorkloadKind::Replicated { replicas } => usize::try_from(replicas).unwrap_or(0),
            WorkloadKind::Single | WorkloadKind::Task { .. } => 1,
        };
        let what = format!("{} has {count} ready pods", workload.id);
        self.until(&what, |seen| {
            let pods = seen.all_in(&workload.id, count, PodPhase::Ready)?;
            let current = pods.iter().all(|pod| pod.generation == workload.generation);
            current.then_some(pods)
        })
        .await
    }

    /// Waits until the only pod of a workload is in this phase.
    pub async fn phase(&self, workload: &Workload, phase: PodPhase) -> ObservedPod {
        let what = format!("the pod of {} is {phase:?}", workload.id);
        self.until(&what, |seen| seen.all_in(&workload.id, 1, phase)?.pop())
            .await
    }

    /// Waits until a workload has no pods.
    pub async fn gone(&self, workload: &WorkloadId) {
        let what = format!("{workload} has no pods");
        self.until(&what, |seen| seen.of(workload).is_empty().then_some(()))
            .await;
    }

    /// Workload `name` of project `default`: serves on 8080, ends at once on SIGTERM, needs no draining.
    #[must_use]
    pub fn serving(&self, name: &str, replicas: u32) -> Workload {
        let interval = Span(self.world.probe_interval());
        Workload {
            id: WorkloadId {
                project: ProjectName::default_project(),
                name: PodName::new(name).given("a pod name"),
            },
            generation: 1,
            kind: WorkloadKind::Replicated { replicas },
            owner: Owner::default(),
            template: PodTemplate {
                image: self.world.image(),
                command: None,
                env: vec![(
                    EnvName::new("PORT").given("a variable's name"),
                    Secret::new("8080"),
                )],
                port: Some(8080),
                names: vec![name.to_owned(), format!("{name}.default.internal")],
                resources: Resources::default(),
                health: Some(Health {
                    interval,
                    failures: 2,
                    ..Health::default()
                }),
                volumes: Vec::new(),
                stop_grace: Duration::from_secs(5),
                drain: Duration::ZERO,
            },
        }
    }

    /// As [`Bench::serving`], one pod under the workload's own name.
    #[must_use]
    pub fn single(&self, name: &str) -> Workload {
        Workload {
            kind: WorkloadKind::Single,
            ..self.serving(name, 1)
        }
    }

    /// One pod that runs this line of shell for ever, without a port.
    #[must_use]
    pub fn shell(&self, name: &str, line: &str) -> Workload {
        let mut workload = self.serving(name, 1);
        workload.template.command = Some(words(line));
        workload.template.port = None;
        workload.template.health = None;
        workload.template.stop_grace = Duration::from_secs(1);
        workload
    }

    /// A task that runs this line of shell at once.
    #[must_use]
    pub fn task(&self, name: &str, line: &str) -> Workload {
        Workload {
            kind: WorkloadKind::Task {
                start: TaskStart::AtOnce,
            },
            ..self.shell(name, line)
        }
    }

    /// A task that runs this line of shell when somebody attaches.
    #[must_use]
    pub fn attached(&self, name: &str, line: &str, terminal: Terminal) -> Workload {
        Workload {
            kind: WorkloadKind::Task {
                start: TaskStart::OnAttach { terminal },
            },
            ..self.shell(name, line)
        }
    }

    /// An image that nobody has.
    #[must_use]
    pub fn no_image(&self) -> ImageRef {
        ImageRef::new("127.0.0.1:1/nobody/has-this:1").given("an image")
    }

    /// A pod that nobody made.
    #[must_use]
    pub fn no_pod(&self) -> PodId {
        PodId {
            project: ProjectName::default_project(),
            name: PodName::new("nobody-made-this").given("a pod name"),
        }
    }

    /// Runs a line of shell in a pod and waits for its end: status and standard output. What it writes to standard error
    /// stands in the message of a case that fails.
    pub async fn exec(&self, pod: &PodId, line: &str) -> (i64, String) {
        let request = ExecRequest {
            command: shell_words(line),
            terminal: Terminal::Streams,
        };
        let within = self.world.patience();
        run_command(&*self.engine(), pod, request, &[], within)
            .await
            .given(line)
    }
}

fn shell_words(line: &str) -> Vec<String> {
    vec!["sh".into(), "-c".into(), line.into()]
}

fn words(line: &str) -> CommandLine {
    CommandLine::Exec(shell_words(line))
}

/// Runs a command in a pod with this input: its status and standard output.
///
/// # Errors
/// Those of [`Engine::exec`].
pub async fn run_command(
    engine: &dyn Engine,
    pod: &PodId,
    request: ExecRequest,
    input: &[u8],
    within: Duration,
) -> Result<(i64, String), EngineError> {
    let session = engine.exec(pod, request).await?;
    let (status, output, _errors) = converse(session, input, within).await?;
    Ok((status, output))
}

/// Gives a session its input and reads it to its end: status, standard output, standard error.
pub(super) async fn converse(
    mut session: Session,
    input: &[u8],
    within: Duration,
) -> Result<(i64, String, String), EngineError> {
    const PIECE: usize = 4096;
    let sender = session.input.clone();
    let feed = async {
        for piece in input.chunks(PIECE) {
            let piece = SessionInput::Stdin(bytes::Bytes::copy_from_slice(piece));
            // A command that ended takes no more, and that is its right.
            if sender.send(piece).await.is_err() {
                return;
            }
        }
        drop(sender.send(SessionInput::End).await);
    };
    let read = async {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        while let Some(next) = session.output.next().await {
            match next? {
                SessionOutput::Data(Channel::Stdout, bytes) => output.extend_from_slice(&bytes),
                SessionOutput::Data(Channel::Stderr, bytes) => errors.extend_from_slice(&bytes),
                SessionOutput::Exit(status) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    return Ok((status, text(&output), text(&errors)));
                }
            }
        }
        panic!("a session ended without a status");
    };
    let both = async { tokio::join!(feed, read).1 };
    match tokio::time::timeout(within, both).await {
        Ok(result) => result,
        Err(_elapsed) => panic!("a session did not end within {within:?}"),
    }
}
