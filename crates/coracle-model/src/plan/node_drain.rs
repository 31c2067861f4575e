//! Which pods leave a node next, and what keeps them there.
//!
//! Theory of operation: what somebody wishes of a node is a record; it is there until the engine says that it is so,
//! and for as long as a drain lasts. A drain cordons the node first. Then one workload after another moves: the
//! status names the one that moves, and whoever wishes that workload wishes one pod more for as long ([`all_moving`]);
//! once more of its pods are ready than it needs, one of those on the node is deleted, and so on. So an app never
//! has fewer ready pods than it was meant to have. A pod that stands alone under its own name cannot have a second
//! one beside it: it is stopped here and started elsewhere. What runs once is waited for.
//!
//! A workload that does not get on for [`PATIENCE`] is noted as blocked and the next one has its turn; with
//! [`DrainMode::Force`] its pods are stopped instead. Nothing is kept but the record, so a killed control plane goes
//! on where it was. Somebody else who uncordons the node meanwhile is not fought: that ends the drain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::node::{DrainBlock, DrainMode, DrainMove, DrainPhase, Node, NodeDrain, Scheduling};
use crate::plan::{Knowledge, after};
use crate::pod::PodPhase;
use crate::workload::{ObservedPod, PodId, WorkloadId};

/// So long a workload may take to get one pod off the node before it counts as blocked.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// So long an engine may take to show that it stops a pod. When a workload begins to move, the engine may just have been
/// told to keep fewer pods of it: one that is seen to be ready may be the one that it stops. Until this has passed
/// nothing is taken from the workload.
pub const SETTLE: Duration = Duration::from_secs(2);

/// What the pods of a workload are to a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Of an app's process, that is meant to have so many.
    Process {
        /// How many.
        wanted: u32,
    },
    /// One pod with a name of its own, that is started again wherever it can be.
    Alone,
    /// It runs once, at the wish of a person.
    Task,
    /// It runs once and is part of a release: it ends by itself, within its own time.
    Step,
    /// Nobody wishes it any more: it goes by itself.
    Leaving,
}

/// What is known of one node that somebody wished something of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The wish, with how far its drain is.
    pub record: &'a Node,
    /// Every node that the engine reports.
    pub nodes: &'a [&'a Node],
    /// Every pod that the engine reports.
    pub pods: &'a [&'a ObservedPod],
    /// What the workloads with pods on the node are. Those that are missing are left alone.
    pub roles: &'a BTreeMap<WorkloadId, Role>,
    /// Workloads that move away from other nodes.
    pub others: &'a BTreeSet<WorkloadId>,
    /// Pods that were deleted, and may not show it yet.
    pub deleted: &'a BTreeSet<PodId>,
    /// Whether `nodes` and `pods` is all there is.
    pub knowledge: Knowledge,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What to do, in this order, and when to look again should nothing happen before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Steps, each idempotent.
    pub actions: Vec<Action>,
    /// The next deadline.
    pub wake_at: Option<DateTime<Utc>>,
}

/// Something to do about a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Tell the engine whether it gets new pods.
    Schedule(Scheduling),
    /// Delete a pod of a workload that is replaced, or started again, elsewhere.
    Delete(PodId),
    /// End what runs once.
    End(PodId),
    /// Write how far the drain is.
    SetStatus(NodeDrain),
    /// The record has done its work.
    Finish(Finish),
}

/// Why a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is as it was wished.
    AsWished,
    /// Somebody else uncordoned the node during its drain.
    Uncordoned,
    /// There is no such node any more.
    NodeGone,
}

/// The workloads that move away from nodes: each gets one pod more than it is meant to have.
#[must_use]
pub fn all_moving<'a>(records: impl IntoIterator<Item = &'a Node>) -> BTreeSet<WorkloadId> {
    records.into_iter().filter_map(moving).collect()
}

/// The workload that moves away from a node.
#[must_use]
pub fn moving(record: &Node) -> Option<WorkloadId> {
    record.spec.drain?;
    Some(record.status.drain.as_ref()?.moving.as_ref()?.id())
}

/// Names of the nodes other than `name` that may get its pods.
#[must_use]
pub fn elsewhere<'a>(name: &str, nodes: &[&'a Node]) -> Vec<&'a str> {
    nodes
        .iter()
        .filter(|node| node.metadata.name != name)
        .filter(|node| node.status.ready && node.spec.scheduling == Scheduling::Open)
        .filter(|node| !node.status.taints.iter().any(|taint| keeps_away(taint)))
        .map(|node| node.metadata.name.as_str())
        .collect()
}

fn keeps_away(taint: &str) -> bool {
    taint.ends_with(":NoSchedule") || taint.ends_with(":NoExecute")
}

/// Is a pod on a node, and not yet at its end?
#[must_use]
pub fn is_left(pod: &ObservedPod, node: &str) -> bool {
    pod.status.node.as_deref() == Some(node) && !pod.status.phase.is_ended()
}

/// What to do about a node now.
#[must_use]
pub fn plan(facts: Facts<'_>) -> Plan {
    let name = facts.record.metadata.name.as_str();
    let node = facts.nodes.iter().find(|node| node.metadata.name == name);
    let Some(node) = node else {
        return match facts.knowledge {
            Knowledge::Partial => Plan::default(),
            Knowledge::Complete { .. } => only(Action::Finish(Finish::NodeGone)),
        };
    };
    let is = node.spec.scheduling;
    let Some(wish) = facts.record.spec.drain else {
        let wished = facts.record.spec.scheduling;
        return only(if is == wished {
            Action::Finish(Finish::AsWished)
        } else {
            Action::Schedule(wished)
        });
    };
    let begin = NodeDrain {
        phase: DrainPhase::Cordoning,
        since: facts.now,
        started: wish.since,
        left: 0,
        moving: None,
        blocked_by: Vec::new(),
    };
    let before = facts.record.status.drain.clone().unwrap_or(begin);
    let mut planner = Planner {
        facts,
        name,
        mode: wish.mode,
        after: before.clone(),
        plan: Plan::default(),
    };
    if is == Scheduling::Open {
        if before.phase != DrainPhase::Cordoning {
            return match facts.knowledge {
                Knowledge::Partial => Plan::default(),
                Knowledge::Complete { .. } => only(Action::Finish(Finish::Uncordoned)),
            };
        }
        planner.act(Action::Schedule(Scheduling::Cordoned));
    } else if facts.knowledge != Knowledge::Partial {
        planner.go_on();
    }
    planner.note();
    planner.plan
}

fn only(action: Action) -> Plan {
    Plan {
        actions: vec![action],
        wake_at: None,
    }
}

struct Planner<'a> {
    facts: Facts<'a>,
    name: &'a str,
    mode: DrainMode,
    after: NodeDrain,
    plan: Plan,
}

/// A workload that can move, and its pods on the node.
struct Turn<'a, 'b> {
    id: &'a WorkloadId,
    pods: &'b [&'a ObservedPod],
    wanted: u32,
}

/// How the workload that moves gets on.
enum Step {
    /// A pod was told to go; others of it stay for now.
    One,
    /// Nothing of it is left to be told.
    Done,
    /// It may have a pod to spare: that shows soon ([`SETTLE`]).
    Settles,
    /// It waits for this.
    Waits(String),
}

const ENDS_BY_ITSELF: &str = "it is a step of a release and ends by itself; the drain goes on then";
const RUNS_ONCE: &str =
    "it runs once and cannot be moved: the drain goes on when it ended, and `--force` ends it now";

fn nowhere(node: &str) -> String {
    format!(
        "no other node is ready and takes new pods: add or uncordon one; or give `--force`, and it stops until \
         {node} is uncordoned"
    )
}

impl<'a> Planner<'a> {
    fn act(&mut self, action: Action) {
        self.plan.actions.push(action);
    }

    /// Pods of the node that were not told to go yet, by workload.
    fn staying(&self) -> BTreeMap<&'a WorkloadId, Vec<&'a ObservedPod>> {
        let mut staying: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for pod in self.facts.pods.iter().copied() {
            if is_left(pod, self.name) && self.stays(pod) {
                staying.entry(&pod.workload).or_default().push(pod);
            }
        }
        staying
    }

    fn stays(&self, pod: &ObservedPod) -> bool {
        pod.status.phase != PodPhase::Stopping && !self.facts.deleted.contains(&pod.id)
    }

    fn role(&self, id: &WorkloadId) -> Role {
        self.facts.roles.get(id).copied().unwrap_or(Role::Leaving)
    }

    fn go_on(&mut self) {
        let mut staying = self.staying();
        staying.retain(|id, _| self.role(id) != Role::Leaving);
        self.after
            .blocked_by
            .retain(|block| staying.contains_key(&block_id(block)));
        let is_elsewhere = !elsewhere(self.name, self.facts.nodes).is_empty();
        let force = self.mode == DrainMode::Force;
        let mut turns = Vec::new();
        for (id, pods) in &staying {
            match self.role(id) {
                Role::Leaving => {}
                Role::Step => self.block(id, ENDS_BY_ITSELF.to_owned()),
                Role::Task if force => {
                    for pod in pods {
                        self.act(Action::End(pod.id.clone()));
                    }
                }
                Role::Task => self.block(id, RUNS_ONCE.to_owned()),
                Role::Alone | Role::Process { .. } if !is_elsewhere && force => {
                    self.delete_all(pods);
                }
                Role::Alone | Role::Process { .. } if !is_elsewhere => {
                    self.block(id, nowhere(self.name));
                }
                Role::Alone => self.delete_all(pods),
                Role::Process { wanted } => turns.push(Turn { id, pods, wanted }),
            }
        }
        // Two nodes that move one workload at once could take more from it than it has to spare.
        turns.retain(|turn| !self.facts.others.contains(turn.id));
        self.take_turns(&turns);
        self.stand(&staying);
    }

    fn take_turns(&mut self, turns: &[Turn<'a, '_>]) {
        let last = self.after.moving.take();
        let current = last.filter(|last| turns.iter().any(|turn| *turn.id == last.id()));
        let Some(current) = current.or_else(|| self.next(turns, None)) else {
            return;
        };
        let id = current.id();
        let Some(turn) = turns.iter().find(|turn| *turn.id == id) else {
            return;
        };
        let moving = match self.replace_one(turn, &current) {
            Step::Done => self.next(turns, Some(&id)),
            Step::One => Some(DrainMove {
                since: self.facts.now,
                ..current
            }),
            Step::Settles => {
                self.plan.wake_at = Some(after(current.since, SETTLE));
                self.after.moving = Some(current);
                return;
            }
            Step::Waits(_) if after(current.since, PATIENCE) > self.facts.now => Some(current),
            Step::Waits(reason) => {
                self.block(&id, reason);
                let since = self.facts.now;
                let again = DrainMove { since, ..current };
                Some(self.next(turns, Some(&id)).unwrap_or(again))
            }
        };
        if let Some(moving) = moving {
            self.keep(moving);
        }
    }

    /// Writes down what came out of it.
    fn stand(&mut self, staying: &BTreeMap<&'a WorkloadId, Vec<&'a ObservedPod>>) {
        let left = self.facts.pods.iter().filter(|pod| is_left(pod, self.name));
        self.after.left = u32::try_from(left.count()).unwrap_or(u32::MAX);
        let all_blocked = !staying.is_empty() && staying.keys().all(|id| self.is_blocked(id));
        let phase = match self.after.left {
            0 => DrainPhase::Drained,
            _ if all_blocked => DrainPhase::Blocked,
            _ => DrainPhase::Moving,
        };
        if phase != self.after.phase {
            self.after.phase = phase;
            self.after.since = self.facts.now;
        }
    }

    fn keep(&mut self, moving: DrainMove) {
        let due = after(moving.since, PATIENCE);
        self.plan.wake_at = Some(due.max(self.facts.now));
        self.after.moving = Some(moving);
    }

    fn block(&mut self, id: &WorkloadId, reason: String) {
        let known = self
            .after
            .blocked_by
            .iter_mut()
            .find(|block| block_id(block) == *id);
        match known {
            Some(block) => block.reason = reason,
            None => self.after.blocked_by.push(DrainBlock {
                project: id.project.clone(),
                workload: id.name.clone(),
                reason,
            }),
        }
    }

    fn is_blocked(&self, id: &WorkloadId) -> bool {
        self.after
            .blocked_by
            .iter()
            .any(|block| block_id(block) == *id)
    }

    /// The workload whose turn it is after `last`: one that is not blocked, else the next in a round.
    fn next(&self, turns: &[Turn<'a, '_>], last: Option<&WorkloadId>) -> Option<DrainMove> {
        let free = || {
            turns
                .iter()
                .map(|turn| turn.id)
                .filter(|id| Some(*id) != last)
        };
        let fresh = free().find(|id| !self.is_blocked(id));
        let round = || free().find(|id| last.is_some_and(|last| *id > last));
        let id = fresh.or_else(round).or_else(|| free().next())?;
        Some(DrainMove {
            project: id.project.clone(),
            workload: id.name.clone(),
            since: self.facts.now,
        })
    }

    fn delete_all(&mut self, pods: &[&'a ObservedPod]) {
        for pod in pods {
            self.act(Action::Delete(pod.id.clone()));
        }
    }

    /// Takes one pod of a workload off the node, if the others are enough without it.
    fn replace_one(&mut self, turn: &Turn<'a, '_>, moving: &DrainMove) -> Step {
        let Turn { id, pods, wanted } = *turn;
        let mut serving: Vec<&ObservedPod> = Vec::new();
        for pod in pods {
            if pod.status.phase.can_serve() {
                serving.push(pod);
            } else {
                // What does not serve is missed by nobody.
                self.act(Action::Delete(pod.id.clone()));
            }
        }
        let of_it: Vec<_> = self
            .facts
            .pods
            .iter()
            .filter(|pod| pod.workload == *id && self.stays(pod))
            .collect();
        let ready = of_it.iter().filter(|pod| pod.status.phase.can_serve());
        let ready = u32::try_from(ready.count()).unwrap_or(u32::MAX);
        let late = after(moving.since, PATIENCE) <= self.facts.now;
        let Some(first) = serving.first() else {
            return Step::Done;
        };
        if ready > wanted {
            if after(moving.since, SETTLE) > self.facts.now {
                return Step::Settles;
            }
            self.act(Action::Delete(first.id.clone()));
            return if serving.len() == 1 {
                Step::Done
            } else {
                Step::One
            };
        }
        if late && self.mode == DrainMode::Force {
            for pod in &serving {
                self.act(Action::Delete(pod.id.clone()));
            }
            return Step::Done;
        }
        let elsewhere = |pod: &&&&ObservedPod| pod.status.node.as_deref() != Some(self.name);
        let waiting = of_it
            .iter()
            .filter(|pod| !pod.status.phase.can_serve())
            .find(elsewhere);
        Step::Waits(match waiting {
            Some(pod) => {
                let why = pod.status.reason.as_ref().map(|why| format!(": {why}"));
                let why = why.unwrap_or_default();
                format!(
                    "its pod {} elsewhere is not ready{why}; `--force` stops the one here all the same",
                    pod.id.name
                )
            }
            None => format!(
                "{ready} of its pods are ready and {wanted} must be without the one here; `--force` stops it all \
                 the same"
            ),
        })
    }

    fn note(&mut self) {
        if self.facts.record.status.drain.as_ref() != Some(&self.after) {
            self.act(Action::SetStatus(self.after.clone()));
        }
    }
}

fn block_id(block: &DrainBlock) -> WorkloadId {
    WorkloadId {
        project: block.project.clone(),
        name: block.workload.clone(),
    }
}
