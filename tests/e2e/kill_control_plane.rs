//! The control plane killed with SIGKILL at random moments.
//!
//! Theory of operation: while somebody deploys, scales, changes and deletes without a pause, and users ask a steady app,
//! the control plane is killed at a random moment and started again; then everything that was asked for must come
//! true, and Docker have exactly what the API says. How often: see [`Kills`].

use std::time::Duration;

use coracle_e2e::{Builds, Kills, LONG, Load, Person, Platform, TEST_IMAGE, until_ok};

const KILLS: u64 = 12;
/// A kill comes within this time: deploys of a local image take about as long.
const WITHIN: Duration = Duration::from_millis(2500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_it_converges_and_leaks_nothing() {
    let mut kills = Kills::new(KILLS, WITHIN);
    let platform = Platform::start().await;
    platform
        .coracle(&["deploy", "--image", TEST_IMAGE, "--app", "steady"])
        .await
        .ok();
    let load = Load::start(platform.http(), "steady.localhost", "/", 20, 100);
    let projects = ["default", "zoo"].map(str::to_owned);
    let person = Person::new(
        &platform,
        projects.clone(),
        [TEST_IMAGE; 2],
        Builds::Some,
        kills.chance(),
    );
    let settled = async || {
        platform.settled().await;
    };
    kills.befall(&platform, person, load, settled).await;
    platform.delete_apps(&projects).await;
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
