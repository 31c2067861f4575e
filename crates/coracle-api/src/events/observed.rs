//! What the engine tells: pods and nodes.

use coracle_control::OperationError;
use coracle_control::keys;
use coracle_control::pod::{as_object, merge};
use coracle_engine::EngineEvent;
use coracle_model::name::PodName;
use coracle_model::object::Kind;
use coracle_model::pod::{Pod, PodSpec};
use coracle_model::user::Role;
use coracle_model::workload::{ObservedPod, PodId};
use serde_json::json;

use super::filter::Audience;
use super::follower::{Follower, Gone};
use crate::view;

/// Nodes are shown to those who see the whole platform.
const OF_NODES: Audience = Audience::Platform(Role::Viewer);

/// The engine's name of a pod.
pub(super) fn pod_id(pod: &Pod) -> Option<PodId> {
    Some(PodId {
        project: pod.metadata.project.clone()?,
        name: PodName::new(pod.metadata.name.clone()).ok()?,
    })
}

impl Follower {
    /// As its own route answers it: with what is wished of it.
    pub(super) async fn node(&self, name: &str) -> Result<(), Gone> {
        if !self.filter.wants(Kind::Node, &OF_NODES) {
            return Ok(());
        }
        match self.state.control.seen_node(name).await {
            Ok(node) => {
                self.object("applied", None, Kind::Node, &OF_NODES, &node)
                    .await
            }
            // Gone by now: that is told by itself.
            Err(OperationError::NotFound { .. }) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, node = name, "what is wished of a node could not be read");
                Ok(())
            }
        }
    }

    async fn pod(&self, id: &PodId, pod: Pod) -> Result<(), Gone> {
        let pod = view::pod(pod, self.filter.caller().role);
        let audience = Audience::Project(id.project.clone());
        self.object("applied", None, Kind::Pod, &audience, &pod)
            .await
    }

    /// As its own route answers it: a bare pod is what somebody asked for too.
    pub(super) async fn observed_pod(&self, seen: &ObservedPod) -> Result<(), Gone> {
        if !self.filter.wants_of(Kind::Pod, &seen.id.project) {
            return Ok(());
        }
        match self.asked(&seen.id).await {
            Some(asked) => self.pod(&seen.id, merge(asked, Some(seen))).await,
            None => self.pod(&seen.id, as_object(seen)).await,
        }
    }

    /// The bare pod of this name that somebody asked for.
    async fn asked(&self, id: &PodId) -> Option<Pod> {
        let key = keys::pod(&id.project, &id.name);
        match self.state.control.objects.get::<PodSpec>(&key).await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(%error, pod = %id, "a pod's record could not be read");
                None
            }
        }
    }

    pub(super) async fn engine(&self, change: EngineEvent) -> Result<(), Gone> {
        match change {
            EngineEvent::Pod(pod) => self.observed_pod(&pod).await,
            EngineEvent::PodGone(id) => self.pod_gone(&id).await,
            EngineEvent::Node(node) => self.node(&node.metadata.name).await,
            EngineEvent::NodeGone(name) => {
                let data = json!({ "kind": Kind::Node, "metadata": { "name": name } });
                self.object("deleted", None, Kind::Node, &OF_NODES, &data)
                    .await
            }
            EngineEvent::Reset | EngineEvent::Synced => Ok(()),
        }
    }

    async fn pod_gone(&self, id: &PodId) -> Result<(), Gone> {
        if !self.filter.wants_of(Kind::Pod, &id.project) {
            return Ok(());
        }
        if let Some(asked) = self.asked(id).await {
            // Asked for still: the engine makes it anew.
            return self.pod(id, asked).await;
        }
        let mut data =
            json!({ "kind": Kind::Pod, "metadata": { "name": id.name, "project": id.project } });
        let key = keys::pod(&id.project, &id.name);
        if let Some(uid) = self.uids().remove(&key) {
            data["metadata"]["uid"] = uid.into();
        }
        let audience = Audience::Project(id.project.clone());
        self.object("deleted", None, Kind::Pod, &audience, &data)
            .await
    }
}
