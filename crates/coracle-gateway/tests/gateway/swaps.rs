//! Pods come and go under load, each stopped as soon as the gateway's report allows it, and no request fails.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use coracle_task::Supervisor;

use crate::support::{ControlPlane, Running, named_pod, soon, table};

const SWAPS: u64 = 300;
const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_swaps_fail_no_request() {
    let control = ControlPlane::start().await;
    let gateway = Running::start(control.server.addr).await;
    let mut pods = VecDeque::from([named_pod("pod").await, named_pod("pod").await]);
    control
        .switch(table(1, &[("app.example", &[pods[0].addr, pods[1].addr])]))
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let load = Supervisor::new("load");
    let failures = Arc::new(std::sync::Mutex::new(Vec::new()));
    for n in 0..CLIENTS {
        let (stop, served, failures) = (
            Arc::clone(&stop),
            Arc::clone(&served),
            Arc::clone(&failures),
        );
        let mut client = gateway.client().await;
        load.spawn_graceful("client", async move {
            while !stop.load(Ordering::SeqCst) {
                // Half of them send what must never be repeated.
                let answer = if n % 2 == 0 {
                    client.get("app.example", "/").await
                } else {
                    client
                        .send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 2\r\n\r\nhi")
                        .await;
                    client.answer().await
                };
                if answer.status != 200 {
                    failures.lock().unwrap().push(answer);
                    return;
                }
                served.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for generation in 2..SWAPS + 2 {
        let old = pods.pop_front().unwrap();
        pods.push_back(named_pod("pod").await);
        control.publish(table(
            generation,
            &[("app.example", &[pods[0].addr, pods[1].addr])],
        ));
        control
            .report("leave to stop the pod", |r| {
                r.generation >= generation && !r.draining.contains_key(&old.addr)
            })
            .await;
        old.kill().await;
    }
    stop.store(true, Ordering::SeqCst);
    soon("the clients", load.shutdown(crate::support::SOON)).await;
    let failures = failures.lock().unwrap();
    assert!(
        failures.is_empty(),
        "{} failed: {:?}",
        failures.len(),
        failures.first()
    );
    assert!(
        served.load(Ordering::SeqCst) > 1000,
        "{served:?} requests are no load"
    );
}

/// Pods that die without a word between requests: what is idempotent does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unused_connections_of_a_killed_pod_fail_no_get() {
    let control = ControlPlane::start().await;
    let gateway = Running::start(control.server.addr).await;
    let (mut first, second) = (named_pod("pod").await, named_pod("pod").await);
    let mut client = gateway.client().await;
    for generation in 1..=100 {
        let pods = [first.addr, second.addr];
        control
            .switch(table(generation, &[("app.example", &pods)]))
            .await;
        for _ in 0..6 {
            assert_eq!(client.get("app.example", "/").await.status, 200);
        }
        first.kill().await;
        for _ in 0..6 {
            let answer = client.get("app.example", "/").await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        first = named_pod("pod").await;
    }
}
