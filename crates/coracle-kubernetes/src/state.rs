//! Wishes and what is there, and what watchers are told.
//!
//! Theory of operation: one lock guards all that is known; it is held for moments and never over an await. All that
//! belongs to one workload is one [`Group`]; every change of a group ends in [`State::publish`], which tells watchers of
//! the difference. Objects come from watches and from the answers to our own requests; an answer older than what a watch
//! told already is left out, so that nothing is told backwards.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use coracle_engine::{EngineEvent, Support};
use coracle_model::name::{PodName, ProjectName};
use coracle_model::node::{Node, Scheduling};
use coracle_model::pod::{PodPhase, PodStatus};
use coracle_model::workload::{ObservedPod, PodId, Workload, WorkloadId, WorkloadKind};
use futures::stream::BoxStream;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio::time::Instant;

use crate::config::KubernetesConfig;
use crate::facts::{Facts, MANAGER, REPLICAS, SET, annotation, label, moment, stopping_since};
use crate::phase::{self, Beside};
use crate::plan::{JobView, PodView, SetView, View, Wished};
use crate::{naming, session, stats};

/// Events that a watcher may be behind before it gets a fresh start.
const WATCH_EVENTS: usize = 4096;

/// All parts of the engine, shared by its tasks.
pub(crate) struct Core {
    pub(crate) config: KubernetesConfig,
    pub(crate) client: Client,
    /// So many workloads are changed at once.
    pub(crate) turns: Semaphore,
    /// Wakes the task that waits for moments.
    pub(crate) clock: Notify,
    pub(crate) projects: crate::project::Projects,
    pub(crate) samples: stats::Samples,
    pub(crate) groups: tokio::sync::OnceCell<crate::discovery::Groups>,
    /// The API server can tell commands that their input has ended: seen at the first command.
    pub(crate) closes: AtomicBool,
    /// Changes whenever something is told: for those that wait for a pod.
    pub(crate) changed: watch::Sender<u64>,
    state: Mutex<State>,
}

/// What was wished last for a workload.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// That it runs.
    Run(Arc<Workload>),
    /// That it has no pods.
    Gone,
}

/// A Deployment or Job that is there.
#[derive(Debug)]
pub(crate) struct Held<K> {
    pub(crate) facts: Facts,
    pub(crate) live: Arc<K>,
    pub(crate) version: u64,
    /// We asked for its deletion.
    pub(crate) deleting: bool,
}

/// A pod that is there.
#[derive(Debug)]
pub(crate) struct PodRecord {
    pub(crate) facts: Facts,
    pub(crate) live: Arc<Pod>,
    pub(crate) version: u64,
    pub(crate) drained: bool,
    pub(crate) deleting: bool,
}

/// Why a wish is not done, and when it is tried again.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    pub(crate) definite: bool,
    pub(crate) tries: u32,
    pub(crate) retry_at: Instant,
}

/// All that there is of a workload.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) wish: Option<Wish>,
    pub(crate) sets: BTreeMap<String, Held<Deployment>>,
    pub(crate) jobs: BTreeMap<String, Held<Job>>,
    pub(crate) pods: BTreeMap<String, PodRecord>,
    pub(crate) trouble: Option<Trouble>,
    /// Objects (by uid) that have all that stands beside them.
    pub(crate) furnished: BTreeSet<String>,
    /// Somebody is at it.
    pub(crate) busy: bool,
    /// Something changed while somebody was at it.
    pub(crate) again: bool,
    published: BTreeMap<PodId, ObservedPod>,
}

/// The kinds of which all that existed must have been read before anything is told or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Pods.
    Pods,
    /// Deployments.
    Sets,
    /// Jobs.
    Jobs,
    /// Nodes.
    Nodes,
}

/// All that is known.
pub(crate) struct State {
    loaded: BTreeSet<Part>,
    /// The newest version that a watch has told, by kind.
    seen: BTreeMap<Part, u64>,
    pub(crate) groups: BTreeMap<WorkloadId, Group>,
    pub(crate) nodes: BTreeMap<String, Node>,
    /// Names of nodes that a fresh list has told so far.
    pub(crate) listed_nodes: BTreeSet<String>,
    /// The last warning about an object, by its uid.
    pub(crate) warnings: HashMap<String, String>,
    /// Workloads to look at again at a moment.
    pub(crate) alarms: BTreeSet<(Instant, WorkloadId)>,
    events: broadcast::Sender<EngineEvent>,
}

/// Versions are numbers in every API server there is, and since 1.35 by contract.
pub(crate) fn version(text: Option<&str>) -> u64 {
    text.and_then(|t| t.parse().ok()).unwrap_or_default()
}

/// Managers that act for the cluster itself.
const CLUSTER: [&str; 3] = ["kube-controller-manager", "kubelet", "kube-scheduler"];

/// What somebody else has made of a Deployment, in words. Nothing: it is as we left it.
///
/// The number of replicas is compared with the one that we gave it, because a change by `scale` leaves no trace among the
/// managed fields before 1.22.
pub(crate) fn changed(set: &Deployment) -> Option<Change> {
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let replicas = set.spec.as_ref().and_then(|s| s.replicas);
    let given: Option<i32> = annotation(&set.metadata, REPLICAS).and_then(|n| n.parse().ok());
    if let (Some(replicas), Some(given)) = (replicas, given)
        && replicas != given
    {
        let by = manager(set, true).unwrap_or("somebody else (kubectl?)");
        return Some(Change::Replicas(format!(
            "{by} scaled deployment {name} from {given} to {replicas}: it is left so; scaled back to {given} it is the platform's again"
        )));
    }
    let by = manager(set, false)?;
    Some(Change::Other(format!(
        "{by} changed deployment {name}: what it changed is left as it is"
    )))
}

/// What somebody else has changed.
pub(crate) enum Change {
    /// The number of replicas.
    Replicas(String),
    /// Something else.
    Other(String),
}

/// Another manager of fields of a Deployment's spec: of the number of replicas, or of anything else.
fn manager(set: &Deployment, of_replicas: bool) -> Option<&str> {
    let fields = set.metadata.managed_fields.as_ref()?;
    fields.iter().find_map(|entry| {
        let manager = entry.manager.as_deref()?;
        let spec = entry.fields_v1.as_ref()?.0.get("f:spec")?.as_object()?;
        let other = manager != MANAGER && !CLUSTER.contains(&manager);
        let touches = if of_replicas {
            spec.contains_key("f:replicas")
        } else {
            spec.keys().any(|key| key != "f:replicas")
        };
        (other && touches).then_some(manager)
    })
}

impl Group {
    pub(crate) fn wished(&self) -> Option<Wished> {
        match self.wish.as_ref()? {
            Wish::Gone => Some(Wished::Gone),
            Wish::Run(workload) => Some(Wished::Run {
                kind: workload.kind,
                generation: workload.generation,
            }),
        }
    }

    /// `answers` says whether a node does.
    pub(crate) fn view(&self, answers: impl Fn(&str) -> bool) -> View {
        let sets = self.sets.iter().map(|(name, set)| SetView {
            name: name.clone(),
            generation: set.facts.generation,
            replicas: set
                .live
                .spec
                .as_ref()
                .and_then(|s| s.replicas)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(1),
            stopping: stopping_since(&set.live.metadata),
            deleting: set.deleting || set.live.metadata.deletion_timestamp.is_some(),
            taken: matches!(changed(&set.live), Some(Change::Replicas(_))),
        });
        let jobs = self.jobs.iter().map(|(name, job)| JobView {
            name: name.clone(),
            generation: job.facts.generation,
            kind: job.facts.kind,
            deleting: job.deleting || job.live.metadata.deletion_timestamp.is_some(),
        });
        let pods = self.pods.iter().map(|(name, pod)| {
            let meta = &pod.live.metadata;
            let owners = meta.owner_references.as_deref().unwrap_or_default();
            PodView {
                name: name.clone(),
                generation: pod.facts.generation,
                kind: pod.facts.kind,
                set: label(meta, SET).map(str::to_owned),
                owned: owners.iter().any(|owner| owner.controller == Some(true)),
                leaving: stopping_since(meta),
                deleting: pod.deleting || meta.deletion_timestamp.is_some(),
                ended: phase::has_ended(&pod.live),
                ready: phase::is_ready(&pod.live),
                served: pod.facts.port.is_some() && phase::has_answered(&pod.live),
                drained: pod.drained,
                drain: pod.facts.drain(),
                created: meta
                    .creation_timestamp
                    .as_ref()
                    .map(moment)
                    .unwrap_or_default(),
                lost: lost(&pod.live, &answers),
            }
        });
        View {
            sets: sets.collect(),
            jobs: jobs.collect(),
            pods: pods.collect(),
        }
    }

    /// The Deployment, Job or pod name in the cluster of a pod as it is told outside.
    pub(crate) fn find(&self, id: &PodId) -> Option<&PodRecord> {
        let mine = self
            .pods
            .iter()
            .filter(|(name, pod)| pod.facts.pod_id(name).as_ref() == Some(id));
        // A task that the cluster began again has two: the younger one counts.
        mine.map(|(_, pod)| pod).max_by_key(|pod| {
            (
                pod.live.metadata.deletion_timestamp.is_none(),
                pod.live.metadata.creation_timestamp.clone(),
            )
        })
    }

    fn is_empty(&self) -> bool {
        self.sets.is_empty()
            && self.jobs.is_empty()
            && self.pods.is_empty()
            && self.published.is_empty()
            && !self.busy
    }

    fn observed(&self, id: &WorkloadId, state: &Surroundings<'_>) -> BTreeMap<PodId, ObservedPod> {
        let mut told: BTreeMap<PodId, ObservedPod> = BTreeMap::new();
        let note = self.note();
        for (name, pod) in &self.pods {
            let meta = &pod.live.metadata;
            let set = label(meta, SET).map(str::to_owned);
            let leaving = pod.deleting
                || stopping_since(meta).is_some()
                || set.as_ref().is_some_and(|set| match self.sets.get(set) {
                    Some(set) => set.deleting || stopping_since(&set.live.metadata).is_some(),
                    None => false,
                });
            let warning = meta.uid.as_ref().and_then(|uid| state.warnings.get(uid));
            let beside = Beside {
                leaving,
                warning: warning.map(String::as_str),
                note: note.as_deref(),
                cordoned: state.cordoned,
            };
            let Some(observed) = phase::observed(&pod.live, &pod.facts, beside) else {
                continue;
            };
            debug_assert!(!name.is_empty(), "a pod has a name");
            match told.get(&observed.id) {
                Some(other) if other.created > observed.created => {}
                _ => {
                    told.insert(observed.id.clone(), observed);
                }
            }
        }
        self.placeholders(id, state, note.as_deref(), &mut told);
        told
    }

    /// What a person should read about the workload, beside the pods' own reasons.
    fn note(&self) -> Option<String> {
        if let Some(trouble) = &self.trouble {
            return Some(trouble.reason.clone());
        }
        self.sets
            .values()
            .find_map(|set| match changed(&set.live)? {
                Change::Replicas(words) | Change::Other(words) => Some(words),
            })
    }

    /// What is told where no pod is there to tell it on.
    fn placeholders(
        &self,
        id: &WorkloadId,
        state: &Surroundings<'_>,
        note: Option<&str>,
        told: &mut BTreeMap<PodId, ObservedPod>,
    ) {
        for job in self.jobs.values().filter(|job| !job.deleting) {
            let own = PodId {
                project: id.project.clone(),
                name: id.name.clone(),
            };
            if told.contains_key(&own) {
                continue;
            }
            let waits = session::waits(job);
            let warning = job
                .live
                .metadata
                .uid
                .as_ref()
                .and_then(|uid| state.warnings.get(uid));
            let reason = if waits {
                Some("it starts when somebody attaches".to_owned())
            } else {
                warning.cloned()
            };
            if reason.is_some() {
                let created = job.live.metadata.creation_timestamp.as_ref().map(moment);
                let pod = placeholder(&job.facts, own.clone(), created, PodPhase::Pending, reason);
                told.insert(own, pod);
            }
        }
        for set in self.sets.values().filter(|set| !set.deleting) {
            let Some(reason) = replica_failure(&set.live) else {
                continue;
            };
            if let Some(own) = waiting_id(id, true) {
                let created = set.live.metadata.creation_timestamp.as_ref().map(moment);
                let reason = format!("the cluster refuses its pods: {reason}");
                let pod = placeholder(
                    &set.facts,
                    own.clone(),
                    created,
                    PodPhase::Pending,
                    Some(reason),
                );
                told.insert(own, pod);
            }
        }
        let Some(Wish::Run(workload)) = &self.wish else {
            return;
        };
        let wants = !matches!(workload.kind, WorkloadKind::Replicated { replicas: 0 });
        let has = told
            .values()
            .any(|pod| pod.generation == workload.generation);
        if let Some(trouble) = self.trouble.as_ref().filter(|_| wants && !has) {
            let replicated = matches!(workload.kind, WorkloadKind::Replicated { .. });
            if let Some(own) = waiting_id(id, replicated) {
                let phase = if trouble.definite {
                    PodPhase::Failed
                } else {
                    PodPhase::Pending
                };
                let facts = Facts::of(workload);
                let reason = note.map(str::to_owned);
                told.entry(own.clone())
                    .or_insert_with(|| placeholder(&facts, own, None, phase, reason));
            }
        }
    }
}

/// A node that does not answer is given so long beyond the grace of what should end there.
const UNHEARD: chrono::Duration = chrono::Duration::seconds(30);

/// From when on a pod that is being deleted is not waited for, because its node does not answer. Never with a volume,
/// which the pod may still write to.
fn lost(pod: &Pod, answers: &impl Fn(&str) -> bool) -> Option<DateTime<Utc>> {
    // The moment when its grace is over.
    let end = pod.metadata.deletion_timestamp.as_ref().map(moment)?;
    let spec = pod.spec.as_ref()?;
    let node = spec.node_name.as_deref()?;
    let mut volumes = spec.volumes.iter().flatten();
    let writes = volumes.any(|volume| volume.persistent_volume_claim.is_some());
    (!writes && !answers(node)).then(|| end + UNHEARD)
}

/// Why a Deployment's pods cannot even be made.
fn replica_failure(set: &Deployment) -> Option<String> {
    let conditions = set.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|c| c.type_ == "ReplicaFailure" && c.status == "True")?;
    failure.message.clone()
}

fn waiting_id(id: &WorkloadId, replicated: bool) -> Option<PodId> {
    const SUFFIX: &str = "-waiting";
    const MOST: usize = 80;
    let name = if replicated {
        let own: String = id.name.as_str().chars().take(MOST - SUFFIX.len()).collect();
        PodName::new(format!("{own}{SUFFIX}")).ok()?
    } else {
        id.name.clone()
    };
    Some(PodId {
        project: id.project.clone(),
        name,
    })
}

fn placeholder(
    facts: &Facts,
    id: PodId,
    created: Option<DateTime<Utc>>,
    phase: PodPhase,
    reason: Option<String>,
) -> ObservedPod {
    ObservedPod {
        id,
        workload: facts.id(),
        generation: facts.generation,
        owner: facts.owner(),
        image: facts.image.clone(),
        port: facts.port,
        created: created.unwrap_or_default(),
        status: PodStatus {
            phase,
            reason,
            ..PodStatus::default()
        },
    }
}

/// What a group's pods are told with, beside the group.
struct Surroundings<'a> {
    warnings: &'a HashMap<String, String>,
    cordoned: &'a [String],
}

impl State {
    /// Everything that exists was read at least once.
    pub(crate) fn is_synced(&self) -> bool {
        self.loaded.len() == 4
    }

    /// Has a watch told this version of a kind, or a newer one?
    pub(crate) fn has_seen(&self, part: Part, version: u64) -> bool {
        version > 0 && self.seen.get(&part).is_some_and(|seen| *seen >= version)
    }

    pub(crate) fn saw(&mut self, part: Part, version: u64) {
        let seen = self.seen.entry(part).or_default();
        *seen = (*seen).max(version);
    }

    /// All of a kind was read. Answers whether that was the last kind, for the first time.
    pub(crate) fn loaded(&mut self, part: Part) -> bool {
        let before = self.is_synced();
        self.loaded.insert(part);
        if before || !self.is_synced() {
            return false;
        }
        for node in self.nodes.values() {
            self.tell(EngineEvent::Node(Box::new(node.clone())));
        }
        let ids: Vec<WorkloadId> = self.groups.keys().cloned().collect();
        for id in ids {
            self.publish(&id);
        }
        self.tell(EngineEvent::Synced);
        true
    }

    /// Tells watchers what has changed of a workload's pods. Nothing before all was read.
    pub(crate) fn publish(&mut self, id: &WorkloadId) {
        if !self.is_synced() {
            return;
        }
        let cordoned = self.only_cordoned();
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let surroundings = Surroundings {
            warnings: &self.warnings,
            cordoned: &cordoned,
        };
        let now = group.observed(id, &surroundings);
        let before = std::mem::take(&mut group.published);
        let mut events = Vec::new();
        for gone in before.keys().filter(|id| !now.contains_key(id)) {
            events.push(EngineEvent::PodGone(gone.clone()));
        }
        for (id, pod) in &now {
            match before.get(id) {
                Some(same) if same == pod => {}
                // Another pod of the same name: the one before was never told to be gone.
                Some(other) if other.created != pod.created => {
                    events.push(EngineEvent::PodGone(id.clone()));
                    events.push(EngineEvent::Pod(pod.clone()));
                }
                _ => events.push(EngineEvent::Pod(pod.clone())),
            }
        }
        group.published = now;
        let forget = group.is_empty() && !matches!(group.wish, Some(Wish::Run(_)));
        if forget {
            self.groups.remove(id);
        }
        for event in events {
            self.tell(event);
        }
    }

    /// Names of the nodes that are cordoned, when no other node is left.
    fn only_cordoned(&self) -> Vec<String> {
        let open = |node: &Node| node.status.ready && node.spec.scheduling == Scheduling::Open;
        if self.nodes.values().any(open) {
            return Vec::new();
        }
        self.nodes
            .values()
            .filter(|node| node.spec.scheduling == Scheduling::Cordoned)
            .map(|node| node.metadata.name.clone())
            .collect()
    }

    /// Tells watchers. That there is none is no fault.
    pub(crate) fn tell(&self, event: EngineEvent) {
        if self.events.send(event).is_err() {
            tracing::trace!("nobody watches");
        }
    }

    pub(crate) fn set_node(&mut self, node: Node) {
        let name = node.metadata.name.clone();
        let before = self.nodes.insert(name, node.clone());
        let open = |node: &Node| (node.spec.scheduling, node.status.ready);
        let turned = before.as_ref().is_none_or(|b| open(b) != open(&node));
        if self.is_synced() {
            if before.as_ref() != Some(&node) {
                self.tell(EngineEvent::Node(Box::new(node)));
            }
            if turned {
                self.publish_all();
            }
        }
    }

    pub(crate) fn forget_node(&mut self, name: &str) {
        if self.nodes.remove(name).is_some() && self.is_synced() {
            self.tell(EngineEvent::NodeGone(name.to_owned()));
        }
    }

    fn publish_all(&mut self) {
        let ids: Vec<WorkloadId> = self.groups.keys().cloned().collect();
        for id in ids {
            self.publish(&id);
        }
    }

    fn snapshot(&self) -> VecDeque<EngineEvent> {
        if !self.is_synced() {
            return VecDeque::new();
        }
        let nodes = self
            .nodes
            .values()
            .map(|node| EngineEvent::Node(Box::new(node.clone())));
        let pods = self
            .groups
            .values()
            .flat_map(|group| group.published.values().cloned())
            .map(EngineEvent::Pod);
        nodes.chain(pods).chain([EngineEvent::Synced]).collect()
    }

    /// The workload that a pod belongs to.
    pub(crate) fn group_of(&self, pod: &PodId) -> Option<(&WorkloadId, &Group)> {
        self.groups
            .iter()
            .filter(|(id, _)| id.project == pod.project)
            .find(|(_, group)| group.published.contains_key(pod) || group.find(pod).is_some())
    }

    /// A pod as watchers were told of it last.
    pub(crate) fn told(&self, pod: &PodId) -> Option<&ObservedPod> {
        self.group_of(pod)?.1.published.get(pod)
    }

    /// A pod that is there.
    pub(crate) fn record(&self, pod: &PodId) -> Option<&PodRecord> {
        self.group_of(pod)?.1.find(pod)
    }
}

impl Core {
    pub(crate) fn new(config: KubernetesConfig, client: Client) -> Arc<Self> {
        let (events, _) = broadcast::channel(WATCH_EVENTS);
        let (changed, _) = watch::channel(0);
        Arc::new(Self {
            client,
            turns: Semaphore::new(config.concurrency.max(1)),
            clock: Notify::new(),
            projects: crate::project::Projects::default(),
            samples: stats::Samples::default(),
            groups: tokio::sync::OnceCell::new(),
            closes: AtomicBool::new(false),
            changed,
            state: Mutex::new(State {
                loaded: BTreeSet::new(),
                seen: BTreeMap::new(),
                groups: BTreeMap::new(),
                nodes: BTreeMap::new(),
                listed_nodes: BTreeSet::new(),
                warnings: HashMap::new(),
                alarms: BTreeSet::new(),
                events,
            }),
            config,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.lock())
    }

    /// Can commands be told that their input has ended?
    pub(crate) fn input_end(&self) -> Support {
        if self.closes.load(Ordering::Relaxed) {
            Support::Yes
        } else {
            Support::No
        }
    }

    /// Wakes whoever waits for something to be so.
    pub(crate) fn touch(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until `look` finds something.
    pub(crate) async fn when<T>(&self, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(found) = self.with(|state| look(state)) {
                return found;
            }
            if changed.changed().await.is_err() {
                // The sender is a part of this core: it cannot be gone while we are here.
                std::future::pending::<()>().await;
            }
        }
    }

    /// A project's namespace.
    ///
    /// # Errors
    /// [`coracle_engine::EngineError::Refused`] when the name would be too long.
    pub(crate) fn namespace(
        &self,
        project: &ProjectName,
    ) -> Result<String, coracle_engine::EngineError> {
        let prefix = &self.config.namespace_prefix;
        naming::namespace(prefix, project).ok_or_else(|| {
            coracle_engine::EngineError::Refused(format!(
                "the namespace {prefix}{project} would have more than 63 letters"
            ))
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

/// Is somebody attached to a Job?
pub(crate) fn attached(job: &Job) -> bool {
    annotation(&job.metadata, crate::facts::ATTACHED).is_some()
}
