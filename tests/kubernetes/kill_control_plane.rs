//! The control plane killed with SIGKILL at random moments, with everything else in a cluster that knows nothing of it.
//!
//! Theory of operation: as on one machine (`e2e/kill_control_plane.rs`), with images instead of builds. `CORACLE_E2E_KILLS`
//! says how often, `CORACLE_E2E_SEED` repeats a run's choices.

use std::time::{Duration, Instant};

use coracle_e2e::{Builds, Cluster, Load, ONE_POD, Part, Person, Source, TEST_IMAGE};

const KILLS: u64 = 6;
/// A kill comes within this time: a deploy takes about as long.
const WITHIN: Duration = Duration::from_secs(5);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_it_converges_and_leaks_nothing() {
    let kills = number("CORACLE_E2E_KILLS").unwrap_or(KILLS);
    let seed = number("CORACLE_E2E_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("{kills} kills, CORACLE_E2E_SEED={seed}");
    let cluster = Cluster::start().await;
    let image = cluster.push(&Source::page("steady"), "steady", "1");
    cluster.deploy("steady", &image).await.ok();
    let host = cluster.host("steady");
    let load = Load::start(cluster.http(), &host, "/", ONE_POD, 100);
    load.more(20).await;
    // Logged in before anything is killed: the first question logs in, and that one must be answered.
    cluster.api().await;

    let mut chance = fastrand::Rng::with_seed(seed);
    // It takes its images along when it goes: it deploys one that the nodes have.
    let passing = format!("{}z", cluster.project());
    let projects = [cluster.project().to_owned(), passing];
    let mut person = Person::new(
        &cluster,
        projects.clone(),
        [&image, TEST_IMAGE],
        Builds::None,
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
            cluster.kill9(Part::Serve).await;
        };
        tokio::select! {
            () = person.is_busy() => unreachable!("it goes on for ever"),
            () = cut => {}
        }
        assert!(
            cluster.lives(Part::Gateway),
            "the gateway went with the control plane"
        );
        let began = Instant::now();
        cluster.up().await;
        cluster.settled().await;
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

    let api = cluster.api().await;
    for project in &projects {
        let apps = format!("/projects/{project}/apps");
        for app in api.list(&apps).await.unwrap_or_default() {
            let name = app["metadata"]["name"].as_str().unwrap();
            api.delete(&format!("{apps}/{name}")).await.ok();
        }
    }
    crate::projects::nothing_left(&cluster).await;
}
