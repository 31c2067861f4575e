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
use coracle_engine::wish::Wish;
use coracle_model::workload::{Workload, WorkloadId};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use crate::client::chain;
use crate::group::Trouble;
use crate::operate::{self, End};
use crate::plan::{Plan, Step, plan};
use crate::state::Core;

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
                reason: chain(error),
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
        let workload = wish.as_ref().and_then(Wish::workload);
        match perform(core, id, workload, &next).await {
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
    let mut done = Ok(());
    for step in &next.steps {
        if let Step::Remind(pod) = step {
            // Whatever stands in the way of the others: it may be this very pod.
            operate::remind(core, id, pod).await;
        } else if done.is_ok() {
            done = take_step(core, id, workload, step).await;
        }
    }
    done?;
    if let Some(workload) = workload {
        operate::furnish(core, workload).await?;
    }
    Ok(())
}

async fn take_step(
    core: &Arc<Core>,
    id: &WorkloadId,
    workload: Option<&Arc<Workload>>,
    step: &Step,
) -> Result<(), EngineError> {
    match (step, workload) {
        (Step::MakeSet, Some(workload)) => operate::make_set(core, workload).await,
        (Step::MakePod, Some(workload)) => operate::make_pod(core, workload).await,
        (Step::MakeJob, Some(workload)) => operate::make_job(core, workload).await,
        (Step::MakeSet | Step::MakePod | Step::MakeJob, None) => Ok(()),
        (Step::Resize(set, replicas), _) => operate::resize(core, id, set, *replicas).await,
        (Step::StopSet(set), _) => operate::stop_set(core, id, set).await,
        (Step::DeleteSet(set), _) => {
            operate::delete::<Deployment>(core, id, set, End::Graceful).await
        }
        (Step::DeleteJob(job), _) => operate::delete::<Job>(core, id, job, End::Graceful).await,
        (Step::Detach(pod) | Step::Leave(pod), _) => operate::leave(core, id, pod).await,
        (Step::DeletePod(pod), _) => operate::delete::<Pod>(core, id, pod, End::Graceful).await,
        (Step::StrikeOff(pod), _) => operate::delete::<Pod>(core, id, pod, End::Unheard).await,
        (Step::Remind(pod), _) => {
            operate::remind(core, id, pod).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
