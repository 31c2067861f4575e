//! An engine that goes wrong at the n-th call: for tests that stop a controller at every step.
//!
//! Theory of operation: a run without faults tells how many calls a job makes ([`Flaky::calls`]). Then the job
//! is run once for each of them with a fault just there, and once more without faults; whatever the fault was, the end must be
//! the same. Only calls that change something are counted: [`Verb::changes`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use coracle_model::name::{ImageRef, ProjectName, VolumeName};
use coracle_model::node::Node;
use coracle_model::pod::PodStats;
use coracle_model::quantity::ByteSize;
use coracle_model::workload::{PodId, Workload, WorkloadId};
use futures::stream::BoxStream;

use crate::build::{BuildProgress, BuildRequest, BuiltImage, PullCredentials, RegistryCredentials};
use crate::engine::{Capabilities, Engine, EngineEvent, EngineVersion, ImageInfo, VolumeInfo};
use crate::error::EngineError;
use crate::fault::{Answer, Fault, Verb, unavailable};
use crate::stream::{Duplex, ExecRequest, LogRequest, LogStream, Session};
use crate::usage::EngineUsage;

/// An engine around another one that goes wrong where a test says.
pub struct Flaky {
    inner: Arc<dyn Engine>,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    calls: Vec<Verb>,
    faults: BTreeMap<usize, Fault>,
    /// From this call on everything hangs: the process was stopped there.
    stopped_at: Option<usize>,
}

impl Flaky {
    /// Around `inner`, without faults yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>) -> Self {
        Self {
            inner,
            plan: Mutex::default(),
        }
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the call with this number (the first is 0, counted from the beginning) go wrong.
    pub fn fail_at(&self, call: usize, fault: Fault) {
        self.plan().faults.insert(call, fault);
    }

    /// The process stops before the call with this number: it and all later ones never return.
    pub fn stop_at(&self, call: usize) {
        self.plan().stopped_at = Some(call);
    }

    /// No more faults.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.faults.clear();
        plan.stopped_at = None;
    }

    /// The calls made so far that change something, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Verb> {
        self.plan().calls.clone()
    }

    /// The engine inside.
    #[must_use]
    pub fn inner(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.inner)
    }

    async fn through<T>(
        &self,
        verb: Verb,
        call: impl Future<Output = Result<T, EngineError>> + Send,
    ) -> Result<T, EngineError> {
        let fault = if verb.changes() {
            let mut plan = self.plan();
            let number = plan.calls.len();
            plan.calls.push(verb);
            match plan.stopped_at {
                Some(stop) if number >= stop => Some(Fault::Hangs),
                _ => plan.faults.get(&number).copied(),
            }
        } else {
            None
        };
        let answer = match fault {
            Some(fault) => fault.before().await?,
            None => Answer::Given,
        };
        let result = call.await;
        match answer {
            Answer::Given => result,
            Answer::Lost => Err(unavailable("the answer was lost")),
        }
    }
}

#[async_trait]
impl Engine for Flaky {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn ping(&self) -> Result<EngineVersion, EngineError> {
        self.through(Verb::Ping, self.inner.ping()).await
    }

    async fn ensure_project(&self, project: &ProjectName) -> Result<(), EngineError> {
        self.through(Verb::EnsureProject, self.inner.ensure_project(project))
            .await
    }

    async fn set_pull_credentials(
        &self,
        project: &ProjectName,
        pull: &PullCredentials,
    ) -> Result<(), EngineError> {
        let call = self.inner.set_pull_credentials(project, pull);
        self.through(Verb::SetPullCredentials, call).await
    }

    async fn remove_project(&self, project: &ProjectName) -> Result<(), EngineError> {
        self.through(Verb::RemoveProject, self.inner.remove_project(project))
            .await
    }

    async fn apply(&self, workload: Workload) -> Result<(), EngineError> {
        self.through(Verb::Apply, self.inner.apply(workload)).await
    }

    async fn remove(&self, id: &WorkloadId) -> Result<(), EngineError> {
        self.through(Verb::Remove, self.inner.remove(id)).await
    }

    async fn drained(&self, pod: &PodId) -> Result<(), EngineError> {
        self.through(Verb::Drained, self.inner.drained(pod)).await
    }

    async fn restart(&self, pod: &PodId) -> Result<(), EngineError> {
        self.through(Verb::Restart, self.inner.restart(pod)).await
    }

    async fn delete_pod(&self, pod: &PodId) -> Result<(), EngineError> {
        self.through(Verb::DeletePod, self.inner.delete_pod(pod))
            .await
    }

    fn watch(&self) -> BoxStream<'static, EngineEvent> {
        self.inner.watch()
    }

    async fn logs(&self, pod: &PodId, request: LogRequest) -> Result<LogStream, EngineError> {
        self.through(Verb::Logs, self.inner.logs(pod, request))
            .await
    }

    async fn exec(&self, pod: &PodId, request: ExecRequest) -> Result<Session, EngineError> {
        self.through(Verb::Exec, self.inner.exec(pod, request))
            .await
    }

    async fn attach(&self, pod: &PodId) -> Result<Session, EngineError> {
        self.through(Verb::Attach, self.inner.attach(pod)).await
    }

    async fn describe(&self, pod: &PodId) -> Result<serde_json::Value, EngineError> {
        self.through(Verb::Describe, self.inner.describe(pod)).await
    }

    async fn connect(&self, pod: &PodId, port: u16) -> Result<Box<dyn Duplex>, EngineError> {
        self.through(Verb::Connect, self.inner.connect(pod, port))
            .await
    }

    async fn stats(&self, pod: &PodId) -> Result<PodStats, EngineError> {
        self.through(Verb::Stats, self.inner.stats(pod)).await
    }

    async fn usage(&self) -> Result<EngineUsage, EngineError> {
        self.through(Verb::Usage, self.inner.usage()).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        self.through(Verb::Nodes, self.inner.nodes()).await
    }

    async fn cordon(&self, node: &str) -> Result<(), EngineError> {
        self.through(Verb::Cordon, self.inner.cordon(node)).await
    }

    async fn uncordon(&self, node: &str) -> Result<(), EngineError> {
        self.through(Verb::Uncordon, self.inner.uncordon(node))
            .await
    }

    async fn resolve_image(
        &self,
        image: &ImageRef,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<ImageInfo, EngineError> {
        let call = self.inner.resolve_image(image, credentials);
        self.through(Verb::ResolveImage, call).await
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<(), EngineError> {
        self.through(Verb::RemoveImage, self.inner.remove_image(image))
            .await
    }

    async fn build(
        &self,
        request: BuildRequest,
        progress: BuildProgress,
    ) -> Result<BuiltImage, EngineError> {
        self.through(Verb::Build, self.inner.build(request, progress))
            .await
    }

    async fn end_builds_except(&self, going_on: &BTreeSet<String>) -> Result<(), EngineError> {
        self.inner.end_builds_except(going_on).await
    }

    async fn ensure_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeName,
        size: Option<ByteSize>,
    ) -> Result<(), EngineError> {
        let call = self.inner.ensure_volume(project, volume, size);
        self.through(Verb::EnsureVolume, call).await
    }

    async fn volumes(&self) -> Result<Vec<VolumeInfo>, EngineError> {
        self.through(Verb::Volumes, self.inner.volumes()).await
    }

    async fn remove_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeName,
    ) -> Result<(), EngineError> {
        let call = self.inner.remove_volume(project, volume);
        self.through(Verb::RemoveVolume, call).await
    }
}
