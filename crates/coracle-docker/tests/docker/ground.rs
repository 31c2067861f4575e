//! What every test of this crate stands on: an engine with a platform of its own on the real daemon, watched,
//! and cleaned away in the end, whatever the end is.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coracle_docker::{DockerConfig, DockerEngine};
use coracle_engine::{Engine, EngineEvent};
use coracle_model::name::{EnvName, ImageRef, PodName, ProjectName};
use coracle_model::node::Node;
use coracle_model::pod::PodPhase;
use coracle_model::release::CommandLine;
use coracle_model::workload::{
    ObservedPod, Owner, PodId, PodTemplate, Resources, Workload, WorkloadId, WorkloadKind,
};
use coracle_task::Supervisor;
use futures::StreamExt as _;
use futures::stream::BoxStream;

pub(crate) const IMAGE: &str = "coracle-test:1";
/// More than anything takes on a machine that others use too.
pub(crate) const LONG: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A platform of its own; everything of it is removed when this is dropped.
pub(crate) struct Platform {
    pub(crate) id: String,
}

impl Platform {
    pub(crate) fn new() -> Self {
        let next = NEXT.fetch_add(1, Ordering::SeqCst);
        let id = format!("{:06x}{next:02x}", std::process::id());
        Self { id }
    }

    pub(crate) fn config(&self, supervisor: &Supervisor) -> DockerConfig {
        DockerConfig {
            // Apart from the default pool, where other platforms on this daemon live.
            subnet_pool: (Ipv4Addr::new(10, 213, 0, 0), 16),
            ..DockerConfig::new(self.id.clone(), supervisor.clone())
        }
    }

    pub(crate) fn containers(&self) -> Vec<String> {
        lines(&["ps", "-aq", "--filter", &self.filter()])
    }

    pub(crate) fn networks(&self) -> Vec<String> {
        lines(&["network", "ls", "-q", "--filter", &self.filter()])
    }

    fn filter(&self) -> String {
        format!("label=io.coracle.platform={}", self.id)
    }

    pub(crate) fn container_of(&self, pod: &PodId) -> String {
        format!("coracle-{}-{}.{}", self.id, pod.project, pod.name)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // A request of an engine that was just ended may still be on its way.
        for _ in 0..3 {
            for id in self.containers() {
                quiet(&["rm", "-f", "-v", &id]);
            }
        }
        for id in self.networks() {
            quiet(&["network", "rm", &id]);
        }
        for id in lines(&["volume", "ls", "-q", "--filter", &self.filter()]) {
            quiet(&["volume", "rm", "-f", &id]);
        }
        for id in lines(&["images", "-q", "--filter", &self.filter()]) {
            quiet(&["rmi", "-f", &id]);
        }
    }
}

/// Runs `docker` and gives its output.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("/usr/bin/docker")
        .args(arguments)
        .output()
        .expect("docker runs");
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(crate) fn quiet(arguments: &[&str]) {
    let output = Command::new("/usr/bin/docker").args(arguments).output();
    assert!(output.is_ok(), "docker runs");
}

/// Runs `docker` and gives the lines of its output, each once.
pub(crate) fn lines(arguments: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = docker(arguments).lines().map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    lines
}

/// An engine and what it told so far.
pub(crate) struct Ground {
    pub(crate) engine: Arc<DockerEngine>,
    pub(crate) supervisor: Supervisor,
    pub(crate) platform: Arc<Platform>,
    pub(crate) seen: Seen,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        Self::on(Arc::new(Platform::new())).await
    }

    /// An engine on a platform that may have pods from another one's life.
    pub(crate) async fn on(platform: Arc<Platform>) -> Self {
        let supervisor = Supervisor::new("test");
        let engine = DockerEngine::connect(platform.config(&supervisor))
            .await
            .expect("the configuration is good");
        let mut seen = Seen::new(engine.watch());
        seen.until("the engine is synced", |seen| seen.synced).await;
        Self {
            engine,
            supervisor,
            platform,
            seen,
        }
    }

    /// Ends the engine as a crash would: nothing is tidied up.
    pub(crate) async fn crash(self) -> Arc<Platform> {
        self.supervisor.shutdown(Duration::ZERO).await;
        Arc::clone(&self.platform)
    }

    pub(crate) async fn apply(&self, workload: Workload) {
        self.engine
            .apply(workload)
            .await
            .expect("the wish is taken");
    }

    /// Waits until exactly so many pods of a workload exist and are ready.
    pub(crate) async fn ready(&mut self, name: &str, count: usize) -> Vec<ObservedPod> {
        self.seen
            .until(&format!("{count} of {name} are ready"), |seen| {
                let pods = seen.of(name);
                pods.len() == count && pods.iter().all(|p| p.status.phase == PodPhase::Ready)
            })
            .await;
        self.seen.of(name)
    }

    pub(crate) async fn gone(&mut self, name: &str) {
        self.seen
            .until(&format!("{name} is gone"), |seen| seen.of(name).is_empty())
            .await;
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Or the engine would make again what the platform's end takes away.
        self.supervisor.token().cancel();
    }
}

/// What a watcher knows.
pub(crate) struct Seen {
    events: BoxStream<'static, EngineEvent>,
    pub(crate) pods: BTreeMap<PodId, ObservedPod>,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) synced: bool,
    /// Every phase that a pod was told in, in order.
    pub(crate) phases: BTreeMap<PodId, Vec<PodPhase>>,
}

impl Seen {
    pub(crate) fn new(events: BoxStream<'static, EngineEvent>) -> Self {
        Self {
            events,
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            synced: false,
            phases: BTreeMap::new(),
        }
    }

    pub(crate) fn of(&self, workload: &str) -> Vec<ObservedPod> {
        self.pods
            .values()
            .filter(|pod| pod.workload.name.as_str() == workload)
            .cloned()
            .collect()
    }

    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !done(self) {
                match self.events.next().await.expect("the watch goes on") {
                    EngineEvent::Pod(pod) => {
                        let phases = self.phases.entry(pod.id.clone()).or_default();
                        if phases.last() != Some(&pod.status.phase) {
                            phases.push(pod.status.phase);
                        }
                        self.pods.insert(pod.id.clone(), pod);
                    }
                    EngineEvent::PodGone(id) => {
                        self.pods.remove(&id);
                    }
                    EngineEvent::Node(node) => {
                        self.nodes.insert(node.metadata.name.clone(), *node);
                    }
                    EngineEvent::NodeGone(name) => {
                        self.nodes.remove(&name);
                    }
                    EngineEvent::Reset => self.pods.clear(),
                    EngineEvent::Synced => self.synced = true,
                }
            }
        };
        if tokio::time::timeout(LONG, waiting).await.is_err() {
            panic!(
                "never: {what}; pods: {:#?}",
                self.pods
                    .values()
                    .map(|p| (p.id.to_string(), p.generation, &p.status))
                    .collect::<Vec<_>>()
            );
        }
    }
}

pub(crate) fn project() -> ProjectName {
    ProjectName::new("default").unwrap()
}

pub(crate) fn pod_id(name: &str) -> PodId {
    PodId {
        project: project(),
        name: PodName::new(name).unwrap(),
    }
}

pub(crate) fn workload_id(name: &str) -> WorkloadId {
    WorkloadId {
        project: project(),
        name: PodName::new(name).unwrap(),
    }
}

/// A web server.
pub(crate) fn web(name: &str, kind: WorkloadKind) -> Workload {
    Workload {
        id: workload_id(name),
        generation: 1,
        kind,
        owner: Owner::default(),
        template: PodTemplate {
            image: ImageRef::new(IMAGE).unwrap(),
            command: None,
            env: Vec::new(),
            port: Some(8080),
            names: Vec::new(),
            resources: Resources::default(),
            health: None,
            volumes: Vec::new(),
            stop_grace: Duration::from_secs(5),
            drain: Duration::from_millis(200),
        },
    }
}

/// Something that listens on nothing.
pub(crate) fn command(name: &str, kind: WorkloadKind, words: &[&str]) -> Workload {
    let mut workload = web(name, kind);
    workload.template.port = None;
    workload.template.command = Some(CommandLine::Exec(
        words.iter().map(|w| (*w).to_owned()).collect(),
    ));
    workload
}

pub(crate) fn replicas(replicas: u32) -> WorkloadKind {
    WorkloadKind::Replicated { replicas }
}

pub(crate) fn env(name: &str) -> EnvName {
    EnvName::new(name).unwrap()
}
