//! The engine's laws, on the real daemon.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::ground::{IMAGE, LONG, Platform, docker, quiet};
use async_trait::async_trait;
use coracle_docker::DockerEngine;
use coracle_engine::conformance::{Factory, Foreign, World};
use coracle_engine::{Engine, Support};
use coracle_model::name::ImageRef;
use coracle_model::workload::PodId;
use coracle_task::Supervisor;

/// The daemon's socket on a detour.
const SOCKET: &str = "docker.sock";

struct OnDocker;

struct OneDaemon {
    platform: Arc<Platform>,
    life: Mutex<Option<Supervisor>>,
    /// Where engines look for the daemon's socket from the moment on when they were cut off from it.
    detour: Mutex<Option<tempfile::TempDir>>,
}

impl Drop for OneDaemon {
    fn drop(&mut self) {
        // Or the engine would make again what the platform's end takes away.
        if let Some(life) = self.life.lock().unwrap().take() {
            life.token().cancel();
        }
    }
}

#[async_trait]
impl Factory for OnDocker {
    async fn world(&self) -> Box<dyn World> {
        Box::new(OneDaemon {
            platform: Arc::new(Platform::new()),
            life: Mutex::new(None),
            detour: Mutex::new(None),
        })
    }
}

#[async_trait]
impl World for OneDaemon {
    async fn engine(&self) -> Arc<dyn Engine> {
        let life = Supervisor::new("conformance");
        let before = self.life.lock().unwrap().replace(life.clone());
        if let Some(before) = before {
            before.shutdown(Duration::ZERO).await;
        }
        let mut config = self.platform.config(&life);
        if let Some(folder) = &*self.detour.lock().unwrap() {
            config.socket = Some(folder.path().join(SOCKET));
        }
        DockerEngine::connect(config).await.unwrap()
    }

    async fn cut_off(&self) -> Support {
        *self.detour.lock().unwrap() = Some(tempfile::tempdir().unwrap());
        Support::Yes
    }

    async fn reconnect(&self) {
        let real = std::env::var("DOCKER_HOST").ok();
        let real = real
            .as_deref()
            .and_then(|host| host.strip_prefix("unix://"));
        if let Some(folder) = &*self.detour.lock().unwrap() {
            let real = real.unwrap_or("/var/run/docker.sock");
            std::os::unix::fs::symlink(real, folder.path().join(SOCKET)).unwrap();
        }
    }

    fn image(&self) -> ImageRef {
        ImageRef::new(IMAGE).unwrap()
    }

    fn patience(&self) -> Duration {
        LONG
    }

    async fn vanish(&self, pod: &PodId) {
        docker(&["rm", "-f", &self.platform.container_of(pod)]);
    }

    async fn kill(&self, pod: &PodId) {
        // As the kernel would: `docker kill` would be a wish that it stays ended.
        let name = self.platform.container_of(pod);
        let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &name]);
        let killed = std::process::Command::new("kill")
            .args(["-9", &pid])
            .status();
        assert!(killed.unwrap().success());
    }

    fn isolation(&self) -> Support {
        Support::Yes
    }

    async fn foreign(&self) -> Option<Box<dyn Foreign>> {
        Some(Box::new(Stranger::new(&self.platform)))
    }

    async fn leftovers(&self) -> Vec<String> {
        let filter = format!("label=io.coracle.platform={}", self.platform.id);
        let pods = docker(&["ps", "-a", "--format", "{{.Names}}", "--filter", &filter]);
        let networks = docker(&[
            "network",
            "ls",
            "--format",
            "{{.Name}}",
            "--filter",
            &filter,
        ]);
        pods.lines()
            .chain(networks.lines())
            .map(str::to_owned)
            .collect()
    }

    async fn close(&self) {
        let life = self.life.lock().unwrap().take();
        if let Some(life) = life {
            life.shutdown(Duration::from_secs(1)).await;
        }
    }
}

/// A container and a network that look much like the platform's, down to its label on the container (as one has that
/// somebody makes by hand of an image that the platform built).
struct Stranger {
    container: String,
    network: String,
    before: String,
}

impl Stranger {
    fn new(platform: &Platform) -> Self {
        let network = format!("foreign-{}-default", platform.id);
        let container = format!("foreign-{}-default.web", platform.id);
        docker(&["network", "create", "--subnet", "10.214.77.0/28", &network]);
        let label = format!("io.coracle.platform={}", platform.id);
        docker(&[
            "run",
            "-d",
            "--name",
            &container,
            "--network",
            &network,
            "--label",
            &label,
            IMAGE,
            "sleep",
            "1000",
        ]);
        let before = state(&container);
        Self {
            container,
            network,
            before,
        }
    }
}

fn state(container: &str) -> String {
    docker(&[
        "inspect",
        "-f",
        "{{.Id}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}",
        container,
    ])
}

impl Drop for Stranger {
    fn drop(&mut self) {
        quiet(&["rm", "-f", &self.container]);
        quiet(&["network", "rm", &self.network]);
    }
}

#[async_trait]
impl Foreign for Stranger {
    async fn untouched(self: Box<Self>) -> Result<(), String> {
        let after = state(&self.container);
        if after == self.before {
            Ok(())
        } else {
            Err(format!("was {}, is {after}", self.before))
        }
    }
}

coracle_engine::engine_conformance!(
    #[tokio::test(flavor = "multi_thread")]
    OnDocker
);
