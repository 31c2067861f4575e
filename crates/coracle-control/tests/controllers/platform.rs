//! The platform in a box: a simulated machine and a store that outlive any number of lives of the control plane,
//! and a gateway beside them, all on virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coracle_control::Control;
use coracle_control::controllers::{Clock, Controllers, Options};
use coracle_control::image::{
    Collected, ImageTags, NamedImage, Needed, PushedImage, PushedTag, TagError,
};
use coracle_control::journal::Actor;
use coracle_control::settings::{Limits, Settings};
use coracle_control::vault::Vault;
use coracle_engine::build::RegistryCredentials;
use coracle_engine::flaky::Flaky;
use coracle_engine::sim::{SimConfig, SimControl, SimWorld};
use coracle_model::app::{App, AppPhase};
use coracle_model::env::Secret;
use coracle_model::name::{AppName, Hostname, ImageRef, ProcessName, ProjectName};
use coracle_model::release::{
    CommandLine, ProcessSpec, Release, ReleaseNumber, ReleasePhase, RunConfig,
};
use coracle_model::route::{GatewayReport, RouteTable, Target};
use coracle_task::{Drain, Supervisor};
use tokio::time::Instant;

use crate::memory::MemoryStore;
use crate::stop::{StopAt, Stopping};

/// The machine, the disk and the gateway.
pub(crate) struct Platform {
    pub(crate) world: SimWorld,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) options: Options,
    pub(crate) limits: Limits,
    pub(crate) tags: Arc<Tags>,
    dir: tempfile::TempDir,
    clock: Clock,
    /// What every table said of `hello.localhost`, in the order in which they came.
    seen: Arc<Mutex<Vec<Option<Target>>>>,
}

/// The registry's tags: what was given to which image of a build, `APP:TAG`, and what was withdrawn, unless they refuse.
#[derive(Default)]
pub(crate) struct Tags {
    pub(crate) given: Mutex<Vec<String>>,
    pub(crate) withdrawn: Mutex<BTreeSet<String>>,
    pub(crate) refuse: AtomicBool,
    pub(crate) refused: AtomicU32,
    pub(crate) kept: Mutex<BTreeSet<NamedImage>>,
    /// What was said to be needed, and the age.
    pub(crate) collections: Mutex<Vec<(Vec<NamedImage>, Duration)>>,
    pub(crate) removed: Mutex<BTreeSet<ProjectName>>,
}

#[async_trait]
impl ImageTags for Tags {
    async fn publish(&self, pushed: PushedImage<'_>, tag: &str) -> Result<(), TagError> {
        if self.refuse.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(TagError::Failed("the disk is full".into()));
        }
        assert!(pushed.digest.starts_with("sha256:"), "{pushed:?}");
        assert!(pushed.at.tag.len() > tag.len() + 30, "{pushed:?}");
        let given = format!("{}:{tag}", pushed.at.app);
        self.given.lock().unwrap().push(given);
        Ok(())
    }

    async fn withdraw(&self, pushed: PushedTag<'_>, _: Option<&str>) -> Result<(), TagError> {
        if self.refuse.load(Ordering::Relaxed) {
            return Err(TagError::Failed("the disk is full".into()));
        }
        let mut withdrawn = self.withdrawn.lock().unwrap();
        withdrawn.insert(pushed.tag.to_owned());
        Ok(())
    }

    async fn keep(&self, image: &NamedImage) -> Result<(), TagError> {
        self.kept.lock().unwrap().insert(image.clone());
        Ok(())
    }

    async fn collect(
        &self,
        needed: &dyn Needed,
        min_age: Duration,
    ) -> Result<Collected, Box<dyn Error + Send + Sync>> {
        let needed = needed.needed().await?;
        self.collections.lock().unwrap().push((needed, min_age));
        if self.refuse.load(Ordering::Relaxed) {
            return Err("the disk is broken".into());
        }
        Ok(Collected {
            images: 1,
            bytes: 7,
            damaged: Vec::new(),
        })
    }

    async fn remove_project(&self, project: &ProjectName) -> Result<(), TagError> {
        self.removed.lock().unwrap().insert(project.clone());
        Ok(())
    }
}

/// One life of the control plane.
pub(crate) struct Life {
    pub(crate) control: Control,
    pub(crate) controllers: Controllers,
    pub(crate) store: Arc<Stopping>,
    pub(crate) engine: Arc<Flaky>,
    supervisor: Supervisor,
}

impl Platform {
    pub(crate) fn new() -> Self {
        Self::with_nodes(1)
    }

    pub(crate) fn with_nodes(count: u8) -> Self {
        // Records that the API makes have the machine's time.
        let config = SimConfig {
            epoch: chrono::Utc::now(),
            ..SimConfig::with_nodes(count)
        };
        let clock = Clock::Timers {
            epoch: config.epoch,
            at: Instant::now(),
        };
        Self {
            world: SimWorld::new(config),
            store: Arc::new(MemoryStore::new()),
            options: Options {
                clock,
                ..Options::default()
            },
            limits: Limits::default(),
            tags: Arc::default(),
            dir: tempfile::tempdir().unwrap(),
            clock,
            seen: Arc::default(),
        }
    }

    pub(crate) fn sim(&self) -> SimControl {
        self.world.control()
    }

    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The control plane starts. The gateway, which never ended, finds it.
    pub(crate) async fn start(&self) -> Life {
        self.start_stopping(StopAt::Never).await
    }

    pub(crate) async fn start_stopping(&self, stop: StopAt) -> Life {
        let supervisor = Supervisor::new("life");
        let store = Arc::new(Stopping::new(Arc::clone(&self.store), StopAt::Never));
        let engine = Arc::new(Flaky::new(Arc::new(self.world.engine())));
        let settings = Settings {
            data_dir: self.dir.path().to_owned(),
            shared_dir: self.dir.path().to_owned(),
            domain: Hostname::new("localhost").unwrap(),
            http_port: 8080,
            registry_host: "127.0.0.1:7070".to_owned(),
            registry_names: Vec::new(),
            base_images: None,
            registry_credentials: RegistryCredentials {
                user: "platform".to_owned(),
                password: Secret::new("secret"),
            },
            limits: self.limits,
        };
        let vault = Vault::open(&self.dir.path().join("keys/secret.key")).unwrap();
        let control = Control::open(store.clone(), engine.clone(), vault, settings, &supervisor)
            .await
            .unwrap()
            .with_image_tags(self.tags.clone());
        store.arm(stop);
        let options = Options {
            clock: self.clock,
            ..self.options.clone()
        };
        let controllers = Controllers::start(control.clone(), options, &supervisor);
        let (feed, seen) = (control.feed.clone(), Arc::clone(&self.seen));
        supervisor.spawn("gateway", async move {
            let mut tables = feed.subscribe();
            let _connection = feed.connected("gateway");
            loop {
                let table = tables.borrow_and_update().clone();
                if let Some(table) = table {
                    seen.lock().unwrap().push(target(&table));
                    let report = GatewayReport {
                        generation: table.generation,
                        ..GatewayReport::default()
                    };
                    if feed.report("gateway", report).await.is_err() {
                        return;
                    }
                }
                if tables.changed().await.is_err() {
                    return;
                }
            }
        });
        Life {
            control,
            controllers,
            store,
            engine,
            supervisor,
        }
    }

    /// The control plane is killed, wherever it is. Its engine dies with it, pods and gateway live on.
    pub(crate) async fn kill(&self, life: Life) {
        assert_eq!(
            life.supervisor.shutdown(Duration::from_secs(1)).await,
            Drain::Clean
        );
        self.sim().crash_engine();
    }

    /// What the gateway was told of `hello.localhost` so far, without repetitions.
    pub(crate) fn seen(&self) -> Vec<Option<Target>> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.dedup();
        seen
    }

    pub(crate) fn forget_seen(&self) {
        self.seen.lock().unwrap().clear();
    }

    /// Pods of the machine in short: `NAME PHASE`, with the random ending of the name cut off.
    pub(crate) fn pods(&self) -> Vec<String> {
        let mut pods: Vec<String> = self
            .sim()
            .pods()
            .into_iter()
            .map(|pod| format!("{} {}", pod.workload.name, word(&pod.status.phase)))
            .collect();
        pods.sort();
        pods
    }
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

fn target(table: &RouteTable) -> Option<Target> {
    let host = Hostname::new("hello.localhost").unwrap();
    table.routes.get(&host).map(|route| route.target.clone())
}

pub(crate) fn project() -> ProjectName {
    ProjectName::default_project()
}

pub(crate) fn hello() -> AppName {
    AppName::new("hello").unwrap()
}

pub(crate) fn ann() -> Actor {
    Actor::User("ann".to_owned())
}

pub(crate) fn web(replicas: u32) -> RunConfig {
    let spec = ProcessSpec {
        replicas,
        ..ProcessSpec::default()
    };
    RunConfig {
        processes: BTreeMap::from([(ProcessName::web(), spec)]),
        ..RunConfig::default()
    }
}

pub(crate) fn with_command(mut config: RunConfig, line: &str) -> RunConfig {
    config.release_command = Some(CommandLine::Shell(line.to_owned()));
    config
}

/// Waits for something to become true, in virtual time, or says what did not.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    let begin = Instant::now();
    while !is().await {
        assert!(begin.elapsed() < Duration::from_secs(900), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Life {
    /// Somebody deploys an image.
    pub(crate) async fn deploy(&self, image: &str, config: &RunConfig) -> ReleaseNumber {
        self.control
            .ensure_app(&project(), &hello(), &ann())
            .await
            .unwrap();
        let image = ImageRef::new(image).unwrap();
        let release = self
            .control
            .release_image(&project(), &hello(), &image, Some(config), None, &ann())
            .await;
        release.unwrap().spec.number
    }

    pub(crate) async fn app(&self) -> App {
        self.control.app(&project(), &hello()).await.unwrap()
    }

    pub(crate) async fn release(&self, number: ReleaseNumber) -> Release {
        self.control
            .release(&project(), &hello(), number)
            .await
            .unwrap()
    }

    /// Waits until a release is decided.
    pub(crate) async fn decided(&self, number: ReleaseNumber) -> Release {
        let undecided = [ReleasePhase::Pending, ReleasePhase::Deploying];
        until(&format!("{number} is decided"), || async {
            !undecided.contains(&self.release(number).await.status.phase)
        })
        .await;
        self.release(number).await
    }

    /// Waits until the app runs with as many pods as it should have, and none on their way.
    pub(crate) async fn at_rest(&self, platform: &Platform, pods: &[&str]) {
        until(
            &format!("pods are {pods:?}; they are {:?}", platform.pods()),
            || async {
                platform.pods() == pods && self.app().await.status.phase != AppPhase::Deploying
            },
        )
        .await;
    }

    /// Somebody sends source: files by name.
    pub(crate) async fn send(&self, files: &[(&str, &str)]) -> u32 {
        self.control
            .ensure_app(&project(), &hello(), &ann())
            .await
            .unwrap();
        let chunk = Ok::<_, std::io::Error>(Bytes::from(archive(files)));
        let source = self
            .control
            .receive_upload(futures::stream::iter([chunk]))
            .await
            .unwrap();
        self.control
            .submit_build(&project(), &hello(), source, None, &ann())
            .await
            .unwrap()
            .spec
            .number
    }

    pub(crate) async fn build(&self, number: u32) -> coracle_model::build::Build {
        self.control
            .build(&project(), &hello(), number)
            .await
            .unwrap()
    }

    /// Waits until a build has ended.
    pub(crate) async fn built(&self, number: u32) -> coracle_model::build::Build {
        until(&format!("b{number} has ended"), || async {
            self.build(number).await.status.phase.is_final()
        })
        .await;
        self.build(number).await
    }
}

/// A plain tar.
pub(crate) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, text) in files {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        header[263..265].copy_from_slice(b"00");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(text.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend_from_slice(&[0; 1024]);
    out
}
