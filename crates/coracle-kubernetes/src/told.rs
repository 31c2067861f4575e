//! What watchers are told of one workload. Pure.
//!
//! Theory of operation: a pod is told as it is. Where there is no pod to tell a trouble on, one that waits is told in its
//! place, so that a person reads the reason where the pod would be.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use coracle_engine::wish::Wish;
use coracle_model::name::PodName;
use coracle_model::pod::{PodPhase, PodStatus};
use coracle_model::workload::{ObservedPod, PodId, WorkloadId, WorkloadKind};
use k8s_openapi::api::apps::v1::Deployment;

use crate::changed::{Change, changed};
use crate::facts::{Facts, SET, label, moment, stopping_since};
use crate::group::Group;
use crate::phase::{self, Beside};
use crate::session;

/// What a group's pods are told with, beside the group.
pub(crate) struct Surroundings<'a> {
    pub(crate) warnings: &'a HashMap<String, String>,
    pub(crate) cordoned: &'a [String],
}

impl Group {
    /// Its pods as watchers are told of them.
    pub(crate) fn observed(
        &self,
        id: &WorkloadId,
        state: &Surroundings<'_>,
    ) -> BTreeMap<PodId, ObservedPod> {
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
            let Some(mut observed) = phase::observed(&pod.live, &pod.facts, beside) else {
                continue;
            };
            observed.status.exit = observed.status.exit.or_else(|| pod.exit.clone());
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
    let status = PodStatus {
        phase,
        reason,
        ..PodStatus::default()
    };
    facts.observed(id, created, status)
}
