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
use coracle_model::workload::WorkloadKind;

use crate::facts::PodKind;

/// What is wished for a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wished {
    /// Pods of this kind and generation.
    Run {
        /// How many, and what their end means.
        kind: WorkloadKind,
        /// What they are made from.
        generation: u64,
    },
    /// None.
    Gone,
}

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
    plan
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
mod tests {
    use super::*;
    use coracle_model::workload::TaskStart;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn set(name: &str, generation: u64, replicas: u32) -> SetView {
        SetView {
            name: name.to_owned(),
            generation,
            replicas,
            stopping: None,
            deleting: false,
            taken: false,
        }
    }

    fn pod(name: &str, set: &str, generation: u64, ready: bool) -> PodView {
        PodView {
            name: name.to_owned(),
            generation,
            kind: PodKind::Replicated,
            set: Some(set.to_owned()),
            owned: true,
            leaving: None,
            deleting: false,
            ended: false,
            ready,
            served: ready,
            drained: false,
            drain: Duration::from_secs(30),
            created: at(0),
            lost: None,
        }
    }

    fn run(replicas: u32, generation: u64, view: &View) -> Vec<Step> {
        let wished = Wished::Run {
            kind: WorkloadKind::Replicated { replicas },
            generation,
        };
        plan(Some(wished), view, at(10)).steps
    }

    #[test]
    fn one_too_many_is_taken_out_before_the_set_is_made_smaller() {
        let mut view = View {
            sets: vec![set("web-g1", 1, 2)],
            pods: vec![pod("a", "web-g1", 1, true), pod("b", "web-g1", 1, true)],
            ..View::default()
        };
        assert_eq!(run(1, 1, &view), [Step::Detach("b".into())]);
        // Taken out, but the controller has not let go of it.
        view.pods[1].set = None;
        view.pods[1].leaving = Some(at(10));
        assert_eq!(run(1, 1, &view), []);
        // It has, and made a successor.
        view.pods[1].owned = false;
        view.pods.push(pod("c", "web-g1", 1, false));
        assert_eq!(run(1, 1, &view), [Step::Resize("web-g1".into(), 1)]);
        view.sets[0].replicas = 1;
        view.pods.pop();
        assert_eq!(run(1, 1, &view), []);
        view.pods[1].drained = true;
        assert_eq!(run(1, 1, &view), [Step::DeletePod("b".into())]);
    }

    #[test]
    fn old_sets_stay_until_the_new_one_can_do_all_of_the_work() {
        let mut view = View {
            sets: vec![set("web-g1", 1, 2)],
            pods: vec![pod("a", "web-g1", 1, true), pod("b", "web-g1", 1, true)],
            ..View::default()
        };
        assert_eq!(run(2, 2, &view), [Step::MakeSet]);
        view.sets.push(set("web-g2", 2, 2));
        view.pods.push(pod("c", "web-g2", 2, true));
        view.pods.push(pod("d", "web-g2", 2, false));
        assert_eq!(run(2, 2, &view), []);
        // A third that never comes up takes nothing from the first, and leaves at once for the fourth.
        view.pods[2].ready = false;
        view.pods[2].served = false;
        assert_eq!(
            run(2, 3, &view),
            [Step::MakeSet, Step::DeleteSet("web-g2".into())]
        );
        view.pods[2].ready = true;
        view.pods[3].ready = true;
        assert_eq!(run(2, 2, &view), [Step::StopSet("web-g1".into())]);
    }

    #[test]
    fn a_set_leaves_when_the_last_pod_is_drained_or_its_time_is_over() {
        let mut view = View {
            sets: vec![set("web-g1", 1, 2)],
            pods: vec![pod("a", "web-g1", 1, true), pod("b", "web-g1", 1, true)],
            ..View::default()
        };
        let gone = |view: &View, now| plan(Some(Wished::Gone), view, now);
        assert_eq!(gone(&view, at(10)).steps, [Step::StopSet("web-g1".into())]);
        view.sets[0].stopping = Some(at(10));
        view.pods[0].drained = true;
        let waits = gone(&view, at(11));
        assert_eq!((waits.steps, waits.wake), (vec![], Some(at(40))));
        assert_eq!(
            gone(&view, at(40)).steps,
            [Step::DeleteSet("web-g1".into())]
        );
        view.pods[1].drained = true;
        assert_eq!(
            gone(&view, at(11)).steps,
            [Step::DeleteSet("web-g1".into())]
        );
        // Wished again meanwhile: nothing was lost.
        assert_eq!(run(2, 1, &view), [Step::Resize("web-g1".into(), 2)]);
    }

    #[test]
    fn without_a_wish_only_what_leaves_goes_on() {
        let mut view = View {
            sets: vec![set("web-g1", 1, 5)],
            pods: vec![pod("a", "web-g1", 1, true)],
            ..View::default()
        };
        assert_eq!(plan(None, &view, at(10)), Plan::default());
        view.sets[0].stopping = Some(at(0));
        view.pods[0].drained = true;
        assert_eq!(
            plan(None, &view, at(10)).steps,
            [Step::DeleteSet("web-g1".into())]
        );
    }

    #[test]
    fn a_single_pod_makes_way_before_its_successor_comes() {
        let single = |generation| Wished::Run {
            kind: WorkloadKind::Single,
            generation,
        };
        let mut old = pod("db", "db-g1", 1, true);
        old.kind = PodKind::Single;
        old.owned = false;
        let mut view = View {
            pods: vec![old],
            ..View::default()
        };
        let steps = |generation, view: &View| plan(Some(single(generation)), view, at(10)).steps;
        assert_eq!(steps(1, &view), []);
        assert_eq!(steps(2, &view), [Step::Leave("db".into())]);
        view.pods[0].leaving = Some(at(10));
        assert_eq!(steps(2, &view), []);
        view.pods[0].drained = true;
        assert_eq!(steps(2, &view), [Step::DeletePod("db".into())]);
        view.pods[0].deleting = true;
        assert_eq!(steps(2, &view), []);
        view.pods[0].lost = Some(at(9));
        assert_eq!(steps(2, &view), [Step::StrikeOff("db".into())]);
        view.pods.clear();
        assert_eq!(steps(2, &view), [Step::MakePod]);
    }

    #[test]
    fn what_somebody_else_scaled_is_left_so() {
        let mut view = View {
            sets: vec![set("web-g1", 1, 5)],
            pods: vec![pod("a", "web-g1", 1, true), pod("b", "web-g1", 1, true)],
            ..View::default()
        };
        view.sets[0].taken = true;
        assert_eq!(run(1, 1, &view), []);
    }

    #[test]
    fn a_task_runs_once_and_is_not_made_while_an_old_one_is_there() {
        let task = |generation| Wished::Run {
            kind: WorkloadKind::Task {
                start: TaskStart::AtOnce,
            },
            generation,
        };
        let steps = |generation, view: &View| plan(Some(task(generation)), view, at(10)).steps;
        assert_eq!(steps(1, &View::default()), [Step::MakeJob]);
        let mut done = pod("job-g1-x", "job-g1", 1, false);
        done.kind = PodKind::Task;
        done.ended = true;
        let job = JobView {
            name: "job-g1".into(),
            generation: 1,
            kind: PodKind::Task,
            deleting: false,
        };
        let view = View {
            jobs: vec![job],
            pods: vec![done.clone()],
            ..View::default()
        };
        assert_eq!(steps(1, &view), []);
        assert_eq!(steps(2, &view), [Step::DeleteJob("job-g1".into())]);
        // Its pods go with it; a new one waits for that.
        let view = View {
            pods: vec![done],
            ..View::default()
        };
        assert_eq!(steps(2, &view), []);
    }
}
