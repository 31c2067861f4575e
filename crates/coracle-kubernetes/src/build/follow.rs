//! A build's pod from its start to its end: what it says is told, how it ends is answered.
//!
//! Theory of operation: two watches (the Job, its pods) keep a view of what there is, for as long as the build is
//! followed. The containers run one after another, and so their logs are read. A log whose connection breaks is
//! opened again after the last line that was told. A pod that vanishes is no failure: the Job makes another, which begins
//! from the start. The Job's own end is always looked at too, because its pods may be gone by then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_engine::EngineError;
use coracle_engine::build::{BuildEvent, BuildProgress, BuildRequest};
use coracle_engine::desk::Laid;
use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Warning, Pod};
use kube::api::{ListParams, LogParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::config::BuildConfig;
use super::failed;
use super::object::{self, Stage};
use super::progress::Progress;
use super::status::{self, JobEnd, StageState};
use crate::client::{engine_error, within};
use crate::logs::{parse, read_line};
use crate::state::Core;

/// From the Job, or the pod before, to the begin of a pod's first container. A cluster that is full gets room again.
const START: Duration = Duration::from_mins(10);
/// From a log's end to the word that its container has ended.
const WORD: Duration = Duration::from_secs(10);
/// Before what a pod waits for is looked up.
const PUZZLED: Duration = Duration::from_secs(4);
/// Before a log that broke is opened again.
const AGAIN: Duration = Duration::from_secs(1);
/// A pod that was lost is replaced so often.
const PODS: usize = 4;

/// What there is of a build.
#[derive(Clone, Debug, Default)]
struct View {
    /// By uid.
    pods: BTreeMap<String, Pod>,
    job: Option<Job>,
    /// Both watches have told all that there was.
    read: Read,
}

#[derive(Clone, Copy, Debug, Default)]
struct Read {
    pods: bool,
    job: bool,
}

impl View {
    /// The pod that does the build now.
    fn pod(&self) -> Option<&Pod> {
        let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
        let created = |pod: &&Pod| pod.metadata.creation_timestamp.clone();
        self.pods.values().filter(stays).max_by_key(created)
    }

    /// How the build ended, if the Job says so.
    fn end(&self) -> Option<Result<(), EngineError>> {
        if !(self.read.pods && self.read.job) {
            return None;
        }
        let Some(job) = &self.job else {
            return Some(Err(failed("somebody removed the build's job")));
        };
        match status::job_end(job)? {
            JobEnd::Complete => Some(Ok(())),
            JobEnd::Deadline => Some(Err(EngineError::BuildEnded("its time is over"))),
            // Its pod knows better why, where there is one.
            JobEnd::Failed(_) if self.pod().is_some() => None,
            JobEnd::Failed(why) => Some(Err(failed(format!("the build's pod is gone: {why}")))),
        }
    }
}

/// How following one pod ended.
enum Ended {
    /// The image is pushed.
    Done,
    /// The pod is gone, and the Job makes another.
    Lost,
}

/// Follows a build to its end.
pub(super) async fn follow(
    core: &Arc<Core>,
    config: &BuildConfig,
    request: &BuildRequest,
    job: &Job,
    laid: &Laid,
    events: &BuildProgress,
) -> Result<(), EngineError> {
    let (sender, view) = watch::channel(View::default());
    let pods: Api<Pod> = within(&core.client, &config.namespace);
    let jobs: Api<Job> = within(&core.client, &config.namespace);
    let of_build = format!("{}={}", object::BUILD, object::id(&request.id));
    let follower = Follower {
        core,
        config,
        request,
        job,
        pods: pods.clone(),
        view,
        events,
    };
    let pods = watcher(pods, watcher::Config::default().labels(&of_build));
    let jobs = watcher(
        jobs,
        watcher::Config::default().fields(&format!("metadata.name={}", job.name_any())),
    );
    tokio::select! {
        result = follower.run(laid) => result,
        () = watch_pods(pods, &sender) => Err(failed("the watch on the build's pods ended")),
        () = watch_job(jobs, &sender) => Err(failed("the watch on the build's job ended")),
    }
}

type Watch<K> = Result<watcher::Event<K>, watcher::Error>;

/// Keeps `take` told of a kind. Comes to no end by itself.
async fn keep<K>(
    events: impl futures::Stream<Item = Watch<K>> + Send,
    mut take: impl FnMut(watcher::Event<K>),
) where
    K: Resource + Clone + DeserializeOwned + Send + 'static,
{
    let mut events = std::pin::pin!(events.default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(event),
            Err(error) => tracing::debug!(%error, "a build cannot be watched just now"),
        }
    }
}

async fn watch_pods(
    events: impl futures::Stream<Item = Watch<Pod>> + Send,
    view: &watch::Sender<View>,
) {
    let mut fresh = BTreeMap::new();
    let uid = |pod: &Pod| pod.uid().unwrap_or_default();
    keep(events, |event| match event {
        watcher::Event::Init => fresh.clear(),
        watcher::Event::InitApply(pod) => drop(fresh.insert(uid(&pod), pod)),
        watcher::Event::InitDone => view.send_modify(|view| {
            view.pods = std::mem::take(&mut fresh);
            view.read.pods = true;
        }),
        watcher::Event::Apply(pod) => {
            view.send_modify(|view| drop(view.pods.insert(uid(&pod), pod)));
        }
        watcher::Event::Delete(pod) => {
            view.send_modify(|view| drop(view.pods.remove(&uid(&pod))));
        }
    })
    .await;
}

async fn watch_job(
    events: impl futures::Stream<Item = Watch<Job>> + Send,
    view: &watch::Sender<View>,
) {
    let mut fresh = None;
    keep(events, |event| match event {
        watcher::Event::Init => fresh = None,
        watcher::Event::InitApply(job) => fresh = Some(job),
        watcher::Event::InitDone => view.send_modify(|view| {
            view.job = fresh.take();
            view.read.job = true;
        }),
        watcher::Event::Apply(job) => view.send_modify(|view| view.job = Some(job)),
        watcher::Event::Delete(_) => view.send_modify(|view| view.job = None),
    })
    .await;
}

struct Follower<'a> {
    core: &'a Arc<Core>,
    config: &'a BuildConfig,
    request: &'a BuildRequest,
    job: &'a Job,
    pods: Api<Pod>,
    view: watch::Receiver<View>,
    events: &'a BuildProgress,
}

impl Follower<'_> {
    async fn run(mut self, laid: &Laid) -> Result<(), EngineError> {
        let mut last = None;
        for _ in 0..PODS {
            let Some(pod) = self.next_pod(last.as_deref()).await? else {
                return Ok(());
            };
            if last.is_some() {
                self.note("the build's pod was lost: another one does it from the start")
                    .await;
                laid.again();
            }
            match self.pod(&pod).await? {
                Ended::Done => return Ok(()),
                Ended::Lost => last = pod.uid(),
            }
        }
        Err(failed(format!("the build's pod was lost {PODS} times")))
    }

    /// Waits for something in the view, or for a moment.
    async fn when<T>(
        &mut self,
        until: Option<Instant>,
        mut look: impl FnMut(&View) -> Option<T>,
    ) -> Option<T> {
        loop {
            if let Some(found) = look(&self.view.borrow_and_update()) {
                return Some(found);
            }
            let moment = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.view.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = moment => return None,
            }
        }
    }

    /// The pod that does the build, and is not the one before. Nothing when the Job is complete without.
    async fn next_pod(&mut self, before: Option<&str>) -> Result<Option<Pod>, EngineError> {
        let deadline = Instant::now() + START;
        let mut told = String::new();
        loop {
            let puzzled = (Instant::now() + PUZZLED).min(deadline);
            let found = self
                .when(Some(puzzled), |view| {
                    let other = |pod: &&Pod| pod.metadata.uid.as_deref() != before;
                    if let Some(pod) = view.pod().filter(other) {
                        return Some(Ok(Some(pod.clone())));
                    }
                    view.end().map(|end| end.map(|()| None))
                })
                .await;
            if let Some(found) = found {
                return found;
            }
            let why = self.warning(self.job.uid()).await;
            if Instant::now() >= deadline {
                let why = why.unwrap_or_else(|| "nobody says why".to_owned());
                return Err(failed(format!("the build's pod was not made: {why}")));
            }
            self.note_once(&mut told, why).await;
        }
    }

    /// The last warning about an object.
    async fn warning(&self, uid: Option<String>) -> Option<String> {
        let warnings: Api<Warning> = within(&self.core.client, &self.config.namespace);
        let fields = format!("type=Warning,involvedObject.uid={}", uid?);
        let found = warnings.list(&ListParams::default().fields(&fields)).await;
        let mut found = found.ok()?.items;
        found.sort_by_key(|warning| warning.metadata.resource_version.as_ref().map(String::len));
        found.sort_by_key(|warning| warning.last_timestamp.clone());
        found.pop()?.message
    }

    async fn note_once(&self, told: &mut String, why: Option<String>) {
        if let Some(why) = why
            && *told != why
        {
            self.note(&format!("waiting: {why}")).await;
            *told = why;
        }
    }

    async fn note(&self, text: &str) {
        self.tell(BuildEvent::Output {
            id: "pod".to_owned(),
            text: text.to_owned(),
        })
        .await;
    }

    /// Nobody who reads is no reason not to build.
    async fn tell(&self, event: BuildEvent) {
        if self.events.send(event).await.is_err() {
            tracing::trace!("nobody reads the build's progress");
        }
    }

    /// Follows one pod.
    async fn pod(&mut self, pod: &Pod) -> Result<Ended, EngineError> {
        let uid = pod.uid().unwrap_or_default();
        for stage in Stage::of(self.config.tool) {
            if let Some(ended) = self.begun(&uid, *stage).await? {
                return Ok(ended);
            }
            let mut progress = Progress::new(self.config.tool, *stage);
            let state = self
                .read(&uid, &pod.name_any(), *stage, &mut progress)
                .await?;
            let Some((status, memory)) = state else {
                return Ok(Ended::Lost);
            };
            let why = (status != 0).then(|| {
                let mut last = progress.last_lines();
                if last.is_empty() {
                    let view = self.view.borrow();
                    let pod = view.pods.get(&uid);
                    last.extend(pod.and_then(|pod| status::message(pod, *stage)));
                }
                let limit = self.request.limits.memory_bytes;
                status::explain(*stage, status, memory, &last, limit)
            });
            let first = why.as_deref().and_then(|why| why.lines().next());
            for event in progress.end(Utc::now(), first) {
                self.tell(event).await;
            }
            if let Some(why) = why {
                return Err(self.failure(&uid, *stage, why).await);
            }
        }
        Ok(Ended::Done)
    }

    /// Waits until a container has begun. Answers when it will not.
    async fn begun(&mut self, uid: &str, stage: Stage) -> Result<Option<Ended>, EngineError> {
        let deadline = Instant::now() + START;
        let mut told = String::new();
        loop {
            let puzzled = (Instant::now() + PUZZLED).min(deadline);
            let found = self
                .when(Some(puzzled), |view| {
                    let Some(pod) = view.pods.get(uid) else {
                        let end = view.end();
                        return Some(
                            end.map_or(Ok(Some(Ended::Lost)), |end| {
                                end.map(|()| Some(Ended::Done))
                            }),
                        );
                    };
                    match status::stage(pod, stage) {
                        StageState::Running | StageState::Ended { .. } => Some(Ok(None)),
                        StageState::Waiting(Some(why)) if status::is_hopeless(&why) => {
                            Some(Err(failed(format!("the build cannot begin: {why}"))))
                        }
                        StageState::Waiting(_) => match status::ended_from_outside(pod) {
                            Some(why) => Some(Err(evicted(&why, self.config))),
                            None => view.end().map(|end| end.map(|()| Some(Ended::Done))),
                        },
                    }
                })
                .await;
            if let Some(found) = found {
                return found;
            }
            let waiting = {
                let view = self.view.borrow();
                match view.pods.get(uid).map(|pod| status::stage(pod, stage)) {
                    Some(StageState::Waiting(why)) => why,
                    _ => None,
                }
            };
            let why = match waiting {
                Some(why) => Some(why),
                None => self.warning(Some(uid.to_owned())).await,
            };
            if Instant::now() >= deadline {
                let why = why.unwrap_or_else(|| "nobody says why".to_owned());
                let name = stage.name();
                return Err(failed(format!(
                    "the container {name} of the build did not begin: {why}"
                )));
            }
            self.note_once(&mut told, why).await;
        }
    }

    /// Reads a container's log to its end, and says how it ended. Nothing when the pod is gone.
    async fn read(
        &mut self,
        uid: &str,
        name: &str,
        stage: Stage,
        progress: &mut Progress,
    ) -> Result<Option<(i32, status::Memory)>, EngineError> {
        let mut after: Option<DateTime<Utc>> = None;
        loop {
            if let Err(error) = self.lines(name, stage, progress, &mut after).await {
                tracing::debug!(%error, stage = stage.name(), "a build's log broke");
            }
            let word = Instant::now() + WORD;
            let found = self
                .when(Some(word), |view| {
                    let Some(pod) = view.pods.get(uid) else {
                        let end = view.end();
                        return Some(end.map_or(Ok(None), |end| match end {
                            Ok(()) => Ok(Some((0, status::Memory::Fine))),
                            Err(error) => Err(error),
                        }));
                    };
                    if let StageState::Ended { status, memory } = status::stage(pod, stage) {
                        return Some(Ok(Some((status, memory))));
                    }
                    let why = status::ended_from_outside(pod)?;
                    Some(Err(evicted(&why, self.config)))
                })
                .await;
            if let Some(found) = found {
                return found;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Tells a log's lines that are later than `after`, to the log's end.
    async fn lines(
        &self,
        name: &str,
        stage: Stage,
        progress: &mut Progress,
        after: &mut Option<DateTime<Utc>>,
    ) -> Result<(), EngineError> {
        let since = *after;
        let parameters = LogParams {
            container: Some(stage.name().to_owned()),
            follow: true,
            timestamps: true,
            // The API counts whole seconds from now; the lines themselves say exactly.
            since_seconds: since.map(|at| (Utc::now() - at).num_seconds().saturating_add(2).max(1)),
            ..LogParams::default()
        };
        let log = self.pods.log_stream(name, &parameters).await;
        let mut log = log.map_err(engine_error)?.compat();
        while let Some(line) = read_line(&mut log).await {
            let line = parse(&line);
            if since.is_some_and(|since| line.at <= since) {
                continue;
            }
            *after = Some(line.at);
            for event in progress.line(line.at, &line.text) {
                self.tell(event).await;
            }
        }
        Ok(())
    }

    /// Why a container failed: for what was done to it, or for what it said.
    async fn failure(&mut self, uid: &str, stage: Stage, why: String) -> EngineError {
        // Whoever ended it writes so a moment later.
        let short = Instant::now() + AGAIN;
        let outside = self
            .when(Some(short), |view| match view.end() {
                Some(Err(error)) => Some(error),
                _ => {
                    let why = status::ended_from_outside(view.pods.get(uid)?)?;
                    Some(evicted(&why, self.config))
                }
            })
            .await;
        match (outside, stage) {
            (Some(error), _) => error,
            (None, Stage::Source) => failed(format!("the build did not get its source: {why}")),
            (None, Stage::Build | Stage::Push) => EngineError::BuildFailed(why),
        }
    }
}

fn evicted(why: &str, config: &BuildConfig) -> EngineError {
    if why.starts_with("DeadlineExceeded") {
        return EngineError::BuildEnded("its time is over");
    }
    if status::is_about_disk(why) {
        return EngineError::BuildFailed(format!(
            "the build used more than the {} of disk that it may: {why}",
            config.storage
        ));
    }
    failed(format!("the build's pod was ended: {why}"))
}
