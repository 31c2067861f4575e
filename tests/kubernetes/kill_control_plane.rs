//! The control plane killed with SIGKILL at random moments, with everything else in a cluster that knows nothing of it.
//!
//! Theory of operation: as on one machine (`e2e/kill_control_plane.rs`), with images instead of builds.

use std::time::Duration;

use coracle_e2e::{Builds, Cluster, Kills, Load, ONE_POD, Person, Source, TEST_IMAGE};

const KILLS: u64 = 6;
/// A kill comes within this time: a deploy takes about as long.
const WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_it_converges_and_leaks_nothing() {
    let mut kills = Kills::new(KILLS, WITHIN);
    let cluster = Cluster::start().await;
    let image = cluster.push(&Source::page("steady"), "steady", "1");
    cluster.deploy("steady", &image).await.ok();
    let host = cluster.host("steady");
    let load = Load::start(cluster.http(), &host, "/", ONE_POD, 100);
    // The second one takes its images along when it goes: it deploys one that the nodes have.
    let passing = format!("{}z", cluster.project());
    let projects = [cluster.project().to_owned(), passing];
    let person = Person::new(
        &cluster,
        projects.clone(),
        [&image, TEST_IMAGE],
        Builds::None,
        kills.chance(),
    );
    let settled = async || {
        cluster.settled().await;
    };
    kills.befall(&cluster, person, load, settled).await;
    cluster.delete_apps(&projects).await;
    crate::projects::nothing_left(&cluster).await;
}
