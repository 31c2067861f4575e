//! Changes of what is known, and what follows from them.
//!
//! Theory of operation: whatever changes a pod or a wish ends in [`Core::reconcile`] for its workload: the planner
//! is asked under the lock, what it says is written on the pods (an action in flight) under the same lock, and
//! the tasks are begun after it. So two changes at once never begin two actions on one pod.

use std::sync::Arc;

use coracle_engine::wish::Wish;
use coracle_model::name::PodName;
use coracle_model::node::Scheduling;
use coracle_model::pod::{Exit, ExitCause};
use coracle_model::workload::{PodId, Workload, WorkloadId};
use coracle_task::CancellationToken;
use tokio::time::Instant;

use crate::container::{Container, ContainerState};
use crate::facts::{Facts, PodKind};
use crate::naming;
use crate::operate;
use crate::plan::{Action, View, plan};
use crate::pod::{Op, OpKind, Pod, Readiness, Run, RunKey};
use crate::probe;
use crate::state::{Core, State};

/// Gives a pod back to the planner when its action ends, in whatever way.
pub(crate) struct OpGuard {
    core: Arc<Core>,
    pod: PodId,
    serial: u64,
    pub(crate) cancel: CancellationToken,
    pub(crate) drained: CancellationToken,
}

impl Drop for OpGuard {
    fn drop(&mut self) {
        // The planner is only told: this may be the end of the runtime, where nothing more can be begun.
        self.core.with(|state| {
            if let Some(pod) = state.pods.get_mut(&self.pod) {
                if pod.op.as_ref().is_some_and(|op| op.serial == self.serial) {
                    pod.op = None;
                    pod.note = None;
                }
                state.given_back.insert(pod.facts.workload.clone());
                state.publish(&self.pod);
            }
            state.freed.notify_waiters();
        });
        self.core.retries.notify_one();
    }
}

impl Core {
    /// Takes in a reading of a container, and follows its run.
    pub(crate) fn take_in(
        self: &Arc<Self>,
        container: Container,
        ticket: u64,
        probed: Option<Readiness>,
    ) {
        let id = container.facts.pod.clone();
        let workload = container.facts.workload.clone();
        self.with(|state| {
            let restarting = |pod: &Pod| {
                pod.op
                    .as_ref()
                    .is_some_and(|op| matches!(op.kind, OpKind::Restart { .. }))
            };
            let pod = state
                .pods
                .entry(id.clone())
                .or_insert_with(|| Pod::new(container.facts.clone()));
            if pod.ticket > ticket {
                return;
            }
            pod.ticket = ticket;
            if let Some(before) = &pod.container
                && before.id == container.id
                && container.restart_count < before.restart_count
                && !restarting(pod)
            {
                pod.restarts_before += before.restart_count;
            }
            if container.address.is_some() {
                pod.address = container.address;
            }
            pod.created = container.created;
            pod.facts = container.facts.clone();
            let ended = matches!(
                container.state,
                ContainerState::Ended | ContainerState::Restarting
            );
            if ended && let Some(at) = container.finished {
                let newer = pod.exit.as_ref().and_then(|e| e.at).is_none_or(|e| at > e);
                if newer || container.out_of_memory {
                    let stopped = pod.leaving.is_some() || restarting(pod);
                    pod.exit = Some(Exit {
                        code: container.exit_code,
                        cause: if container.out_of_memory {
                            ExitCause::OutOfMemory
                        } else if stopped {
                            ExitCause::Stopped
                        } else {
                            pod.exit
                                .as_ref()
                                .filter(|_| !newer)
                                .map_or(ExitCause::Exited, |e| e.cause)
                        },
                        at: Some(at),
                    });
                }
            }
            if container.state == ContainerState::Running {
                pod.trouble = None;
            }
            pod.container = Some(container);
            self.follow_run(pod, probed);
            state.publish(&id);
        });
        self.reconcile(&workload);
    }

    /// Begins to probe a run that just began, and stops probing one that ended.
    fn follow_run(self: &Arc<Self>, pod: &mut Pod, probed: Option<Readiness>) {
        let Some(container) = &pod.container else {
            pod.run = None;
            return;
        };
        match container.state {
            ContainerState::Running => {}
            ContainerState::Paused => return,
            _ => {
                pod.run = None;
                return;
            }
        }
        let key: RunKey = (container.id.clone(), container.started);
        if pod.run.as_ref().is_some_and(|run| run.key == key) {
            return;
        }
        let cancel = self.config.supervisor.token().child_token();
        let readiness = match (pod.facts.port, probed) {
            (None, _) => Readiness::Ready,
            (Some(_), Some(probed)) => probed,
            (Some(_), None) => Readiness::NotYet(None),
        };
        let was_ready = readiness == Readiness::Ready;
        pod.run = Some(Run {
            key: key.clone(),
            readiness: readiness.clone(),
            was_ready,
            cancel: cancel.clone(),
        });
        if let Some(target) = probe::Target::of(pod, key, &readiness) {
            let core = Arc::clone(self);
            self.config.supervisor.spawn("docker-probe", async move {
                let _ended = cancel
                    .run_until_cancelled_owned(probe::follow(core, target))
                    .await;
            });
        }
    }

    /// A container is gone.
    pub(crate) fn vanished(self: &Arc<Self>, container: &str) {
        let workload = self.with(|state| {
            let id = state.pod_of(container)?;
            let pod = state.pods.get_mut(&id)?;
            let workload = pod.facts.workload.clone();
            pod.container = None;
            pod.run = None;
            // No request is in flight to what is gone.
            if let Some(leaving) = &pod.leaving {
                leaving.drained.cancel();
            }
            if pod.op.is_some() || pod.leaving.is_some() {
                // Whoever is at it finds out and ends it.
                state.publish(&id);
            } else if pod.facts.kind.is_task() && state.is_wished(&workload) {
                if let Some(pod) = state.pods.get_mut(&id) {
                    pod.lost = true;
                }
                state.publish(&id);
            } else {
                state.forget(&id);
            }
            Some(workload)
        });
        if let Some(workload) = workload {
            self.reconcile(&workload);
        }
    }

    /// Puts a pod on its way out. The planner does the rest.
    pub(crate) fn leave(self: &Arc<Self>, id: &PodId) {
        let workload = self.with(|state| {
            let pod = state.pods.get_mut(id)?;
            pod.leave();
            let workload = pod.facts.workload.clone();
            // One that stands alone has no successor until it is wished again.
            let alone = pod.facts.kind != PodKind::Replicated;
            if alone && pod.facts.pod.name == workload.name && state.is_wished(&workload) {
                state.wishes.insert(workload.clone(), Wish::Gone);
            }
            state.publish(id);
            Some(workload)
        });
        if let Some(workload) = workload {
            self.reconcile(&workload);
        }
    }

    /// Looks at the state again and again, whenever an action has ended, until `look` finds something.
    pub(crate) async fn when_freed<T>(&self, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let freed = self.with(|state| Arc::clone(&state.freed));
        loop {
            let next = freed.notified();
            tokio::pin!(next);
            // From here on no end is missed.
            next.as_mut().enable();
            if let Some(found) = self.with(|state| look(state)) {
                return found;
            }
            next.await;
        }
    }

    /// Begins an action on a pod. Nothing when there is no such pod or another action is in flight.
    pub(crate) fn begin(self: &Arc<Self>, id: &PodId, kind: OpKind) -> Option<OpGuard> {
        let mut state = self.lock();
        self.begin_locked(&mut state, id, kind)
    }

    fn begin_locked(
        self: &Arc<Self>,
        state: &mut State,
        id: &PodId,
        kind: OpKind,
    ) -> Option<OpGuard> {
        state.serial += 1;
        let serial = state.serial;
        let pod = state.pods.get_mut(id).filter(|pod| pod.op.is_none())?;
        let (cancel, drained) = (CancellationToken::new(), CancellationToken::new());
        pod.op = Some(Op {
            kind,
            cancel: cancel.clone(),
            drained: drained.clone(),
            serial,
        });
        state.publish(id);
        Some(OpGuard {
            core: Arc::clone(self),
            pod: id.clone(),
            serial,
            cancel,
            drained,
        })
    }

    /// Compares what is wished for a workload with what is there, and begins what is to be done.
    pub(crate) fn reconcile(self: &Arc<Self>, id: &WorkloadId) {
        if self.config.supervisor.token().is_cancelled() {
            return;
        }
        let mut state = self.lock();
        if !state.synced {
            return;
        }
        let now = Instant::now();
        let views: Vec<View> = state
            .pods
            .values()
            .filter(|pod| pod.facts.workload == *id)
            .map(|pod| pod.view(now))
            .collect();
        let wish = state.wishes.get(id).cloned();
        let wished = wish.as_ref().map(Wish::wished);
        if matches!(wish, Some(Wish::Gone)) && views.is_empty() {
            state.wishes.remove(id);
            return;
        }
        let workload = wish.as_ref().and_then(Wish::workload);
        // A guard must not be dropped while the lock is held, so tasks are spawned after it.
        let mut spawn = Vec::new();
        for action in plan(wished, &id.name, &views) {
            self.act(&mut state, id, workload, action, &mut spawn);
        }
        drop(state);
        for (guard, task) in spawn {
            operate::spawn(self, guard, task);
        }
    }

    fn act(
        self: &Arc<Self>,
        state: &mut State,
        id: &WorkloadId,
        workload: Option<&Arc<Workload>>,
        action: Action,
        spawn: &mut Vec<(OpGuard, operate::Task)>,
    ) {
        let pod_id = |name: PodName| PodId {
            project: id.project.clone(),
            name,
        };
        tracing::debug!(workload = %id, ?action, "reconcile");
        match (action, workload) {
            (Action::Add, Some(workload)) => {
                // A name that is taken is only met by chance: then another is taken at the next occasion.
                if let Some(name) = naming::fresh(&id.name) {
                    self.add(state, workload, pod_id(name), spawn);
                }
            }
            (Action::AddNamed, Some(workload)) => {
                self.add(state, workload, pod_id(id.name.clone()), spawn);
            }
            (Action::Create(name), Some(workload)) => {
                self.create(state, workload, pod_id(name), spawn);
            }
            (Action::Start(name), Some(_)) => {
                let pod = pod_id(name);
                if let Some(guard) = self.begin_locked(state, &pod, OpKind::Start) {
                    spawn.push((guard, operate::Task::Start(pod)));
                }
            }
            (Action::Leave(name), _) => {
                let pod = pod_id(name);
                if let Some(record) = state.pods.get_mut(&pod) {
                    record.leave();
                }
                state.publish(&pod);
                if let Some(guard) = self.begin_locked(state, &pod, OpKind::Stop) {
                    spawn.push((guard, operate::Task::Stop(pod)));
                }
            }
            (Action::Stop(name), _) => {
                let pod = pod_id(name);
                if let Some(guard) = self.begin_locked(state, &pod, OpKind::Stop) {
                    spawn.push((guard, operate::Task::Stop(pod)));
                }
            }
            (Action::Forget(name), _) => state.forget(&pod_id(name)),
            (Action::Add | Action::AddNamed | Action::Create(_) | Action::Start(_), None) => {}
        }
    }

    fn add(
        self: &Arc<Self>,
        state: &mut State,
        workload: &Arc<Workload>,
        pod: PodId,
        spawn: &mut Vec<(OpGuard, operate::Task)>,
    ) {
        if state.pods.contains_key(&pod) {
            return;
        }
        let facts = Facts::new(workload, pod.name.clone());
        state.pods.insert(pod.clone(), Pod::new(facts));
        self.create(state, workload, pod, spawn);
    }

    /// Begins to make a pod's container, unless the node is cordoned: then the pod waits for the end of that.
    fn create(
        self: &Arc<Self>,
        state: &mut State,
        workload: &Arc<Workload>,
        pod: PodId,
        spawn: &mut Vec<(OpGuard, operate::Task)>,
    ) {
        if state.scheduling == Scheduling::Cordoned {
            let node = state.node.as_ref().map(|node| node.metadata.name.clone());
            if let Some(held) = state.pods.get_mut(&pod) {
                held.hold(node.as_deref().unwrap_or_default());
            }
            state.publish(&pod);
        } else if let Some(guard) = self.begin_locked(state, &pod, OpKind::Create) {
            spawn.push((guard, operate::Task::Create(pod, Arc::clone(workload))));
        }
    }

    /// Workloads with a pod that was given back or whose pause is over, and the moment when the next pause will be
    /// over.
    pub(crate) fn due(&self) -> (Vec<WorkloadId>, Option<Instant>) {
        let now = Instant::now();
        self.with(|state| {
            let mut due = std::mem::take(&mut state.given_back);
            let mut next = None::<Instant>;
            for pod in state.pods.values_mut() {
                let Some(trouble) = pod.trouble.as_mut().filter(|t| !t.told) else {
                    continue;
                };
                let Some(at) = trouble.retry_at else {
                    continue;
                };
                if at > now {
                    next = Some(next.map_or(at, |n| n.min(at)));
                } else {
                    trouble.told = true;
                    due.insert(pod.facts.workload.clone());
                }
            }
            (due.into_iter().collect(), next)
        })
    }
}
