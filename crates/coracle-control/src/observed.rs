//! What the engine reports, kept at hand.
//!
//! Theory of operation: one task follows [`Engine::watch`] and folds it into a map; everybody else reads the
//! map. Nothing here is truth: it is lost with the process and made anew from the watch. Until the engine has
//! told everything once ([`Observed::is_synced`]), absence means nothing. Readers are told *that* something
//! changed, through a version that grows, and look for themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use coracle_engine::{Engine, EngineEvent};
use coracle_model::name::{AppName, ProjectName};
use coracle_model::node::Node;
use coracle_model::workload::{ObservedPod, PodId, WorkloadId};
use coracle_task::{Backoff, Supervisor};
use futures::StreamExt as _;
use tokio::sync::{broadcast, watch};

/// Changes kept for a slow follower of [`Observed::changes`] before it must start afresh.
const CHANGES_BUFFER: usize = 1024;

/// What the engine reports. Clones share it.
#[derive(Clone, Debug)]
pub struct Observed {
    inner: Arc<RwLock<Inner>>,
    version: Arc<watch::Sender<u64>>,
    changes: broadcast::Sender<EngineEvent>,
}

#[derive(Debug, Default)]
struct Inner {
    pods: BTreeMap<PodId, Arc<ObservedPod>>,
    nodes: BTreeMap<String, Arc<Node>>,
    sync: Sync,
}

/// Has the engine told everything?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sync {
    /// Not once since the start.
    #[default]
    Never,
    /// Once at least, but just now it begins afresh: what is known may be short of pods.
    Again,
    /// Yes.
    Done,
}

impl Observed {
    /// Follows `engine` until `supervisor` ends.
    pub fn follow(engine: Arc<dyn Engine>, supervisor: &Supervisor) -> Self {
        let observed = Self {
            inner: Arc::default(),
            version: Arc::new(watch::Sender::new(0)),
            changes: broadcast::Sender::new(CHANGES_BUFFER),
        };
        let follower = observed.clone();
        supervisor.service("engine watch", Backoff::default(), move || {
            let engine = Arc::clone(&engine);
            let follower = follower.clone();
            async move {
                let mut events = engine.watch();
                while let Some(event) = events.next().await {
                    follower.apply(event);
                }
                Err::<(), _>("the engine's watch ended")
            }
        });
        observed
    }

    fn apply(&self, event: EngineEvent) {
        {
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            match &event {
                EngineEvent::Pod(pod) => {
                    inner.pods.insert(pod.id.clone(), Arc::new(pod.clone()));
                }
                EngineEvent::PodGone(id) => {
                    inner.pods.remove(id);
                }
                EngineEvent::Node(node) => {
                    let node = Node::clone(node);
                    inner
                        .nodes
                        .insert(node.metadata.name.clone(), Arc::new(node));
                }
                EngineEvent::NodeGone(name) => {
                    inner.nodes.remove(name);
                }
                EngineEvent::Reset => {
                    inner.pods.clear();
                    inner.nodes.clear();
                    if inner.sync == Sync::Done {
                        inner.sync = Sync::Again;
                    }
                }
                EngineEvent::Synced => inner.sync = Sync::Done,
            }
        }
        self.version.send_modify(|version| *version += 1);
        // Nobody may be listening, which is fine.
        let _receivers = self.changes.send(event);
    }

    fn read<T>(&self, read: impl FnOnce(&Inner) -> T) -> T {
        read(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Is everything that exists known? Before that, absence means nothing.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.read(|inner| inner.sync == Sync::Done)
    }

    /// Waits until everything that exists is known.
    pub async fn synced(&self) {
        let mut version = self.subscribe();
        while !self.is_synced() {
            if version.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Changes whenever anything observed changed; what, one has to look for.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Every change, for those who show changes. One that is too slow gets an error and starts afresh.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<EngineEvent> {
        self.changes.subscribe()
    }

    /// One pod.
    #[must_use]
    pub fn pod(&self, id: &PodId) -> Option<Arc<ObservedPod>> {
        self.read(|inner| inner.pods.get(id).cloned())
    }

    /// Every pod, by project and name.
    #[must_use]
    pub fn pods(&self) -> Vec<Arc<ObservedPod>> {
        self.read(|inner| inner.pods.values().cloned().collect())
    }

    /// Does any pod run?
    #[must_use]
    pub fn runs_any(&self) -> bool {
        self.read(|inner| inner.pods.values().any(|pod| pod.status.phase.can_exec()))
    }

    /// The pods of a project.
    #[must_use]
    pub fn pods_of_project(&self, project: &ProjectName) -> Vec<Arc<ObservedPod>> {
        self.pods_where(|pod| pod.id.project == *project)
    }

    /// The pods of an app, its tasks included.
    #[must_use]
    pub fn pods_of_app(&self, project: &ProjectName, app: &AppName) -> Vec<Arc<ObservedPod>> {
        self.pods_where(|pod| pod.id.project == *project && pod.owner.app.as_ref() == Some(app))
    }

    /// The pods of a workload.
    #[must_use]
    pub fn pods_of_workload(&self, workload: &WorkloadId) -> Vec<Arc<ObservedPod>> {
        self.pods_where(|pod| pod.workload == *workload)
    }

    fn pods_where(&self, wanted: impl Fn(&ObservedPod) -> bool) -> Vec<Arc<ObservedPod>> {
        self.read(|inner| {
            inner
                .pods
                .values()
                .filter(|pod| wanted(pod))
                .cloned()
                .collect()
        })
    }

    /// Every node.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.read(|inner| inner.nodes.values().cloned().collect())
    }
}
