//! What all controllers are given.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_model::plan::sweep::Retention;
use coracle_model::plan::{Knowledge, Policy, Site};
use coracle_task::Supervisor;

use crate::control::Control;
use crate::observed::Observed;

/// How often what is observed is read before it counts as changing too fast, and the pause after that.
const LOOKS: usize = 8;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Tells the time.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's.
    System,
    /// Runs with the runtime's timers, from this time at this instant: for tests on virtual time.
    Timers {
        /// The time then.
        epoch: DateTime<Utc>,
        /// The instant.
        at: tokio::time::Instant,
    },
}

impl Clock {
    /// The time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now(),
            Self::Timers { epoch, at } => *epoch + at.elapsed(),
        }
    }
}

/// How the controllers work.
#[derive(Clone, Debug)]
pub struct Options {
    /// The clock.
    pub clock: Clock,
    /// How much is kept.
    pub retention: Retention,
    /// Time between two looks at everything, whether anything told of a change or not: the safety net.
    pub rescan: Duration,
    /// Time between two sweeps.
    pub sweep: Duration,
    /// Time between two collections of the registry.
    pub collect: Duration,
    /// What of the registry is younger stays in a collection that says nothing else: longer than a client may pause in a push.
    pub collect_age: Duration,
    /// The most time to fetch a release's image.
    pub image: Duration,
    /// The most time for the requests of a stopping pod to end, should no gateway tell that they did.
    pub drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::System,
            retention: Retention::default(),
            rescan: Duration::from_secs(60),
            sweep: Duration::from_secs(600),
            collect: Duration::from_secs(24 * 3600),
            collect_age: Duration::from_secs(3600),
            image: Duration::from_secs(600),
            drain: Duration::from_secs(30),
        }
    }
}

/// What all controllers are given.
#[derive(Debug)]
pub struct Scene {
    /// The state half.
    pub control: Control,
    /// How the controllers work.
    pub options: Options,
    /// What planners go by.
    pub policy: Policy,
    /// Owner of the controllers' tasks.
    pub supervisor: Supervisor,
    /// Since when everything that the engine runs is known without a gap.
    complete_since: Mutex<Option<DateTime<Utc>>>,
}

impl Scene {
    /// With what the control plane was set up with.
    #[must_use]
    pub fn new(control: Control, options: Options, supervisor: Supervisor) -> Self {
        let policy = Policy {
            site: Site {
                domain: control.settings.domain.to_string(),
                port: control.settings.http_port,
                ..Site::default()
            },
            drain: options.drain,
            ..Policy::default()
        };
        Self {
            control,
            options,
            policy,
            supervisor,
            complete_since: Mutex::default(),
        }
    }

    /// What planners go by, with the domain that holds now.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut policy = self.policy.clone();
        policy.site.domain = self.control.domain().to_string();
        policy
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.options.clock.now()
    }

    /// Reads what is observed, and tells whether that was all there is.
    ///
    /// The engine's watch may begin afresh at any moment, and then pods are missing for a while. What was read
    /// counts as complete only when everything was known before and after, and nothing changed in between.
    pub fn look<T>(&self, read: impl Fn(&Observed) -> T) -> (T, Knowledge) {
        let observed = &self.control.observed;
        let version = observed.subscribe();
        for _ in 0..LOOKS {
            let before = *version.borrow();
            let synced = observed.is_synced();
            let seen = read(observed);
            if !synced || !observed.is_synced() {
                return (seen, Knowledge::Partial);
            }
            if *version.borrow() == before {
                let since = *self
                    .complete_since
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let since = since.unwrap_or_else(|| self.now());
                return (seen, Knowledge::Complete { since });
            }
        }
        (read(observed), Knowledge::Partial)
    }

    /// When to look again after a [`Scene::look`] that was not complete, although everything is known: things
    /// just changed too fast.
    #[must_use]
    pub fn look_again(&self, knowledge: Knowledge) -> Option<Duration> {
        (knowledge == Knowledge::Partial && self.control.observed.is_synced()).then_some(LOOK_PAUSE)
    }

    /// Takes note that everything is known from now on, or that it is not.
    pub(crate) fn note_complete(&self, complete: Complete) {
        let mut since = self
            .complete_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *since = match complete {
            Complete::FromNow => Some(self.now()),
            Complete::No => None,
        };
    }
}

/// Is everything known that the engine runs?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complete {
    /// From now on.
    FromNow,
    /// Not at the moment.
    No,
}
