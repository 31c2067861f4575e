//! The port's methods.

use std::collections::BTreeSet;
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
use coracle_model::name::{ImageRef, ProjectName, VolumeName};
use coracle_model::node::{Node, Scheduling};
use coracle_model::pod::PodStats;
use coracle_model::quantity::ByteSize;
use coracle_model::release::CommandLine;
use coracle_model::workload::{PodId, Workload, WorkloadId};
use futures::stream::BoxStream;

use crate::client;
use crate::config::{KubernetesConfig, PodSecurity};
use crate::describe;
use crate::facts::PodKind;
use crate::state::Core;
use crate::{build, image, logs, node, observe, operate, project, session, stats, usage, volume};

/// The least memory of a container that runtimes take.
const LEAST_MEMORY: ByteSize = ByteSize::mib(6);

/// Kubernetes as Coracle's engine.
pub struct KubernetesEngine {
    core: Arc<Core>,
}

impl std::fmt::Debug for KubernetesEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubernetesEngine")
            .field("platform", &self.core.config.platform)
            .field("namespace_prefix", &self.core.config.namespace_prefix)
            .finish_non_exhaustive()
    }
}

impl KubernetesEngine {
    /// Makes the engine and begins to watch the cluster. The API server need not be up: it is tried again for as long
    /// as the engine lives, and [`Engine::ping`] tells.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for a configuration that cannot work.
    pub async fn connect(config: KubernetesConfig) -> Result<Arc<Self>, EngineError> {
        check_config(&config)?;
        let client = client::client(&config).await?;
        let core = Core::new(config, client);
        observe::spawn(&core);
        Ok(Arc::new(Self { core }))
    }

    fn unknown(pod: &PodId) -> EngineError {
        EngineError::NoSuchPod(pod.clone())
    }
}

fn check_config(config: &KubernetesConfig) -> Result<(), EngineError> {
    let refused = |what: String| Err(EngineError::Refused(what));
    let id = &config.platform;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = id.as_bytes();
    if bytes.len() > 63
        || !bytes.iter().copied().all(plain)
        || !ends(bytes.first())
        || !ends(bytes.last())
    {
        return refused(
            "the platform's id must be 1 to 63 letters, digits, hyphens, dots and underscores, beginning and ending with a letter or digit".to_owned(),
        );
    }
    let prefix = &config.namespace_prefix;
    let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let starts = prefix
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase());
    if prefix.len() > 32 || !prefix.bytes().all(label) || !starts {
        return refused(format!(
            "the namespace prefix {prefix:?} must be 1 to 32 lower-case letters, digits and hyphens, beginning with a letter: a prefix keeps projects away from namespaces such as kube-system"
        ));
    }
    if config.pod_security == (PodSecurity::Restricted { uid: 0 }) {
        return refused("restricted pods cannot run as user 0: name another one".to_owned());
    }
    Ok(())
}

/// What can never run is refused at once.
fn check(core: &Core, workload: &Workload) -> Result<(), EngineError> {
    let refused = |what: String| Err(EngineError::Refused(what));
    let template = &workload.template;
    core.namespace(&workload.id.project)?;
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
    if template.image.as_str().starts_with("sha256:") {
        return refused(
            "image: the id of a local image means nothing to a cluster: name it with its registry"
                .to_owned(),
        );
    }
    for mount in &template.volumes {
        let path = &mount.path;
        if !path.starts_with('/')
            || path == "/"
            || path.contains(':')
            || path.split('/').any(|part| part == "..")
        {
            return refused(format!(
                "volume {}: the path must be absolute, not /, without : and without ..",
                mount.volume
            ));
        }
    }
    Ok(())
}

#[async_trait]
impl Engine for KubernetesEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "kubernetes",
            builds: match self.core.config.build {
                Some(_) => Support::Yes,
                None => Support::No,
            },
            volume_sizes: Support::Yes,
            restarts: Restarts::Replaces,
            own_names: Support::No,
            log_channels: Support::No,
            input_end: self.core.input_end(),
            connection_end: Support::No,
            process_counts: Support::No,
        }
    }

    async fn ping(&self) -> Result<EngineVersion, EngineError> {
        let version = self.core.client.apiserver_version().await;
        let version = version.map_err(client::engine_error)?;
        Ok(EngineVersion {
            software: version.git_version,
            api: format!("{}.{}", version.major, version.minor),
        })
    }

    async fn ensure_project(&self, project: &ProjectName) -> Result<(), EngineError> {
        project::ensure(&self.core, project).await.map(|_| ())
    }

    async fn set_pull_credentials(
        &self,
        project: &ProjectName,
        pull: &PullCredentials,
    ) -> Result<(), EngineError> {
        project::set_pull_credentials(&self.core, project, pull).await
    }

    async fn remove_project(&self, project: &ProjectName) -> Result<(), EngineError> {
        project::remove(&self.core, project).await
    }

    async fn apply(&self, workload: Workload) -> Result<(), EngineError> {
        check(&self.core, &workload)?;
        let id = workload.id.clone();
        self.core.with(|state| {
            let group = state.groups.entry(id.clone()).or_default();
            let same = matches!(&group.wish, Some(Wish::Run(before)) if **before == workload);
            if !same {
                group.wish = Some(Wish::Run(Arc::new(workload)));
                // What was in the way may not be in the new wish's.
                group.trouble = None;
            }
        });
        self.core.reconcile(&id);
        Ok(())
    }

    async fn remove(&self, id: &WorkloadId) -> Result<(), EngineError> {
        self.core.with(|state| {
            let group = state.groups.entry(id.clone()).or_default();
            group.wish = Some(Wish::Gone);
            group.trouble = None;
            state.publish(id);
        });
        self.core.reconcile(id);
        Ok(())
    }

    async fn drained(&self, pod: &PodId) -> Result<(), EngineError> {
        let workload = self.core.with(|state| {
            let (id, group) = state.group_of(pod)?;
            let id = id.clone();
            let name = group.find(pod)?.live.metadata.name.clone()?;
            let record = state.groups.get_mut(&id)?.pods.get_mut(&name)?;
            let set =
                crate::facts::label(&record.live.metadata, crate::facts::SET).map(str::to_owned);
            let own = crate::facts::stopping_since(&record.live.metadata).is_some();
            let name = record.live.metadata.name.clone()?;
            let with_set = set
                .and_then(|set| state.groups.get(&id)?.sets.get(&set))
                .is_some_and(|set| crate::facts::stopping_since(&set.live.metadata).is_some());
            // It is about a stop that goes on, not about one to come.
            if own || with_set {
                state.groups.get_mut(&id)?.pods.get_mut(&name)?.drained = true;
            }
            Some(id)
        });
        if let Some(workload) = workload {
            self.core.reconcile(&workload);
        }
        Ok(())
    }

    async fn restart(&self, pod: &PodId) -> Result<(), EngineError> {
        let found = self.core.with(|state| {
            let (id, group) = state.group_of(pod)?;
            let told = state.told(pod)?.status.phase;
            let record = group.find(pod);
            let record = record.map(|r| {
                (
                    r.live.metadata.name.clone().unwrap_or_default(),
                    r.facts.kind,
                )
            });
            Some((id.clone(), told, record, group.wish.is_some()))
        });
        let Some((id, phase, record, wished)) = found else {
            return Err(Self::unknown(pod));
        };
        let wrong = |reason: &'static str| EngineError::WrongPhase {
            pod: pod.clone(),
            phase: phase.word(),
            reason,
        };
        let Some((name, kind)) = record else {
            return Err(wrong("it has not begun yet"));
        };
        match kind {
            _ if phase == coracle_model::pod::PodPhase::Stopping => {
                return Err(wrong("it is on its way out"));
            }
            PodKind::Replicated => {}
            // Nobody would make it again.
            PodKind::Single if !wished => {
                return Err(EngineError::Failed {
                    message: "the platform is just starting and has not said what it wants of this pod; try again".to_owned(),
                    source: None,
                });
            }
            PodKind::Single => {}
            _ => {
                return Err(EngineError::Refused(
                    "a task runs once: run it again under another name".to_owned(),
                ));
            }
        }
        operate::leave(&self.core, &id, &name).await?;
        self.core.reconcile(&id);
        Ok(())
    }

    async fn delete_pod(&self, pod: &PodId) -> Result<(), EngineError> {
        let found = self.core.with(|state| {
            let (id, group) = state.group_of(pod)?;
            let record = group.find(pod);
            let name = record
                .filter(|r| r.facts.kind == PodKind::Replicated)
                .and_then(|r| r.live.metadata.name.clone());
            Some((id.clone(), record.is_some(), name))
        });
        let Some((id, real, replicated)) = found else {
            return Err(Self::unknown(pod));
        };
        if let Some(name) = replicated {
            operate::leave(&self.core, &id, &name).await?;
        } else if real
            || self
                .core
                .with(|state| !state.groups.get(&id).is_none_or(|g| g.jobs.is_empty()))
        {
            // One that stands alone has no successor until it is wished again.
            self.core.with(|state| {
                if let Some(group) = state.groups.get_mut(&id) {
                    group.wish = Some(Wish::Gone);
                    group.trouble = None;
                }
            });
        }
        self.core.reconcile(&id);
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
        node::schedule(&self.core, node, Scheduling::Cordoned).await
    }

    async fn uncordon(&self, node: &str) -> Result<(), EngineError> {
        node::schedule(&self.core, node, Scheduling::Open).await
    }

    async fn resolve_image(
        &self,
        image: &ImageRef,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<ImageInfo, EngineError> {
        image::resolve(&self.core, image, credentials).await
    }

    /// Kubelets clean up their own images.
    async fn remove_image(&self, _image: &ImageRef) -> Result<(), EngineError> {
        Ok(())
    }

    async fn build(
        &self,
        request: BuildRequest,
        progress: BuildProgress,
    ) -> Result<BuiltImage, EngineError> {
        Box::pin(build::build(&self.core, request, progress)).await
    }

    async fn end_builds_except(&self, going_on: &BTreeSet<String>) -> Result<(), EngineError> {
        build::end_except(&self.core, going_on).await
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
