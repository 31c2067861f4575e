//! The control plane killed with SIGKILL at random moments, again and again, while a person is busy and users ask.
//!
//! `CORACLE_E2E_KILLS` says how often, `CORACLE_E2E_SEED` repeats a run's choices (the moments themselves cannot be repeated).

use std::time::{Duration, Instant};

use crate::load::Load;
use crate::person::Person;
use crate::platform::Platform;
use crate::process::Part;

/// How a control plane is killed.
#[derive(Debug)]
pub struct Kills {
    count: u64,
    within: Duration,
    chance: fastrand::Rng,
}

impl Kills {
    /// So many kills, unless the environment says otherwise, each within this time after the one before was got over.
    #[must_use]
    pub fn new(count: u64, within: Duration) -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse().ok();
        let count = number("CORACLE_E2E_KILLS").unwrap_or(count);
        let seed = number("CORACLE_E2E_SEED").unwrap_or_else(|| fastrand::u64(..));
        eprintln!("{count} kills, CORACLE_E2E_SEED={seed}");
        Self {
            count,
            within,
            chance: fastrand::Rng::with_seed(seed),
        }
    }

    /// Choices for somebody else, which the seed repeats too.
    pub fn chance(&mut self) -> fastrand::Rng {
        self.chance.fork()
    }

    /// Kills it, starts it again and waits until it `settled`, as often as was said; prints how long that took.
    ///
    /// # Panics
    /// When a request of a user failed, the gateway died along, or it does not settle.
    pub async fn befall(
        &mut self,
        platform: &Platform,
        mut person: Person<'_>,
        load: Load,
        settled: impl AsyncFn(),
    ) {
        load.more(20).await;
        // Logged in before anything is killed: the first question logs in, and that one must be answered.
        platform.api().await;
        let (mut slowest, mut total) = (Duration::ZERO, Duration::ZERO);
        let within = u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX);
        for kill in 1..=self.count {
            // The moment is the test's input, not something that is waited for.
            let moment = Duration::from_millis(self.chance.u64(1..=within));
            let cut = async {
                tokio::time::sleep(moment).await;
                platform.kill9(Part::Serve).await;
            };
            tokio::select! {
                () = person.is_busy() => unreachable!("it goes on for ever"),
                () = cut => {}
            }
            assert!(
                platform.lives(Part::Gateway),
                "the gateway went with the control plane"
            );
            let began = Instant::now();
            platform.up().await;
            settled().await;
            let took = began.elapsed();
            slowest = slowest.max(took);
            total += took;
            assert_eq!(load.failed(), 0, "after kill {kill}");
        }
        eprintln!(
            "{} changes were taken up; from start to settled {} ms on average, {} ms at most",
            person.done(),
            total.as_millis() / u128::from(self.count.max(1)),
            slowest.as_millis()
        );
        load.more(20).await;
        load.stop()
            .await
            .nothing_failed("a steady app, while the control plane was killed");
    }
}

impl Platform {
    /// Asks for the deletion of every app of these projects; one of them may be gone.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn delete_apps(&self, projects: &[String]) {
        let api = self.api().await;
        for project in projects {
            let apps = format!("/projects/{project}/apps");
            for app in api.list(&apps).await.unwrap_or_default() {
                let name = app["metadata"]["name"].as_str().unwrap_or_default();
                api.delete(&format!("{apps}/{name}")).await.ok();
            }
        }
    }
}
