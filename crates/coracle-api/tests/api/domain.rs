//! Host names: no two apps have the same.

use serde_json::json;

use crate::support::{Answer, Platform};

#[tokio::test]
async fn a_host_is_added_listed_and_taken_away() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let made = admin.make_app("default", "hello").await;
    let path = "projects/default/apps/hello/domains";
    let app = admin
        .post(path, &json!({"host": "shop.example.com"}))
        .await
        .ok(201);
    assert_eq!(app["spec"]["domains"], json!(["shop.example.com"]));
    // Twice is once.
    admin
        .post(path, &json!({"host": "shop.example.com"}))
        .await
        .ok(201);
    let list = admin.get(path).await.ok(200);
    assert_eq!(
        list["items"],
        json!([
            {"host": "hello.localhost", "url": "http://hello.localhost:8080"},
            {"host": "shop.example.com", "url": "http://shop.example.com:8080"},
        ])
    );
    let stale = |method, path: &str| {
        let tag = format!("\"{}\"", made["metadata"]["revision"]);
        admin
            .request(method, path)
            .header("if-match", tag)
            .json(&json!({"host": "b.example.com"}))
    };
    Answer::of(stale(reqwest::Method::POST, path))
        .await
        .problem(409, "stale_revision");
    let one = format!("{path}/shop.example.com");
    Answer::of(stale(reqwest::Method::DELETE, &one))
        .await
        .problem(409, "stale_revision");
    admin.delete(&one).await.ok(200);
    admin.delete(&one).await.problem(404, "not_found");
    // Its own name stays.
    admin
        .delete(&format!("{path}/hello.localhost"))
        .await
        .problem(404, "not_found");
    // What was taken away is free.
    admin.make_app("default", "other").await;
    admin
        .post(
            "projects/default/apps/other/domains",
            &json!({"host": "shop.example.com"}),
        )
        .await
        .ok(201);
}

#[tokio::test]
async fn two_apps_cannot_have_one_host() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("b").await;
    admin.make_app("default", "first").await;
    admin.make_app("default", "second").await;
    let add = |app: &str, host: &str| {
        let (path, body) = (
            format!("projects/default/apps/{app}/domains"),
            json!({"host": host}),
        );
        let admin = admin.clone();
        async move { admin.post(&path, &body).await }
    };
    add("first", "shop.example.com").await.ok(201);
    let problem = add("second", "shop.example.com")
        .await
        .about(409, "domain_taken", "host");
    assert_eq!(problem["detail"], "shop.example.com belongs to another app");
    // Nor through the app's own specification, at its making or later.
    let taken = json!({"spec": {"domains": ["free.example.com", "shop.example.com"]}});
    admin
        .put("projects/default/apps/second", &taken)
        .await
        .problem(409, "domain_taken");
    let new = json!({"metadata": {"name": "third"}, "spec": {"domains": ["shop.example.com"]}});
    admin
        .post("projects/default/apps", &new)
        .await
        .problem(409, "domain_taken");
    admin
        .get("projects/default/apps/third")
        .await
        .problem(404, "not_found");
    add("first", "free.example.com").await.ok(201);
    // Default names: of another app, of one's own, of an app that is not there yet.
    add("second", "first.localhost")
        .await
        .problem(409, "domain_taken");
    add("second", "second.localhost")
        .await
        .about(422, "invalid_field", "spec.domains");
    let own = json!({"metadata": {"name": "own"}, "spec": {"domains": ["own.localhost"]}});
    admin
        .post("projects/default/apps", &own)
        .await
        .about(422, "invalid_field", "spec.domains");
    add("second", "later.localhost").await.ok(201);
    let later = json!({"metadata": {"name": "later"}, "spec": {}});
    admin
        .post("projects/default/apps", &later)
        .await
        .problem(409, "domain_taken");
    // `a-b` in default and `a` in `b` would be served under one name.
    admin.make_app("default", "a-b").await;
    let a = json!({"metadata": {"name": "a"}, "spec": {}});
    let problem = admin
        .post("projects/b/apps", &a)
        .await
        .problem(409, "domain_taken");
    assert_eq!(problem["detail"], "a-b.localhost belongs to another app");
    admin.make_app("b", "c").await;
    let cb = json!({"metadata": {"name": "c-b"}, "spec": {}});
    admin
        .post("projects/default/apps", &cb)
        .await
        .problem(409, "domain_taken");
}

#[tokio::test]
async fn of_many_who_want_a_host_at_once_one_gets_it() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for n in 0..8 {
        admin.make_app("default", &format!("app{n}")).await;
    }
    let all = (0..8).map(|n| {
        let admin = admin.clone();
        async move {
            let path = format!("projects/default/apps/app{n}/domains");
            admin
                .post(&path, &json!({"host": "hot.example.com"}))
                .await
                .status
        }
    });
    let mut statuses = futures::future::join_all(all).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn a_hostile_host_is_refused() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    let path = "projects/default/apps/hello/domains";
    let long = format!("{}.example.com", "a".repeat(64));
    for host in [
        "",
        "A.example",
        "a b",
        "*.example.com",
        "a.example.com:80",
        "a..b",
        "../x",
        "a\nb",
        "аpple.com",
        &long,
    ] {
        admin
            .post(path, &json!({"host": host}))
            .await
            .about(422, "invalid_field", "host");
    }
    admin
        .post(path, &json!({"host": "a.example", "port": 1}))
        .await
        .about(422, "unknown_field", "port");
    admin
        .post(path, &json!({"host": ["a.example"]}))
        .await
        .about(422, "invalid_field", "host");
}
