//! What there is of a build's Job just now: the Job and its pods, kept by two watches.
//!
//! Theory of operation: what is told of other Jobs of the same name (one that was before, and is on its way out) is left
//! out. Everything that a build waits for is a question to this view, asked again whenever a watch tells something.

use std::collections::{BTreeMap, BTreeSet};

use coracle_engine::EngineError;
use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use super::failed;
use super::object::Stage;
use super::status::{self, JobEnd, Standing};

/// What there is of a Job.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The Job's uid.
    uid: String,
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

/// What a build goes on with.
#[derive(Debug)]
pub(super) enum Next {
    /// This pod does it.
    Pod(Box<Pod>),
    /// The Job is complete.
    Done,
    /// The Job has failed, and makes no pod any more.
    Over(String),
}

impl View {
    pub(super) fn of(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            ..Self::default()
        }
    }

    /// The pod that does the build now, none of those `before`; or how the Job ended without.
    pub(super) fn next(&self, before: &BTreeSet<String>) -> Option<Result<Next, EngineError>> {
        if let Some(pod) = newest(self.pods.values(), before) {
            return Some(Ok(Next::Pod(Box::new(pod.clone()))));
        }
        if !(self.read.pods && self.read.job) {
            return None;
        }
        let Some(job) = &self.job else {
            return Some(Err(failed("somebody removed the build's job")));
        };
        Some(match status::job_end(job)? {
            JobEnd::Complete => Ok(Next::Done),
            JobEnd::Deadline => Err(EngineError::BuildEnded("its time is over")),
            JobEnd::Failed(why) => Ok(Next::Over(why)),
        })
    }

    /// Adds the Job's pods that were listed and could do the build; says how many.
    pub(super) fn add(&mut self, listed: Vec<Pod>, before: &BTreeSet<String>) -> usize {
        let own = listed.into_iter().filter(|pod| {
            is_owned(pod, &self.uid) && newest(std::iter::once(pod), before).is_some()
        });
        let own: Vec<_> = own
            .map(|pod| (pod.uid().unwrap_or_default(), pod))
            .collect();
        let count = own.len();
        self.pods.extend(own);
        count
    }

    pub(super) fn pod(&self, uid: &str) -> Option<&Pod> {
        self.pods.get(uid)
    }

    /// Where a container of a pod stands.
    pub(super) fn standing(&self, uid: &str, stage: Stage) -> Standing {
        match self.pods.get(uid) {
            Some(pod) => status::standing(pod, stage),
            None if self.job.as_ref().and_then(status::job_end) == Some(JobEnd::Complete) => {
                Standing::DONE
            }
            None => Standing::Lost("it is gone".to_owned()),
        }
    }
}

/// The newest pod that stays, and is none of those `before`.
fn newest<'a>(pods: impl Iterator<Item = &'a Pod>, before: &BTreeSet<String>) -> Option<&'a Pod> {
    pods.filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter(|pod| pod.uid().is_some_and(|uid| !before.contains(&uid)))
        .max_by_key(|pod| pod.metadata.creation_timestamp.clone())
}

fn is_owned(pod: &Pod, job: &str) -> bool {
    pod.owner_references().iter().any(|owner| owner.uid == job)
}

/// Waits for something in the view, or for a moment.
pub(super) async fn when<T>(
    view: &mut watch::Receiver<View>,
    until: Option<Instant>,
    mut look: impl FnMut(&View) -> Option<T>,
) -> Option<T> {
    loop {
        if let Some(found) = look(&view.borrow_and_update()) {
            return Some(found);
        }
        let moment = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = view.changed() => {
                if changed.is_err() {
                    return None;
                }
            }
            () = moment => return None,
        }
    }
}

/// Keeps `take` told of a kind. Comes to no end by itself.
async fn keep<K>(api: Api<K>, of: watcher::Config, mut take: impl FnMut(watcher::Event<K>))
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let mut events = std::pin::pin!(watcher(api, of).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(event),
            Err(error) => tracing::debug!(%error, "a build cannot be watched just now"),
        }
    }
}

/// Keeps the view of a Job's pods.
pub(super) async fn keep_pods(api: Api<Pod>, of: watcher::Config, view: &watch::Sender<View>) {
    let job = view.borrow().uid.clone();
    let owned = |pod: &Pod| is_owned(pod, &job);
    let mut fresh = BTreeMap::new();
    let uid = |pod: &Pod| pod.uid().unwrap_or_default();
    keep(api, of, |event| match event {
        watcher::Event::Init => fresh.clear(),
        watcher::Event::InitApply(pod) if owned(&pod) => drop(fresh.insert(uid(&pod), pod)),
        watcher::Event::InitDone => view.send_modify(|view| {
            view.pods = std::mem::take(&mut fresh);
            view.read.pods = true;
        }),
        watcher::Event::Apply(pod) if owned(&pod) => {
            view.send_modify(|view| drop(view.pods.insert(uid(&pod), pod)));
        }
        watcher::Event::Delete(pod) => {
            view.send_modify(|view| drop(view.pods.remove(&uid(&pod))));
        }
        watcher::Event::InitApply(_) | watcher::Event::Apply(_) => {}
    })
    .await;
}

/// Keeps the view of a Job.
pub(super) async fn keep_job(api: Api<Job>, of: watcher::Config, view: &watch::Sender<View>) {
    let uid = Some(view.borrow().uid.clone());
    let mut fresh = None;
    keep(api, of, |event| match event {
        watcher::Event::Init => fresh = None,
        watcher::Event::InitApply(job) => fresh = Some(job).filter(|job| job.uid() == uid),
        watcher::Event::InitDone => view.send_modify(|view| {
            view.job = fresh.take();
            view.read.job = true;
        }),
        watcher::Event::Apply(job) if job.uid() == uid => {
            view.send_modify(|view| view.job = Some(job));
        }
        watcher::Event::Delete(job) if job.uid() == uid => {
            view.send_modify(|view| view.job = None);
        }
        watcher::Event::Apply(_) | watcher::Event::Delete(_) => {}
    })
    .await;
}
