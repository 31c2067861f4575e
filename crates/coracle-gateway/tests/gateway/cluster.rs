//! What a gateway needs apart from the machine of its control plane: several of these, probes, and an end that load
//! balancers notice.

use std::net::SocketAddr;
use std::time::Duration;

use coracle_gateway::TokenSource;
use coracle_model::env::Secret;

use crate::client::Client;
use crate::support::{
    ControlPlane, Running, SOON, TOKEN, follower, named_pod, refusing, soon, table,
};

/// A port that is free now. Another program could take it: then the gateway says so and the test fails.
fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn probe(addr: SocketAddr, path: &str) -> u16 {
    Client::to(addr).await.get("probe", path).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_that_leads_is_found_and_found_again() {
    let (old, new) = (named_pod("old").await, named_pod("new").await);
    let (_held, nobody) = refusing();
    let other = follower().await;
    let (first, second) = (ControlPlane::start().await, ControlPlane::start().await);
    let urls = [nobody, other.addr, first.server.addr, second.server.addr]
        .map(|addr| format!("http://{addr}"));
    let gateway = Running::start_with(nobody, |config| config.control.urls = urls.to_vec()).await;
    first
        .switch(table(1, &[("app.example", &[old.addr])]))
        .await;
    assert!(other.connections() > 0, "it was asked, and refused");
    assert!(
        second.reports.borrow().is_empty(),
        "reports follow the feed"
    );
    first.server.kill().await;
    second
        .switch(table(2, &[("app.example", &[new.addr])]))
        .await;
    assert_eq!(gateway.get("app.example", "/").await.body, "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_be_given_as_it_is() {
    let pod = named_pod("pod").await;
    let control = ControlPlane::start().await;
    let gateway = Running::start_with(control.server.addr, |config| {
        config.control.token = TokenSource::Value(Secret::new(TOKEN));
    })
    .await;
    control
        .switch(table(1, &[("app.example", &[pod.addr])]))
        .await;
    assert_eq!(gateway.get("app.example", "/").await.body, "pod");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_from_the_first_table_to_the_end_and_alive_throughout() {
    let pod = named_pod("pod").await;
    let control = ControlPlane::start().await;
    let health = free();
    let gateway = Running::start_with(control.server.addr, |config| {
        config.health = Some(health);
        config.notice = SOON;
    })
    .await;
    assert_eq!(probe(health, "/healthz").await, 200);
    assert_eq!(probe(health, "/readyz").await, 503, "no table yet");
    control
        .switch(table(1, &[("app.example", &[pod.addr])]))
        .await;
    assert_eq!(probe(health, "/readyz").await, 200);
    control.server.kill().await;
    assert_eq!(
        probe(health, "/readyz").await,
        200,
        "it serves without the control plane"
    );
    gateway.shutdown.cancel();
    soon("that it is no longer ready", async {
        while probe(health, "/readyz").await == 200 {}
    })
    .await;
    assert_eq!(probe(health, "/healthz").await, 200);
    let late = gateway.get("app.example", "/").await;
    assert_eq!(late.body, "pod", "who has not noticed yet is served");
    assert_eq!(late.header("connection"), "close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_notice_it_ends() {
    let pod = named_pod("pod").await;
    let control = ControlPlane::start().await;
    let gateway = Running::start_with(control.server.addr, |config| {
        config.notice = Duration::from_millis(20);
    })
    .await;
    control
        .switch(table(1, &[("app.example", &[pod.addr])]))
        .await;
    let addr = gateway.addr;
    gateway.stop().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}
