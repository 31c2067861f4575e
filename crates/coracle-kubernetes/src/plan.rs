//! From what is wished and what is there to what is done next. Pure.
//!
//! Theory of operation: called for one workload whenever its wish or one of its objects changed, with all that is known;
//! it may be asked again and again. Three rules make the rest:
//!
//! * A generation of a replicated workload is one Deployment, and its template never changes. A new generation is a
//!   second Deployment beside it; the old one leaves as a whole once the new one has all its pods ready.
//! * What leaves as a whole is marked (`stopping-since`) and deleted when all its pods are drained or their time is over.
//!   A mark can be taken back.
//! * What leaves alone (one of several that are too many, or that somebody deletes) is *detached*: it loses the label
//!   that its set selects by. The set's controller lets go of it and makes a successor; where none is wanted, the
//!   set is made smaller only after that, when the newborn is the one that is not ready, which every version of
//!   Kubernetes deletes first. So exactly the pod that was drained dies, without readiness gates (whose pods would not be
//!   ready for anybody while no control plane lives) and without a deletion cost (which 1.20 does not know).

use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_engine::wish::Wished;
use coracle_model::workload::WorkloadKind;

use crate::facts::PodKind;

/// A Deployment as far as planning is concerned.
#[derive(Clone, Debug)]
pub(crate) struct SetView {
    pub(crate) name: String,
    pub(crate) generation: u64,
    pub(crate) replicas: u32,
    pub(crate) stopping: Option<DateTime<Utc>>,
    pub(crate) deleting: bool,
    /// Somebody else has set its number of replicas: it is left as it is.
    pub(crate) taken: bool,
}

/// A Job as far as planning is concerned.
#[derive(Clone, Debug)]
pub(crate) struct JobView {
    pub(crate) name: String,
    pub(crate) generation: u64,
    pub(crate) kind: PodKind,
    pub(crate) deleting: bool,
}

/// A pod as far as planning is concerned.
#[derive(Clone, Debug)]
pub(crate) struct PodView {
    pub(crate) name: String,
    pub(crate) generation: u64,
    pub(crate) kind: PodKind,
    /// The Deployment or Job that it carries the label of.
    pub(crate) set: Option<String>,
    /// A controller owns it.
    pub(crate) owned: bool,
    pub(crate) leaving: Option<DateTime<Utc>>,
    pub(crate) deleting: bool,
    pub(crate) ended: bool,
    pub(crate) ready: bool,
    /// Requests may be in flight to it.
    pub(crate) served: bool,
    pub(crate) drained: bool,
    pub(crate) drain: Duration,
    pub(crate) created: DateTime<Utc>,
    /// Its node does not answer: from this moment on nobody waits any more for the node to say that the pod has ended.
    pub(crate) lost: Option<DateTime<Utc>>,
    /// It is being deleted and its node answers: from this moment on its kubelet is reminded of it.
    pub(crate) overdue: Option<DateTime<Utc>>,
}

/// All that there is of a workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) sets: Vec<SetView>,
    pub(crate) jobs: Vec<JobView>,
    pub(crate) pods: Vec<PodView>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make the Deployment of the wished generation.
    MakeSet,
    /// Give a Deployment so many replicas, and take back its mark if it has one.
    Resize(String, u32),
    /// Mark a Deployment as on its way out.
    StopSet(String),
    /// Delete a Deployment and its pods.
    DeleteSet(String),
    /// Take a pod out of its set, marked as on its way out.
    Detach(String),
    /// Mark a pod that belongs to nobody as on its way out.
    Leave(String),
    /// Delete a pod.
    DeletePod(String),
    /// Strike a pod off whose node does not answer.
    StrikeOff(String),
    /// Make a kubelet look at a pod that should have ended long since.
    Remind(String),
    /// Make the bare pod.
    MakePod,
    /// Make the Job.
    MakeJob,
    /// Delete a Job and its pods.
    DeleteJob(String),
}

/// What to do now, and when to ask again though nothing has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) wake: Option<DateTime<Utc>>,
}

impl Plan {
    fn wake_at(&mut self, at: DateTime<Utc>) {
        self.wake = Some(self.wake.map_or(at, |before| before.min(at)));
    }

    fn push(&mut self, step: Step) {
        if !self.steps.contains(&step) {
            self.steps.push(step);
        }
    }
}

/// When a pod that is on its way out may be told to end. Nothing: now.
fn waits_until(pod: &PodView, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if !pod.served || pod.drained || pod.ended || pod.deleting {
        return None;
    }
    let drain = chrono::Duration::from_std(pod.drain).unwrap_or(chrono::Duration::MAX);
    let end = since
        .checked_add_signed(drain)
        .unwrap_or(DateTime::<Utc>::MAX_UTC);
    (end > now).then_some(end)
}

/// What to do so that a workload becomes what is wished. Without a wish everything is left alone, but what is on its way
/// out goes on.
pub(crate) fn plan(wished: Option<Wished>, view: &View, now: DateTime<Utc>) -> Plan {
    let mut plan = Plan::default();
    go_on(view, now, &mut plan);
    if wished.is_some() {
        strike_off(view, now, &mut plan);
    }
    match wished {
        None => go_on_with_sets(view, now, &mut plan),
        Some(Wished::Gone) => {
            give_up_sets(view, None, now, &mut plan);
            give_up_rest(view, |_| true, |_| true, now, &mut plan);
        }
        Some(Wished::Run { kind, generation }) => match kind {
            WorkloadKind::Replicated { replicas: 0 } => {
                give_up_sets(view, None, now, &mut plan);
                give_up_rest(view, |_| true, |_| true, now, &mut plan);
            }
            WorkloadKind::Replicated { replicas } => {
                give_up_rest(
                    view,
                    |_| true,
                    |pod| {
                        pod.kind != PodKind::Replicated
                            || pod.set.as_ref().is_some_and(|s| {
                                !pod.owned && !view.sets.iter().any(|set| set.name == *s)
                            })
                    },
                    now,
                    &mut plan,
                );
                replicated(view, replicas, generation, now, &mut plan);
            }
            WorkloadKind::Single => {
                give_up_sets(view, None, now, &mut plan);
                let stays = |pod: &PodView| {
                    pod.kind == PodKind::Single && pod.generation == generation && !pod.ended
                };
                give_up_rest(view, |_| true, |pod| !stays(pod), now, &mut plan);
                // Only one pod can have the name: the one before must be gone.
                if view.sets.is_empty() && view.jobs.is_empty() && view.pods.is_empty() {
                    plan.push(Step::MakePod);
                }
            }
            WorkloadKind::Task { .. } => {
                give_up_sets(view, None, now, &mut plan);
                let wished = PodKind::of(kind);
                let stays = |job: &JobView| job.kind == wished && job.generation == generation;
                let mine = |pod: &PodView| {
                    view.jobs
                        .iter()
                        .any(|job| stays(job) && pod.set.as_ref() == Some(&job.name))
                };
                give_up_rest(view, |job| !stays(job), |pod| !mine(pod), now, &mut plan);
                let nothing = view.sets.is_empty() && view.jobs.is_empty() && view.pods.is_empty();
                if nothing {
                    plan.push(Step::MakeJob);
                }
            }
        },
    }
    remind(view, now, &mut plan);
    plan
}

/// Pods that should be gone by now. What is wished comes first.
fn remind(view: &View, now: DateTime<Utc>, plan: &mut Plan) {
    for pod in &view.pods {
        match pod.overdue {
            Some(at) if at <= now => plan.push(Step::Remind(pod.name.clone())),
            Some(at) => plan.wake_at(at),
            None => {}
        }
    }
}

/// Pods that are on their way out alone.
fn go_on(view: &View, now: DateTime<Utc>, plan: &mut Plan) {
    for pod in view.pods.iter().filter(|pod| !pod.deleting) {
        let Some(since) = pod.leaving else { continue };
        match waits_until(pod, since, now) {
            None => plan.push(Step::DeletePod(pod.name.clone())),
            Some(at) => plan.wake_at(at),
        }
    }
}

/// Only one pod can have a name: the only one of a workload that is lost with its node would keep its successor away until
/// the node comes back. (Replicas have successors anyway, and a task must not run twice.)
fn strike_off(view: &View, now: DateTime<Utc>, plan: &mut Plan) {
    for pod in view.pods.iter().filter(|pod| pod.kind == PodKind::Single) {
        match pod.lost {
            Some(at) if at <= now => plan.push(Step::StrikeOff(pod.name.clone())),
            Some(at) => plan.wake_at(at),
            None => {}
        }
    }
}

fn go_on_with_sets(view: &View, now: DateTime<Utc>, plan: &mut Plan) {
    for set in view.sets.iter().filter(|set| !set.deleting) {
        if let Some(since) = set.stopping {
            leave(view, set, since, now, plan);
        }
    }
}

fn pods_of<'a>(view: &'a View, set: &'a str) -> impl Iterator<Item = &'a PodView> {
    view.pods
        .iter()
        .filter(move |pod| pod.set.as_deref() == Some(set) && !pod.deleting)
}

/// A Deployment that is marked goes when the last of its pods may.
fn leave(view: &View, set: &SetView, since: DateTime<Utc>, now: DateTime<Utc>, plan: &mut Plan) {
    let last = pods_of(view, &set.name)
        .filter_map(|pod| waits_until(pod, since, now))
        .max();
    match last {
        None => plan.push(Step::DeleteSet(set.name.clone())),
        Some(at) => plan.wake_at(at),
    }
}

fn give_up_sets(view: &View, keep: Option<&str>, now: DateTime<Utc>, plan: &mut Plan) {
    for set in view.sets.iter().filter(|set| !set.deleting) {
        if keep == Some(set.name.as_str()) {
            continue;
        }
        match set.stopping {
            Some(since) => leave(view, set, since, now, plan),
            None if pods_of(view, &set.name).any(|pod| waits_until(pod, now, now).is_some()) => {
                plan.push(Step::StopSet(set.name.clone()));
            }
            None => plan.push(Step::DeleteSet(set.name.clone())),
        }
    }
}

/// Jobs, and pods that no Deployment has.
fn give_up_rest(
    view: &View,
    job_goes: impl Fn(&JobView) -> bool,
    pod_goes: impl Fn(&PodView) -> bool,
    now: DateTime<Utc>,
    plan: &mut Plan,
) {
    let going: Vec<&JobView> = view.jobs.iter().filter(|job| job_goes(job)).collect();
    for job in going.iter().filter(|job| !job.deleting) {
        plan.push(Step::DeleteJob(job.name.clone()));
    }
    for pod in view
        .pods
        .iter()
        .filter(|pod| !pod.deleting && pod.leaving.is_none())
    {
        // Those of a Deployment or Job go with it.
        let held = pod.owned
            || pod.set.as_ref().is_some_and(|set| {
                view.sets.iter().any(|s| s.name == *set)
                    || view
                        .jobs
                        .iter()
                        .any(|j| j.name == *set && !going.iter().any(|g| g.name == j.name))
            });
        if held || !pod_goes(pod) {
            continue;
        }
        if waits_until(pod, now, now).is_some() {
            plan.push(Step::Leave(pod.name.clone()));
        } else {
            plan.push(Step::DeletePod(pod.name.clone()));
        }
    }
}

fn replicated(view: &View, replicas: u32, generation: u64, now: DateTime<Utc>, plan: &mut Plan) {
    let current = view.sets.iter().find(|set| set.generation == generation);
    let mut ready = 0;
    match current {
        None => plan.push(Step::MakeSet),
        // The next one can have its name once it is gone.
        Some(set) if set.deleting => {}
        Some(set) => {
            let members: Vec<&PodView> = pods_of(view, &set.name)
                .filter(|pod| pod.leaving.is_none())
                .collect();
            ready = members.iter().filter(|pod| pod.ready).count();
            if !set.taken {
                resize(view, set, replicas, &members, plan);
            }
        }
    }
    let enough = usize::try_from(replicas).is_ok_and(|wanted| ready >= wanted);
    // Until the new ones can do all of the work, the old ones that do most of it stay.
    let kept = (!enough).then(|| best_old(view, generation)).flatten();
    for set in &view.sets {
        if set.generation == generation || kept == Some(set.name.as_str()) || set.deleting {
            continue;
        }
        let only = View {
            sets: vec![set.clone()],
            jobs: Vec::new(),
            pods: pods_of(view, &set.name).cloned().collect(),
        };
        give_up_sets(&only, None, now, plan);
    }
}

fn best_old(view: &View, generation: u64) -> Option<&str> {
    view.sets
        .iter()
        .filter(|set| set.generation != generation && !set.deleting && set.stopping.is_none())
        .map(|set| {
            let ready = pods_of(view, &set.name).filter(|pod| pod.ready).count();
            let newest = pods_of(view, &set.name).map(|pod| pod.created).max();
            (ready, newest, set.name.as_str())
        })
        .filter(|(ready, ..)| *ready > 0)
        .max()
        .map(|(.., name)| name)
}

fn resize(view: &View, set: &SetView, replicas: u32, members: &[&PodView], plan: &mut Plan) {
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
    if set.replicas <= replicas {
        if set.replicas < replicas || set.stopping.is_some() {
            plan.push(Step::Resize(set.name.clone(), replicas));
        }
        return;
    }
    // One that was taken out is still on the controller's books: its successor is not there yet.
    let releasing = view.pods.iter().any(|pod| {
        pod.leaving.is_some()
            && pod.owned
            && pod.set.is_none()
            && !pod.deleting
            && pod.generation == set.generation
    });
    let mut ready: Vec<&&PodView> = members.iter().filter(|pod| pod.ready).collect();
    if ready.len() > wanted {
        // The eldest stay: they are warm.
        ready.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        for pod in ready.split_off(wanted) {
            plan.push(Step::Detach(pod.name.clone()));
        }
    } else if !releasing {
        plan.push(Step::Resize(set.name.clone(), replicas));
    }
}

#[cfg(test)]
mod tests;
