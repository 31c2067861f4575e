//! A Job's pods from their start to their end: what they say is told, how the build ended is answered.
//!
//! Theory of operation: the containers of a pod run one after another, and so their logs are read. A pod that is taken away (its
//! node drained, full or gone, or somebody deleted it) is no failure of the build: where the Job makes another, that one is
//! followed from its start; where the Job has given up, which depends on how the pod went and on the cluster's version, the
//! caller makes another Job. Only so often, though.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use coracle_engine::EngineError;
use coracle_engine::build::{BuildEvent, BuildProgress, BuildRequest};
use coracle_engine::desk::Laid;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Warning, Pod};
use kube::api::ListParams;
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use super::config::BuildConfig;
use super::failed;
use super::lines::{Telling, tell};
use super::object::{self, Stage};
use super::progress::Progress;
use super::status::{self, Memory, Standing};
use super::view::{Next, View, keep_job, keep_pods, when};
use crate::client::within;
use crate::logs::{Beginning, Source, Told};
use crate::state::Core;

/// From the Job, or the pod before, to the begin of a pod's first container. A cluster that is full gets room again.
const START: Duration = Duration::from_mins(10);
/// For a Job to make another pod. One that may have only one at a time waits for a lost node to say that its pod has ended.
const REPLACED: Duration = Duration::from_secs(30);
/// Before what a pod waits for is looked up.
const PUZZLED: Duration = Duration::from_secs(4);
/// For a pod that is taken away to say that its container has ended. A node that is lost says nothing.
const LEAVING: Duration = Duration::from_secs(30);
/// For whoever ended a container to write so.
const WORD: Duration = Duration::from_secs(1);
/// Tries to list the pods of a Job that has ended.
const LOOKS: u32 = 5;
/// A build whose pod was lost is begun again so often.
const RESTARTS: u32 = 3;

/// How often a build was begun again.
#[derive(Debug, Default)]
pub(super) struct Restarts(u32);

impl Restarts {
    /// A pod was lost, and another is to do the build.
    pub(super) async fn one_more(
        &mut self,
        why: &str,
        events: &BuildProgress,
    ) -> Result<(), EngineError> {
        let why = why.trim().trim_end_matches([':', '.']);
        self.0 += 1;
        if self.0 > RESTARTS {
            let times = self.0;
            return Err(failed(format!(
                "the build's pod was lost {times} times, at last: {why}"
            )));
        }
        let text = format!("the build's pod was lost ({why}): another one does it from the start");
        note(events, &text).await;
        Ok(())
    }
}

/// How following a Job ended.
#[derive(Debug)]
pub(super) enum Followed {
    /// The image is pushed.
    Done,
    /// The pod is lost, and the Job makes no other: why.
    Lost(String),
}

/// How following a pod ended.
enum Ended {
    Done,
    Lost(String),
}

/// What a wait sees.
enum Look<T> {
    /// It is over.
    Found(T),
    /// Not yet; why, where that is known.
    Waiting(Option<String>),
}

/// A Job that is followed.
pub(super) struct Follower<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) config: &'a BuildConfig,
    pub(super) request: &'a BuildRequest,
    pub(super) job: &'a Job,
    pub(super) laid: &'a Laid,
    pub(super) events: &'a BuildProgress,
}

impl Follower<'_> {
    /// What the pods of the build carry.
    fn label(&self) -> String {
        format!("{}={}", object::BUILD, object::id(&self.request.id))
    }

    /// Follows the Job to its end.
    pub(super) async fn follow(self, restarts: &mut Restarts) -> Result<Followed, EngineError> {
        let uid = self.job.uid().unwrap_or_default();
        let (sender, view) = watch::channel(View::of(&uid));
        let pods: Api<Pod> = within(&self.core.client, &self.config.namespace);
        let jobs: Api<Job> = within(&self.core.client, &self.config.namespace);
        let of_build = self.label();
        let named = format!("metadata.name={}", self.job.name_any());
        let seconds = u32::try_from(self.core.config.patience.watch.as_secs()).unwrap_or(u32::MAX);
        let bounded = || watcher::Config::default().timeout(seconds.max(1));
        let following = Following {
            pods: pods.clone(),
            told: &sender,
            view,
            of: &self,
        };
        tokio::select! {
            result = following.run(restarts) => result,
            () = keep_pods(pods, bounded().labels(&of_build), &sender) => Err(failed("the watch on the build's pods ended")),
            () = keep_job(jobs, bounded().fields(&named), &sender) => Err(failed("the watch on the build's job ended")),
        }
    }
}

struct Following<'a> {
    of: &'a Follower<'a>,
    pods: Api<Pod>,
    told: &'a watch::Sender<View>,
    view: watch::Receiver<View>,
}

impl Following<'_> {
    async fn run(mut self, restarts: &mut Restarts) -> Result<Followed, EngineError> {
        let mut before = BTreeSet::new();
        let mut lost: Option<String> = None;
        loop {
            let job = self.of.job.uid();
            let next = |view: &View| match view.next(&before) {
                Some(next) => Look::Found(next),
                None => Look::Waiting(None),
            };
            let next = Box::pin(self.patiently("the build's pod was not made", job, next));
            let next = match &lost {
                None => next.await?,
                Some(why) => match tokio::time::timeout(REPLACED, next).await {
                    Ok(next) => next?,
                    Err(_elapsed) => return Ok(Followed::Lost(why.clone())),
                },
            };
            let pod = match next? {
                Next::Pod(pod) => pod,
                Next::Done | Next::Over(_) if self.comes(&before).await => continue,
                Next::Done => return Ok(Followed::Done),
                Next::Over(why) => return Ok(Followed::Lost(lost.unwrap_or(why))),
            };
            if let Some(why) = lost.take() {
                restarts.one_more(&why, self.of.events).await?;
            }
            match self.pod(&pod).await? {
                Ended::Done => return Ok(Followed::Done),
                Ended::Lost(why) => {
                    self.of.laid.again();
                    before.extend(pod.uid());
                    lost = Some(why);
                }
            }
        }
    }

    /// Is there a pod of a Job that has ended, of which its watch has not told yet? The two watches know nothing of each other:
    /// who believes the first one takes a build that failed for one whose pod was lost, and begins it again.
    async fn comes(&self, before: &BTreeSet<String>) -> bool {
        let all = ListParams::default().labels(&self.of.label());
        let mut tries = 0;
        let there = loop {
            tries += 1;
            match self.pods.list(&all).await {
                Ok(there) => break there.items,
                Err(error) if tries == LOOKS => {
                    tracing::debug!(%error, "the pods of a build that has ended cannot be listed");
                    return false;
                }
                Err(_passing) => tokio::time::sleep(WORD).await,
            }
        };
        self.told
            .send_if_modified(|view| view.add(there, before) > 0)
    }

    /// Waits for what `look` finds. Tells meanwhile what it waits for: in the view's words, or in those of the last
    /// warning about an object.
    async fn patiently<T>(
        &mut self,
        what: &str,
        about: Option<String>,
        mut look: impl FnMut(&View) -> Look<T>,
    ) -> Result<T, EngineError> {
        let deadline = Instant::now() + START;
        let mut told = None;
        loop {
            let puzzled = (Instant::now() + PUZZLED).min(deadline);
            let mut waits = None;
            let found = when(&mut self.view, Some(puzzled), |view| match look(view) {
                Look::Found(found) => Some(found),
                Look::Waiting(why) => {
                    waits = why;
                    None
                }
            });
            if let Some(found) = found.await {
                return Ok(found);
            }
            let why = match (waits, &about) {
                (Some(why), _) => Some(why),
                (None, Some(uid)) => self.warning(uid).await,
                (None, None) => None,
            };
            if Instant::now() >= deadline {
                let why = why.unwrap_or_else(|| "nobody says why".to_owned());
                return Err(failed(format!("{what}: {why}")));
            }
            if let Some(why) = why.filter(|why| told.as_ref() != Some(why)) {
                note(self.of.events, &format!("waiting: {why}")).await;
                told = Some(why);
            }
        }
    }

    /// The last warning about an object.
    async fn warning(&self, uid: &str) -> Option<String> {
        let warnings: Api<Warning> = within(&self.of.core.client, &self.of.config.namespace);
        let fields = format!("type=Warning,involvedObject.uid={uid}");
        let found = warnings.list(&ListParams::default().fields(&fields)).await;
        let mut found = found.ok()?.items;
        found.sort_by_key(|warning| warning.metadata.resource_version.as_ref().map(String::len));
        found.sort_by_key(|warning| warning.last_timestamp.clone());
        found.pop()?.message
    }

    /// Follows one pod.
    async fn pod(&mut self, pod: &Pod) -> Result<Ended, EngineError> {
        let uid = pod.uid().unwrap_or_default();
        let tool = self.of.config.tool;
        for stage in Stage::of(tool).iter().copied() {
            let mut progress = Progress::new(tool, stage);
            let mut standing = self.begun(&uid, stage).await?;
            if !matches!(standing, Standing::Lost(_) | Standing::Disk(_)) {
                standing = self.read(&uid, &pod.name_any(), stage, &mut progress).await;
            }
            let result = self.judged(&uid, stage, standing, &progress).await;
            let why = match &result {
                Ok(Ended::Done) => None,
                Ok(Ended::Lost(why)) => Some(why.clone()),
                Err(error) => Some(error.to_string()),
            };
            let first = why.as_deref().map(|why| why.lines().next().unwrap_or(why));
            for event in progress.end(Utc::now(), first) {
                tell(self.of.events, event).await;
            }
            match result? {
                Ended::Done if stage == Stage::Source => self.of.laid.spent(),
                Ended::Done => {}
                lost @ Ended::Lost(_) => return Ok(lost),
            }
        }
        Ok(Ended::Done)
    }

    /// Waits until a container has begun, or never will.
    async fn begun(&mut self, uid: &str, stage: Stage) -> Result<Standing, EngineError> {
        let what = format!("the container {} of the build did not begin", stage.name());
        let look = |view: &View| match view.standing(uid, stage) {
            Standing::Waiting(Some(why)) if status::is_hopeless(&why) => {
                Look::Found(Err(failed(format!("the build cannot begin: {why}"))))
            }
            Standing::Waiting(why) => Look::Waiting(why),
            standing => Look::Found(Ok(standing)),
        };
        self.patiently(&what, Some(uid.to_owned()), look).await?
    }

    /// Reads a container's log until it is over, and says how it is.
    async fn read(&self, uid: &str, name: &str, stage: Stage, progress: &mut Progress) -> Standing {
        let source = Source {
            pods: &self.pods,
            pod: name,
            container: stage.name(),
            beginning: Beginning::default(),
            linger: Duration::ZERO,
        };
        let mut told = Told::default();
        let events = self.of.events;
        let mut telling = Telling { progress, events };
        let mut over = std::pin::pin!(over(self.view.clone(), uid, stage));
        let standing = match source.follow(&mut told, &mut telling, over.as_mut()).await {
            Ok((standing, _)) => standing,
            Err(error) => {
                tracing::warn!(%error, stage = stage.name(), "a build's log cannot be followed");
                over.await
            }
        };
        // What a lost pod still had to say its successor says again.
        if !matches!(standing, Standing::Lost(_))
            && let Err(error) = source.rest(&mut told, &mut telling).await
        {
            let stage = stage.name();
            tracing::debug!(%error, stage, "the rest of a build's log cannot be read");
        }
        standing
    }

    /// What it means that a container is over.
    async fn judged(
        &mut self,
        uid: &str,
        stage: Stage,
        standing: Standing,
        progress: &Progress,
    ) -> Result<Ended, EngineError> {
        let (status, memory) = match standing {
            Standing::Ended { status: 0, .. } => return Ok(Ended::Done),
            Standing::Ended { status, memory } => (status, memory),
            Standing::Disk(words) => return Err(self.disk(&words)),
            Standing::Lost(why) => return Ok(Ended::Lost(why)),
            Standing::Waiting(_) | Standing::Running | Standing::Leaving(_) => {
                return Ok(Ended::Lost("nobody tells of it any more".to_owned()));
            }
        };
        // Whoever ended it writes so a moment later.
        let word = Some(Instant::now() + WORD);
        let outside = when(&mut self.view, word, |view| {
            match view.standing(uid, stage) {
                outside @ (Standing::Disk(_) | Standing::Lost(_)) => Some(outside),
                _ => None,
            }
        });
        match outside.await {
            Some(Standing::Lost(why)) => return Ok(Ended::Lost(why)),
            Some(Standing::Disk(words)) => return Err(self.disk(&words)),
            _ => {}
        }
        let why = self.explained(uid, stage, (status, memory), progress);
        Err(match stage {
            Stage::Source => failed(format!("the build did not get its source: {why}")),
            Stage::Build | Stage::Push => EngineError::BuildFailed(why),
        })
    }

    fn explained(
        &self,
        uid: &str,
        stage: Stage,
        (status, memory): (i32, Memory),
        progress: &Progress,
    ) -> String {
        let mut last = progress.last_lines();
        if last.is_empty() {
            let view = self.view.borrow();
            last.extend(view.pod(uid).and_then(|pod| status::message(pod, stage)));
        }
        let limit = self.of.request.limits.memory_bytes;
        status::explain(stage, status, memory, &last, limit)
    }

    fn disk(&self, words: &str) -> EngineError {
        let storage = self.of.config.storage;
        EngineError::BuildFailed(format!(
            "the build used more than the {storage} of disk that it may: {words}"
        ))
    }
}

/// How a container is over, once it is. One whose pod is taken away is waited for a while: its end may be a good one.
async fn over(mut view: watch::Receiver<View>, uid: &str, stage: Stage) -> Standing {
    let leaves = |view: &View| {
        let standing = view.standing(uid, stage);
        (standing.is_over() || matches!(standing, Standing::Leaving(_))).then_some(standing)
    };
    match when(&mut view, None, leaves).await {
        Some(Standing::Leaving(why)) => {
            let end = Some(Instant::now() + LEAVING);
            let is_over = |view: &View| Some(view.standing(uid, stage)).filter(Standing::is_over);
            let ended = when(&mut view, end, is_over).await;
            ended.unwrap_or(Standing::Lost(why))
        }
        Some(standing) => standing,
        None => Standing::Lost("nobody tells of it any more".to_owned()),
    }
}

async fn note(events: &BuildProgress, text: &str) {
    let event = BuildEvent::Output {
        id: "pod".to_owned(),
        text: text.to_owned(),
    };
    tell(events, event).await;
}
