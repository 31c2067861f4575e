//! Nodes: makes cordons and drains so, as `plan::node_drain` says.
//!
//! Theory of operation: there is one key for all nodes, since two drains must not take the same workload's pods at
//! once. A run costs next to nothing while nobody wishes anything of a node: then there is no record. That an app's
//! workload gets a pod more while it moves is the app controller's doing; it is woken here when that begins or ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use coracle_engine::EngineError;
use coracle_model::app::AppSpec;
use coracle_model::node::{DrainPhase, Node, NodeDrain, NodeSpec, Scheduling};
use coracle_model::object::Kind;
use coracle_model::plan::job;
use coracle_model::plan::node_drain::{self, Action, Facts, Finish, Role};
use coracle_model::pod::{PodSpec, Restart};
use coracle_model::release::{ReleasePhase, ReleaseSpec};
use coracle_model::workload::{ObservedPod, PodId, WorkloadId};

use crate::controllers::change::Change;
use crate::controllers::key::AppKey;
use crate::controllers::key::Everything;
use crate::controllers::pod::is_bare;
use crate::controllers::runner::{Kick, Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::Batch;

const ACTOR: Actor = Actor::Platform("node controller");

/// Cordons, uncordons and drains nodes.
pub struct NodeController {
    scene: Arc<Scene>,
    apps: Option<Kick<AppKey>>,
    memory: Mutex<Memory>,
}

/// What saves work, and no more: a process without it does the same a little later.
#[derive(Debug, Default)]
struct Memory {
    /// Workloads that moved at the last look, with their apps.
    moving: BTreeMap<WorkloadId, AppKey>,
    /// Pods that were deleted and did not show it yet, by when they were made: a name can be used again.
    deleted: BTreeMap<PodId, DateTime<Utc>>,
}

impl NodeController {
    pub(super) fn new(scene: &Arc<Scene>, apps: Option<Kick<AppKey>>) -> Self {
        Self {
            scene: Arc::clone(scene),
            apps,
            memory: Mutex::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the apps whose workloads began to move, or moved to the end.
    fn wake_apps(&self, records: &[Node], pods: &[&ObservedPod]) {
        let app_of = |id: &WorkloadId| {
            let pod = pods.iter().find(|pod| pod.workload == *id)?;
            Some(AppKey {
                project: id.project.clone(),
                app: pod.owner.app.clone()?,
            })
        };
        let mut memory = self.memory();
        let now = node_drain::all_moving(records);
        let mut woken: Vec<AppKey> = Vec::new();
        memory.moving.retain(|id, app| {
            let stays = now.contains(id);
            if !stays {
                woken.push(app.clone());
            }
            stays
        });
        for id in now {
            if !memory.moving.contains_key(&id)
                && let Some(app) = app_of(&id)
            {
                woken.push(app.clone());
                memory.moving.insert(id, app);
            }
        }
        drop(memory);
        if let Some(apps) = &self.apps {
            woken.into_iter().for_each(|app| apps.kick(app));
        }
    }

    /// Pods that were deleted in this process's life and do not show it yet.
    fn deleted(&self, pods: &[&ObservedPod]) -> BTreeSet<PodId> {
        let mut memory = self.memory();
        memory.deleted.retain(|id, created| {
            pods.iter()
                .any(|pod| pod.id == *id && pod.created == *created)
        });
        memory.deleted.keys().cloned().collect()
    }

    /// What the workloads with pods on these nodes are.
    async fn roles(
        &self,
        records: &[Node],
        pods: &[&ObservedPod],
    ) -> Result<BTreeMap<WorkloadId, Role>, OperationError> {
        let mut roles = BTreeMap::new();
        for pod in pods {
            let left = |record: &Node| {
                record.spec.drain.is_some() && node_drain::is_left(pod, &record.metadata.name)
            };
            if records.iter().any(left) && !roles.contains_key(&pod.workload) {
                roles.insert(pod.workload.clone(), self.role(pod).await?);
            }
        }
        Ok(roles)
    }

    async fn role(&self, pod: &ObservedPod) -> Result<Role, OperationError> {
        let objects = &self.scene.control.objects;
        let project = &pod.workload.project;
        if is_bare(pod) {
            let key = keys::pod(project, &pod.workload.name);
            let record = objects.get::<PodSpec>(&key).await?;
            return Ok(match record {
                Some(record) if record.metadata.deleting.is_none() => match record.spec.restart {
                    Restart::Always => Role::Alone,
                    Restart::Never => Role::Task,
                },
                _ => Role::Leaving,
            });
        }
        let owner = &pod.owner;
        let (Some(name), Some(number)) = (&owner.app, owner.release) else {
            return Ok(Role::Leaving);
        };
        let Some(process) = &owner.process else {
            return Ok(Role::Step);
        };
        let app = objects.get::<AppSpec>(&keys::app(project, name)).await?;
        let release = objects
            .get::<ReleaseSpec>(&keys::release(project, name, number))
            .await?;
        let (Some(app), Some(release)) = (app, release) else {
            return Ok(Role::Leaving);
        };
        let runs = matches!(
            release.status.phase,
            ReleasePhase::Pending | ReleasePhase::Deploying | ReleasePhase::Live
        );
        if app.metadata.deleting.is_some() || !runs {
            return Ok(Role::Leaving);
        }
        Ok(match release.spec.config.processes.get(process) {
            Some(spec) => Role::Process {
                wanted: job::replicas(&app, process, spec),
            },
            None => Role::Leaving,
        })
    }

    async fn execute(
        &self,
        record: &Node,
        action: Action,
        pods: &[&ObservedPod],
    ) -> Result<(), OperationError> {
        let control = &self.scene.control;
        let name = record.metadata.name.as_str();
        match action {
            Action::Schedule(Scheduling::Cordoned) => control.engine.cordon(name).await?,
            Action::Schedule(Scheduling::Open) => control.engine.uncordon(name).await?,
            Action::Delete(id) => {
                let Some(pod) = pods.iter().find(|pod| pod.id == id) else {
                    return Ok(());
                };
                if self.memory().deleted.contains_key(&id) {
                    return Ok(());
                }
                tracing::info!(node = name, pod = %id, "a pod moves away");
                match control.engine.delete_pod(&id).await {
                    Ok(()) | Err(EngineError::NoSuchPod(_)) => {}
                    Err(error) => return Err(error.into()),
                }
                self.memory().deleted.insert(id, pod.created);
            }
            Action::End(id) => {
                let ended = control.delete_pod(&id.project, &id.name, None, &ACTOR);
                match ended.await {
                    Ok(_) | Err(OperationError::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Action::SetStatus(drain) => self.set_status(record, drain).await?,
            Action::Finish(why) => {
                control.forget_node_wish(record).await?;
                let (action, message) = match why {
                    Finish::AsWished => return Ok(()),
                    Finish::Uncordoned => (
                        "node.drain_ended",
                        format!("somebody else uncordoned node {name}: its drain has ended"),
                    ),
                    Finish::NodeGone => (
                        "node.gone",
                        format!("node {name} is gone, and with it what was wished of it"),
                    ),
                };
                self.note(action, name, message).await;
            }
        }
        Ok(())
    }

    async fn set_status(&self, record: &Node, drain: NodeDrain) -> Result<(), OperationError> {
        let name = record.metadata.name.as_str();
        let before = record.status.drain.as_ref().map(|drain| drain.phase);
        let mut after = record.clone();
        after.status.drain = Some(drain.clone());
        let key = keys::node(name);
        let batch = Batch::new().update(key, record.metadata.revision, &after)?;
        self.scene.control.objects.write(batch).await?;
        if before == Some(drain.phase) {
            return Ok(());
        }
        match drain.phase {
            DrainPhase::Cordoning | DrainPhase::Moving => {}
            DrainPhase::Blocked => {
                let blocks = drain.blocked_by.iter();
                let first = blocks.map(|b| format!("{}/{}: {}", b.project, b.workload, b.reason));
                let first = first.take(1).collect::<String>();
                let message = format!("the drain of node {name} cannot go on: {first}");
                self.note("node.drain_blocked", name, message).await;
            }
            DrainPhase::Drained => {
                let message = format!("node {name} is drained; it stays cordoned");
                self.note("node.drained", name, message).await;
            }
        }
        Ok(())
    }

    async fn note(&self, action: &str, name: &str, message: String) {
        let journal = &self.scene.control.journal;
        journal
            .record(&ACTOR, action, None, (Kind::Node, name), message)
            .await;
    }
}

#[async_trait]
impl Reconciler for NodeController {
    type Key = Everything;
    const NAME: &'static str = "node";
    const AT_ONCE: usize = 1;

    async fn keys(&self) -> Result<Vec<Everything>, OperationError> {
        Ok(vec![Everything])
    }

    fn concerns(&self, change: &Change<'_>) -> Option<Everything> {
        let concerns = match change {
            Change::Node | Change::Pod(..) => true,
            // What a workload is meant to have is part of how its pods move.
            Change::Stored(_) => {
                change.is_stored_under(keys::NODES) || change.is_stored_under(keys::APPS)
            }
            Change::Gateways => false,
        };
        concerns.then_some(Everything)
    }

    async fn reconcile(&self, _: &Everything) -> Result<Next, OperationError> {
        let control = &self.scene.control;
        // Before the store is read: what is read there is then never older than what was observed.
        let ((pods, nodes), knowledge) = self
            .scene
            .look(|observed| (observed.pods(), observed.nodes()));
        let records = control.objects.list::<NodeSpec>(keys::NODES).await?;
        let pods: Vec<&ObservedPod> = pods.iter().map(AsRef::as_ref).collect();
        let nodes: Vec<&Node> = nodes.iter().map(AsRef::as_ref).collect();
        self.wake_apps(&records, &pods);
        if records.is_empty() {
            return Ok(Next::Rest);
        }
        let roles = self.roles(&records, &pods).await?;
        let now = self.scene.now();
        let mut wake_at: Option<DateTime<Utc>> = None;
        let mut moving: BTreeMap<&str, Option<WorkloadId>> = records
            .iter()
            .map(|record| (record.metadata.name.as_str(), node_drain::moving(record)))
            .collect();
        for record in &records {
            let name = record.metadata.name.as_str();
            let others = moving
                .iter()
                .filter(|(other, _)| **other != name)
                .filter_map(|(_, id)| id.clone())
                .collect();
            let plan = node_drain::plan(Facts {
                record,
                nodes: &nodes,
                pods: &pods,
                roles: &roles,
                others: &others,
                deleted: &self.deleted(&pods),
                knowledge,
                now,
            });
            for action in plan.actions {
                if let Action::SetStatus(drain) = &action {
                    let next = drain.moving.as_ref().map(|moving| moving.id());
                    moving.insert(name, next);
                }
                match self.execute(record, action, &pods).await {
                    Ok(()) => {}
                    // Somebody wished something else: that wakes this again.
                    Err(error) if error.is_race() => break,
                    Err(error) => return Err(error),
                }
            }
            wake_at = wake_at.into_iter().chain(plan.wake_at).min();
        }
        match self.scene.look_again(knowledge) {
            Some(pause) => Ok(Next::After(pause)),
            None => Ok(Next::at(wake_at, now)),
        }
    }
}
