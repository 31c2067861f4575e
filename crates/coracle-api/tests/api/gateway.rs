//! The gateways' feed: for them alone, and it says who is there.

use std::collections::BTreeMap;

use coracle_model::user::{ProjectScope, Role};
use serde_json::json;

use crate::support::{GATEWAY_TOKEN, Platform, soon};

#[tokio::test]
async fn tables_go_out_and_reports_come_in() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let gateway = platform.bearing(GATEWAY_TOKEN);
    platform
        .control
        .feed
        .publish(BTreeMap::new())
        .await
        .unwrap();
    let mut tables = gateway.stream("/internal/v1/routes?gateway=g1").await;
    let first = tables.json().await.unwrap();
    assert_eq!(first["routes"], json!({}));
    let generation = first["generation"].as_u64().unwrap();

    let report = json!({"generation": generation, "draining": {"10.0.0.1:80": 2}, "apps": {}});
    gateway
        .post("/internal/v1/gateways/g1", &report)
        .await
        .ok(204);
    let system = admin.get("system").await.ok(200);
    assert_eq!(
        system["gateways"],
        json!([{"id": "g1", "connected": true, "generation": generation, "reported_seconds_ago": 0}])
    );

    drop(tables);
    let mut reports = platform.control.feed.reports();
    let gone = async {
        while platform.control.feed.gateways()["g1"].connections > 0 {
            // The drop is noticed at the next write: a table is one.
            let host = format!(
                "h{}.localhost",
                platform.control.feed.reports().borrow().clone()
            );
            let route = coracle_model::route::Route {
                project: "default".parse().unwrap(),
                app: "a".parse().unwrap(),
                target: coracle_model::route::Target::Stopped,
            };
            let routes = BTreeMap::from([(host.parse().unwrap(), route)]);
            platform.control.feed.publish(routes).await.unwrap();
            reports.changed().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    soon("the connection's end to be noticed", gone).await;
}

#[tokio::test]
async fn who_is_no_gateway_is_told_nothing_before_anything_is_read() {
    let platform = Platform::new().await;
    let user = platform.user("dev", Role::Admin, ProjectScope::All).await;
    for caller in [platform.nobody(), user] {
        for path in [
            "/internal/v1/routes?gateway=a&gateway=b",
            "/internal/v1/routes",
        ] {
            caller.get(path).await.problem(401, "unauthenticated");
        }
        let broken = caller
            .request(reqwest::Method::POST, "/internal/v1/gateways/x%00y")
            .body("{");
        crate::support::Answer::of(broken)
            .await
            .problem(401, "unauthenticated");
    }
    let cookie = platform
        .nobody()
        .request(reqwest::Method::GET, "/internal/v1/routes")
        .header("cookie", format!("coracle_session={GATEWAY_TOKEN}"));
    crate::support::Answer::of(cookie)
        .await
        .problem(401, "unauthenticated");
    let gateway = platform.bearing(GATEWAY_TOKEN);
    let report = json!({"generation": 1, "draining": {}, "apps": {}});
    let long = "g".repeat(65);
    for id in ["a%20b", "a%2Fb", long.as_str()] {
        gateway
            .post(&format!("/internal/v1/gateways/{id}"), &report)
            .await
            .about(422, "invalid_field", "gateway");
    }
    gateway
        .post("/internal/v1/gateways/g", &json!({"generation": "x"}))
        .await
        .about(422, "invalid_field", "generation");
}
