//! The connections to pods that are open: how many, and which of them the audit log tells.
//!
//! A browser or a pool opens connections by the dozen: they are one entry of the audit log for each caller, pod and port
//! while any is open and for [`ConnectLimits::audit`] after the entry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_model::name::ProjectName;
use coracle_model::workload::PodId;
use tokio::time::Instant;

/// Bounds of connections to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectLimits {
    /// Open at the same time in one project, through one control plane.
    pub per_project: usize,
    /// The most time without a byte in either direction.
    pub idle: Duration,
    /// After an entry of the audit log, how long the same caller, pod and port makes no other.
    pub audit: Duration,
}

impl Default for ConnectLimits {
    fn default() -> Self {
        Self {
            per_project: 256,
            idle: Duration::from_hours(1),
            audit: Duration::from_mins(10),
        }
    }
}

/// One caller (by the id of their token) at one port of a pod.
pub(crate) type Visit = (String, PodId, u16);

/// When a visit was recorded, and how many of its connections are open.
#[derive(Default)]
struct Seen {
    recorded: Option<Instant>,
    open: usize,
}

#[derive(Default)]
struct Open {
    projects: HashMap<ProjectName, usize>,
    visits: HashMap<Visit, Seen>,
}

/// The connections that are open. Clones share them.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) limits: ConnectLimits,
    open: Arc<Mutex<Open>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self::new(ConnectLimits::default())
    }
}

/// Is a visit told in the audit log?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audit {
    Record,
    Recorded,
}

/// The place of one connection; dropping it gives it back.
pub(crate) struct Place {
    open: Arc<Mutex<Open>>,
    visit: Visit,
}

impl Connections {
    pub(crate) fn new(limits: ConnectLimits) -> Self {
        Self {
            limits,
            open: Arc::default(),
        }
    }

    /// Takes a place, if there is one.
    pub(crate) fn enter(&self, visit: Visit) -> Option<Place> {
        let now = Instant::now();
        let mut open = lock(&self.open);
        let count = open.projects.entry(visit.1.project.clone()).or_default();
        if *count >= self.limits.per_project {
            return None;
        }
        *count += 1;
        // What is over is of no use any more, and is not kept for ever.
        open.visits.retain(|_, seen| {
            let fresh = |at: Instant| now < at + self.limits.audit;
            seen.open > 0 || seen.recorded.is_some_and(fresh)
        });
        open.visits.entry(visit.clone()).or_default().open += 1;
        Some(Place {
            open: Arc::clone(&self.open),
            visit,
        })
    }
}

impl Place {
    /// The connection was made: is that to be recorded?
    pub(crate) fn connected(&self) -> Audit {
        let mut open = lock(&self.open);
        match open.visits.get_mut(&self.visit) {
            Some(seen) if seen.recorded.is_none() => {
                seen.recorded = Some(Instant::now());
                Audit::Record
            }
            _ => Audit::Recorded,
        }
    }

    /// Whose visit it is, for who records it and may take longer than it lasts.
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            open: Arc::clone(&self.open),
            visit: self.visit.clone(),
        }
    }
}

/// The entry of a visit in the audit log.
pub(crate) struct Entry {
    open: Arc<Mutex<Open>>,
    pub(crate) visit: Visit,
}

impl Entry {
    /// It could not be written: the next connection tries again.
    pub(crate) fn failed(&self) {
        if let Some(seen) = lock(&self.open).visits.get_mut(&self.visit) {
            seen.recorded = None;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.projects.get_mut(&self.visit.1.project) {
            *count -= 1;
            if *count == 0 {
                open.projects.remove(&self.visit.1.project);
            }
        }
        if let Some(seen) = open.visits.get_mut(&self.visit) {
            seen.open -= 1;
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use coracle_model::name::PodName;

    use super::*;

    fn visit(token: &str, project: &str, port: u16) -> Visit {
        let pod = PodId {
            project: ProjectName::new(project).unwrap(),
            name: PodName::new("box").unwrap(),
        };
        (token.to_owned(), pod, port)
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_bounded_for_each_project_and_given_back() {
        let connections = Connections::new(ConnectLimits {
            per_project: 2,
            ..ConnectLimits::default()
        });
        let first = connections.enter(visit("t", "one", 1)).unwrap();
        let _second = connections.enter(visit("u", "one", 2)).unwrap();
        assert!(connections.enter(visit("t", "one", 1)).is_none());
        assert!(connections.enter(visit("t", "two", 1)).is_some());
        drop(first);
        assert!(connections.enter(visit("t", "one", 1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_visit_is_recorded_once_while_it_lasts() {
        let connections = Connections::default();
        let enter = |port| connections.enter(visit("t", "one", port)).unwrap();
        drop(enter(1));
        let first = enter(1);
        assert_eq!(first.connected(), Audit::Record, "the one before failed");
        assert_eq!(enter(1).connected(), Audit::Recorded);
        assert_eq!(enter(2).connected(), Audit::Record);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(enter(1).connected(), Audit::Recorded, "one is open still");
        drop(first);
        let again = enter(1);
        assert_eq!(again.connected(), Audit::Record);
        again.entry().failed();
        assert_eq!(
            enter(1).connected(),
            Audit::Record,
            "that before could not be recorded"
        );
        drop(again);
        assert_eq!(lock(&connections.open).visits.len(), 1, "nothing is kept");
    }
}
