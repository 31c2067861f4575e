//! From wishes to pods: what the engine does when a workload's wish or a pod of it changed.

use coracle_model::workload::{PodId, Workload, WorkloadId, WorkloadKind};

use super::pod::{Readiness, SimPod, Stage, Then};
use super::state::State;
use crate::wish::Wish;

impl State {
    /// Brings one workload to what was last wished for it. Without a wish nothing is touched (law 3).
    pub(super) fn reconcile(&mut self, id: &WorkloadId) {
        let wish = self
            .seat
            .as_ref()
            .and_then(|seat| seat.wishes.get(id))
            .cloned();
        match wish {
            None => {}
            Some(Wish::Gone) => {
                let pods = self.pods_of(id, |_| true);
                if pods.is_empty()
                    && let Some(seat) = &mut self.seat
                {
                    seat.wishes.remove(id);
                }
                for pod in pods {
                    self.stop_pod(&pod, Then::Gone, None);
                }
            }
            Some(Wish::Run(workload)) => match workload.kind {
                WorkloadKind::Replicated { replicas } => self.reconcile_many(&workload, replicas),
                WorkloadKind::Single | WorkloadKind::Task { .. } => self.reconcile_one(&workload),
            },
        }
    }

    fn reconcile_many(&mut self, workload: &Workload, replicas: u32) {
        let own_name = PodId {
            project: workload.id.project.clone(),
            name: workload.id.name.clone(),
        };
        let fits =
            |pod: &SimPod| pod.made_from.generation == workload.generation && pod.id != own_name;
        let mut fitting = self.pods_of(&workload.id, |pod| fits(pod) && !leaves(pod));
        let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
        for _ in fitting.len()..wanted {
            if let Some(name) = self.free_name(&workload.id) {
                self.plan_pod(workload, name);
            }
        }
        if fitting.len() > wanted {
            self.most_useful_first(&mut fitting);
            for pod in fitting.split_off(wanted) {
                self.stop_pod(&pod, Then::Gone, None);
            }
        }
        // Old ones go as new ones become ready, so that never fewer serve than were wished.
        let serving = fitting.iter().filter(|id| self.serves(id)).count();
        let mut old = self.pods_of(&workload.id, |pod| !fits(pod) && !leaves(pod));
        self.most_useful_first(&mut old);
        let runs = |id: &PodId| self.pods[id].stage == Stage::Running;
        let running = old.iter().filter(|id| runs(id)).count();
        for pod in old.split_off(running.min(wanted.saturating_sub(serving))) {
            self.stop_pod(&pod, Then::Gone, None);
        }
    }

    fn serves(&self, id: &PodId) -> bool {
        let pod = &self.pods[id];
        pod.readiness == Readiness::Yes && pod.stopping.is_none()
    }

    /// Those that serve, then those that run, then the oldest.
    fn most_useful_first(&self, pods: &mut [PodId]) {
        pods.sort_by_key(|id| {
            let pod = &self.pods[id];
            (!self.serves(id), pod.stage != Stage::Running, pod.order)
        });
    }

    fn reconcile_one(&mut self, workload: &Workload) {
        let name = PodId {
            project: workload.id.project.clone(),
            name: workload.id.name.clone(),
        };
        let wrong = self.pods_of(&workload.id, |pod| {
            pod.made_from.generation != workload.generation || pod.id != name
        });
        for pod in wrong {
            self.stop_pod(&pod, Then::Gone, None);
        }
        // One that is on its way out keeps the name until it is gone; then this is called again.
        if !self.pods.contains_key(&name) {
            self.plan_pod(workload, name);
        }
    }

    fn pods_of(&self, id: &WorkloadId, which: impl Fn(&SimPod) -> bool) -> Vec<PodId> {
        self.pods
            .values()
            .filter(|pod| pod.made_from.id == *id && which(pod))
            .map(|pod| pod.id.clone())
            .collect()
    }
}

fn leaves(pod: &SimPod) -> bool {
    pod.stopping
        .as_ref()
        .is_some_and(|stopping| stopping.then == Then::Gone)
}
