//! The gateway's own answers.

use coracle_model::route::Target;

use crate::support::{ControlPlane, Running, gateway_for, named_pod, table_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_state_has_its_page() {
    let control = ControlPlane::start().await;
    let gateway = Running::start(control.server.addr).await;
    let early = gateway.get("shop.example", "/").await;
    assert_eq!(
        (early.status, early.header("x-coracle-error")),
        (503, "gateway_starting")
    );
    let failed = Target::Failed {
        reason: "exit status 1: <b>boom</b>".into(),
    };
    control
        .switch(table_of(
            1,
            [
                ("new.example", Target::Starting),
                ("bad.example", failed),
                ("off.example", Target::Stopped),
            ],
        ))
        .await;
    let mut client = gateway.client().await;
    for (host, status, code, retry) in [
        ("new.example", 503, "app_starting", "2"),
        ("bad.example", 503, "app_failed", ""),
        ("off.example", 503, "app_stopped", ""),
        ("who.example", 404, "no_such_app", ""),
    ] {
        let text = client.get(host, "/").await;
        assert_eq!(
            (text.status, text.header("x-coracle-error")),
            (status, code)
        );
        assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(text.header("retry-after"), retry);
        assert_eq!(text.header("x-request-id").len(), 32);

        client
            .send(&format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n"
            ))
            .await;
        let json = client.answer().await;
        assert_eq!(json.header("content-type"), "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&json.body).unwrap();
        assert_eq!(
            (problem["status"].as_u64(), problem["code"].as_str()),
            (Some(status.into()), Some(code))
        );

        client
            .send(&format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html,*/*;q=0.8\r\n\r\n"
            ))
            .await;
        let page = client.answer().await;
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.body.contains("<html lang=\"en\">") && page.body.contains("<h1>"));
        assert_eq!(
            page.body.contains("http-equiv=\"refresh\""),
            code == "app_starting",
            "{host}"
        );
        assert!(
            !page.body.contains("src="),
            "nothing is loaded from elsewhere"
        );
        if code == "app_failed" {
            assert!(
                page.body.contains("exit status 1: &lt;b&gt;boom&lt;/b&gt;"),
                "{}",
                page.body
            );
        }
    }
    let report = control.report("counters", |r| r.generation == 1).await;
    assert!(report.apps.contains_key("default/bad"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_answered_at_the_address_alone() {
    let pod = named_pod("pod").await;
    let (gateway, _control) = gateway_for(&[pod.addr]).await;
    let address = gateway.addr.to_string();
    let healthy = gateway.get(&address, "/-/coracle/healthz").await;
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "ok\n"));
    assert_eq!(
        gateway.get("app.example", "/-/coracle/healthz").await.body,
        "pod",
        "an app's path is its own"
    );
    assert_eq!(
        gateway.get("10.9.9.9", "/-/coracle/healthz").await.status,
        404
    );
    assert_eq!(gateway.get(&address, "/").await.status, 404);
}
