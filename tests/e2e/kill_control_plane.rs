//! The control plane killed with SIGKILL at random moments.
//!
//! Theory of operation: while somebody deploys, scales, changes and deletes without a pause, and users ask a steady app,
//! the control plane is killed at a random moment and started again; then everything that was asked for must come
//! true, and Docker have exactly what the API says. `CORACLE_E2E_KILLS` says how often, `CORACLE_E2E_SEED` repeats a run's
//! choices (the moments themselves cannot be repeated).

use std::time::{Duration, Instant};

use coracle_e2e::{Builds, LONG, Load, Part, Person, Platform, TEST_IMAGE, until_ok};

const KILLS: u64 = 12;
/// A kill comes within this time: deploys of a local image take about as long.
const WITHIN: Duration = Duration::from_millis(2500);
const PROJECTS: [&str; 2] = ["default", "zoo"];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_it_converges_and_leaks_nothing() {
    let kills = number("CORACLE_E2E_KILLS").unwrap_or(KILLS);
    let seed = number("CORACLE_E2E_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("{kills} kills, CORACLE_E2E_SEED={seed}");
    let platform = Platform::start().await;
    platform
        .coracle(&["deploy", "--image", TEST_IMAGE, "--app", "steady"])
        .await
        .ok();
    let load = Load::start(platform.http(), "steady.localhost", "/", 20, 100);
    load.more(20).await;
    // Logged in before anything is killed: the first question logs in, and that one must be answered.
    platform.api().await;

    let mut chance = fastrand::Rng::with_seed(seed);
    let projects = PROJECTS.map(str::to_owned);
    let mut person = Person::new(
        &platform,
        projects,
        [TEST_IMAGE; 2],
        Builds::Some,
        chance.fork(),
    );
    let mut slowest = Duration::ZERO;
    let mut total = Duration::ZERO;
    for kill in 1..=kills {
        let within = u64::try_from(WITHIN.as_millis()).unwrap();
        let moment = Duration::from_millis(chance.u64(1..=within));
        // The moment is the test's input, not something that is waited for.
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
        platform.settled().await;
        let took = began.elapsed();
        slowest = slowest.max(took);
        total += took;
        assert_eq!(load.failed(), 0, "after kill {kill}");
    }
    eprintln!(
        "{} changes were taken up; from start to settled {} ms on average, {} ms at most",
        person.done(),
        (total / u32::try_from(kills.max(1)).unwrap()).as_millis(),
        slowest.as_millis()
    );
    load.more(20).await;
    load.stop()
        .await
        .nothing_failed("a steady app, while the control plane was killed");

    let api = platform.api().await;
    for project in PROJECTS {
        for app in api
            .list(&format!("/projects/{project}/apps"))
            .await
            .unwrap_or_default()
        {
            let name = app["metadata"]["name"].as_str().unwrap();
            api.delete(&format!("/projects/{project}/apps/{name}"))
                .await
                .ok();
        }
    }
    platform.nothing_left().await;
    let registry = platform.listen().to_string();
    until_ok("no image to be left in the daemon", LONG, || async {
        let left = platform.docker().images(&platform.id(), &registry);
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
}
