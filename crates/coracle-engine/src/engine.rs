//! The port that runs workloads, and its laws.
//!
//! Laws, checked by the conformance suite on every engine:
//! 1. `apply` and `remove` are idempotent, return once the wish is taken up (not once it is fulfilled), and
//!    the last wish for a workload wins.
//! 2. What is observed converges to the last wishes, whatever happens in between: pods that vanish are
//!    replaced, pods too many are stopped, a crash of this process at any line leaves nothing that a new
//!    engine with the same wishes does not put right.
//! 3. Pods of workloads for which no wish was told in this process's life are reported and left alone.
//! 4. `watch` begins with an `Applied` for everything that exists, then one `Synced`, then every change in
//!    order. A watcher that falls behind gets a fresh start (everything again, and `Synced` again), never a gap.
//!    `Synced` waits until everything could be read: a watch that begins while what the engine drives is away may
//!    tell of some things before, and of changes of them, but not that this is all. Up to `Synced` a pod that was
//!    ready in a life before is told as nothing less, so that it keeps its traffic.
//! 5. A pod is reported `stopping` before it stops serving because of a wish. It gets SIGTERM when
//!    [`Engine::drained`] was called for it or its `drain` time is over, and SIGKILL `stop_grace` after that. A pod
//!    that was never ready since its start had no requests: it is not waited for.
//! 6. Nothing that is not the platform's own is ever changed, removed or reported.
//! 7. A pod has one address from its start to its end, over restarts, and shares it with no other pod of
//!    the platform that exists at the same time.
//! 8. A cordoned node gets no new pods. Those that it has stay, and are started again in place. A pod for which no
//!    open node is left is `pending` with the reason of [`coracle_model::node::cordoned_reason`], and comes up
//!    once a node is uncordoned; until then it is on no node. Cordons outlive this process; [`Engine::watch`] tells of
//!    them.
//! 9. Replicas of one workload are spread over the nodes that are ready and open.
//! 10. A new generation of a replicated workload surges: all of its pods are made beside the old ones, and an old one
//!     goes as a new one becomes ready, so that never fewer serve than were wished. A workload of one pod under its
//!     own name cannot: there the old pod is gone before the new one is made.
//! 11. [`Engine::delete_pod`] of a replicated workload's pod leaves the wish: another pod comes in its place. Of a pod
//!     that stands alone (single, task) it takes the wish along: nothing comes until it is applied again.
//! 12. [`Engine::usage`] tells of pods of the platform that run, each at most once, and of none that has ended. What could
//!     not be read is left out, and never told as nothing. A total of one run of a pod never falls, and its time neither.
//!     A look costs little however many pods there are: no request is made for a pod of its own.

use std::collections::BTreeSet;

use async_trait::async_trait;
use coracle_model::name::{ImageRef, PodName, ProjectName, VolumeName};
use coracle_model::node::Node;
use coracle_model::pod::PodStats;
use coracle_model::quantity::ByteSize;
use coracle_model::workload::{ObservedPod, PodId, Workload, WorkloadId};
use futures::stream::BoxStream;

use crate::build::{BuildProgress, BuildRequest, BuiltImage, PullCredentials, RegistryCredentials};
use crate::error::EngineError;
use crate::stream::{Duplex, ExecRequest, LogRequest, LogStream, Session};
use crate::usage::EngineUsage;

/// What runs workloads. See the module's laws.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// What this engine can do.
    fn capabilities(&self) -> Capabilities;

    /// Is it there? Cheap; for health checks.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] when it does not answer.
    async fn ping(&self) -> Result<EngineVersion, EngineError>;

    /// Makes sure that a project has its network. `apply` does so too.
    ///
    /// # Errors
    /// [`EngineError::Full`] when there is no subnet left.
    async fn ensure_project(&self, project: &ProjectName) -> Result<(), EngineError>;

    /// Tells how images of the platform's own registry are pulled for the pods of a project, and of no other. The last
    /// told counts. An engine keeps it in memory, and at its nodes where those pull by themselves: until it is told in
    /// this process's life, what stands there from a life before is left. [`Engine::remove_project`] forgets it.
    ///
    /// # Errors
    /// When the engine cannot be reached or refuses.
    async fn set_pull_credentials(
        &self,
        project: &ProjectName,
        pull: &PullCredentials,
    ) -> Result<(), EngineError>;

    /// Removes a project's network and whatever pods are left in it; no error when there is none.
    ///
    /// # Errors
    /// When the engine cannot be reached or refuses.
    async fn remove_project(&self, project: &ProjectName) -> Result<(), EngineError>;

    /// Wishes that a workload runs.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for what can never run. Everything that shows later (an image that is not
    /// there, a crash) shows in the pods' status instead.
    async fn apply(&self, workload: Workload) -> Result<(), EngineError>;

    /// Wishes that a workload has no pods. No error when there is none.
    ///
    /// # Errors
    /// When the engine cannot take up the wish.
    async fn remove(&self, id: &WorkloadId) -> Result<(), EngineError>;

    /// Tells that no request is in flight to a `stopping` pod, so that it may be stopped now. No error when
    /// there is no such pod or it is not stopping.
    ///
    /// # Errors
    /// When the engine cannot take up the wish.
    async fn drained(&self, pod: &PodId) -> Result<(), EngineError>;

    /// Stops a pod and starts it again ("restart" by hand): in place where the engine can, else by another pod
    /// ([`Capabilities::restarts`]). Either way it is reported `stopping` first and drained (law 5).
    ///
    /// # Errors
    /// [`EngineError::NoSuchPod`]; [`EngineError::WrongPhase`] for a pod that is on its way out, or a task that ended;
    /// [`EngineError::Refused`] for a task where pods are replaced.
    async fn restart(&self, pod: &PodId) -> Result<(), EngineError>;

    /// Stops one pod of a workload for good (law 11).
    ///
    /// # Errors
    /// [`EngineError::NoSuchPod`].
    async fn delete_pod(&self, pod: &PodId) -> Result<(), EngineError>;

    /// Everything that exists, then every change (law 4).
    fn watch(&self) -> BoxStream<'static, EngineEvent>;

    /// A pod's log.
    ///
    /// # Errors
    /// [`EngineError::NoSuchPod`].
    async fn logs(&self, pod: &PodId, request: LogRequest) -> Result<LogStream, EngineError>;

    /// Runs a command in a running pod.
    ///
    /// # Errors
    /// [`EngineError::NoSuchPod`], [`EngineError::WrongPhase`].
    async fn exec(&self, pod: &PodId, request: ExecRequest) -> Result<Session, EngineError>;

    /// What the engine itself says of a pod, in its own words: for people who look for a fault. Without values of variables
    /// and credentials ([`crate::describe::redact`]), wherever they stand in it.
    ///
    /// # Errors
    /// [`EngineError::NoSuchPod`].
    async fn describe(&self, pod: &PodId) -> Result<serde_json::Value, EngineError>;

    /// Connects to the command of a task that starts on attach, and starts it.
    ///
    /// # Errors
    /// [`EngineError::NoSuchPod`]; [`EngineError::WrongPhase`] when it was attached to before.
    async fn attach(&self, pod: &PodId) -> Result<Session, EngineError>;

    /// Opens a byte stream to a TCP port of a pod.
    ///
    /// The two directions do not hold each other up, a reader that is slow holds its writer back, and no more than a
    /// bounded piece of either is kept on the way. To shut the writing half down ends what is sent to the pod and
    /// nothing else ([`Capabilities::connection_end`]); dropping the stream ends the connection.
    ///
    /// # Errors
    /// [`EngineError::NoSuchPod`], [`EngineError::WrongPhase`]; [`EngineError::Unreachable`] where nothing listens. An
    /// engine that hears of that late tells it by the first read: an error of kind
    /// [`ConnectionRefused`](std::io::ErrorKind::ConnectionRefused).
    async fn connect(&self, pod: &PodId, port: u16) -> Result<Box<dyn Duplex>, EngineError>;

    /// What a pod uses now.
    ///
    /// # Errors
    /// [`EngineError::NoSuchPod`], [`EngineError::WrongPhase`].
    async fn stats(&self, pod: &PodId) -> Result<PodStats, EngineError>;

    /// What all pods and nodes use, at one look (law 12): for whoever looks again and again. [`Engine::stats`] tells more
    /// of one pod.
    ///
    /// # Errors
    /// When nothing can be read at all.
    async fn usage(&self) -> Result<EngineUsage, EngineError>;

    /// The nodes as they are now, use included (asked for when somebody looks; [`Engine::watch`] tells of
    /// readiness and capacity).
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn nodes(&self) -> Result<Vec<Node>, EngineError>;

    /// Wishes that a node gets no new pods (law 8). No error when it is cordoned already.
    ///
    /// # Errors
    /// [`EngineError::NoSuchNode`].
    async fn cordon(&self, node: &str) -> Result<(), EngineError>;

    /// Wishes that a node may get new pods again. No error when it is not cordoned.
    ///
    /// # Errors
    /// [`EngineError::NoSuchNode`].
    async fn uncordon(&self, node: &str) -> Result<(), EngineError>;

    /// Makes sure that an image is here and says which it is exactly. A local image is taken as it is; else
    /// it is pulled.
    ///
    /// # Errors
    /// [`EngineError::ImageUnavailable`]; [`EngineError::RegistryUnavailable`] while its registry does not answer, as far as
    /// the engine can tell.
    async fn resolve_image(
        &self,
        image: &ImageRef,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<ImageInfo, EngineError>;

    /// Removes an image from the engine's own cache, if nothing uses it. No error when it is not there.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn remove_image(&self, image: &ImageRef) -> Result<(), EngineError>;

    /// Turns source into an image in the registry.
    ///
    /// # Errors
    /// [`EngineError::BuildFailed`] with what the person who asked must read (a Dockerfile's error with its
    /// line), [`EngineError::BuildEnded`].
    async fn build(
        &self,
        request: BuildRequest,
        progress: BuildProgress,
    ) -> Result<BuiltImage, EngineError>;

    /// Ends what is left of builds of a life before, but for those whose ids are in `going_on`: they are asked for again
    /// by [`Engine::build`], which goes on with them. An engine whose builds end with its process has nothing to do.
    ///
    /// # Errors
    /// When the engine cannot be reached or refuses.
    async fn end_builds_except(&self, going_on: &BTreeSet<String>) -> Result<(), EngineError> {
        let _all_ended = going_on;
        Ok(())
    }

    /// Makes sure that a volume exists. `apply` does so too.
    ///
    /// # Errors
    /// When the engine cannot be reached or refuses.
    async fn ensure_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeName,
        size: Option<ByteSize>,
    ) -> Result<(), EngineError>;

    /// The platform's volumes.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    async fn volumes(&self) -> Result<Vec<VolumeInfo>, EngineError>;

    /// Removes a volume and its data. No error when there is none.
    ///
    /// # Errors
    /// [`EngineError::Refused`] while a pod uses it.
    async fn remove_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeName,
    ) -> Result<(), EngineError>;
}

/// What an engine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What it is called in messages: `docker`, `kubernetes`, `sim`.
    pub name: &'static str,
    /// Can it build images itself?
    pub builds: Support,
    /// Can volumes be held to their size?
    pub volume_sizes: Support,
    /// What [`Engine::restart`] does.
    pub restarts: Restarts,
    /// Do the names of a pod lead to it that are no names of its workload: its own where it is one of several, and those
    /// with dots?
    pub own_names: Support,
    /// Is it known which of its two outputs a line of a pod's log came from? Else all lines count as standard output.
    pub log_channels: Support,
    /// Can a command in a pod be told that its input has ended? Where that shows only at the first command, it is
    /// [`Support::No`] until then.
    pub input_end: Support,
    /// Is a pod told that nothing more is sent to it on a connection ([`Engine::connect`])? Where it is not, its answer is
    /// read until it has been silent for a while.
    pub connection_end: Support,
    /// Is it known how many processes a pod has? Else [`PodStats::pids`] is 0.
    pub process_counts: Support,
}

/// What a restart of a pod does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    /// The same pod begins again, with its name and address.
    InPlace,
    /// Another pod takes its place: at once and under another name where it is one of several, after its end and under
    /// the same name where it is the only one. Tasks cannot be restarted.
    Replaces,
}

/// Is something there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Yes.
    Yes,
    /// No; it is done without, or refused with [`EngineError::Unsupported`].
    No,
}

/// What answered a ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineVersion {
    /// Of the engine's software.
    pub software: String,
    /// Of its API.
    pub api: String,
}

/// A change of what is observed.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all events are pods: a box for each would cost more than it saves"
)]
pub enum EngineEvent {
    /// A pod appeared or changed: this is all of it.
    Pod(ObservedPod),
    /// A pod is gone.
    PodGone(PodId),
    /// A node appeared or changed.
    Node(Box<Node>),
    /// A node is gone.
    NodeGone(String),
    /// A fresh start begins: forget everything, all that exists follows, then [`EngineEvent::Synced`].
    Reset,
    /// All that existed was told.
    Synced,
}

/// An image that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// What pins it: `path@sha256:…` where a registry has it, else its local id `sha256:…`.
    pub pinned: ImageRef,
    /// Ports that it says it listens on.
    pub ports: Vec<u16>,
    /// Bytes on disk.
    pub bytes: u64,
}

/// A volume of the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: VolumeName,
    /// The size that was asked for.
    pub size: Option<ByteSize>,
    /// When it was made, where the engine knows.
    pub created: Option<chrono::DateTime<chrono::Utc>>,
    /// Bytes that its data takes, where the engine can tell without reading all of it.
    pub used_bytes: Option<u64>,
    /// Pods that mount it.
    pub used_by: Vec<PodName>,
}
