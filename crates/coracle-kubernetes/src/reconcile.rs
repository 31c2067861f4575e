//! Changes of what is known, and what follows from them.
//!
//! Theory of operation: whatever changes a workload's wish or one of its objects ends in [`Core::reconcile`]. One task at
//! most is at a workload; a change meanwhile makes it look once more. It asks the planner, does the steps one after
//! another, takes in what the API server answers, and asks again until nothing is left to do but wait: for a watch, or
//! for a moment, for which it leaves an alarm. A step that fails is written on the workload, where a person reads
//! it, and tried again after a pause that grows.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use coracle_engine::EngineError;
use coracle_model::workload::{Workload, WorkloadId};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use crate::facts::{Facts, STOPPING};
use crate::operate::{self, End};
use crate::plan::{Plan, Step, plan};
use crate::state::{Core, Held, Part, PodRecord, State, Trouble, Wish, version};

/// A workload that is never at rest gives others a turn after so many looks.
const LOOKS: usize = 20;
/// The pause after so many looks.
const REST: Duration = Duration::from_millis(500);

/// Gives a workload back when the task at it ends, in whatever way.
struct Turn {
    core: Arc<Core>,
    id: WorkloadId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let again = self.core.with(|state| {
            let group = state.groups.get_mut(&self.id)?;
            group.busy = false;
            let again = std::mem::take(&mut group.again);
            if !again {
                state.publish(&self.id);
            }
            Some(again)
        });
        self.core.touch();
        if again == Some(true) {
            self.core.reconcile(&self.id);
        }
    }
}

impl Core {
    /// Compares what is wished for a workload with what is there, and begins what is to be done.
    pub(crate) fn reconcile(self: &Arc<Self>, id: &WorkloadId) {
        if self.config.supervisor.token().is_cancelled() {
            return;
        }
        let begin = self.with(|state| {
            if !state.is_synced() {
                return false;
            }
            let Some(group) = state.groups.get_mut(id) else {
                return false;
            };
            if group.busy {
                group.again = true;
                return false;
            }
            group.busy = true;
            true
        });
        if !begin {
            return;
        }
        let turn = Turn {
            core: Arc::clone(self),
            id: id.clone(),
        };
        self.config
            .supervisor
            .spawn("kubernetes-workload", async move {
                // What waits for its turn is not at it yet: the newest wish is read below.
                let Ok(_place) = turn.core.turns.acquire().await else {
                    return;
                };
                look_again_and_again(&turn.core, &turn.id).await;
            });
    }

    /// Leaves an alarm for a workload.
    fn alarm(&self, id: &WorkloadId, at: Instant) {
        self.with(|state| state.alarms.insert((at, id.clone())));
        self.clock.notify_one();
    }

    /// Rings the alarms, for as long as the engine lives.
    pub(crate) async fn ring(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let (due, next) = self.with(|state| {
                let mut due = Vec::new();
                while let Some((at, id)) = state.alarms.first().cloned() {
                    if at > now {
                        return (due, Some(at));
                    }
                    state.alarms.pop_first();
                    due.push(id);
                }
                (due, None)
            });
            for id in due {
                self.reconcile(&id);
            }
            let woken = self.clock.notified();
            match next {
                Some(at) => {
                    let _either = tokio::time::timeout_at(at, woken).await;
                }
                None => woken.await,
            }
        }
    }

    /// Takes in a Deployment, from a watch or from an answer.
    pub(crate) fn take_set(self: &Arc<Self>, set: Deployment, from: From) {
        let Some(facts) = self.own(&set.metadata) else {
            return;
        };
        let id = facts.id();
        let Some(name) = set.metadata.name.clone() else {
            return;
        };
        let version = version(set.metadata.resource_version.as_deref());
        self.take(&id, Part::Sets, version, from, |state| {
            let sets = &mut state.groups.entry(id.clone()).or_default().sets;
            let before = sets.get(&name);
            let same = before.filter(|b| b.live.metadata.uid == set.metadata.uid);
            if same.is_some_and(|b| b.version > version) {
                return;
            }
            let deleting = same.is_some_and(|b| b.deleting);
            let live = Arc::new(set);
            sets.insert(
                name,
                Held {
                    facts,
                    live,
                    version,
                    deleting,
                },
            );
        });
    }

    /// Takes in a Job, from a watch or from an answer.
    pub(crate) fn take_job(self: &Arc<Self>, job: Job, from: From) {
        let Some(facts) = self.own(&job.metadata) else {
            return;
        };
        let id = facts.id();
        let Some(name) = job.metadata.name.clone() else {
            return;
        };
        let version = version(job.metadata.resource_version.as_deref());
        self.take(&id, Part::Jobs, version, from, |state| {
            let jobs = &mut state.groups.entry(id.clone()).or_default().jobs;
            let before = jobs.get(&name);
            let same = before.filter(|b| b.live.metadata.uid == job.metadata.uid);
            if same.is_some_and(|b| b.version > version) {
                return;
            }
            let deleting = same.is_some_and(|b| b.deleting);
            let live = Arc::new(job);
            jobs.insert(
                name,
                Held {
                    facts,
                    live,
                    version,
                    deleting,
                },
            );
        });
    }

    /// Takes in a pod, from a watch or from an answer.
    pub(crate) fn take_pod(self: &Arc<Self>, pod: Pod, from: From) {
        let Some(facts) = self.own(&pod.metadata) else {
            return;
        };
        let id = facts.id();
        let Some(name) = pod.metadata.name.clone() else {
            return;
        };
        let version = version(pod.metadata.resource_version.as_deref());
        self.take(&id, Part::Pods, version, from, |state| {
            let pods = &mut state.groups.entry(id.clone()).or_default().pods;
            let before = pods.get(&name);
            let same = before.filter(|b| b.live.metadata.uid == pod.metadata.uid);
            if same.is_some_and(|b| b.version > version) {
                return;
            }
            let (drained, deleting) = same.map_or((false, false), |b| (b.drained, b.deleting));
            let live = Arc::new(pod);
            pods.insert(
                name,
                PodRecord {
                    facts,
                    live,
                    version,
                    drained,
                    deleting,
                },
            );
        });
    }

    fn take(
        self: &Arc<Self>,
        id: &WorkloadId,
        part: Part,
        version: u64,
        from: From,
        insert: impl FnOnce(&mut State),
    ) {
        self.with(|state| {
            match from {
                From::Watch => state.saw(part, version),
                // What a watch has told already may be gone again by now.
                From::Answer if state.has_seen(part, version) => return,
                From::Answer => {}
            }
            insert(state);
            state.publish(id);
        });
        self.touch();
        if from == From::Watch {
            self.reconcile(id);
        }
    }

    /// Something is gone.
    pub(crate) fn drop_object(
        self: &Arc<Self>,
        part: Part,
        id: &WorkloadId,
        name: &str,
        uid: Option<&str>,
    ) {
        self.with(|state| {
            if let Some(group) = state.groups.get_mut(id) {
                let same = |live: &Option<String>| uid.is_none() || live.as_deref() == uid;
                match part {
                    Part::Pods => {
                        if group
                            .pods
                            .get(name)
                            .is_some_and(|p| same(&p.live.metadata.uid))
                        {
                            group.pods.remove(name);
                        }
                    }
                    Part::Sets => {
                        if group
                            .sets
                            .get(name)
                            .is_some_and(|s| same(&s.live.metadata.uid))
                        {
                            group.sets.remove(name);
                        }
                    }
                    Part::Jobs => {
                        if group
                            .jobs
                            .get(name)
                            .is_some_and(|j| same(&j.live.metadata.uid))
                        {
                            group.jobs.remove(name);
                        }
                    }
                    Part::Nodes => {}
                }
            }
            if let Some(uid) = uid {
                state.warnings.remove(uid);
            }
            state.publish(id);
        });
        self.touch();
        self.reconcile(id);
    }

    /// The facts of an object of ours that is where it belongs: labels can be copied.
    pub(crate) fn own(
        &self,
        meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    ) -> Option<Facts> {
        let facts = Facts::read(meta, &self.config.platform)?;
        let namespace = self.namespace(&facts.project).ok()?;
        (meta.namespace.as_deref() == Some(namespace.as_str())).then_some(facts)
    }

    /// Remembers a failure, tells it, and when to try again.
    fn fail(&self, id: &WorkloadId, error: &EngineError) {
        let definite = !error.is_passing();
        let at = self.with(|state| {
            let group = state.groups.get_mut(id)?;
            let tries = group.trouble.as_ref().map_or(0, |t| t.tries) + 1;
            let (first, most) = if definite {
                (Duration::from_secs(2), Duration::from_mins(5))
            } else {
                (Duration::from_millis(500), Duration::from_secs(30))
            };
            let pause = first
                .saturating_mul(1_u32 << tries.saturating_sub(1).min(16))
                .min(most);
            let retry_at = Instant::now() + pause;
            group.trouble = Some(Trouble {
                reason: words(error),
                definite,
                tries,
                retry_at,
            });
            state.publish(id);
            Some(retry_at)
        });
        if let Some(at) = at {
            self.alarm(id, at);
        }
    }
}

/// An error with its causes, for a person.
fn words(error: &EngineError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Where an object came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// A watch: in order.
    Watch,
    /// The answer to a request of ours.
    Answer,
}

async fn look_again_and_again(core: &Arc<Core>, id: &WorkloadId) {
    for _ in 0..LOOKS {
        let Some((next, wish)) = look(core, id) else {
            return;
        };
        if let Some(wake) = next.wake {
            let pause = (wake - Utc::now()).to_std().unwrap_or_default();
            core.alarm(id, Instant::now() + pause);
        }
        if next.steps.is_empty() && !furnish_is_due(core, id) {
            core.with(|state| {
                if let Some(group) = state.groups.get_mut(id) {
                    group.trouble = None;
                }
                state.publish(id);
            });
            return;
        }
        let workload = match wish {
            Some(Wish::Run(workload)) => Some(workload),
            _ => None,
        };
        match perform(core, id, workload.as_ref(), &next).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(workload = %id, %error, "a wish cannot be done yet");
                core.fail(id, &error);
                return;
            }
        }
    }
    core.alarm(id, Instant::now() + REST);
}

/// What is to be done. Nothing while a pause is not over, or when nobody knows of the workload any more.
fn look(core: &Core, id: &WorkloadId) -> Option<(Plan, Option<Wish>)> {
    core.with(|state| {
        let group = state.groups.get_mut(id)?;
        group.again = false;
        let waits = |t: &Trouble| t.retry_at > Instant::now();
        if group.trouble.as_ref().is_some_and(waits) {
            return None;
        }
        let wished = group.wished();
        let nodes = &state.nodes;
        let answers = |name: &str| nodes.get(name).is_some_and(|node| node.status.ready);
        let next = plan(wished, &group.view(answers), Utc::now());
        tracing::debug!(workload = %id, ?wished, ?next, "reconcile");
        Some((next, group.wish.clone()))
    })
}

fn furnish_is_due(core: &Core, id: &WorkloadId) -> bool {
    core.with(|state| {
        state
            .groups
            .get(id)
            .is_some_and(|group| operate::bare(group).is_some())
    })
}

async fn perform(
    core: &Arc<Core>,
    id: &WorkloadId,
    workload: Option<&Arc<Workload>>,
    next: &Plan,
) -> Result<(), EngineError> {
    for step in &next.steps {
        match (step, workload) {
            (Step::MakeSet, Some(workload)) => operate::make_set(core, workload).await?,
            (Step::MakePod, Some(workload)) => operate::make_pod(core, workload).await?,
            (Step::MakeJob, Some(workload)) => operate::make_job(core, workload).await?,
            (Step::MakeSet | Step::MakePod | Step::MakeJob, None) => {}
            (Step::Resize(set, replicas), _) => operate::resize(core, id, set, *replicas).await?,
            (Step::StopSet(set), _) => operate::stop_set(core, id, set).await?,
            (Step::DeleteSet(set), _) => operate::delete_set(core, id, set).await?,
            (Step::DeleteJob(job), _) => operate::delete_job(core, id, job).await?,
            (Step::Detach(pod) | Step::Leave(pod), _) => operate::leave(core, id, pod).await?,
            (Step::DeletePod(pod), _) => operate::delete_pod(core, id, pod, End::Graceful).await?,
            (Step::StrikeOff(pod), _) => operate::delete_pod(core, id, pod, End::Unheard).await?,
        }
    }
    if let Some(workload) = workload {
        operate::furnish(core, workload).await?;
    }
    Ok(())
}

/// The annotation of something that is on its way out from now on.
pub(crate) fn stopping_now() -> (&'static str, String) {
    let now = Utc::now();
    (
        STOPPING,
        now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    )
}
