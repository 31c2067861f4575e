//! The sampler: looks at what everything uses, every 15 s while something runs.
//!
//! Theory of operation: it is no reconcile loop, as time alone wakes it; else it is as the others: supervised, started again
//! when it fails, and its status can be read. Where no pod runs it waits for one, and there is no timer. Samples are taken
//! at full quarters of a minute, so that those of a former leader and of this one would fall on the same times. One look is
//! bounded; one that fails leaves a gap, and says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use coracle_engine::EngineError;
use coracle_model::usage::STEP_SECONDS;
use coracle_model::usage::rate::GatewayCounters;
use coracle_task::Backoff;
use tokio::sync::watch::error::RecvError;
use tokio::time::Instant;

use crate::controllers::change::Change;
use crate::controllers::runner::{ControllerStatus, LastError, Running};
use crate::controllers::scene::Scene;
use crate::usage::Seen;

const NAME: &str = "usage";

/// For one look: the next one is due soon after.
const PATIENCE: Duration = Duration::from_secs(12);

/// Takes samples.
struct Sampler {
    scene: Arc<Scene>,
    /// From when on the gateways' reports are counted.
    began: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    runs: u64,
    failures: u64,
    last_run: Option<DateTime<Utc>>,
    last_error: Option<LastError>,
    outcome: Outcome,
}

/// How the last look ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Outcome {
    #[default]
    Good,
    Bad,
}

/// Starts the sampler.
pub(super) fn start(scene: &Arc<Scene>) -> Arc<dyn Running> {
    let sampler = Arc::new(Sampler {
        scene: Arc::clone(scene),
        began: Instant::now(),
        counts: Mutex::default(),
    });
    let sampling = Arc::clone(&sampler);
    scene.supervisor.service(NAME, Backoff::default(), move || {
        let sampling = Arc::clone(&sampling);
        async move { sampling.sample().await }
    });
    sampler
}

impl Sampler {
    async fn sample(&self) -> Result<(), RecvError> {
        let observed = &self.scene.control.observed;
        let mut changes = observed.subscribe();
        loop {
            while !observed.runs_any() {
                self.scene.control.usage.rest();
                changes.changed().await?;
            }
            // What is observed changes all the time; only what is seen after the next look counts.
            changes.mark_unchanged();
            self.look().await;
            tokio::time::sleep(until_next(self.scene.now())).await;
        }
    }

    async fn look(&self) {
        let control = &self.scene.control;
        // Whoever was paused for so long that another may lead by now is about to be ended.
        if !control.leading.holds() {
            return;
        }
        let at = self.scene.now();
        let read = tokio::time::timeout(PATIENCE, control.engine.usage()).await;
        let late = |_elapsed| EngineError::Unavailable("it did not answer in time".into());
        match read.map_err(late).flatten() {
            Ok(read) => {
                let seen = Seen {
                    pods: control.observed.pods(),
                    nodes: control.observed.nodes(),
                    gateways: self.gateways(),
                };
                control.usage.take(at, &read, seen);
                self.note(at, None);
            }
            Err(error) => self.note(at, Some(&error)),
        }
    }

    fn gateways(&self) -> std::collections::BTreeMap<String, GatewayCounters> {
        let counters = |(id, seen): (String, crate::feed::SeenGateway)| {
            let counters = GatewayCounters {
                at: seen.reported.saturating_duration_since(self.began),
                apps: seen.report.apps,
            };
            (id, counters)
        };
        let gateways = self.scene.control.feed.gateways();
        gateways.into_iter().map(counters).collect()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, at: DateTime<Utc>, error: Option<&EngineError>) {
        let mut counts = self.counts();
        counts.runs += 1;
        counts.last_run = Some(at);
        let Some(error) = error else {
            counts.outcome = Outcome::Good;
            return;
        };
        // Once, and not every 15 s for as long as it lasts.
        if counts.outcome == Outcome::Good {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, "what is used cannot be read");
        }
        counts.outcome = Outcome::Bad;
        counts.failures += 1;
        counts.last_error = Some(LastError {
            at,
            key: "all".to_owned(),
            message: error.to_string(),
        });
    }
}

/// The time until the next full quarter of a minute.
fn until_next(now: DateTime<Utc>) -> Duration {
    let step = i64::from(STEP_SECONDS) * 1000;
    let left = step - now.timestamp_millis().rem_euclid(step);
    Duration::from_millis(u64::try_from(left).unwrap_or_default())
}

impl Running for Sampler {
    fn wake(&self, _: &Change<'_>) {}

    fn wake_all(&self) {}

    fn status(&self) -> ControllerStatus {
        let counts = self.counts();
        ControllerStatus {
            name: NAME,
            runs: counts.runs,
            failures: counts.failures,
            last_run: counts.last_run,
            last_error: counts.last_error.clone(),
            waiting: 0,
            running: 0,
            failing: usize::from(counts.outcome == Outcome::Bad),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_sample_is_at_a_full_quarter_of_a_minute() {
        let at = |millis| until_next(DateTime::from_timestamp_millis(millis).unwrap_or_default());
        assert_eq!(at(0), Duration::from_secs(15));
        assert_eq!(at(14_999), Duration::from_millis(1));
        assert_eq!(at(15_000), Duration::from_secs(15));
        assert_eq!(at(-1), Duration::from_millis(1));
    }
}
