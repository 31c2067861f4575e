//! A suite that never fails proves nothing: each of these engines breaks one law, and a case must notice.

#![expect(clippy::unwrap_used, reason = "a test's helpers")]

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use coracle_engine::build::{
    BuildProgress, BuildRequest, BuiltImage, PullCredentials, RegistryCredentials,
};
use coracle_engine::conformance::{Bench, TestedWorld, World, case};
use coracle_engine::engine::{Capabilities, EngineVersion, ImageInfo, VolumeInfo};
use coracle_engine::sim::{SimConfig, SimControl};
use coracle_engine::stream::{
    Channel, Duplex, ExecRequest, LogRequest, LogStream, Session, SessionOutput,
};
use coracle_engine::{Engine, EngineError, EngineEvent, EngineUsage, Support};
use coracle_model::name::{ImageRef, ProjectName, VolumeName};
use coracle_model::node::{Node, Scheduling};
use coracle_model::pod::{PodPhase, PodStats};
use coracle_model::quantity::ByteSize;
use coracle_model::usage::{Processor, Reading};
use coracle_model::workload::{ObservedPod, PodId, Workload, WorkloadId};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};

/// How an engine breaks the law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sin {
    /// Each `apply` is a new generation.
    ApplyReplaces,
    /// Only the first wish for a workload counts.
    FirstWishWins,
    RemoveForgotten,
    /// `drained` is called by the engine itself.
    NoDrain,
    DrainedForgotten,
    DeleteForgotten,
    RestartForgotten,
    ReadyAtOnce,
    StoppingHidden,
    ReasonHidden,
    ExitHidden,
    OwnerForgotten,
    RestartsHidden,
    AddressShared,
    GoneHidden,
    SyncedFirst,
    LogCut,
    OutputLost,
    StatusLost,
    InputLost,
    /// A new engine removes what it has no wish for.
    StrangersRemoved,
    /// A new engine reports pods as starting until it has probed them.
    StartsUnready,
    WrongPort,
    ProjectKept,
    VolumeLostInUse,
    ImagesAlwaysThere,
    BuildsAlwaysGood,
    CordonForgotten,
    /// Cordoning takes the pods away.
    CordonEvicts,
    /// A second `cordon` ends the first.
    CordonToggles,
    UncordonForgotten,
    /// A new engine knows nothing of the cordons of the one before.
    CordonLost,
    AnyNodeAccepted,
    /// The watch never tells of a cordon.
    CordonHidden,
    /// A description has the values of variables.
    ValuesTold,
    /// All pods come to one node.
    Crowded,
    UsageHidden,
    UsageTwice,
    UsageOfTheEnded,
    UsageFalls,
}

struct Broken {
    inner: Arc<dyn Engine>,
    control: SimControl,
    sin: Sin,
    applied: Mutex<Vec<WorkloadId>>,
}

impl Broken {
    fn is(&self, sin: Sin) -> bool {
        self.sin == sin
    }
}

fn seen_by(sin: Sin, mut pod: ObservedPod) -> Vec<EngineEvent> {
    match sin {
        Sin::ReadyAtOnce if pod.status.phase == PodPhase::Starting => {
            pod.status.phase = PodPhase::Ready;
        }
        Sin::StoppingHidden if pod.status.phase == PodPhase::Stopping => {
            pod.status.phase = PodPhase::Ready;
        }
        Sin::ReasonHidden => pod.status.reason = None,
        Sin::ExitHidden => pod.status.exit = None,
        Sin::OwnerForgotten => pod.owner = Default::default(),
        Sin::RestartsHidden => pod.status.restarts = 0,
        Sin::Crowded => pod.status.node = Some("node-a".into()),
        Sin::AddressShared => pod.status.address = "10.0.0.1".parse().ok(),
        _ => {}
    }
    vec![EngineEvent::Pod(pod)]
}

fn seen(sin: Sin, event: EngineEvent) -> Vec<EngineEvent> {
    match event {
        EngineEvent::Pod(pod) => seen_by(sin, pod),
        EngineEvent::PodGone(_) if sin == Sin::GoneHidden => Vec::new(),
        EngineEvent::Synced if sin == Sin::SyncedFirst => Vec::new(),
        EngineEvent::Node(mut node) if sin == Sin::CordonHidden => {
            node.spec.scheduling = Scheduling::Open;
            vec![EngineEvent::Node(node)]
        }
        other => vec![other],
    }
}

#[async_trait]
impl Engine for Broken {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn ping(&self) -> Result<EngineVersion, EngineError> {
        self.inner.ping().await
    }
    async fn ensure_project(&self, project: &ProjectName) -> Result<(), EngineError> {
        self.inner.ensure_project(project).await
    }
    async fn set_pull_credentials(
        &self,
        project: &ProjectName,
        pull: &PullCredentials,
    ) -> Result<(), EngineError> {
        self.inner.set_pull_credentials(project, pull).await
    }
    async fn remove_project(&self, project: &ProjectName) -> Result<(), EngineError> {
        if self.is(Sin::ProjectKept) {
            return Ok(());
        }
        self.inner.remove_project(project).await
    }
    async fn apply(&self, mut workload: Workload) -> Result<(), EngineError> {
        let number = {
            let mut applied = self.applied.lock().unwrap();
            applied.push(workload.id.clone());
            applied.iter().filter(|id| **id == workload.id).count()
        };
        match self.sin {
            Sin::ApplyReplaces => workload.generation += number as u64,
            Sin::FirstWishWins if number > 1 => return Ok(()),
            _ => {}
        }
        self.inner.apply(workload).await
    }
    async fn remove(&self, id: &WorkloadId) -> Result<(), EngineError> {
        if self.is(Sin::RemoveForgotten) {
            return Ok(());
        }
        self.inner.remove(id).await?;
        if self.is(Sin::NoDrain) {
            let mut watch = self.inner.watch();
            while let Some(event) = watch.next().await.filter(|e| *e != EngineEvent::Synced) {
                if let EngineEvent::Pod(pod) = event {
                    self.inner.drained(&pod.id).await?;
                }
            }
        }
        Ok(())
    }
    async fn drained(&self, pod: &PodId) -> Result<(), EngineError> {
        if self.is(Sin::DrainedForgotten) {
            return Ok(());
        }
        self.inner.drained(pod).await
    }
    async fn restart(&self, pod: &PodId) -> Result<(), EngineError> {
        if self.is(Sin::RestartForgotten) {
            return Ok(());
        }
        self.inner.restart(pod).await
    }
    async fn delete_pod(&self, pod: &PodId) -> Result<(), EngineError> {
        if self.is(Sin::DeleteForgotten) {
            return Ok(());
        }
        self.inner.delete_pod(pod).await
    }
    fn watch(&self) -> BoxStream<'static, EngineEvent> {
        let sin = self.sin;
        let mut first = Vec::new();
        if sin == Sin::SyncedFirst {
            first.push(EngineEvent::Synced);
        }
        let mut synced = false;
        let events = self.inner.watch().map(move |mut event| {
            synced |= event == EngineEvent::Synced;
            if let EngineEvent::Pod(pod) = &mut event
                && sin == Sin::StartsUnready
                && !synced
                && pod.status.phase == PodPhase::Ready
            {
                pod.status.phase = PodPhase::Starting;
            }
            event
        });
        let events = events.flat_map(move |event| futures::stream::iter(seen(sin, event)));
        futures::stream::iter(first).chain(events).boxed()
    }
    async fn logs(&self, pod: &PodId, request: LogRequest) -> Result<LogStream, EngineError> {
        let lines = self.inner.logs(pod, request).await?;
        let cut = usize::from(self.is(Sin::LogCut));
        Ok(lines.skip(cut).boxed())
    }
    async fn exec(&self, pod: &PodId, request: ExecRequest) -> Result<Session, EngineError> {
        let mut session = self.inner.exec(pod, request).await?;
        match self.sin {
            Sin::StatusLost => {
                session.output = session
                    .output
                    .map(|out| match out {
                        Ok(SessionOutput::Exit(_)) => Ok(SessionOutput::Exit(0)),
                        other => other,
                    })
                    .boxed();
            }
            Sin::InputLost => session.input = tokio::sync::mpsc::channel(1).0,
            _ => {}
        }
        Ok(session)
    }
    async fn describe(&self, pod: &PodId) -> Result<serde_json::Value, EngineError> {
        let mut told = self.inner.describe(pod).await?;
        if self.is(Sin::ValuesTold) {
            told["args"] = "say=hunter2-in-plain-words".into();
        }
        Ok(told)
    }
    async fn attach(&self, pod: &PodId) -> Result<Session, EngineError> {
        let mut session = self.inner.attach(pod).await?;
        if self.is(Sin::OutputLost) {
            let mut first = true;
            let keep = move |out: &Result<SessionOutput, EngineError>| {
                let data = matches!(out, Ok(SessionOutput::Data(Channel::Stdout, _)));
                futures::future::ready(!(data && std::mem::take(&mut first)))
            };
            session.output = session.output.filter(keep).boxed();
        }
        Ok(session)
    }
    async fn connect(&self, pod: &PodId, port: u16) -> Result<Box<dyn Duplex>, EngineError> {
        let port = if self.is(Sin::WrongPort) { 8080 } else { port };
        self.inner.connect(pod, port).await
    }
    async fn stats(&self, pod: &PodId) -> Result<PodStats, EngineError> {
        self.inner.stats(pod).await
    }
    async fn usage(&self) -> Result<EngineUsage, EngineError> {
        let mut usage = self.inner.usage().await?;
        match self.sin {
            Sin::UsageHidden => usage.pods.clear(),
            Sin::UsageTwice => usage.pods.extend(usage.pods.clone()),
            Sin::UsageOfTheEnded => {
                let all = self.control.pods().into_iter();
                let runs = |id: &PodId| usage.pods.iter().any(|(told, _)| told == id);
                let ended: Vec<_> = all.map(|pod| pod.id).filter(|id| !runs(id)).collect();
                usage
                    .pods
                    .extend(ended.into_iter().map(|id| (id, Reading::default())));
            }
            Sin::UsageFalls => {
                for (_, reading) in &mut usage.pods {
                    if let Some(Processor::Time(total)) = &mut reading.cpu {
                        total.amount = u64::MAX - total.amount;
                    }
                }
            }
            _ => {}
        }
        Ok(usage)
    }
    async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        self.inner.nodes().await
    }
    async fn cordon(&self, node: &str) -> Result<(), EngineError> {
        match self.sin {
            Sin::CordonForgotten => Ok(()),
            Sin::AnyNodeAccepted => self.inner.cordon(node).await.or(Ok(())),
            Sin::CordonEvicts => {
                self.inner.cordon(node).await?;
                for pod in self.control.pods() {
                    self.inner.delete_pod(&pod.id).await?;
                }
                Ok(())
            }
            Sin::CordonToggles => {
                let nodes = self.inner.nodes().await?;
                let cordoned = nodes.iter().any(|found| {
                    found.metadata.name == node && found.spec.scheduling == Scheduling::Cordoned
                });
                if cordoned {
                    return self.inner.uncordon(node).await;
                }
                self.inner.cordon(node).await
            }
            _ => self.inner.cordon(node).await,
        }
    }
    async fn uncordon(&self, node: &str) -> Result<(), EngineError> {
        match self.sin {
            Sin::UncordonForgotten => Ok(()),
            Sin::AnyNodeAccepted => self.inner.uncordon(node).await.or(Ok(())),
            _ => self.inner.uncordon(node).await,
        }
    }
    async fn resolve_image(
        &self,
        image: &ImageRef,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<ImageInfo, EngineError> {
        let found = self.inner.resolve_image(image, credentials).await;
        if found.is_err() && self.is(Sin::ImagesAlwaysThere) {
            return Ok(ImageInfo {
                pinned: image.clone(),
                ports: Vec::new(),
                bytes: 0,
            });
        }
        found
    }
    async fn remove_image(&self, image: &ImageRef) -> Result<(), EngineError> {
        self.inner.remove_image(image).await
    }
    async fn build(
        &self,
        request: BuildRequest,
        progress: BuildProgress,
    ) -> Result<BuiltImage, EngineError> {
        let push = request.push.clone();
        let built = self.inner.build(request, progress).await;
        if built.is_err() && self.is(Sin::BuildsAlwaysGood) {
            return Ok(BuiltImage {
                reference: push,
                ports: Vec::new(),
            });
        }
        built
    }
    async fn ensure_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeName,
        size: Option<ByteSize>,
    ) -> Result<(), EngineError> {
        self.inner.ensure_volume(project, volume, size).await
    }
    async fn volumes(&self) -> Result<Vec<VolumeInfo>, EngineError> {
        self.inner.volumes().await
    }
    async fn remove_volume(
        &self,
        project: &ProjectName,
        volume: &VolumeName,
    ) -> Result<(), EngineError> {
        let removed = self.inner.remove_volume(project, volume).await;
        if self.is(Sin::VolumeLostInUse) {
            return Ok(());
        }
        removed
    }
}

struct BrokenWorld {
    inner: TestedWorld,
    sin: Sin,
}

#[async_trait]
impl World for BrokenWorld {
    async fn engine(&self) -> Arc<dyn Engine> {
        let inner = self.inner.engine().await;
        if self.sin == Sin::StrangersRemoved {
            for pod in self.inner.control().pods() {
                inner.remove(&pod.workload).await.unwrap();
            }
        }
        if self.sin == Sin::CordonLost {
            for node in inner.nodes().await.unwrap() {
                inner.uncordon(&node.metadata.name).await.unwrap();
            }
        }
        Arc::new(Broken {
            inner,
            control: self.inner.control(),
            sin: self.sin,
            applied: Mutex::default(),
        })
    }
    fn image(&self) -> ImageRef {
        self.inner.image()
    }
    fn patience(&self) -> Duration {
        self.inner.patience()
    }
    async fn cut_off(&self) -> Support {
        self.inner.cut_off().await
    }
    async fn reconnect(&self) {
        self.inner.reconnect().await;
    }
    async fn vanish(&self, pod: &PodId) {
        self.inner.vanish(pod).await;
    }
    async fn kill(&self, pod: &PodId) {
        self.inner.kill(pod).await;
    }
    async fn push_target(&self) -> Option<ImageRef> {
        self.inner.push_target().await
    }
    async fn leftovers(&self) -> Vec<String> {
        self.inner.leftovers().await
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

macro_rules! noticed {
    ($($test:ident: $sin:ident by $case:ident;)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $test() {
                let world = BrokenWorld {
                    inner: TestedWorld::new(SimConfig::with_nodes(2)),
                    sin: Sin::$sin,
                };
                let t = Bench::on(Box::new(world)).await;
                let ended = AssertUnwindSafe(case::$case(&t)).catch_unwind().await;
                assert!(ended.is_err(), "{:?} went unnoticed", Sin::$sin);
            }
        )*
    };
}

noticed! {
    apply_replaces: ApplyReplaces by apply_is_idempotent;
    first_wish_wins: FirstWishWins by the_last_wish_wins_under_a_burst;
    first_wish_wins_in_scaling: FirstWishWins by scales_out_and_in;
    first_wish_wins_in_generations: FirstWishWins by a_new_generation_replaces_the_pods;
    remove_forgotten: RemoveForgotten by removing_what_is_not_there_is_no_error;
    no_drain: NoDrain by a_stop_waits_until_it_is_drained;
    no_drain_time: NoDrain by a_stop_goes_on_when_the_drain_is_over;
    drained_forgotten: DrainedForgotten by a_draining_pod_still_serves;
    delete_forgotten: DeleteForgotten by a_deleted_pod_is_replaced;
    delete_single_forgotten: DeleteForgotten by a_deleted_single_pod_stays_away;
    restart_forgotten: RestartForgotten by a_restart_keeps_the_pod;
    ready_at_once: ReadyAtOnce by a_port_makes_it_ready;
    ready_at_once_by_http: ReadyAtOnce by a_good_http_answer_makes_it_ready;
    ready_at_once_for_ever: ReadyAtOnce by what_never_listens_stays_starting_with_a_reason;
    stopping_hidden: StoppingHidden by a_stop_waits_until_it_is_drained;
    stopping_hidden_at_restart: StoppingHidden by a_restart_keeps_the_pod;
    reason_hidden: ReasonHidden by an_image_that_is_not_there_shows_as_reason;
    reason_of_crash_hidden: ReasonHidden by a_crash_loop_counts_and_says_why;
    exit_hidden: ExitHidden by a_task_runs_once_and_keeps_its_status;
    memory_hidden: ExitHidden by memory_used_up_is_said;
    owner_forgotten: OwnerForgotten by owner_and_environment_are_kept;
    restarts_hidden: RestartsHidden by a_killed_pod_is_started_again_in_place;
    liveness_hidden: RestartsHidden by what_is_unready_for_long_is_started_again;
    address_shared: AddressShared by addresses_are_unique_and_stay;
    gone_hidden: GoneHidden by watchers_agree_under_change;
    synced_before_it_was_read: SyncedFirst by nothing_is_synced_before_it_could_be_read;
    synced_first: SyncedFirst by a_watch_begins_with_all_then_synced;
    log_cut: LogCut by logs_have_a_tail_and_an_end;
    log_cut_following: LogCut by logs_follow_over_a_restart;
    output_lost: OutputLost by attaching_loses_no_output;
    status_lost: StatusLost by exec_gives_output_and_status;
    input_lost: InputLost by exec_takes_input;
    strangers_removed: StrangersRemoved by pods_of_a_life_before_are_left_alone;
    adopted_anew: StrangersRemoved by pods_of_a_life_before_are_adopted_as_they_are;
    starts_unready: StartsUnready by a_ready_pod_is_told_ready_by_a_new_engine;
    wrong_port: WrongPort by connecting_to_a_closed_port_fails;
    project_kept: ProjectKept by a_removed_project_leaves_nothing;
    volume_lost: VolumeLostInUse by a_volume_in_use_is_not_removed;
    images_always_there: ImagesAlwaysThere by an_unknown_image_is_said_to_be_so;
    builds_always_good: BuildsAlwaysGood by a_failed_build_says_why;
    cordon_forgotten: CordonForgotten by a_cordoned_node_gets_no_new_pods;
    cordon_hidden: CordonHidden by a_cordoned_node_gets_no_new_pods;
    uncordon_forgotten: UncordonForgotten by a_cordoned_node_gets_no_new_pods;
    cordon_evicts: CordonEvicts by the_pods_of_a_cordoned_node_stay;
    reason_of_cordon_hidden: ReasonHidden by the_pods_of_a_cordoned_node_stay;
    cordon_toggles: CordonToggles by a_cordon_is_idempotent_and_outlives_the_engine;
    cordon_lost: CordonLost by a_cordon_is_idempotent_and_outlives_the_engine;
    any_node_accepted: AnyNodeAccepted by an_unknown_node_cannot_be_cordoned;
    values_told: ValuesTold by a_description_hides_the_values_of_variables;
    crowded: Crowded by replicas_are_spread;
    usage_hidden: UsageHidden by usage_tells_of_what_runs;
    usage_twice: UsageTwice by usage_tells_of_what_runs;
    usage_of_the_ended: UsageOfTheEnded by usage_leaves_out_what_has_ended;
    usage_falls: UsageFalls by usage_grows_with_work;
    delete_on_cordoned_forgotten: DeleteForgotten by a_pod_deleted_on_a_cordoned_node_comes_up_elsewhere;
}
