//! What was used, over time, and who may see it.

use coracle_control::usage::Seen;
use coracle_model::route::AppTraffic;
use coracle_model::usage::rate::GatewayCounters;
use coracle_model::user::{ProjectScope, Role};
use serde_json::Value;
use std::time::Duration;

use crate::support::{As, Platform, only, soon};

/// Project `shop` with the app `till`, and `bank` with `desk`, a pod each.
async fn two_projects() -> (Platform, As) {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for (project, app) in [("shop", "till"), ("bank", "desk")] {
        admin.make_project(project).await;
        admin.make_app(project, app).await;
        platform.run_pod(project, Some(app), "box").await;
    }
    (platform, admin)
}

/// Takes two samples as the sampler does, with 15 s between, of which the last is of just now. Both apps answer 30 requests
/// in that time.
async fn sample(platform: &Platform) {
    let control = &platform.control;
    for step in 0..2_u64 {
        let read = control.engine.usage().await.unwrap();
        let traffic = AppTraffic {
            answers: [0, 30 * step, 0, 0, 0],
            wait_micros: 30 * step * 4000,
            ..AppTraffic::default()
        };
        let apps = ["shop/till", "bank/desk"].map(|app| (app.to_owned(), traffic.clone()));
        let counters = GatewayCounters {
            at: Duration::from_secs(15 * step),
            apps: apps.into(),
        };
        let seen = Seen {
            pods: control.observed.pods(),
            nodes: control.observed.nodes(),
            gateways: [("g".to_owned(), counters)].into(),
        };
        let at = chrono::Utc::now() - chrono::Duration::seconds(15 * i64::from(step == 0));
        control.usage.take(at, &read, seen);
    }
}

fn series<'a>(usage: &'a Value, name: &str) -> &'a Value {
    let mut all = usage["series"].as_array().unwrap().iter();
    all.find(|series| series["name"] == name).unwrap()
}

/// The newest value that is known.
fn newest(usage: &Value, name: &str) -> Option<f64> {
    let values = series(usage, name)["values"].as_array().unwrap();
    values.iter().rev().find_map(Value::as_f64)
}

#[tokio::test]
async fn usage_is_told_for_apps_pods_nodes_and_the_platform() {
    let (platform, admin) = two_projects().await;
    let none = admin.get("projects/shop/apps/till/usage").await.ok(200);
    assert_eq!(newest(&none, "cpu"), None);
    sample(&platform).await;
    let app = admin.get("projects/shop/apps/till/usage").await.ok(200);
    assert_eq!(app["step_seconds"], 15);
    assert!(app["from"].is_string());
    for one in app["series"].as_array().unwrap() {
        assert_eq!(one["values"].as_array().unwrap().len(), 240, "{one}");
        assert!(one["limit"].is_null());
    }
    assert_eq!(series(&app, "memory")["unit"], "bytes");
    assert_eq!(newest(&app, "memory"), Some(f64::from(4 << 20)));
    assert_eq!(newest(&app, "requests"), Some(2.0));
    assert_eq!(newest(&app, "errors"), Some(0.0));
    assert_eq!(newest(&app, "latency"), Some(4.0));
    assert_eq!(newest(&app, "pods"), Some(1.0));
    for (range, step, values) in [("1h", 15, 240), ("6h", 300, 72), ("24h", 300, 288)] {
        for of in [
            "projects/shop/apps/till",
            "projects/shop/pods/box",
            "nodes/node-a",
            "system",
        ] {
            let usage = admin
                .get(&format!("{of}/usage?range={range}"))
                .await
                .ok(200);
            assert_eq!(usage["step_seconds"], step);
            let memory = series(&usage, "memory")["values"].as_array().unwrap();
            assert_eq!(memory.len(), values, "{of} {range}");
            assert!(
                newest(&usage, "memory").is_some_and(|bytes| bytes > 0.0),
                "{of} {range}"
            );
        }
    }
    let node = admin.get("nodes/node-a/usage").await.ok(200);
    assert_eq!(series(&node, "cpu")["limit"], 4.0);
    assert_eq!(newest(&node, "pods"), Some(2.0));
    let system = admin.get("system/usage").await.ok(200);
    assert_eq!(newest(&system, "requests"), Some(4.0));
    for bad in ["2h", "", "1H"] {
        let path = format!("system/usage?range={bad}");
        admin.get(&path).await.about(422, "invalid_field", "range");
    }
    admin
        .get("system/usage?ranges=1h")
        .await
        .problem(422, "unknown_field");
}

#[tokio::test]
async fn usage_of_what_is_not_there_or_not_theirs_is_not_told() {
    let (platform, admin) = two_projects().await;
    sample(&platform).await;
    for path in [
        "projects/shop/apps/desk/usage",
        "projects/shop/pods/other/usage",
        "projects/never/apps/till/usage",
        "nodes/nowhere/usage",
    ] {
        admin.get(path).await.problem(404, "not_found");
    }
    let dan = platform.user("dan", Role::Viewer, only(&["shop"])).await;
    dan.get("projects/shop/apps/till/usage").await.ok(200);
    dan.get("projects/shop/pods/box/usage").await.ok(200);
    for path in [
        "projects/bank/apps/desk/usage",
        "projects/bank/pods/box/usage",
    ] {
        dan.get(path).await.problem(404, "not_found");
    }
    for path in ["nodes/node-a/usage", "system/usage"] {
        dan.get(path).await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn an_apps_past_is_not_that_of_one_before_of_its_name() {
    let (platform, admin) = two_projects().await;
    let observed = &platform.control.observed;
    let read = platform.control.engine.usage().await.unwrap();
    let seen = || Seen {
        pods: observed.pods(),
        nodes: observed.nodes(),
        gateways: Default::default(),
    };
    let usage = &platform.control.usage;
    let before = chrono::Utc::now() - chrono::Duration::minutes(10);
    usage.take(before, &read, seen());
    usage.take(chrono::Utc::now(), &read, seen());
    let app = admin.get("projects/shop/apps/till/usage").await.ok(200);
    let pods = series(&app, "pods")["values"].as_array().unwrap();
    assert_eq!(pods.iter().filter(|value| !value.is_null()).count(), 1);
    let system = admin.get("system/usage").await.ok(200);
    let pods = series(&system, "pods")["values"].as_array().unwrap();
    assert_eq!(pods.iter().filter(|value| !value.is_null()).count(), 2);
}

/// Names in a list of an event's data.
fn names(data: &Value, list: &str) -> Vec<String> {
    let all = data[list].as_array().unwrap().iter();
    all.map(|one| match one["project"].as_str() {
        Some(project) => format!("{project}/{}", one["name"].as_str().unwrap()),
        None => one["name"].as_str().unwrap().to_owned(),
    })
    .collect()
}

#[tokio::test]
async fn samples_are_told_to_who_asks_for_them_and_of_what_they_see() {
    let (platform, admin) = two_projects().await;
    sample(&platform).await;
    let mut stream = admin.stream("events?kinds=usage").await;
    let first = stream.until_synced().await;
    assert_eq!(first.len(), 1, "of objects nothing is told");
    // At once, and not when the next one is taken.
    let sent = stream.event().await.unwrap();
    assert_eq!((sent.event.as_str(), sent.id), ("usage", None));
    assert_eq!(names(&sent.data, "pods"), ["bank/box", "shop/box"]);
    assert_eq!(names(&sent.data, "apps"), ["bank/desk", "shop/till"]);
    assert_eq!(names(&sent.data, "nodes"), ["node-a"]);
    let app = &sent.data["apps"][1];
    assert_eq!(
        (app["requests"].as_f64(), app["latency"].as_f64()),
        (Some(2.0), Some(4.0))
    );
    assert!(sent.data["pods"][0]["memory_limit"].is_null());
    sample(&platform).await;
    assert_eq!(
        soon("the next", stream.event()).await.unwrap().event,
        "usage"
    );

    let dan = platform.user("dan", Role::Viewer, only(&["shop"])).await;
    for (caller, path) in [
        (&dan, "events?kinds=Usage"),
        (&admin, "events?kinds=Usage&project=shop"),
    ] {
        let mut stream = caller.stream(path).await;
        stream.until_synced().await;
        let data = stream.event().await.unwrap().data;
        assert_eq!(names(&data, "pods"), ["shop/box"], "{path}");
        assert_eq!(names(&data, "apps"), ["shop/till"], "{path}");
        assert!(names(&data, "nodes").is_empty(), "{path}");
    }
    let all = platform.user("ann", Role::Viewer, ProjectScope::All).await;
    let mut stream = all.stream("events?kinds=Node,Usage").await;
    assert_eq!(stream.until_synced().await.len(), 2);
    assert_eq!(
        names(&stream.event().await.unwrap().data, "nodes"),
        ["node-a"]
    );

    let mut plain = admin.stream("events").await;
    plain.until_synced().await;
    sample(&platform).await;
    admin.make_app("shop", "other").await;
    let next = plain.event().await.unwrap();
    assert_eq!(next.data["kind"], "App", "nobody asked for samples here");
}

#[tokio::test]
async fn what_is_used_now_is_told_of_what_one_sees() {
    let (platform, admin) = two_projects().await;
    let nothing = admin.get("usage").await.ok(200);
    assert!(names(&nothing, "pods").is_empty() && nothing["at"].is_string());
    sample(&platform).await;
    let all = admin.get("usage").await.ok(200);
    assert_eq!(names(&all, "pods"), ["bank/box", "shop/box"]);
    assert_eq!(names(&all, "nodes"), ["node-a"]);
    let dan = platform.user("dan", Role::Viewer, only(&["shop"])).await;
    for (caller, path) in [(&dan, "usage"), (&admin, "usage?project=shop")] {
        let part = caller.get(path).await.ok(200);
        assert_eq!(names(&part, "pods"), ["shop/box"], "{path}");
        assert_eq!(names(&part, "apps"), ["shop/till"], "{path}");
        assert!(names(&part, "nodes").is_empty(), "{path}");
    }
    for (caller, project) in [(&dan, "bank"), (&admin, "never")] {
        let path = format!("usage?project={project}");
        caller.get(&path).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn who_does_not_lead_says_so() {
    let (platform, admin) = two_projects().await;
    sample(&platform).await;
    platform.control.leading.end();
    for path in [
        "projects/shop/apps/till/usage",
        "projects/shop/pods/box/usage",
        "nodes/node-a/usage",
        "system/usage",
        "usage",
        "events?kinds=Usage",
    ] {
        admin.get(path).await.problem(503, "not_leader");
    }
    let mut others = admin.stream("events?kinds=Node,Usage").await;
    others.until_synced().await;
}
