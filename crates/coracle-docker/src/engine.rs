//! The port's methods.

use std::sync::Arc;

use async_trait::async_trait;
use coracle_engine::build::{
    BuildProgress, BuildRequest, BuiltImage, PullCredentials, RegistryCredentials,
};
use coracle_engine::stream::{Duplex, ExecRequest, LogRequest, LogStream, Session};
use coracle_engine::wish::Wish;
use coracle_engine::{
    Capabilities, Engine, EngineError, EngineEvent, EngineUsage, EngineVersion, ImageInfo,
    Restarts, Support, VolumeInfo,
};
use coracle_model::name::{ImageRef, PodName, ProjectName, VolumeName};
use coracle_model::node::{Node, Scheduling};
use coracle_model::pod::PodStats;
use coracle_model::quantity::ByteSize;
use coracle_model::release::CommandLine;
use coracle_model::workload::{PodId, Workload, WorkloadId, WorkloadKind};
use futures::stream::BoxStream;

use crate::client::engine_error;
use crate::config::DockerConfig;
use crate::describe;
use crate::naming::SUFFIX_LENGTH;
use crate::restart;
use crate::state::Core;
use crate::{build, cordon, image, logs, network, node, observe, session, stats, usage, volume};

/// Docker's least memory of a container.
const LEAST_MEMORY: ByteSize = ByteSize::mib(6);

/// Docker Engine as Coracle's engine.
pub struct DockerEngine {
    pub(crate) core: Arc<Core>,
}

impl std::fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DockerEngine")
            .field("socket", self.core.client.socket())
            .finish_non_exhaustive()
    }
}

impl DockerEngine {
    /// Makes the engine and begins to observe the daemon. The daemon need not be up: it is tried again for as
    /// long as the engine lives, [`Engine::ping`] tells, and so does the node in [`Engine::watch`].
    ///
    /// # Errors
    /// [`EngineError::Refused`] for a configuration that cannot work.
    pub async fn connect(config: DockerConfig) -> Result<Arc<Self>, EngineError> {
        if config.platform.is_empty() {
            return Err(EngineError::Refused(
                "the platform's id must not be empty".to_owned(),
            ));
        }
        let (_, prefix) = config.subnet_pool;
        if !(8..=24).contains(&prefix) {
            return Err(EngineError::Refused(format!(
                "the subnet pool's prefix length is {prefix}: use 8 to 24"
            )));
        }
        let core = Core::new(config);
        observe::spawn(&core);
        image::former::spawn(&core);
        Ok(Arc::new(Self { core }))
    }
}

/// What can never run is refused at once.
fn check(workload: &Workload) -> Result<(), EngineError> {
    let refused = |what: String| Err(EngineError::Refused(what));
    let template = &workload.template;
    match &template.command {
        Some(CommandLine::Exec(words)) if words.first().is_none_or(String::is_empty) => {
            return refused("command: its first word must name a program".to_owned());
        }
        Some(CommandLine::Shell(line)) if line.trim().is_empty() => {
            return refused("command: it must not be empty".to_owned());
        }
        _ => {}
    }
    if let Some(memory) = template.resources.memory
        && memory < LEAST_MEMORY
    {
        return refused(format!("memory: {memory} is less than {LEAST_MEMORY}"));
    }
    if template.env.iter().any(|(_, v)| v.expose().contains('\0')) {
        return refused("env: a value must not contain a NUL byte".to_owned());
    }
    for mount in &template.volumes {
        let path = &mount.path;
        if !path.starts_with('/') || path == "/" || path.split('/').any(|part| part == "..") {
            return refused(format!(
                "volume {}: the path must be absolute, not / and without ..",
                mount.volume
            ));
        }
    }
    if matches!(workload.kind, WorkloadKind::Replicated { .. }) {
        let suffixed = format!("{}-{}", workload.id.name, "x".repeat(SUFFIX_LENGTH));
        if let Err(error) = PodName::new(suffixed) {
            return refused(format!("the names of its pods would be too long: {error}"));
        }
    }
    Ok(())
}

#[async_trait]
impl Engine for DockerEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "docker",
            builds: Support::Yes,
            volume_sizes: Support::No,
            restarts: Restarts::InPlace,
            own_names: Support::Yes,
            log_channels: Support::Yes,
            input_end: Support::Yes,
            connection_end: Support::Yes,
            process_counts: Support::Yes,
        }
    }

    async fn ping(&self) -> Result<EngineVersion, EngineError> {
        let docker = self.core.client.docker().await?;
        let version = docker.version().await.map_err(engine_error)?;
        Ok(EngineVersion {
            software: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
        })
    }

    async fn ensure_project(&self, project: &ProjectName) -> Result<(), EngineError> {
        network::ensure(&self.core, project).await
    }

    async fn set_pull_credentials(
        &self,
        project: &ProjectName,
        pull: &PullCredentials,
    ) -> Result<(), EngineError> {
        self.core.credentials.set(project, pull);
        Ok(())
    }

    async fn remove_project(&self, project: &ProjectName) -> Result<(), EngineError> {
        self.core.credentials.forget(project);
        network::remove(&self.core, project).await
    }

    async fn apply(&self, workload: Workload) -> Result<(), EngineError> {
        check(&workload)?;
        let id = workload.id.clone();
        self.core.with(|state| {
            state
                .wishes
                .insert(id.clone(), Wish::Run(Arc::new(workload)));
        });
        self.core.reconcile(&id);
        Ok(())
    }

    async fn remove(&self, id: &WorkloadId) -> Result<(), EngineError> {
        self.core.with(|state| {
            state.wishes.insert(id.clone(), Wish::Gone);
        });
        self.core.reconcile(id);
        Ok(())
    }

    async fn drained(&self, pod: &PodId) -> Result<(), EngineError> {
        self.core.with(|state| {
            if let Some(pod) = state.pods.get(pod) {
                if let Some(leaving) = &pod.leaving {
                    leaving.drained.cancel();
                }
                if let Some(op) = &pod.op {
                    op.drained.cancel();
                }
            }
        });
        Ok(())
    }

    async fn restart(&self, pod: &PodId) -> Result<(), EngineError> {
        let leaving = self
            .core
            .with(|state| state.pods.get(pod).map(|pod| pod.leaving.is_some()));
        match leaving {
            None => return Err(EngineError::NoSuchPod(pod.clone())),
            Some(true) => {
                return Err(EngineError::WrongPhase {
                    pod: pod.clone(),
                    phase: "stopping",
                    reason: "it is on its way out",
                });
            }
            Some(false) => {}
        }
        let (core, pod) = (Arc::clone(&self.core), pod.clone());
        self.core
            .config
            .supervisor
            .spawn("docker-restart", async move {
                if let Err(error) = restart::when_free(&core, &pod).await {
                    tracing::warn!(%pod, %error, "a pod cannot be restarted");
                }
            });
        Ok(())
    }

    async fn delete_pod(&self, pod: &PodId) -> Result<(), EngineError> {
        if !self.core.with(|state| state.pods.contains_key(pod)) {
            return Err(EngineError::NoSuchPod(pod.clone()));
        }
        self.core.leave(pod);
        Ok(())
    }

    fn watch(&self) -> BoxStream<'static, EngineEvent> {
        self.core.watch()
    }

    async fn logs(&self, pod: &PodId, request: LogRequest) -> Result<LogStream, EngineError> {
        logs::logs(&self.core, pod, request).await
    }

    async fn exec(&self, pod: &PodId, request: ExecRequest) -> Result<Session, EngineError> {
        session::exec(&self.core, pod, request).await
    }

    async fn attach(&self, pod: &PodId) -> Result<Session, EngineError> {
        session::attach(&self.core, pod).await
    }

    async fn describe(&self, pod: &PodId) -> Result<serde_json::Value, EngineError> {
        describe::describe(&self.core, pod).await
    }

    async fn connect(&self, pod: &PodId, port: u16) -> Result<Box<dyn Duplex>, EngineError> {
        session::connect(&self.core, pod, port).await
    }

    async fn stats(&self, pod: &PodId) -> Result<PodStats, EngineError> {
        stats::stats(&self.core, pod).await
    }

    async fn usage(&self) -> Result<EngineUsage, EngineError> {
        usage::usage(&self.core).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        node::nodes(&self.core).await
    }

    async fn cordon(&self, node: &str) -> Result<(), EngineError> {
        cordon::set(&self.core, node, Scheduling::Cordoned).await
    }

    async fn uncordon(&self, node: &str) -> Result<(), EngineError> {
        cordon::set(&self.core, node, Scheduling::Open).await
    }

    async fn resolve_image(
        &self,
        image: &ImageRef,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<ImageInfo, EngineError> {
        image::resolve(&self.core, image, credentials).await
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<(), EngineError> {
        image::remove(&self.core, image).await
    }

    async fn build(
        &self,
        request: BuildRequest,
        progress: BuildProgress,
    ) -> Result<BuiltImage, EngineError> {
        let built = build::build(&self.core, request, progress).await;
        // Also one that failed left something.
        build::cache::bound(&self.core);
        built
    }

    async fn ensure_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeName,
        size: Option<ByteSize>,
    ) -> Result<(), EngineError> {
        volume::ensure(&self.core, project, volume, size).await
    }

    async fn volumes(&self) -> Result<Vec<VolumeInfo>, EngineError> {
        volume::list(&self.core).await
    }

    async fn remove_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeName,
    ) -> Result<(), EngineError> {
        volume::remove(&self.core, project, volume).await
    }
}
