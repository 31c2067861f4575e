//! Laws of the drain planner, tried with random orders of events and crashes of the controller: an app never has fewer
//! ready pods than it was meant to have, however many nodes are drained at once; and every drain comes to its end.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_model::name::{PodName, ProjectName};
use coracle_model::node::{
    DrainMode, DrainPhase, DrainWish, Node, NodeSpec, NodeStatus, Scheduling,
};
use coracle_model::object::{Kind, Metadata};
use coracle_model::plan::Knowledge;
use coracle_model::plan::node_drain::{self, Action, Facts, Role};
use coracle_model::pod::{PodPhase, PodStatus};
use coracle_model::workload::{ObservedPod, Owner, PodId, WorkloadId};
use proptest::prelude::*;

const NODES: usize = 4;

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Drain(usize),
    Open(usize),
    /// Does the plans of all records, but is killed after so many steps.
    Reconcile {
        steps: usize,
    },
    /// What the controller remembered is gone.
    Restart,
    EngineActs,
    PodReady(usize),
    /// The engine shows that pods which were deleted are stopping: at the latest when time passes.
    StopsShow,
    StopsDone,
    Time(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..NODES).prop_map(Event::Drain),
        1 => (0..NODES).prop_map(Event::Open),
        12 => (0_usize..8).prop_map(|steps| Event::Reconcile { steps }),
        1 => Just(Event::Restart),
        8 => Just(Event::EngineActs),
        8 => (0_usize..12).prop_map(Event::PodReady),
        4 => Just(Event::StopsShow),
        3 => Just(Event::StopsDone),
        2 => (1_u64..90).prop_map(Event::Time),
    ]
}

/// A small cluster: its engine does what it is told when it is told to, and its clock is moved by hand.
struct World {
    now: DateTime<Utc>,
    nodes: Vec<Node>,
    records: BTreeMap<String, Node>,
    wanted: BTreeMap<WorkloadId, u32>,
    pods: Vec<ObservedPod>,
    /// Deleted, and not shown as stopping yet.
    unseen: BTreeSet<PodId>,
    /// What the controller remembers to have deleted.
    deleted: BTreeSet<PodId>,
    made: u32,
}

impl World {
    fn new(processes: &[(u32, Vec<usize>)]) -> Self {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut world = Self {
            now,
            nodes: Vec::new(),
            records: BTreeMap::new(),
            wanted: BTreeMap::new(),
            pods: Vec::new(),
            unseen: BTreeSet::new(),
            deleted: BTreeSet::new(),
            made: 0,
        };
        for index in 0..NODES {
            let mut node = world.node(&format!("n{index}"));
            node.status.ready = true;
            world.nodes.push(node);
        }
        for (index, (wanted, places)) in processes.iter().enumerate() {
            let id = WorkloadId {
                project: ProjectName::default_project(),
                name: PodName::new(format!("app{index}-web-1")).unwrap(),
            };
            for place in places.iter().cycle().take(*wanted as usize) {
                world.make_pod(&id, &format!("n{place}"), PodPhase::Ready);
            }
            world.wanted.insert(id, *wanted);
        }
        world
    }

    fn node(&self, name: &str) -> Node {
        Node {
            kind: Kind::Node,
            metadata: Metadata {
                name: name.to_owned(),
                project: None,
                uid: name.to_owned(),
                revision: 1,
                created: self.now,
                deleting: None,
            },
            spec: NodeSpec::default(),
            status: NodeStatus::default(),
        }
    }

    fn make_pod(&mut self, workload: &WorkloadId, node: &str, phase: PodPhase) {
        self.made += 1;
        let name = PodName::new(format!("{}-{}", workload.name, self.made)).unwrap();
        self.pods.push(ObservedPod {
            id: PodId {
                project: workload.project.clone(),
                name,
            },
            workload: workload.clone(),
            generation: 1,
            owner: Owner::default(),
            image: String::new(),
            port: None,
            created: self.now,
            status: PodStatus {
                phase,
                node: Some(node.to_owned()),
                ..PodStatus::default()
            },
        });
    }

    /// Does this pod run on? Whoever asks the engine itself knows at once what was deleted.
    fn runs_on(&self, pod: &ObservedPod) -> bool {
        pod.status.phase != PodPhase::Stopping && !self.unseen.contains(&pod.id)
    }

    fn ready(&self, id: &WorkloadId) -> u32 {
        let ready = self
            .pods
            .iter()
            .filter(|pod| pod.workload == *id && pod.status.phase.can_serve() && self.runs_on(pod));
        u32::try_from(ready.count()).unwrap()
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Drain(index) => {
                let name = format!("n{index}");
                let mut record = self.node(&name);
                record.spec.scheduling = Scheduling::Cordoned;
                record.spec.drain = Some(DrainWish {
                    mode: DrainMode::Gentle,
                    since: self.now,
                });
                self.records.entry(name).or_insert(record);
            }
            Event::Open(index) => {
                self.records.remove(&format!("n{index}"));
                self.nodes[*index].spec.scheduling = Scheduling::Open;
            }
            Event::Reconcile { steps } => self.reconcile(*steps),
            Event::Restart => {
                // A new process reads the engine anew, and sees what it was told by the one before.
                self.show_stops();
                self.deleted.clear();
            }
            Event::EngineActs => self.engine_acts(),
            Event::PodReady(index) => {
                let starting = self
                    .pods
                    .iter_mut()
                    .filter(|pod| pod.status.phase == PodPhase::Starting);
                if let Some(pod) = starting.into_iter().nth(*index) {
                    pod.status.phase = PodPhase::Ready;
                }
            }
            Event::StopsShow => self.show_stops(),
            Event::StopsDone => {
                self.pods
                    .retain(|pod| pod.status.phase != PodPhase::Stopping);
            }
            Event::Time(seconds) => {
                self.show_stops();
                self.now += Duration::from_secs(*seconds);
            }
        }
    }

    fn show_stops(&mut self) {
        for pod in &mut self.pods {
            if self.unseen.remove(&pod.id) {
                pod.status.phase = PodPhase::Stopping;
            }
        }
    }

    /// Keeps as many pods as are wished, on nodes that take them; of too many those go first that do not serve, then those
    /// on nodes that are being left.
    fn engine_acts(&mut self) {
        let moving = node_drain::all_moving(self.records.values());
        for (id, wanted) in self.wanted.clone() {
            let wished = wanted + u32::from(moving.contains(&id));
            let closed: BTreeSet<String> = self
                .nodes
                .iter()
                .filter(|node| node.spec.scheduling == Scheduling::Cordoned)
                .map(|node| node.metadata.name.clone())
                .collect();
            let mut of_it: Vec<&ObservedPod> = self
                .pods
                .iter()
                .filter(|pod| pod.workload == id && self.runs_on(pod))
                .collect();
            of_it.sort_by_key(|pod| {
                let leaves = pod.status.node.as_ref().is_some_and(|n| closed.contains(n));
                (pod.status.phase.can_serve(), !leaves)
            });
            let is = u32::try_from(of_it.len()).unwrap();
            let surplus = is.saturating_sub(wished) as usize;
            let gone: Vec<PodId> = of_it[..surplus].iter().map(|pod| pod.id.clone()).collect();
            self.unseen.extend(gone);
            let open = self
                .nodes
                .iter()
                .map(|node| node.metadata.name.clone())
                .find(|name| !closed.contains(name));
            if let Some(open) = open {
                for _ in is..wished {
                    self.make_pod(&id, &open, PodPhase::Starting);
                }
            }
        }
    }

    /// What the controller does, one step at a time.
    fn reconcile(&mut self, mut steps: usize) {
        let pods = self.pods.clone();
        self.deleted
            .retain(|id| pods.iter().any(|pod| pod.id == *id));
        let seen: Vec<&ObservedPod> = pods.iter().collect();
        let roles: BTreeMap<WorkloadId, Role> = self
            .wanted
            .iter()
            .map(|(id, wanted)| (id.clone(), Role::Process { wanted: *wanted }))
            .collect();
        let mut moving: BTreeMap<String, Option<WorkloadId>> = self
            .records
            .iter()
            .map(|(name, record)| (name.clone(), node_drain::moving(record)))
            .collect();
        for (name, record) in self.records.clone() {
            let nodes = self.nodes.clone();
            let nodes: Vec<&Node> = nodes.iter().collect();
            let others = moving.iter().filter(|(other, _)| **other != name);
            let others = others.filter_map(|(_, id)| id.clone()).collect();
            let deleted = self.deleted.clone();
            let plan = node_drain::plan(Facts {
                record: &record,
                nodes: &nodes,
                pods: &seen,
                roles: &roles,
                others: &others,
                deleted: &deleted,
                knowledge: Knowledge::Complete { since: self.now },
                now: self.now,
            });
            for action in plan.actions {
                if steps == 0 {
                    return;
                }
                steps -= 1;
                match action {
                    Action::Schedule(scheduling) => {
                        let node = self.nodes.iter_mut();
                        let mut node = node.filter(|node| node.metadata.name == name);
                        node.next().unwrap().spec.scheduling = scheduling;
                    }
                    Action::Delete(id) => {
                        self.unseen.insert(id.clone());
                        self.deleted.insert(id);
                    }
                    Action::End(id) => unreachable!("{id} is no task"),
                    Action::SetStatus(drain) => {
                        let next = drain.moving.as_ref().map(|moving| moving.id());
                        moving.insert(name.clone(), next);
                        self.records.get_mut(&name).unwrap().status.drain = Some(drain);
                    }
                    Action::Finish(why) => {
                        assert_eq!(why, node_drain::Finish::Uncordoned);
                        self.records.remove(&name);
                    }
                }
            }
        }
    }

    fn is_drained(&self, name: &str) -> bool {
        let drain = self.records[name].status.drain.as_ref();
        drain.is_some_and(|drain| drain.phase == DrainPhase::Drained)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn drains_take_nothing_from_an_app_and_end(
        processes in prop::collection::vec((1_u32..4, prop::collection::vec(0..NODES, 1..4)), 1..4),
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut world = World::new(&processes);
        for event in &events {
            world.happen(event);
            for (id, wanted) in &world.wanted {
                prop_assert!(world.ready(id) >= *wanted, "{id} after {event:?}");
            }
        }
        // One node takes everything; all else that was begun comes to its end.
        world.happen(&Event::Open(0));
        let rounds = 400;
        for round in 0.. {
            let names: Vec<_> = world.records.keys().cloned().collect();
            if names.iter().all(|name| world.is_drained(name)) {
                for pod in &world.pods {
                    let node = pod.status.node.as_deref().unwrap();
                    prop_assert!(!names.iter().any(|name| name == node), "{} is left", pod.id.name);
                }
                break;
            }
            prop_assert!(round < rounds, "{names:?} are not drained: {:?}", world.records);
            for event in [
                Event::Reconcile { steps: usize::MAX },
                Event::EngineActs,
                Event::PodReady(0),
                Event::StopsShow,
                Event::StopsDone,
                Event::Time(1),
            ] {
                world.happen(&event);
                for (id, wanted) in &world.wanted {
                    prop_assert!(world.ready(id) >= *wanted, "{id} after {event:?} in the end");
                }
            }
        }
    }
}
