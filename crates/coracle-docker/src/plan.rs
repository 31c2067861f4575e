//! From wish and pods to actions. Pure.
//!
//! Theory of operation: called for one workload whenever its wish or one of its pods changed, with all that is
//! known. What is already on its way (an action in flight, a pause before the next try) is part of what is
//! known, so the answer may be given again and again.

use chrono::{DateTime, Utc};
use coracle_engine::wish::Wished;
use coracle_model::name::PodName;
use coracle_model::workload::WorkloadKind;

use crate::facts::PodKind;

/// Where a pod stands, as far as planning is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// An action is in flight.
    Busy,
    /// It is on its way out, and nobody is at it: begin, or begin again.
    Leaving,
    /// It is on its way out, and somebody is at it.
    BeingStopped,
    /// It has no container and may have one now.
    Missing,
    /// It has a container that does not run and may be started now.
    Startable,
    /// A pause before the next try has not ended, or it waits for somebody.
    Waiting,
    /// Its container runs, or Docker will start it again by itself.
    Up,
    /// A task that ran.
    Done,
}

/// A pod as far as planning is concerned.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) name: PodName,
    pub(crate) generation: u64,
    pub(crate) kind: PodKind,
    pub(crate) stand: Stand,
    pub(crate) ready: bool,
    pub(crate) has_container: bool,
    pub(crate) created: DateTime<Utc>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a new pod with a name of its own.
    Add,
    /// Make the pod with the workload's own name.
    AddNamed,
    /// Make a container for a pod that has none.
    Create(PodName),
    /// Start a pod's container.
    Start(PodName),
    /// Stop a pod, drain first, and remove it.
    Leave(PodName),
    /// Forget a pod that has no container.
    Forget(PodName),
    /// Go on with stopping a pod that is on its way out.
    Stop(PodName),
}

/// What to do so that the pods of a workload become what is wished. `name` is the workload's own. Without a wish
/// pods are left alone, but those that were told to leave do so.
pub(crate) fn plan(wished: Option<Wished>, name: &PodName, pods: &[View]) -> Vec<Action> {
    let mut actions = Vec::new();
    for pod in pods {
        if pod.stand == Stand::Leaving {
            actions.push(if pod.has_container {
                Action::Stop(pod.name.clone())
            } else {
                Action::Forget(pod.name.clone())
            });
        }
    }
    let staying: Vec<&View> = pods
        .iter()
        .filter(|p| !matches!(p.stand, Stand::Leaving | Stand::BeingStopped))
        .collect();
    match wished {
        None => {}
        Some(Wished::Gone) => actions.extend(staying.iter().map(|pod| give_up(pod))),
        Some(Wished::Run { kind, generation }) => {
            let of_now = |pod: &&&View| {
                pod.generation == generation
                    && std::mem::discriminant(&pod.kind)
                        == std::mem::discriminant(&PodKind::of(kind))
            };
            let now: Vec<&View> = staying.iter().filter(of_now).copied().collect();
            let old: Vec<&View> = staying.iter().filter(|p| !of_now(p)).copied().collect();
            match kind {
                WorkloadKind::Replicated { replicas } => {
                    let replicas = usize::try_from(replicas).unwrap_or(usize::MAX);
                    replicated(replicas, now, old, &mut actions);
                }
                WorkloadKind::Single | WorkloadKind::Task { .. } => {
                    // Only one pod can have the name: the old one must be gone before the new one is made.
                    actions.extend(old.iter().map(|pod| give_up(pod)));
                    match now.first() {
                        Some(pod) => actions.extend(keep(pod)),
                        None if pods.iter().any(|p| p.name == *name) => {}
                        None => actions.push(Action::AddNamed),
                    }
                }
            }
        }
    }
    actions
}

fn replicated(
    replicas: usize,
    mut now: Vec<&View>,
    mut old: Vec<&View>,
    actions: &mut Vec<Action>,
) {
    // The most useful first: ready ones, then those that run, then the eldest.
    now.sort_by_key(|pod| {
        (
            !pod.ready,
            pod.stand != Stand::Up,
            !pod.has_container,
            pod.created,
            pod.name.clone(),
        )
    });
    for surplus in now.split_off(replicas.min(now.len())) {
        actions.push(give_up(surplus));
    }
    actions.extend(now.iter().filter_map(|pod| keep(pod)));
    actions.extend((now.len()..replicas).map(|_| Action::Add));
    // Old ones go as new ones become ready, so that never fewer answer than were wished.
    let ready = now.iter().filter(|pod| pod.ready).count();
    // One that has no container serves nobody.
    old.retain(|pod| {
        let useless = !pod.has_container && pod.stand != Stand::Busy;
        if useless {
            actions.push(give_up(pod));
        }
        !useless
    });
    old.sort_by_key(|pod| (!pod.ready, pod.created, pod.name.clone()));
    for surplus in old.split_off(replicas.saturating_sub(ready).min(old.len())) {
        actions.push(give_up(surplus));
    }
}

fn keep(pod: &View) -> Option<Action> {
    match pod.stand {
        Stand::Missing => Some(Action::Create(pod.name.clone())),
        Stand::Startable => Some(Action::Start(pod.name.clone())),
        _ => None,
    }
}

/// A pod whose action is in flight is only told to leave: the action's end brings it back here.
fn give_up(pod: &View) -> Action {
    if pod.has_container || pod.stand == Stand::Busy {
        Action::Leave(pod.name.clone())
    } else {
        Action::Forget(pod.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_model::workload::TaskStart;
    use proptest::prelude::*;

    fn name(n: &str) -> PodName {
        PodName::new(n).unwrap()
    }

    fn pod(n: &str, generation: u64, stand: Stand, ready: bool) -> View {
        View {
            name: name(n),
            generation,
            kind: PodKind::Replicated,
            stand,
            ready,
            has_container: stand != Stand::Missing,
            created: DateTime::UNIX_EPOCH,
        }
    }

    fn run(replicas: u32, generation: u64, pods: &[View]) -> Vec<Action> {
        let wished = Wished::Run {
            kind: WorkloadKind::Replicated { replicas },
            generation,
        };
        plan(Some(wished), &name("web"), pods)
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_too_many_leaves() {
        assert_eq!(run(2, 1, &[]), [Action::Add, Action::Add]);
        let pods = [
            pod("a", 1, Stand::Up, true),
            pod("b", 1, Stand::Up, false),
            pod("c", 1, Stand::Up, true),
        ];
        assert_eq!(run(2, 1, &pods), [Action::Leave(name("b"))]);
        assert_eq!(run(3, 1, &pods), []);
        assert_eq!(
            run(0, 1, &[pod("a", 1, Stand::Missing, false)]),
            [Action::Forget(name("a"))]
        );
    }

    #[test]
    fn old_pods_stay_until_new_ones_are_ready() {
        let old = [pod("a", 1, Stand::Up, true), pod("b", 1, Stand::Up, true)];
        assert_eq!(run(2, 2, &old), [Action::Add, Action::Add]);
        let mut pods = old.to_vec();
        pods.push(pod("c", 2, Stand::Up, true));
        pods.push(pod("d", 2, Stand::Up, false));
        assert_eq!(run(2, 2, &pods), [Action::Leave(name("b"))]);
    }

    #[test]
    fn a_single_pod_makes_way_before_its_successor_comes() {
        let single = |generation| Wished::Run {
            kind: WorkloadKind::Single,
            generation,
        };
        let mut old = pod("db", 1, Stand::Up, true);
        old.kind = PodKind::Single;
        let own = name("db");
        assert_eq!(plan(Some(single(1)), &own, &[old.clone()]), []);
        assert_eq!(
            plan(Some(single(2)), &own, &[old.clone()]),
            [Action::Leave(own.clone())]
        );
        old.stand = Stand::BeingStopped;
        assert_eq!(plan(Some(single(2)), &own, &[old]), []);
        assert_eq!(plan(Some(single(2)), &own, &[]), [Action::AddNamed]);
    }

    #[test]
    fn a_task_that_ran_stays() {
        let mut done = pod("job", 1, Stand::Done, false);
        done.kind = PodKind::Task(TaskStart::AtOnce);
        let wished = Wished::Run {
            kind: WorkloadKind::Task {
                start: TaskStart::AtOnce,
            },
            generation: 1,
        };
        assert_eq!(plan(Some(wished), &name("job"), &[done.clone()]), []);
        assert_eq!(
            plan(Some(Wished::Gone), &name("job"), &[done]),
            [Action::Leave(name("job"))]
        );
    }

    fn any_stand() -> impl Strategy<Value = Stand> {
        prop_oneof![
            Just(Stand::Busy),
            Just(Stand::Leaving),
            Just(Stand::BeingStopped),
            Just(Stand::Missing),
            Just(Stand::Startable),
            Just(Stand::Waiting),
            Just(Stand::Up),
        ]
    }

    proptest! {
        // Whatever is there, doing what is planned (at once and with success) ends in what is wished.
        #[test]
        fn doing_what_is_planned_converges(
            stands in proptest::collection::vec((any_stand(), 1_u64..3, any::<bool>()), 0..8),
            replicas in 0_u32..5,
        ) {
            let mut pods: Vec<View> = stands
                .iter()
                .enumerate()
                .map(|(i, (stand, generation, ready))| {
                    pod(&format!("p{i}"), *generation, *stand, *ready && *stand == Stand::Up)
                })
                .collect();
            let mut next = 0;
            for _ in 0..20 {
                // What was in flight comes to its end.
                pods.retain(|p| p.stand != Stand::BeingStopped);
                for p in &mut pods {
                    if matches!(p.stand, Stand::Busy | Stand::Waiting) {
                        p.stand = Stand::Up;
                    }
                    p.has_container = p.stand != Stand::Missing;
                    p.ready = p.stand == Stand::Up;
                }
                for action in run(replicas, 2, &pods) {
                    let at = |n: &PodName, pods: &Vec<View>| pods.iter().position(|p| p.name == *n);
                    match action {
                        Action::Add => {
                            next += 1;
                            pods.push(pod(&format!("n{next}"), 2, Stand::Busy, false));
                        }
                        Action::AddNamed => prop_assert!(false),
                        Action::Create(n) | Action::Start(n) => {
                            let i = at(&n, &pods).unwrap();
                            pods[i].stand = Stand::Busy;
                        }
                        Action::Leave(n) | Action::Stop(n) => {
                            let i = at(&n, &pods).unwrap();
                            pods[i].stand = Stand::BeingStopped;
                        }
                        Action::Forget(n) => {
                            let i = at(&n, &pods).unwrap();
                            pods.remove(i);
                        }
                    }
                }
            }
            prop_assert_eq!(pods.len(), usize::try_from(replicas).unwrap());
            prop_assert!(pods.iter().all(|p| p.generation == 2 && p.stand == Stand::Up));
        }
    }
}
