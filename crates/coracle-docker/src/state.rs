//! Wishes and pods, and what watchers are told.
//!
//! Theory of operation: one lock guards all that is known; it is held for moments and never over an await. Every
//! change of a pod ends in [`State::publish`], which tells watchers if what they see has changed. One action at
//! most is in flight for a pod ([`crate::pod::Op`]); its task holds a [`crate::reconcile::OpGuard`], so that even a
//! panic or an abort gives the pod back to the planner.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_engine::EngineEvent;
use coracle_engine::follow::{Beginning, follow};
use coracle_engine::wish::Wish;
use coracle_model::name::ProjectName;
use coracle_model::node::{Node, Scheduling};
use coracle_model::workload::{PodId, WorkloadId};
use futures::stream::BoxStream;
use tokio::sync::{Notify, Semaphore, broadcast};

use crate::client::Client;
use crate::config::DockerConfig;
use crate::container::Init;
use crate::image::KnownCredentials;
use crate::naming::Names;
use crate::network::Network;
use crate::pod::Pod;
use crate::stats::Samples;
use crate::usage::Places;
use crate::{node, phase};

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
    /// The cache of builds is bounded by one at a time.
    pub(crate) pruning: Arc<Semaphore>,
    /// One cordon is put or taken away at a time.
    pub(crate) cordoning: tokio::sync::Mutex<()>,
    /// Wakes the timer of retries.
    pub(crate) retries: Notify,
    pub(crate) credentials: KnownCredentials,
    /// Once images of builds of a former version have tags that nobody can foresee.
    pub(crate) images_hidden: tokio::sync::OnceCell<()>,
    pub(crate) samples: Samples,
    pub(crate) places: Places,
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
    /// May pods that have no container yet get one?
    pub(crate) scheduling: Scheduling,
    /// Workloads whose pods were given back to the planner.
    pub(crate) given_back: BTreeSet<WorkloadId>,
    /// Wakes whoever waits for an action on a pod to end.
    pub(crate) freed: Arc<Notify>,
    events: broadcast::Sender<EngineEvent>,
    pub(crate) serial: u64,
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

    pub(crate) fn set_node(&mut self, mut node: Node) {
        node.spec.scheduling = self.scheduling;
        node.status.pod_subnets = self.pod_subnets();
        let changed = self.node.as_ref().is_none_or(|n| {
            n.spec != node.spec || n.status != node.status || n.metadata.name != node.metadata.name
        });
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
            self.tell(EngineEvent::Node(Box::new(node)));
        }
    }

    /// Where pods get their addresses from: the subnets of the projects' networks.
    pub(crate) fn pod_subnets(&self) -> Vec<String> {
        let mut subnets: Vec<_> = self.networks.values().map(|n| n.subnet).collect();
        subnets.sort();
        subnets.iter().map(ToString::to_string).collect()
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

    /// Pods that run.
    pub(crate) fn running(&self) -> u32 {
        let running = self.pods.values().filter(|pod| pod.run.is_some());
        u32::try_from(running.count()).unwrap_or(u32::MAX)
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
        let node = self
            .node
            .iter()
            .cloned()
            .map(Box::new)
            .map(EngineEvent::Node);
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
            pruning: Arc::new(Semaphore::new(1)),
            cordoning: tokio::sync::Mutex::new(()),
            retries: Notify::new(),
            credentials: KnownCredentials::default(),
            images_hidden: tokio::sync::OnceCell::new(),
            samples: Samples::default(),
            places: Places::default(),
            processor_sample: Mutex::new(None),
            state: Mutex::new(State {
                synced: false,
                wishes: BTreeMap::new(),
                pods: BTreeMap::new(),
                networks: HashMap::new(),
                node: None,
                scheduling: Scheduling::Open,
                given_back: BTreeSet::new(),
                freed: Arc::new(Notify::new()),
                events,
                serial: 0,
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
