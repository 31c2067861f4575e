//! What can be done with nodes: look at them, cordon, uncordon, drain.
//!
//! Theory of operation: nodes are the engine's. What somebody wishes of one is a record, written before anything is
//! done, so that it survives the death of this process; the node controller makes it so. A cordon's record goes once
//! the engine knows: from then on the engine keeps it. A drain's stays until it is cancelled or the node uncordoned.

use std::collections::BTreeMap;

use chrono::Utc;
use coracle_model::name::shown;
use coracle_model::node::{
    DrainMode, DrainPhase, DrainWish, Node, NodeDrain, NodeSpec, NodeStatus, Scheduling,
};
use coracle_model::object::Kind;
use coracle_model::plan::node_drain;
use coracle_store::Expected;

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, new_object};

/// How often a wish is tried again when somebody else wrote in between.
const MOST_TRIES: usize = 16;

/// So many workloads are named in a refusal.
const MOST_NAMED: usize = 10;

impl Control {
    /// The nodes by name, as the engine says now; when it does not answer, as it said last, which tells that it is away.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn nodes(&self) -> Result<Vec<Node>, OperationError> {
        let mut nodes = match self.engine.nodes().await {
            Ok(nodes) => nodes,
            Err(error) => {
                tracing::warn!(%error, "nodes as last seen");
                let seen = self.observed.nodes();
                seen.iter().map(|node| Node::clone(node)).collect()
            }
        };
        let records: BTreeMap<String, Node> = self
            .objects
            .list::<NodeSpec>(keys::NODES)
            .await?
            .into_iter()
            .map(|record| (record.metadata.name.clone(), record))
            .collect();
        for node in &mut nodes {
            if let Some(record) = records.get(&node.metadata.name) {
                merge(node, record);
            }
        }
        nodes.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        Ok(nodes)
    }

    /// A node.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], or when the store fails.
    pub async fn node(&self, name: &str) -> Result<Node, OperationError> {
        let nodes = self.nodes().await?;
        nodes
            .into_iter()
            .find(|node| node.metadata.name == name)
            .ok_or_else(|| unknown(name))
    }

    /// A node as it was last told of, with what is wished of it: without asking the engine.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], or when the store fails.
    pub async fn seen_node(&self, name: &str) -> Result<Node, OperationError> {
        let seen = self.observed.nodes();
        let node = seen.iter().find(|node| node.metadata.name == name);
        let mut node = Node::clone(node.ok_or_else(|| unknown(name))?);
        if let Some(record) = self.objects.get::<NodeSpec>(&keys::node(name)).await? {
            merge(&mut node, &record);
        }
        Ok(node)
    }

    /// Lets a node get no new pods; those that it has stay.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], or when the store fails.
    pub async fn cordon_node(&self, name: &str, actor: &Actor) -> Result<Node, OperationError> {
        let changed = self
            .wish_of_node(name, |node, _| {
                let already = node.spec.scheduling == Scheduling::Cordoned;
                Ok((!already).then_some((scheduling(Scheduling::Cordoned), Progress::Anew)))
            })
            .await?;
        if changed == Changed::Yes {
            let message = format!("node {name} is cordoned: it gets no new pods");
            self.note_node(actor, "node.cordoned", name, message).await;
        }
        self.seen_node(name).await
    }

    /// Lets a node get new pods again. A drain of it ends.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], or when the store fails.
    pub async fn uncordon_node(&self, name: &str, actor: &Actor) -> Result<Node, OperationError> {
        let changed = self
            .wish_of_node(name, |node, _| {
                let already = node.spec.scheduling == Scheduling::Open && node.spec.drain.is_none();
                Ok((!already).then_some((scheduling(Scheduling::Open), Progress::Anew)))
            })
            .await?;
        if changed == Changed::Yes {
            let message = format!("node {name} gets new pods again");
            self.note_node(actor, "node.uncordoned", name, message)
                .await;
        }
        self.seen_node(name).await
    }

    /// Cordons a node and moves its pods away. Asked for again, it takes over the mode.
    ///
    /// # Errors
    /// [`OperationError::NotFound`]; [`OperationError::Conflict`] when no other node could take its pods and the
    /// mode is [`DrainMode::Gentle`].
    pub async fn drain_node(
        &self,
        name: &str,
        mode: DrainMode,
        actor: &Actor,
    ) -> Result<Node, OperationError> {
        let changed = self
            .wish_of_node(name, |node, before| {
                let running = before.and_then(|record| record.spec.drain);
                if running.is_some_and(|drain| drain.mode == mode) {
                    return Ok(None);
                }
                if mode == DrainMode::Gentle {
                    self.check_elsewhere(node)?;
                }
                let since = running.map_or_else(Utc::now, |drain| drain.since);
                let spec = NodeSpec {
                    scheduling: Scheduling::Cordoned,
                    drain: Some(DrainWish { mode, since }),
                };
                let progress = match running {
                    Some(_) => Progress::Kept,
                    None => Progress::Anew,
                };
                Ok(Some((spec, progress)))
            })
            .await?;
        if changed == Changed::Yes {
            let how = match mode {
                DrainMode::Gentle => "",
                DrainMode::Force => ", by force",
            };
            let message = format!("node {name} is being drained{how}");
            self.note_node(actor, "node.draining", name, message).await;
        }
        self.seen_node(name).await
    }

    /// Ends the drain of a node. It stays cordoned, and pods that moved stay where they are.
    ///
    /// # Errors
    /// [`OperationError::NotFound`]; [`OperationError::Conflict`] when it is not drained.
    pub async fn cancel_node_drain(
        &self,
        name: &str,
        actor: &Actor,
    ) -> Result<Node, OperationError> {
        let cancel = |_: &Node, before: Option<&Node>| {
            if before.is_none_or(|record| record.spec.drain.is_none()) {
                return Err(OperationError::conflict(format!(
                    "node {name} is not being drained"
                )));
            }
            Ok(Some((scheduling(Scheduling::Cordoned), Progress::Anew)))
        };
        self.wish_of_node(name, cancel).await?;
        let message = format!("the drain of node {name} is cancelled; it stays cordoned");
        self.note_node(actor, "node.drain_cancelled", name, message)
            .await;
        self.seen_node(name).await
    }

    /// Writes what `wish` makes of a node (as it is shown) and its record, again and again until nobody wrote in
    /// between.
    async fn wish_of_node(
        &self,
        name: &str,
        wish: impl Fn(&Node, Option<&Node>) -> Result<Option<(NodeSpec, Progress)>, OperationError>
        + Send,
    ) -> Result<Changed, OperationError> {
        let key = keys::node(name);
        let mut tries = 0;
        loop {
            let node = self.seen_node(name).await?;
            let before = self.objects.get::<NodeSpec>(&key).await?;
            let Some((spec, progress)) = wish(&node, before.as_ref())? else {
                return Ok(Changed::No);
            };
            let batch = match before {
                None => {
                    let record: Node = new_object(name, None, spec);
                    Batch::new().create(key.clone(), &record)?
                }
                Some(mut record) => {
                    record.spec = spec;
                    if progress == Progress::Anew {
                        record.status = NodeStatus::default();
                    }
                    Batch::new().update(key.clone(), record.metadata.revision, &record)?
                }
            };
            match self.objects.write(batch).await {
                Ok(_) => return Ok(Changed::Yes),
                Err(error) if error.is_race() && tries < MOST_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Is there another node for the pods of this one, if it has any?
    fn check_elsewhere(&self, node: &Node) -> Result<(), OperationError> {
        let name = node.metadata.name.as_str();
        let seen = self.observed.nodes();
        let nodes: Vec<&Node> = seen.iter().map(AsRef::as_ref).collect();
        if !node_drain::elsewhere(name, &nodes).is_empty() {
            return Ok(());
        }
        let mut stopped: BTreeMap<String, usize> = BTreeMap::new();
        for pod in self.observed.pods() {
            if node_drain::is_left(&pod, name) {
                *stopped.entry(pod.workload.to_string()).or_default() += 1;
            }
        }
        if stopped.is_empty() {
            return Ok(());
        }
        let mut named: Vec<String> = stopped
            .iter()
            .take(MOST_NAMED)
            .map(|(workload, pods)| match pods {
                1 => workload.clone(),
                pods => format!("{workload} ({pods} pods)"),
            })
            .collect();
        if stopped.len() > MOST_NAMED {
            named.push(format!("and {} more", stopped.len() - MOST_NAMED));
        }
        Err(OperationError::Conflict {
            reason: format!(
                "no other node is ready and takes new pods, so these would stop and not come back until {name} is \
                 uncordoned: {}",
                named.join(", ")
            ),
            hint: Some(format!(
                "`coracle nodes drain {name} --force` (mode `force`) stops them all the same"
            )),
        })
    }

    async fn note_node(&self, actor: &Actor, action: &str, name: &str, message: String) {
        let what = (Kind::Node, name);
        self.journal
            .record(actor, action, None, what, message)
            .await;
    }

    /// Takes away what was wished of a node, as it was when it was read.
    ///
    /// # Errors
    /// When the store fails, or somebody wished something else since.
    pub(crate) async fn forget_node_wish(&self, record: &Node) -> Result<(), OperationError> {
        let expected = Expected::Revision(record.metadata.revision);
        let batch = Batch::new().delete(keys::node(&record.metadata.name), expected);
        self.objects.write(batch).await.map(drop)
    }
}

/// Does a drain that was there go on where it is?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Kept,
    Anew,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Changed {
    Yes,
    No,
}

const fn scheduling(scheduling: Scheduling) -> NodeSpec {
    NodeSpec {
        scheduling,
        drain: None,
    }
}

fn unknown(name: &str) -> OperationError {
    OperationError::not_found(Kind::Node, shown(name))
}

/// Shows what is wished of a node, and how far it is, on what the engine reports.
pub fn merge(node: &mut Node, record: &Node) {
    node.spec = record.spec.clone();
    node.metadata.revision = record.metadata.revision;
    node.status.drain = record.status.drain.clone().or_else(|| {
        record.spec.drain.map(|drain| NodeDrain {
            phase: DrainPhase::Cordoning,
            since: drain.since,
            started: drain.since,
            left: 0,
            moving: None,
            blocked_by: Vec::new(),
        })
    });
}
