//! Pure planning: desired state + observed state + now → actions with reasons.
//!
//! Theory of operation: a controller gathers facts, asks a planner in here, and does what the plan says
//! without choices of its own. Planners know no I/O and no clock (`now` is a fact), so every decision of the
//! platform can be tested as a table or a readable script, and every plan can be explained: each step carries
//! its reason. A plan is a step towards the goal, not the whole way: after it was done (or half done, and the
//! process killed) the facts are gathered again and planned again until nothing is left to do.
//!
//! | module | decides |
//! |---|---|
//! | [`rollout`] | what happens to one app: its releases, their workloads, its traffic, its end |
//! | [`verdict`] | is a pod at fault, and how to say so in plain words |
//! | [`app_status`] | what is shown of an app |
//! | [`naming`] | what workloads, volumes and pods are called |
//! | [`job`] | what a release's process or command is as a workload |
//! | [`pods`] | bare pods and one-off tasks |
//! | [`routes`] | where each host goes |
//! | [`drain`] | which stopping pods have no request in flight any more |
//! | [`node_drain`] | which pods leave a node next, and what keeps them there |
//! | [`builds`] | which build runs next, which is replaced, which is ended |
//! | [`sweep`] | what is old enough to go |

pub mod app_status;
pub mod builds;
pub mod drain;
pub mod job;
pub mod naming;
pub mod node_drain;
pub mod pods;
pub mod rollout;
pub mod routes;
pub mod sweep;
pub mod verdict;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::name::{AppName, ProjectName};

/// What the platform was set up with, as far as planning depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where apps are reached.
    pub site: Site,
    /// Time beyond the longest health grace until a release's pods must all be ready.
    pub slack: Duration,
    /// So many restarts of one pod of a new release are its end.
    pub crash_limit: u32,
    /// The most time for a release command.
    pub release_command: Duration,
    /// The most time for the requests of a stopping web pod to end, should nobody tell that they did.
    pub drain: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            site: Site::default(),
            slack: Duration::from_secs(30),
            crash_limit: 3,
            release_command: Duration::from_secs(600),
            drain: Duration::from_secs(30),
        }
    }
}

/// Where apps are reached: `SCHEME://APP.DOMAIN:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The domain under which every app has a host name.
    pub domain: String,
    /// The gateway's port as people see it.
    pub port: u16,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            scheme: "http",
            domain: "localhost".to_owned(),
            port: 8080,
        }
    }
}

impl Site {
    /// The URL that every app has.
    #[must_use]
    pub fn url(&self, project: &ProjectName, app: &AppName) -> String {
        let host = crate::app::host_label(project, app);
        let usual = match self.scheme {
            "https" => 443,
            _ => 80,
        };
        if self.port == usual {
            format!("{}://{host}.{}", self.scheme, self.domain)
        } else {
            format!("{}://{host}.{}:{}", self.scheme, self.domain, self.port)
        }
    }
}

/// How much of what the engine runs is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// Not all of it: a pod that is not seen may be there all the same, so nothing may be removed, and
    /// nothing may be blamed for not being there.
    Partial,
    /// All of it, without a gap since this moment. Deadlines for pods do not run out before they were watched
    /// for their whole length: who did not look may not judge.
    Complete {
        /// Since when.
        since: DateTime<Utc>,
    },
}

/// `at + span`, at the end of time at the latest.
pub(crate) fn after(at: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(span)
        .ok()
        .and_then(|span| at.checked_add_signed(span))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// FNV-1a, 64 bits: names versions of things that are compared, never guards anything.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
