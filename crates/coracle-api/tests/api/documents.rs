//! The OpenAPI document, the metrics, and whether the platform lives.

use std::collections::BTreeSet;

use coracle_model::user::{ProjectScope, Role};
use serde_json::{Value, json};

use crate::support::{GATEWAY_TOKEN, Platform, only};

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref") {
                found.insert(to.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_openapi_and_whole() {
    let platform = Platform::new().await;
    let document = platform.nobody().get("openapi.json").await.ok(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with('/') && !path.contains('*'), "{path}");
        let named: BTreeSet<&str> = path
            .split('{')
            .skip(1)
            .map(|part| part.split('}').next().unwrap())
            .collect();
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses
                    .keys()
                    .any(|status| status.starts_with(['1', '2'])),
                "{at} has no success"
            );
            if !matches!(
                path.as_str(),
                "/" | "/healthz" | "/readyz" | "/api/v1/openapi.json"
            ) {
                let error = &responses["default"]["content"];
                assert!(
                    error.to_string().contains("#/components/schemas/Problem"),
                    "{at}: errors are {error}"
                );
            }
            for response in responses.values() {
                assert!(response["description"].is_string(), "{at}");
            }
            assert!(
                !operation["summary"].as_str().unwrap_or_default().is_empty(),
                "{at} says nothing"
            );
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let in_path: BTreeSet<&str> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| {
                    assert_eq!(parameter["required"], true, "{at}");
                    parameter["name"].as_str().unwrap()
                })
                .collect();
            assert_eq!(in_path, named, "{at}");
            assert!(
                parameters
                    .iter()
                    .all(|parameter| parameter["schema"].is_object()),
                "{at}"
            );
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{at}: {id} is there twice");
            let reads = matches!(method.as_str(), "get" | "delete" | "head");
            assert!(
                !reads || operation.get("requestBody").is_none(),
                "{at} has a body"
            );
        }
    }
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    for reference in used {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
    // Each kind has a schema of its own, with its own specification.
    let schemas = &document["components"]["schemas"];
    for kind in [
        "App", "Build", "Node", "Pod", "Project", "Release", "Token", "User",
    ] {
        let words = &schemas[format!("{kind}Spec")]["description"];
        assert!(words.is_string(), "{kind}");
        assert_eq!(
            &schemas[kind]["properties"]["spec"]["description"], words,
            "{kind}"
        );
    }
    let app = "/paths/~1api~1v1~1projects~1{project}~1apps~1{app}/get/responses/200/content";
    let app = document.pointer(app).unwrap();
    assert_eq!(
        app["application/json"]["schema"]["$ref"],
        "#/components/schemas/App"
    );
    let codes = &document["components"]["schemas"]["Code"];
    assert!(codes.to_string().contains("method_not_allowed"), "{codes}");
}

/// One sample of Prometheus' text format: name, labels, value.
fn sample(line: &str) -> (String, String, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    assert!(labels.ends_with('}'), "{line}");
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(
        name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()),
        "{line}"
    );
    (
        name.to_owned(),
        labels.to_owned(),
        value.parse().unwrap_or_else(|_| panic!("{line}")),
    )
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    platform
        .run_pod("default", Some("hello"), "hello-web-v1")
        .await;
    let report = json!({"generation": 1, "draining": {}, "apps": {"default/hello": {"answers": [0, 7, 0, 1, 0], "bytes_in": 1, "bytes_out": 2, "wait_micros": 3}}});
    platform
        .bearing(GATEWAY_TOKEN)
        .post("/internal/v1/gateways/g1", &report)
        .await
        .ok(204);
    let answer = admin.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let text = answer.text();
    assert!(text.ends_with('\n'));
    let (mut family, mut families, mut series) = (String::new(), BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} is there twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
        } else {
            let (name, labels, value) = sample(line);
            assert_eq!(name, family, "{line} is under another family");
            assert!(value >= 0.0, "{line}");
            assert!(series.insert((name, labels)), "{line} is there twice");
        }
    }
    for expected in [
        "coracle_apps{phase=\"stopped\"} 1",
        "coracle_node_ready{node=\"node-a\"} 1",
        "coracle_pod_ready{project=\"default\",app=\"hello\",pod=\"hello-web-v1\"} 1",
        "coracle_requests_total{gateway=\"g1\",project=\"default\",app=\"hello\",status=\"2xx\"} 7",
    ] {
        assert!(
            text.lines().any(|line| line == expected),
            "{expected} is not in\n{text}"
        );
    }
    // Everything of everybody is in there.
    let dan = platform.user("dan", Role::Viewer, only(&["default"])).await;
    dan.get("/metrics").await.problem(403, "forbidden");
    platform
        .user("vera", Role::Viewer, ProjectScope::All)
        .await
        .get("/metrics")
        .await
        .headers["content-type"]
        .to_str()
        .unwrap();
}

#[tokio::test]
async fn the_platform_says_how_it_is() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    assert_eq!(platform.nobody().get("/healthz").await.text(), "ok\n");
    assert_eq!(platform.nobody().get("/readyz").await.text(), "ready\n");
    let system = admin.get("system").await.ok(200);
    assert_eq!(system["engine"]["name"], "sim");
    assert_eq!(system["engine"]["ready"], true);
    assert_eq!(system["controllers"], json!({}));
    let node = admin.get("nodes/node-a").await.ok(200);
    assert_eq!(node["status"]["ready"], true);
    admin.get("nodes/node-z").await.problem(404, "not_found");
}
