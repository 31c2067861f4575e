//! Objects come in, from watches and from the answers to our own requests.
//!
//! Theory of operation: an answer may be older than what a watch told already, and is left out then. Whatever a watch tells
//! makes the workload be looked at.

use std::sync::Arc;

use coracle_model::workload::WorkloadId;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::facts::Facts;
use crate::group::{Held, PodRecord};
use crate::state::{Core, Part, State, version};

/// Where an object came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// A watch: in order.
    Watch,
    /// The answer to a request of ours.
    Answer,
}

impl Core {
    /// Takes in a Deployment, from a watch or from an answer.
    pub(crate) fn take_set(self: &Arc<Self>, set: Deployment, from: From) {
        let Some(facts) = self.own(&set.metadata) else {
            return;
        };
        let id = facts.id();
        let Some(name) = set.metadata.name.clone() else {
            return;
        };
        let version = version(set.metadata.resource_version.as_deref());
        self.take(&id, Part::Sets, version, from, |state| {
            let sets = &mut state.groups.entry(id.clone()).or_default().sets;
            let before = sets.get(&name);
            let same = before.filter(|b| b.live.metadata.uid == set.metadata.uid);
            if same.is_some_and(|b| b.version > version) {
                return;
            }
            let deleting = same.is_some_and(|b| b.deleting);
            let live = Arc::new(set);
            sets.insert(
                name,
                Held {
                    facts,
                    live,
                    version,
                    deleting,
                },
            );
        });
    }

    /// Takes in a Job, from a watch or from an answer.
    pub(crate) fn take_job(self: &Arc<Self>, job: Job, from: From) {
        let Some(facts) = self.own(&job.metadata) else {
            return;
        };
        let id = facts.id();
        let Some(name) = job.metadata.name.clone() else {
            return;
        };
        let version = version(job.metadata.resource_version.as_deref());
        self.take(&id, Part::Jobs, version, from, |state| {
            let jobs = &mut state.groups.entry(id.clone()).or_default().jobs;
            let before = jobs.get(&name);
            let same = before.filter(|b| b.live.metadata.uid == job.metadata.uid);
            if same.is_some_and(|b| b.version > version) {
                return;
            }
            let deleting = same.is_some_and(|b| b.deleting);
            let live = Arc::new(job);
            jobs.insert(
                name,
                Held {
                    facts,
                    live,
                    version,
                    deleting,
                },
            );
        });
    }

    /// Takes in a pod, from a watch or from an answer.
    pub(crate) fn take_pod(self: &Arc<Self>, pod: Pod, from: From) {
        let Some(facts) = self.own(&pod.metadata) else {
            return;
        };
        let id = facts.id();
        let Some(name) = pod.metadata.name.clone() else {
            return;
        };
        let version = version(pod.metadata.resource_version.as_deref());
        self.take(&id, Part::Pods, version, from, |state| {
            let pods = &mut state.groups.entry(id.clone()).or_default().pods;
            let before = pods.get(&name);
            let same = before.filter(|b| b.live.metadata.uid == pod.metadata.uid);
            if same.is_some_and(|b| b.version > version) {
                return;
            }
            let (drained, deleting) = same.map_or((false, false), |b| (b.drained, b.deleting));
            let live = Arc::new(pod);
            pods.insert(
                name,
                PodRecord {
                    facts,
                    live,
                    version,
                    drained,
                    deleting,
                },
            );
        });
    }

    fn take(
        self: &Arc<Self>,
        id: &WorkloadId,
        part: Part,
        version: u64,
        from: From,
        insert: impl FnOnce(&mut State),
    ) {
        self.with(|state| {
            match from {
                From::Watch => state.saw(part, version),
                // What a watch has told already may be gone again by now.
                From::Answer if state.has_seen(part, version) => return,
                From::Answer => {}
            }
            insert(state);
            state.publish(id);
        });
        self.touch();
        if from == From::Watch {
            self.reconcile(id);
        }
    }

    /// Something is gone.
    pub(crate) fn drop_object(
        self: &Arc<Self>,
        part: Part,
        id: &WorkloadId,
        name: &str,
        uid: Option<&str>,
    ) {
        self.with(|state| {
            if let Some(group) = state.groups.get_mut(id) {
                let same = |live: &Option<String>| uid.is_none() || live.as_deref() == uid;
                match part {
                    Part::Pods => {
                        if group
                            .pods
                            .get(name)
                            .is_some_and(|p| same(&p.live.metadata.uid))
                        {
                            group.pods.remove(name);
                        }
                    }
                    Part::Sets => {
                        if group
                            .sets
                            .get(name)
                            .is_some_and(|s| same(&s.live.metadata.uid))
                        {
                            group.sets.remove(name);
                        }
                    }
                    Part::Jobs => {
                        if group
                            .jobs
                            .get(name)
                            .is_some_and(|j| same(&j.live.metadata.uid))
                        {
                            group.jobs.remove(name);
                        }
                    }
                    Part::Nodes => {}
                }
            }
            if let Some(uid) = uid {
                state.warnings.remove(uid);
            }
            state.publish(id);
        });
        self.touch();
        self.reconcile(id);
    }

    /// The facts of an object of ours that is where it belongs: labels can be copied.
    pub(crate) fn own(&self, meta: &ObjectMeta) -> Option<Facts> {
        let facts = Facts::read(meta, &self.config.platform)?;
        let namespace = self.namespace(&facts.project).ok()?;
        (meta.namespace.as_deref() == Some(namespace.as_str())).then_some(facts)
    }
}
