//! All that there is of one workload, and how the planner sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use coracle_engine::wish::{Wish, Wished};
use coracle_model::pod::Exit;
use coracle_model::workload::{ObservedPod, PodId};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::changed::{Change, changed};
use crate::facts::{
    ATTACHED, Facts, REMINDED, SET, annotation, label, marked_at, moment, stopping_since,
};
use crate::phase;
use crate::plan::{JobView, PodView, SetView, View};
use crate::state::Part;

/// An object of a workload that is there.
#[derive(Debug)]
pub(crate) struct Held<K> {
    pub(crate) facts: Facts,
    pub(crate) live: Arc<K>,
    pub(crate) version: u64,
    /// We asked for its deletion.
    pub(crate) deleting: bool,
    /// Of a pod: it was struck off, and what holds it now is no node.
    pub(crate) struck: bool,
    /// Of a pod: when its kubelet was reminded last that it is to end, or that was tried.
    pub(crate) reminded: Option<DateTime<Utc>>,
    /// Of a pod: no request is in flight to it any more.
    pub(crate) drained: bool,
    /// Of a pod: how its command ended last. Kubelets forget it when they clean up before they tell of the next run.
    pub(crate) exit: Option<Exit>,
}

/// A kind of object of which workloads have some, by name.
pub(crate) trait Kept:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    const PART: Part;

    /// Those that a workload has.
    fn of(group: &mut Group) -> &mut BTreeMap<String, Held<Self>>;

    /// How its command ended last, as far as it says so.
    fn exit(&self) -> Option<Exit> {
        None
    }
}

impl Kept for Pod {
    const PART: Part = Part::Pods;

    fn of(group: &mut Group) -> &mut BTreeMap<String, Held<Self>> {
        &mut group.pods
    }

    fn exit(&self) -> Option<Exit> {
        phase::exit(self)
    }
}

impl Kept for Deployment {
    const PART: Part = Part::Sets;

    fn of(group: &mut Group) -> &mut BTreeMap<String, Held<Self>> {
        &mut group.sets
    }
}

impl Kept for Job {
    const PART: Part = Part::Jobs;

    fn of(group: &mut Group) -> &mut BTreeMap<String, Held<Self>> {
        &mut group.jobs
    }
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
    pub(crate) pods: BTreeMap<String, Held<Pod>>,
    pub(crate) trouble: Option<Trouble>,
    /// Objects (by uid) that have all that stands beside them.
    pub(crate) furnished: BTreeSet<String>,
    /// Somebody is at it.
    pub(crate) busy: bool,
    /// Something changed while somebody was at it.
    pub(crate) again: bool,
    /// What watchers were told last.
    pub(crate) published: BTreeMap<PodId, ObservedPod>,
}

impl Group {
    pub(crate) fn wished(&self) -> Option<Wished> {
        self.wish.as_ref().map(Wish::wished)
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
                lost: lost(&pod.live, &answers).filter(|_| !pod.struck),
                overdue: overdue(&pod.live, pod.reminded, &answers),
            }
        });
        View {
            sets: sets.collect(),
            jobs: jobs.collect(),
            pods: pods.collect(),
        }
    }

    /// The Deployment, Job or pod name in the cluster of a pod as it is told outside.
    pub(crate) fn find(&self, id: &PodId) -> Option<&Held<Pod>> {
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

    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty()
            && self.jobs.is_empty()
            && self.pods.is_empty()
            && self.published.is_empty()
            && !self.busy
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

/// Beyond its grace, until a kubelet is reminded of a pod that is being deleted for the first time.
const LATE: chrono::Duration = chrono::Duration::seconds(5);

/// From when on the kubelet is reminded of a pod that is being deleted. Kubelets before 1.22 forget a deletion that comes
/// while the container is being started, until they look at the pod by themselves 60 to 90 s later: a successor that is not
/// wanted any more dies at just that moment whenever a workload is made smaller. Any change of the pod makes them look.
fn overdue(
    pod: &Pod,
    tried: Option<DateTime<Utc>>,
    answers: &impl Fn(&str) -> bool,
) -> Option<DateTime<Utc>> {
    let end = pod.metadata.deletion_timestamp.as_ref().map(moment)?;
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    if !answers(node) {
        return None;
    }
    // Twice as late each time: what ends slowly for another reason is left in peace.
    let reminded = marked_at(&pod.metadata, REMINDED).max(tried);
    let late = reminded.map_or(LATE, |at| (at - end).max(LATE) * 2);
    end.checked_add_signed(late)
}

/// Is somebody attached to a Job?
pub(crate) fn attached(job: &Job) -> bool {
    annotation(&job.metadata, ATTACHED).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: u32) -> DateTime<Utc> {
        let text = format!("2026-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60);
        text.parse().unwrap()
    }

    /// Its grace is over at second 10.
    fn ending(reminded: Option<&str>) -> Pod {
        let mut pod = json!({
            "metadata": { "deletionTimestamp": "2026-01-01T00:00:10Z" },
            "spec": { "nodeName": "n1", "containers": [] },
        });
        if let Some(reminded) = reminded {
            pod["metadata"]["annotations"] = json!({ REMINDED: reminded });
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_kubelet_is_reminded_twice_as_late_each_time() {
        let due = |pod: &Pod, tried| overdue(pod, tried, &|node| node == "n1");
        let once = ending(None);
        assert_eq!(due(&once, None), Some(at(15)));
        assert_eq!(due(&once, Some(at(15))), Some(at(20)));
        assert_eq!(due(&once, Some(at(20))), Some(at(30)));
        // What the pod says counts as well, as after a restart: the later of the two.
        let marked = ending(Some("2026-01-01T00:00:30.000Z"));
        assert_eq!(due(&marked, None), Some(at(50)));
        assert_eq!(due(&marked, Some(at(15))), Some(at(50)));
        assert_eq!(due(&marked, Some(at(50))), Some(at(90)));
        // Reminded before its time, or by somebody who cannot tell the time.
        assert_eq!(due(&once, Some(at(0))), Some(at(20)));
        assert_eq!(due(&ending(Some("soon")), None), Some(at(20)));
    }

    #[test]
    fn a_kubelet_that_does_not_answer_is_not_reminded() {
        assert_eq!(overdue(&ending(None), None, &|_| false), None);
        let mut nowhere = ending(None);
        nowhere.spec.as_mut().unwrap().node_name = None;
        assert_eq!(overdue(&nowhere, None, &|_| true), None);
        let mut stays = ending(None);
        stays.metadata.deletion_timestamp = None;
        assert_eq!(overdue(&stays, None, &|_| true), None);
    }
}
