//! Wishes and pods, and what watchers are told.
//!
//! Theory of operation: one lock guards all that is known; it is held for moments and never over an await. Every
//! change of a pod ends in [`State::publish`], which tells watchers if what they see has changed. One action at
//! most is in flight for a pod ([`Op`]); its task holds an [`OpGuard`], so that even a panic or an abort gives
//! the pod back to the planner.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_engine::EngineEvent;
use coracle_model::name::{PodName, ProjectName};
use coracle_model::node::Node;
use coracle_model::pod::{Exit, ExitCause};
use coracle_model::workload::{ObservedPod, PodId, Workload, WorkloadId};
use coracle_task::CancellationToken;
use futures::stream::BoxStream;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio::time::Instant;

use crate::client::Client;
use crate::config::DockerConfig;
use crate::container::{Container, ContainerState, Init};
use crate::facts::{Facts, PodKind};
use crate::image::KnownCredentials;
use crate::naming::{self, Names};
use crate::network::Network;
use crate::plan::{Action, Stand, View, Wished, plan};
use crate::stats::Samples;
use crate::{node, operate, phase, probe};

/// Events that a watcher may be behind before it gets a fresh start.
const WATCH_EVENTS: usize = 1024;

/// All parts of the engine, shared by its tasks.
pub(crate) struct Core {
    pub(crate) config: DockerConfig,
    pub(crate) names: Names,
    pub(crate) client: Client,
    pub(crate) init: Init,
    pub(crate) starts: Semaphore,
    /// One network is made at a time, or two projects would choose the same subnet.
    pub(crate) network_making: tokio::sync::Mutex<()>,
    /// Wakes the timer of retries.
    pub(crate) retries: Notify,
    pub(crate) credentials: KnownCredentials,
    pub(crate) samples: Samples,
    pub(crate) processor_sample: Mutex<Option<node::ProcessorSample>>,
    state: Mutex<State>,
}

/// All that is known.
pub(crate) struct State {
    /// Everything that exists was read at least once.
    pub(crate) synced: bool,
    pub(crate) wishes: BTreeMap<WorkloadId, Wish>,
    pub(crate) pods: BTreeMap<PodId, Pod>,
    pub(crate) networks: HashMap<ProjectName, Network>,
    pub(crate) node: Option<Node>,
    /// Workloads whose pods were given back to the planner.
    given_back: BTreeSet<WorkloadId>,
    /// Wakes whoever waits for an action on a pod to end.
    freed: Arc<Notify>,
    events: broadcast::Sender<EngineEvent>,
    serial: u64,
}

/// What was wished last for a workload.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// That it runs.
    Run(Arc<Workload>),
    /// That it has no pods.
    Gone,
}

/// A pod, with or without a container.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) facts: Facts,
    pub(crate) created: DateTime<Utc>,
    pub(crate) container: Option<Container>,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) op: Option<Op>,
    /// What an action in flight is at, in words.
    pub(crate) note: Option<String>,
    pub(crate) leaving: Option<Leaving>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) run: Option<Run>,
    pub(crate) exit: Option<Exit>,
    /// Docker told that memory was used up, and not yet that the command ended.
    pub(crate) memory_used_up: bool,
    /// Restarts that Docker's own counter does not know of any more.
    pub(crate) restarts_before: u32,
    /// A task's container was removed by somebody else: it must not run a second time.
    pub(crate) lost: bool,
    /// Which reading of the container this is from: an older one must not overwrite it.
    ticket: u64,
    published: Option<ObservedPod>,
}

/// An action in flight.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) kind: OpKind,
    pub(crate) cancel: CancellationToken,
    /// Cancelled when no request is in flight any more to a pod that is to be restarted.
    pub(crate) drained: CancellationToken,
    serial: u64,
}

/// What an action in flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpKind {
    /// Make and start a container.
    Create,
    /// Start a container.
    Start,
    /// Drain, stop and remove.
    Stop,
    /// Stop and start again in place.
    Restart {
        /// Requests in flight are waited for.
        draining: bool,
    },
}

/// A pod is on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    /// Cancelled when no request is in flight to it any more.
    pub(crate) drained: CancellationToken,
    /// It may have requests in flight.
    pub(crate) served: bool,
    pub(crate) reason: Option<String>,
}

/// Why a pod has no running container, and when it is tried again.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    pub(crate) severity: Severity,
    pub(crate) retry_at: Option<Instant>,
    tries: u32,
    /// The planner was told that the pause is over.
    told: bool,
}

/// May it go away by itself?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Yes.
    Passing,
    /// Hardly: somebody has to change something.
    Definite,
}

/// One run of a container, from a start to an end.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) key: RunKey,
    pub(crate) readiness: Readiness,
    pub(crate) was_ready: bool,
    pub(crate) cancel: CancellationToken,
}

/// Names a run: a container and the moment it was started.
pub(crate) type RunKey = (String, Option<DateTime<Utc>>);

/// Does it answer?
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It has not since its start; why.
    NotYet(Option<String>),
    /// It does.
    Ready,
    /// It did, and does no more; why.
    Unready(String),
}

impl Drop for Run {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

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

impl Pod {
    pub(crate) fn new(facts: Facts) -> Self {
        Self {
            facts,
            created: Utc::now(),
            container: None,
            address: None,
            op: None,
            note: None,
            leaving: None,
            trouble: None,
            run: None,
            exit: None,
            memory_used_up: false,
            restarts_before: 0,
            lost: false,
            ticket: 0,
            published: None,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.run
            .as_ref()
            .is_some_and(|run| run.readiness == Readiness::Ready)
    }

    fn stand(&self, now: Instant) -> Stand {
        if self.leaving.is_some() {
            return if self.op.is_some() {
                Stand::BeingStopped
            } else {
                Stand::Leaving
            };
        }
        if self.op.is_some() {
            return Stand::Busy;
        }
        let waits = self
            .trouble
            .as_ref()
            .is_some_and(|t| t.retry_at.is_none_or(|at| at > now));
        if self.lost {
            return Stand::Done;
        }
        if waits {
            return Stand::Waiting;
        }
        match self.container.as_ref().map(|c| c.state) {
            None => Stand::Missing,
            Some(ContainerState::Created) if self.facts.kind.terminal().is_some() => Stand::Waiting,
            Some(ContainerState::Created) => Stand::Startable,
            Some(ContainerState::Ended) if self.facts.kind.is_task() => Stand::Done,
            Some(ContainerState::Ended) => Stand::Startable,
            Some(
                ContainerState::Running
                | ContainerState::Paused
                | ContainerState::Restarting
                | ContainerState::Removing,
            ) => Stand::Up,
        }
    }

    fn view(&self, now: Instant) -> View {
        View {
            name: self.facts.pod.name.clone(),
            generation: self.facts.generation,
            kind: self.facts.kind,
            stand: self.stand(now),
            ready: self.is_ready(),
            has_container: self.container.is_some(),
            created: self.created,
        }
    }

    /// Remembers a failure and when to try again: after pauses that grow.
    pub(crate) fn fail(&mut self, reason: String, severity: Severity) {
        let tries = self.trouble.as_ref().map_or(0, |t| t.tries) + 1;
        let (first, most) = match severity {
            Severity::Passing => (Duration::from_millis(500), Duration::from_secs(30)),
            Severity::Definite => (Duration::from_secs(2), Duration::from_mins(5)),
        };
        let pause = first
            .saturating_mul(1_u32 << tries.saturating_sub(1).min(16))
            .min(most);
        // A task that cannot start has run to its end: only its owner knows whether it may be tried again.
        let ended = self.facts.kind.is_task() && severity == Severity::Definite;
        self.trouble = Some(Trouble {
            reason,
            severity,
            retry_at: (!ended).then(|| Instant::now() + pause),
            tries,
            told: false,
        });
    }
}

impl State {
    /// Tells watchers of a pod if what they see of it has changed.
    pub(crate) fn publish(&mut self, id: &PodId) {
        let node = self.node.as_ref().map(|n| n.metadata.name.clone());
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        let observed = phase::observed(pod, node.as_deref());
        if pod.published.as_ref() != Some(&observed) {
            pod.published = Some(observed.clone());
            self.tell(EngineEvent::Pod(observed));
        }
    }

    /// Tells watchers. That there is none is no fault.
    pub(crate) fn tell(&self, event: EngineEvent) {
        if self.events.send(event).is_err() {
            tracing::trace!("nobody watches");
        }
    }

    pub(crate) fn set_node(&mut self, node: Node) {
        let changed = self
            .node
            .as_ref()
            .is_none_or(|n| n.status != node.status || n.metadata.name != node.metadata.name);
        if changed {
            let node = match &self.node {
                Some(before) => Node {
                    metadata: coracle_model::object::Metadata {
                        created: before.metadata.created,
                        ..node.metadata
                    },
                    ..node
                },
                None => node,
            };
            self.node = Some(node.clone());
            self.tell(EngineEvent::Node(node));
        }
    }

    /// Takes a pod off the list.
    pub(crate) fn forget(&mut self, id: &PodId) {
        if let Some(pod) = self.pods.remove(id)
            && pod.published.is_some()
        {
            self.tell(EngineEvent::PodGone(id.clone()));
        }
        self.freed.notify_waiters();
    }

    /// Takes in a list of all containers that was asked for with `ticket`: those that are not on it and were not
    /// read since are gone.
    pub(crate) fn not_listed(&self, listed: &BTreeSet<String>, ticket: u64) -> Vec<String> {
        self.pods
            .values()
            .filter(|pod| pod.ticket < ticket)
            .filter_map(|pod| pod.container.as_ref())
            .filter(|container| !listed.contains(&container.id))
            .map(|container| container.id.clone())
            .collect()
    }

    /// The pod that a container is of.
    pub(crate) fn pod_of(&self, container: &str) -> Option<PodId> {
        self.pods
            .iter()
            .find(|(_, pod)| pod.container.as_ref().is_some_and(|c| c.id == container))
            .map(|(id, _)| id.clone())
    }

    /// Addresses of a project that a pod has or is about to have.
    pub(crate) fn addresses(&self, project: &ProjectName) -> BTreeSet<Ipv4Addr> {
        self.pods
            .values()
            .filter(|pod| pod.facts.pod.project == *project)
            .filter_map(|pod| pod.address)
            .collect()
    }

    fn snapshot(&self) -> VecDeque<EngineEvent> {
        let node = self.node.iter().cloned().map(EngineEvent::Node);
        let pods = self
            .pods
            .values()
            .filter_map(|pod| pod.published.clone())
            .map(EngineEvent::Pod);
        let synced = self.synced.then_some(EngineEvent::Synced);
        node.chain(pods).chain(synced).collect()
    }

    /// May a pod be restarted because it does not answer? Not when nobody wished for it in this life.
    pub(crate) fn is_wished(&self, workload: &WorkloadId) -> bool {
        matches!(self.wishes.get(workload), Some(Wish::Run(_)))
    }
}

impl Core {
    pub(crate) fn new(config: DockerConfig) -> Arc<Self> {
        let (events, _) = broadcast::channel(WATCH_EVENTS);
        Arc::new(Self {
            names: Names::new(&config.platform),
            client: Client::new(config.socket_path()),
            init: node::init(),
            starts: Semaphore::new(config.start_concurrency.max(1)),
            network_making: tokio::sync::Mutex::new(()),
            retries: Notify::new(),
            credentials: KnownCredentials::default(),
            samples: Samples::default(),
            processor_sample: Mutex::new(None),
            state: Mutex::new(State {
                synced: false,
                wishes: BTreeMap::new(),
                pods: BTreeMap::new(),
                networks: HashMap::new(),
                node: None,
                given_back: BTreeSet::new(),
                freed: Arc::new(Notify::new()),
                events,
                serial: 0,
            }),
            config,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.lock())
    }

    /// A number that orders readings: take it before reading.
    pub(crate) fn ticket(&self) -> u64 {
        self.with(|state| {
            state.serial += 1;
            state.serial
        })
    }

    /// Changes a pod and tells of it. Nothing when there is no such pod.
    pub(crate) fn change<R>(&self, id: &PodId, f: impl FnOnce(&mut Pod) -> R) -> Option<R> {
        self.with(|state| {
            let result = state.pods.get_mut(id).map(f);
            state.publish(id);
            result
        })
    }

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
            mark_leaving(pod);
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
        let wished = match &wish {
            None => None,
            Some(Wish::Gone) => Some(Wished::Gone),
            Some(Wish::Run(workload)) => Some(Wished::Run {
                kind: workload.kind,
                generation: workload.generation,
            }),
        };
        if matches!(wish, Some(Wish::Gone)) && views.is_empty() {
            state.wishes.remove(id);
            return;
        }
        let workload = match wish {
            Some(Wish::Run(workload)) => Some(workload),
            _ => None,
        };
        // A guard must not be dropped while the lock is held, so tasks are spawned after it.
        let mut spawn = Vec::new();
        for action in plan(wished, &id.name, &views) {
            self.act(&mut state, id, workload.as_ref(), action, &mut spawn);
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
                let pod = pod_id(name);
                if let Some(guard) = self.begin_locked(state, &pod, OpKind::Create) {
                    spawn.push((guard, operate::Task::Create(pod, Arc::clone(workload))));
                }
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
                    mark_leaving(record);
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
        if let Some(guard) = self.begin_locked(state, &pod, OpKind::Create) {
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

    /// Everything that exists, then every change (the port's law 4).
    pub(crate) fn watch(self: &Arc<Self>) -> BoxStream<'static, EngineEvent> {
        let (queue, receiver) = self.with(|state| (state.snapshot(), state.events.subscribe()));
        let watcher = (Arc::clone(self), queue, receiver);
        Box::pin(futures::stream::unfold(
            watcher,
            |(core, mut queue, mut receiver)| async move {
                loop {
                    if let Some(event) = queue.pop_front() {
                        return Some((event, (core, queue, receiver)));
                    }
                    match receiver.recv().await {
                        Ok(event) => return Some((event, (core, queue, receiver))),
                        Err(broadcast::error::RecvError::Lagged(_)) => {
                            (queue, receiver) =
                                core.with(|state| (state.snapshot(), state.events.subscribe()));
                            queue.push_front(EngineEvent::Reset);
                        }
                        Err(broadcast::error::RecvError::Closed) => return None,
                    }
                }
            },
        ))
    }
}

fn mark_leaving(pod: &mut Pod) {
    if pod.leaving.is_some() {
        return;
    }
    // What waits for its turn or for an image need not have it any more.
    if let Some(op) = &pod.op {
        op.cancel.cancel();
    }
    pod.leaving = Some(Leaving {
        drained: CancellationToken::new(),
        served: pod.run.as_ref().is_some_and(|run| run.was_ready) && pod.facts.port.is_some(),
        reason: None,
    });
}
