//! Wishes and what is there, and what watchers are told.
//!
//! Theory of operation: one lock guards all that is known; it is held for moments and never over an await. All that
//! belongs to one workload is one [`Group`]; every change of a group ends in [`State::publish`], which tells watchers of
//! the difference. Objects come from watches and from the answers to our own requests; an answer older than what a watch
//! told already is left out, so that nothing is told backwards.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_engine::follow::{Beginning, follow};
use coracle_engine::wish::Wish;
use coracle_engine::{EngineEvent, Support};
use coracle_model::name::ProjectName;
use coracle_model::node::{Node, Scheduling};
use coracle_model::workload::{ObservedPod, PodId, WorkloadId};
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio::time::Instant;

use crate::config::KubernetesConfig;
use crate::group::{Group, Held};
use crate::told::Surroundings;
use crate::{naming, stats};

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
    /// The namespace of builds was made or checked in this process's life.
    pub(crate) builds_made: AtomicBool,
    /// Builds that are asked for just now.
    pub(crate) builds_asked: Mutex<BTreeSet<String>>,
    pub(crate) samples: stats::Samples,
    pub(crate) kubelets: crate::usage::Kubelets,
    pub(crate) groups: crate::discovery::Known,
    /// The API server can tell commands that their input has ended: seen at the first command.
    pub(crate) closes: AtomicBool,
    /// Changes whenever something is told: for those that wait for a pod.
    pub(crate) changed: watch::Sender<u64>,
    state: Mutex<State>,
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

    /// Takes in a node. Answers whether pods can come to it now or cannot any more.
    pub(crate) fn set_node(&mut self, node: Node) -> bool {
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
        turned
    }

    /// Workloads with a pod on a node.
    pub(crate) fn on_node(&self, node: &str) -> Vec<WorkloadId> {
        let on = |pod: &Held<Pod>| {
            let spec = pod.live.spec.as_ref();
            spec.and_then(|spec| spec.node_name.as_deref()) == Some(node)
        };
        let has = |group: &Group| group.pods.values().any(on);
        let groups = self.groups.iter().filter(|(_, group)| has(group));
        groups.map(|(id, _)| id.clone()).collect()
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
    pub(crate) fn record(&self, pod: &PodId) -> Option<&Held<Pod>> {
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
            builds_made: AtomicBool::default(),
            builds_asked: Mutex::default(),
            samples: stats::Samples::default(),
            kubelets: crate::usage::Kubelets::default(),
            groups: crate::discovery::Known::default(),
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
        let core = Arc::clone(self);
        follow(move || {
            Some(core.with(|state| Beginning {
                all: state.snapshot(),
                then: state.events.subscribe(),
            }))
        })
    }
}
