//! Tables in, reports out, and life without the control plane.

use std::sync::atomic::Ordering;

use coracle_model::route::RouteTable;

use crate::support::{ControlPlane, Running, config, gateway_for, named_pod, soon, table};

/// Waits until the file on disk holds `generation`.
async fn saved(folder: &std::path::Path, generation: u64) {
    let path = folder.join("routes.json");
    let mark = format!("\"generation\":{generation},");
    soon("the saved table", async {
        while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&mark)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_applied_and_acknowledged_and_older_ones_ignored() {
    let (old, new) = (named_pod("old").await, named_pod("new").await);
    let control = ControlPlane::start().await;
    let gateway = Running::start(control.server.addr).await;
    control
        .switch(table(5, &[("app.example", &[old.addr])]))
        .await;
    assert_eq!(gateway.get("app.example", "/").await.body, "old");
    control
        .switch(table(6, &[("app.example", &[new.addr])]))
        .await;
    assert_eq!(gateway.get("app.example", "/").await.body, "new");
    control.publish(table(4, &[("app.example", &[old.addr])]));
    // The next one shows that the older one has been looked at.
    control
        .switch(table(
            7,
            &[("app.example", &[new.addr]), ("b.example", &[old.addr])],
        ))
        .await;
    let generations: Vec<u64> = control
        .reports
        .borrow()
        .iter()
        .map(|r| r.generation)
        .collect();
    assert!(generations.is_sorted(), "{generations:?}");
    assert_eq!(gateway.get("app.example", "/").await.body, "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_may_go_and_come_back() {
    let (pod, next) = (named_pod("pod").await, named_pod("next").await);
    let (gateway, control) = gateway_for(&[pod.addr]).await;
    let addr = control.server.addr;
    control.server.kill().await;
    drop(control);
    let mut client = gateway.client().await;
    for _ in 0..20 {
        assert_eq!(
            client.get("app.example", "/").await.body,
            "pod",
            "it serves without"
        );
    }
    let control = ControlPlane::start_at(addr).await;
    // The same table again is acknowledged again: the new control plane knows nothing of the old one's talk.
    control
        .switch(table(1, &[("app.example", &[pod.addr])]))
        .await;
    control
        .switch(table(2, &[("app.example", &[next.addr])]))
        .await;
    assert_eq!(client.get("app.example", "/").await.body, "next");
    assert_eq!(control.feeds.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_is_read_at_the_next_connect() {
    let pod = named_pod("pod").await;
    let control = ControlPlane::start().await;
    let gateway = Running::start_with(control.server.addr, |config| {
        std::fs::write(config.state_dir.join("token"), "not yet").unwrap();
    })
    .await;
    control.publish(table(1, &[("app.example", &[pod.addr])]));
    assert_eq!(
        gateway
            .get("app.example", "/")
            .await
            .header("x-coracle-error"),
        "gateway_starting"
    );
    assert!(control.reports.borrow().is_empty());
    std::fs::write(gateway.folder.path().join("token"), crate::support::TOKEN).unwrap();
    control
        .report("the table's acknowledgement", |r| r.generation == 1)
        .await;
    assert_eq!(gateway.get("app.example", "/").await.body, "pod");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_table_serves_a_gateway_that_starts_alone() {
    let pod = named_pod("pod").await;
    let (gateway, control) = gateway_for(&[pod.addr]).await;
    saved(gateway.folder.path(), 1).await;
    let folder = gateway.stop().await;
    control.server.kill().await;
    let config = config(control.server.addr, folder.path());
    let alone = Running::start_in(folder, config).await;
    assert_eq!(alone.get("app.example", "/").await.body, "pod");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_table_costs_the_head_start_only() {
    let pod = named_pod("pod").await;
    let control = ControlPlane::start().await;
    for corrupt in [
        "",
        "{",
        "{\"version\":1}",
        "{\"version\":9,\"table\":{}}",
        "\u{0}\u{0}",
    ] {
        let gateway = Running::start_with(control.server.addr, |config| {
            std::fs::write(config.state_dir.join("routes.json"), corrupt).unwrap();
        })
        .await;
        control
            .switch(table(1, &[("app.example", &[pod.addr])]))
            .await;
        soon("the table", async {
            while gateway.get("app.example", "/").await.status != 200 {}
        })
        .await;
        saved(gateway.folder.path(), 1).await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_from_the_control_plane_changes_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let pod = named_pod("pod").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good =
        serde_json::to_string::<RouteTable>(&table(1, &[("app.example", &[pod.addr])])).unwrap();
    let gateway = Running::start(listener.local_addr().unwrap()).await;
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let mut stage = 0;
    while stage < 4 {
        let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
        let mut text = vec![0; 4096];
        let read = soon("a request", stream.read(&mut text)).await.unwrap();
        if text[..read].starts_with(b"POST") {
            stream.write_all(head.as_bytes()).await.unwrap();
            continue;
        }
        let line = match stage {
            0 => format!("{good}\n"),
            1 => "{\"generation\":2,\"routes\":{\"bad host\":1}}\n".into(),
            2 => "\u{7f}ELF\n".into(),
            _ => format!("{{\"generation\":9,{good}"),
        };
        stage += 1;
        drop(stream.write_all(format!("{head}{line}").as_bytes()).await);
    }
    assert_eq!(gateway.get("app.example", "/").await.body, "pod");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_reported() {
    let pod = named_pod("pod").await;
    let (gateway, control) = gateway_for(&[pod.addr]).await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        client
            .send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 4\r\n\r\nbody")
            .await;
        assert_eq!(client.answer().await.body, "pod");
    }
    let report = control
        .switch(table(
            2,
            &[("app.example", &[pod.addr]), ("b.example", &[])],
        ))
        .await;
    let app = &report.apps["default/app"];
    assert_eq!(app.answers, [0, 3, 0, 0, 0]);
    assert_eq!((app.bytes_in, app.bytes_out), (12, 9));
    assert!(app.wait_micros > 0);
    assert_eq!(
        gateway
            .get("b.example", "/")
            .await
            .header("x-coracle-error"),
        "app_starting"
    );
}
