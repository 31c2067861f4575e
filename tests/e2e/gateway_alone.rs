//! The gateway without the control plane.

use coracle_e2e::{Load, Part, Platform};

const HOST: &str = "shop.localhost";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_serves_without_the_control_plane() {
    let platform = Platform::start().await;
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "shop"])
        .await
        .ok();

    let load = Load::start(platform.http(), HOST, "/", 20, 200);
    load.more(50).await;
    platform.kill9(Part::Serve).await;
    load.more(400).await;
    assert!(!platform.lives(Part::Serve), "it was not to be started");
    load.stop()
        .await
        .nothing_failed("while there was no control plane");

    // And starts from its disk, still without one.
    platform.kill9(Part::Gateway).await;
    let began = std::time::Instant::now();
    let gateway = platform.start_gateway();
    platform.serves(HOST, "/", 200, "coracle-test").await;
    eprintln!(
        "the gateway served from its disk {} ms after its start",
        began.elapsed().as_millis()
    );
    let load = Load::start(platform.http(), HOST, "/", 20, 200);
    load.more(200).await;
    // A host of nobody's is still nobody's.
    assert_eq!(platform.get("nobody.localhost", "/").await.status, 404);

    // The control plane comes back, and its changes reach the gateway again.
    let took = platform.up().await;
    eprintln!(
        "`coracle up` beside a running gateway: {} ms",
        took.as_millis()
    );
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "second"])
        .await
        .ok();
    platform
        .serves("second.localhost", "/", 200, "coracle-test")
        .await;
    load.stop()
        .await
        .nothing_failed("while the control plane came back");
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_mends_whatever_part_is_missing() {
    let platform = Platform::start().await;
    platform
        .coracle(&["deploy", "--image", "coracle-test:1", "--app", "shop"])
        .await
        .ok();
    let before = (platform.pid(Part::Serve), platform.pid(Part::Gateway));
    platform.up().await;
    assert_eq!(
        (platform.pid(Part::Serve), platform.pid(Part::Gateway)),
        before,
        "a second `up` changes nothing"
    );

    platform.kill9(Part::Gateway).await;
    platform.up().await;
    platform.serves(HOST, "/", 200, "coracle-test").await;
    assert_eq!(platform.pid(Part::Serve), before.0);

    platform.kill9(Part::Serve).await;
    platform.kill9(Part::Gateway).await;
    platform.up().await;
    platform.serves(HOST, "/", 200, "coracle-test").await;

    platform.down().await;
    platform.up().await;
    platform.serves(HOST, "/", 200, "coracle-test").await;
    platform.settled().await;
}
