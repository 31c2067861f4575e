//! One connection: to a pod and back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use coracle_client::connect::{Connection, ConnectionInput, ConnectionOutput, Ports};
use coracle_client::{Client, ClientError};
use coracle_model::name::{PodName, ProcessName, ProjectName};
use coracle_model::pod::{Pod, PodPhase};
use coracle_model::problem::Code;
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::{CliError, Result};

use super::choice::{NoPod, Wanted, choose};
use super::listen::PortPair;
use super::target::Target;

/// Bytes that are read from a connection of this machine at once.
const PIECE: usize = 32 * 1024;
/// How long a connection waits for a pod, while one is being replaced.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks for a pod.
const PAUSE: Duration = Duration::from_millis(250);

/// A connection that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: CliError,
    /// Will all others fail too?
    pub(super) ends_all: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error.message)?;
        match &self.error.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        let ends_all = matches!(error.code, Some(Code::Unauthenticated | Code::Forbidden));
        Self { error, ends_all }
    }
}

/// Why a connection ended before its time.
enum Broken {
    /// Whoever connected left.
    Local,
    /// The other side did.
    Remote(ClientError),
}

impl From<io::Error> for Broken {
    fn from(_left: io::Error) -> Self {
        Self::Local
    }
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        Self::Remote(error)
    }
}

/// Forwards connections.
pub(super) struct Forwarder {
    client: Client,
    project: ProjectName,
    target: Target,
    process: Option<ProcessName>,
    ports: Ports,
    failures: mpsc::Sender<Failure>,
    /// The pod that was chosen last, for each port.
    last: Mutex<BTreeMap<u16, PodName>>,
}

impl Forwarder {
    pub(super) fn new(
        client: Client,
        project: ProjectName,
        target: Target,
        process: Option<ProcessName>,
        ports: Ports,
        failures: mpsc::Sender<Failure>,
    ) -> Self {
        Self {
            client,
            project,
            target,
            process,
            ports,
            failures,
            last: Mutex::default(),
        }
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// The pods that are meant.
    async fn pods(&self) -> Result<Vec<Pod>> {
        match &self.target {
            Target::Pod(pod) => Ok(vec![self.client.pod(&self.project, pod).await?]),
            Target::App(app) => {
                let mut pods = self.client.pods(&self.project).await?;
                pods.retain(|pod| pod.spec.app.as_ref() == Some(app));
                Ok(pods)
            }
        }
    }

    /// The ports that are declared, each led to from the same port of this machine.
    pub(super) async fn declared(&self) -> Result<Vec<PortPair>> {
        let mut pods = self.pods().await?;
        if let Some(process) = &self.process {
            pods.retain(|pod| pod.spec.process.as_ref() == Some(process));
        }
        let ports: BTreeSet<u16> = pods.iter().filter_map(|pod| pod.spec.port).collect();
        if ports.is_empty() {
            return Err(
                CliError::usage(format!("no pod of {} declares a port", self.target))
                    .hint("name one, and add --any-port"),
            );
        }
        let same = |port| PortPair {
            local: port,
            remote: port,
        };
        Ok(ports.into_iter().map(same).collect())
    }

    /// Can the port be forwarded to, now or when a pod runs?
    pub(super) async fn check(&self, port: u16) -> Result {
        let pods = self.pods().await?;
        match choose(&pods, &self.wanted(port, None)) {
            Ok(_) | Err(NoPod::NotRunning) => Ok(()),
            Err(reason) => Err(self.explain(port, reason)),
        }
    }

    fn wanted<'a>(&'a self, port: u16, last: Option<&'a str>) -> Wanted<'a> {
        Wanted {
            process: self.process.as_ref(),
            port,
            ports: self.ports,
            last,
        }
    }

    fn explain(&self, port: u16, reason: NoPod) -> CliError {
        let target = &self.target;
        match reason {
            NoPod::NotRunning => {
                CliError::new(format!("no pod of {target} runs")).hint("`coracle ps` shows why")
            }
            NoPod::NotDeclared(ports) if ports.is_empty() => {
                CliError::new(format!("{target} declares no port"))
                    .hint("add --any-port to reach one that it listens on all the same")
            }
            NoPod::NotDeclared(ports) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                CliError::new(format!(
                    "{target} does not declare port {port}, but {}",
                    ports.join(", ")
                ))
                .hint("add --any-port to reach a port that it listens on all the same")
            }
            NoPod::Ambiguous(processes) => {
                let names: Vec<&str> = processes.iter().map(ProcessName::as_str).collect();
                CliError::new(format!(
                    "several processes of {target} may be meant: {}",
                    names.join(", ")
                ))
                .hint("say which one with --process")
            }
        }
    }

    /// Carries a connection of this machine to its end.
    pub(super) async fn forward(&self, local: TcpStream, port: u16) {
        let opened = tokio::select! {
            opened = self.open(port) => opened,
            // Whoever gives up is not waited for.
            () = left(&local) => return,
        };
        let connection = match opened {
            Ok(connection) => connection,
            Err(error) => {
                reset(&local);
                return self.tell(error).await;
            }
        };
        let nodelay = local.set_nodelay(true);
        if let Err(error) = nodelay {
            tracing::debug!(%error, "small pieces may be delayed");
        }
        let Connection {
            mut input,
            mut output,
        } = connection;
        let (mut read, mut write) = local.into_split();
        let carried = {
            let up = up(&mut read, &mut input);
            let down = down(&mut output, &mut write);
            tokio::try_join!(up, down)
        };
        let ended = match carried {
            Ok(((), ())) => output.closed().await.map_err(Broken::Remote),
            Err(broken) => Err(broken),
        };
        if let Err(Broken::Remote(error)) = ended {
            if let Ok(local) = read.reunite(write) {
                reset(&local);
            }
            self.tell(error.into()).await;
        }
    }

    async fn tell(&self, error: CliError) {
        // Nobody listens any more when the command is about to end.
        let _told = self.failures.send(error.into()).await;
    }

    /// A connection to a pod that suits.
    async fn open(&self, port: u16) -> Result<Connection> {
        let until = Instant::now() + PATIENCE;
        loop {
            let last = self.last(port);
            let pods = self.candidates(last.as_ref()).await?;
            let chosen = choose(
                &pods,
                &self.wanted(port, last.as_ref().map(PodName::as_str)),
            );
            let error = match chosen {
                Err(reason @ NoPod::NotRunning) => self.explain(port, reason),
                Err(reason) => return Err(self.explain(port, reason)),
                Ok(pod) => {
                    let name = PodName::new(pod.metadata.name.clone())?;
                    let opened = self.client.connect(&self.project, &name, port, self.ports);
                    match opened.await {
                        Ok(connection) => {
                            self.remember(port, name);
                            return Ok(connection);
                        }
                        // It went in the meantime.
                        Err(error) if is_gone(&error) => error.into(),
                        Err(error) => return Err(error.into()),
                    }
                }
            };
            if Instant::now() >= until {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The pod that was chosen last alone while it is ready, so that not all are asked for at each connection; else all.
    async fn candidates(&self, last: Option<&PodName>) -> Result<Vec<Pod>> {
        if let Some(last) = last {
            match self.client.pod(&self.project, last).await {
                Ok(pod) if pod.status.phase == PodPhase::Ready => return Ok(vec![pod]),
                Err(error) if !is_gone(&error) => return Err(error.into()),
                Ok(_) | Err(_) => {}
            }
        }
        self.pods().await
    }

    fn last(&self, port: u16) -> Option<PodName> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(&port).cloned()
    }

    fn remember(&self, port: u16, pod: PodName) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(port, pod);
    }
}

fn is_gone(error: &ClientError) -> bool {
    let code = error.problem().map(|problem| problem.code);
    matches!(code, Some(Code::NotFound | Code::Conflict))
}

/// Resolves when whoever connected is gone. One that only sends no more is not gone.
async fn left(local: &TcpStream) {
    loop {
        let ready = local.ready(tokio::io::Interest::ERROR).await;
        if ready.is_ok_and(|ready| !ready.is_error()) {
            continue;
        }
        return;
    }
}

/// Carries what comes here to the pod.
async fn up(read: &mut OwnedReadHalf, input: &mut ConnectionInput) -> Result<(), Broken> {
    let mut piece = BytesMut::new();
    loop {
        piece.reserve(PIECE);
        let count = read.read_buf(&mut piece).await?;
        let sent = match count {
            0 => input.end().await,
            _ => input.send(piece.split().freeze()).await,
        };
        if sent.is_err() {
            // The other direction says why.
            return std::future::pending().await;
        }
        if count == 0 {
            return Ok(());
        }
    }
}

/// Carries what comes from the pod here.
async fn down(output: &mut ConnectionOutput, write: &mut OwnedWriteHalf) -> Result<(), Broken> {
    while let Some(bytes) = output.next().await? {
        write.write_all(&bytes).await?;
    }
    write.shutdown().await?;
    Ok(())
}

/// What broke ends as what broke, so that nobody takes a part for the whole.
fn reset(local: &TcpStream) {
    if let Err(error) = set_socket_linger(local, Some(Duration::ZERO)) {
        tracing::debug!(%error, "a connection ends as if it were whole");
    }
}
