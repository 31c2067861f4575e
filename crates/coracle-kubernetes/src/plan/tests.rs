//! What the planner says of examples.

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
        overdue: None,
    }
}

fn run(replicas: u32, generation: u64, view: &View) -> Vec<Step> {
    let wished = Wished::Run {
        kind: WorkloadKind::Replicated { replicas },
        generation,
    };
    plan(Some(wished), view, at(10)).steps
}

/// Whatever is wished, and though nothing is: a kubelet that has forgotten is reminded, when it is time.
#[test]
fn a_pod_that_should_have_ended_is_reminded_of_it() {
    let mut late = pod("a", "web-g1", 1, false);
    late.deleting = true;
    late.overdue = Some(at(11));
    let mut view = View {
        sets: vec![set("web-g1", 1, 0)],
        pods: vec![late],
        ..View::default()
    };
    let waits = plan(None, &view, at(10));
    assert_eq!((waits.steps, waits.wake), (vec![], Some(at(11))));
    view.pods[0].overdue = Some(at(10));
    assert_eq!(plan(None, &view, at(10)).steps, [Step::Remind("a".into())]);
    // After all else.
    let resize = Step::Resize("web-g1".into(), 1);
    assert_eq!(run(1, 1, &view), [resize, Step::Remind("a".into())]);
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
