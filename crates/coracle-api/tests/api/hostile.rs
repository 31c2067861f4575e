//! Names from outside, in paths and bodies.

use serde_json::json;

use crate::support::Platform;

const LONG: usize = 1000;

fn hostile() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        "A",
        "1a",
        "-a",
        "a-",
        "a_b",
        "a.b",
        "a b",
        "a;rm -rf /",
        "$(id)",
        "`id`",
        "a|b",
        "a&b",
        "a>b",
        "'",
        "\"",
        "a\nb",
        "a\r\nX: y",
        "a\0",
        "\u{1b}[31m",
        "../a",
        "..",
        ".",
        "a/../b",
        "a/b",
        "%2e%2e",
        "a%2Fb",
        // Look-alikes: Cyrillic, full width, with a joiner, right to left.
        "аpp",
        "ａpp",
        "a\u{200d}b",
        "\u{202e}ppa",
        "é",
    ]
    .iter()
    .map(|name| (*name).to_owned())
    .collect();
    names.push("a".repeat(64));
    names.push("a".repeat(LONG));
    names.push("é".repeat(LONG));
    names
}

#[tokio::test]
async fn a_hostile_name_in_a_body_is_refused_by_its_field() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for name in hostile() {
        for (path, spec, most) in [
            ("projects", json!({}), 30),
            ("projects/default/apps", json!({}), 30),
            ("projects/default/pods", json!({"image": "a:1"}), 80),
            (
                "users",
                json!({"role": "viewer", "password": "long enough"}),
                40,
            ),
        ] {
            if name.len() == 64 && most > 64 {
                continue;
            }
            let body = json!({"metadata": {"name": name}, "spec": spec});
            let problem =
                admin
                    .post(path, &body)
                    .await
                    .about(422, "invalid_field", "metadata.name");
            let detail = problem["detail"].as_str().unwrap();
            assert!(
                detail.contains(&format!("use 1 to {most} lower-case letters")),
                "{detail}"
            );
            assert!(detail.len() < 500, "{detail}");
        }
        admin
            .post("tokens", &json!({"name": name}))
            .await
            .about(422, "invalid_field", "name");
        admin
            .post("session", &json!({"user": name, "password": "x"}))
            .await
            .about(422, "invalid_field", "user");
    }
    assert_eq!(
        admin.get("projects").await.ok(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

fn encoded(name: &str) -> String {
    name.bytes().map(|b| format!("%{b:02X}")).collect()
}

#[tokio::test]
async fn a_hostile_name_in_a_path_is_refused_and_reaches_nothing() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    for name in hostile() {
        if name.is_empty() {
            continue;
        }
        let name = encoded(&name);
        for (path, field) in [
            (format!("projects/{name}"), "project"),
            (format!("projects/{name}/apps"), "project"),
            (format!("projects/default/apps/{name}"), "app"),
            (format!("projects/default/apps/{name}/env"), "app"),
            (format!("users/{name}"), "user"),
        ] {
            let (status, text) = platform.raw_get(&admin, &format!("/api/v1/{path}")).await;
            let problem: serde_json::Value =
                serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1)
                    .unwrap_or_else(|error| panic!("{path}: {error}: {text}"));
            assert_eq!(
                (status, &problem["code"], &problem["field"]),
                (422, &json!("invalid_field"), &json!(field)),
                "{path}: {problem}"
            );
            assert!(problem["detail"].as_str().unwrap().len() < 500, "{problem}");
        }
    }
    for path in ["projects/%FF", "projects/default/apps/%C3%28", "nodes/%FF"] {
        admin.get(path).await.about(422, "invalid_field", "path");
        platform
            .nobody()
            .get(path)
            .await
            .problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_path_means_what_it_says() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    let viewer = platform
        .user(
            "dan",
            coracle_model::user::Role::Viewer,
            crate::support::only(&["other"]),
        )
        .await;
    // Encoded letters are the same name; for access, too.
    let (status, _) = platform
        .raw_get(&admin, "/api/v1/projects/%64efault/apps/h%65llo")
        .await;
    assert_eq!(status, 200);
    let (status, _) = platform
        .raw_get(&viewer, "/api/v1/projects/%64efault/apps/hello")
        .await;
    assert_eq!(status, 404);
    // Dots, doubled slashes and encoded slashes are no way around.
    for path in [
        "/api/v1/projects/default/../../users",
        "/api/v1/projects/other/../default/apps/hello",
        "/api/v1/projects/other/%2e%2e/default/apps/hello",
        "/api/v1/projects/other%2F..%2Fdefault/apps/hello",
        "/api/v1//users",
        "//api/v1/users",
        "/api/v1/users/",
        "/API/v1/users",
        "/healthz/../api/v1/users",
        "/healthz/..%2fapi/v1/users",
        "/v2/../api/v1/users",
    ] {
        for caller in [&viewer, &platform.nobody()] {
            let (status, text) = platform.raw_get(caller, path).await;
            assert!(
                matches!(status, 400 | 401 | 403 | 404 | 422),
                "{path}: {status} {text}"
            );
            assert!(
                !text.contains("hello.localhost") && !text.contains("\"root\""),
                "{path}: {text}"
            );
        }
    }
    let absolute = format!(
        "GET http://other.example/api/v1/users HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        platform.address
    );
    assert_eq!(platform.raw(absolute.as_bytes()).await.0, 401);
}
