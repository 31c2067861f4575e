//! What administrators set for the whole platform.

use coracle_model::user::{ProjectScope, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Platform, told};

#[tokio::test]
async fn what_was_never_set_is_as_the_platform_was_started() {
    let platform = Platform::new().await;
    let vera = platform.user("vera", Role::Viewer, ProjectScope::All).await;
    let answer = vera.get("settings").await;
    let settings = answer.ok(200);
    assert_eq!(answer.header("etag"), "\"0\"");
    assert_eq!(
        settings["spec"],
        json!({"registries": [], "defaults": {}, "retention": {}})
    );
    assert_eq!(
        settings["status"],
        json!({"domain": "localhost", "session_days": 30})
    );
    vera.put("settings", &settings)
        .await
        .problem(403, "forbidden");
}

#[tokio::test]
async fn passwords_are_kept_and_never_told() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let mut events = admin.stream("events?kinds=settings,event").await;
    events.until_synced().await;
    let password = "hunter2-of-the-registry";
    let login = json!({"host": "registry.example.com", "username": "robot", "password": password});
    let spec =
        json!({"registries": [login, {"host": "docker.io", "username": "me", "password": "p"}]});
    let answer = admin.put("settings", &json!({"spec": spec})).await;
    let mut settings = answer.ok(200);
    assert_eq!(
        settings["spec"]["registries"],
        json!([
            {"host": "docker.io", "username": "me", "has_password": true},
            {"host": "registry.example.com", "username": "robot", "has_password": true},
        ])
    );
    let told_of = events.event().await.unwrap();
    assert_eq!(
        told(std::slice::from_ref(&told_of)),
        ["applied Settings -/platform"]
    );
    assert_eq!(told_of.data, settings);
    let happened = events.event().await.unwrap().data;
    assert_eq!(happened["spec"]["message"], "settings changed: registries");
    let listing = platform
        .control
        .objects
        .store()
        .list_all("/")
        .await
        .unwrap();
    for entry in &listing.entries {
        assert!(
            !String::from_utf8_lossy(&entry.value).contains(password),
            "{}",
            entry.key
        );
    }
    let logins = platform.control.registry_logins().await.unwrap();
    assert_eq!(logins[1].credentials.password.expose(), password);

    // Sent back as it was read: nothing is lost, and nothing is changed.
    let revision = settings["metadata"]["revision"].clone();
    let same = admin.put("settings", &settings).await.ok(200);
    assert_eq!(same["metadata"]["revision"], revision);
    settings["spec"]["registries"][1]["username"] = json!("other");
    settings["spec"]["registries"][1]["sealed"] = json!("of somebody else");
    settings["spec"]["registries"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    let answer = admin.put("settings", &settings).await;
    assert!(!answer.text().contains("sealed") && !answer.text().contains(password));
    answer.ok(200);
    let login = platform
        .control
        .login_for(&"registry.example.com/a/b:1".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (login.user.as_str(), login.password.expose()),
        ("other", password)
    );
    let of_hub = platform
        .control
        .login_for(&"debian:13".parse().unwrap())
        .await;
    assert!(of_hub.unwrap().is_none());

    // Somebody else was faster.
    let stale = admin.put("settings", &settings).await;
    stale.problem(409, "stale_revision");
    let stale = admin
        .request(Method::PUT, "settings")
        .header("if-match", "\"0\"")
        .json(&json!({"spec": {}}));
    Answer::of(stale).await.problem(409, "stale_revision");
}

#[tokio::test]
async fn what_cannot_be_set_is_told_by_its_field() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let login = |host: &str| json!({"host": host, "username": "u", "password": "p"});
    let own = platform.address.to_string();
    let wrong: Vec<(Value, &str)> = vec![
        (json!({"session_days": 0}), "spec.session_days"),
        (json!({"session_days": 366}), "spec.session_days"),
        (json!({"retention": {"builds": 0}}), "spec.retention.builds"),
        (
            json!({"defaults": {"replicas": 101}}),
            "spec.defaults.replicas",
        ),
        (
            json!({"defaults": {"memory": "1Mi"}}),
            "spec.defaults.memory",
        ),
        (
            json!({"registries": [login("http://a.b")]}),
            "spec.registries[0].host",
        ),
        (
            json!({"registries": [login(&own)]}),
            "spec.registries[0].host",
        ),
        (
            json!({"registries": [login("a.b"), login("a.b")]}),
            "spec.registries[1].host",
        ),
        (
            json!({"registries": [{"host": "a.b", "username": "u"}]}),
            "spec.registries[0].password",
        ),
        (
            json!({"registries": [{"host": "a.b", "username": "u:v", "password": "p"}]}),
            "spec.registries[0].username",
        ),
    ];
    for (spec, field) in wrong {
        admin
            .put("settings", &json!({"spec": spec}))
            .await
            .about(422, "invalid_field", field);
    }
    let answer = admin
        .put("settings", &json!({"spec": {"domain": "not a domain"}}))
        .await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let answer = admin
        .put("settings", &json!({"spec": {"nothing": 1}}))
        .await;
    answer.problem(422, "unknown_field");
    assert_eq!(
        admin.get("settings").await.ok(200)["metadata"]["revision"],
        0
    );
}

#[tokio::test]
async fn a_domain_that_is_set_holds_for_what_is_made_from_then_on() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin
        .put("settings", &json!({"spec": {"domain": "apps.example.com", "defaults": {"memory": "64Mi", "replicas": 2}}}))
        .await
        .ok(200);
    let app = admin.make_app("default", "hello").await;
    assert_eq!(app["status"]["url"], "http://hello.apps.example.com:8080");
    let me = admin.get("session").await.ok(200);
    assert_eq!(me["domain"], "apps.example.com");
    let release = admin
        .post(
            "projects/default/apps/hello/releases",
            &json!({"image": "a:1"}),
        )
        .await
        .ok(202);
    let web = &release["spec"]["config"]["processes"]["web"];
    assert_eq!(
        (&web["memory"], &web["replicas"]),
        (&json!("64Mi"), &json!(2))
    );
}

#[tokio::test]
async fn activity_is_told_in_either_order_and_of_what_is_asked() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    for app in ["a", "b", "c"] {
        admin.make_app("shop", app).await;
    }
    let objects = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| item["spec"]["object"].as_str().unwrap().to_owned())
            .collect()
    };
    let newest = admin.get("activity?project=shop&kind=app").await.ok(200);
    assert_eq!(objects(&newest), ["c", "b", "a"]);
    for order in ["newest", "oldest"] {
        let all = admin.get(&format!("activity?order={order}")).await.ok(200);
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = admin
                .get(&format!("activity?order={order}&limit=2{after}"))
                .await
                .ok(200);
            seen.extend(objects(&page));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen, objects(&all), "{order}");
    }
    let mut oldest = objects(&admin.get("activity?order=oldest").await.ok(200));
    oldest.reverse();
    assert_eq!(oldest, objects(&admin.get("activity").await.ok(200)));
    let of_b = admin.get("activity?object=b&actor=root").await.ok(200);
    assert_eq!(objects(&of_b), ["b"]);
    let nobody = admin.get("activity?actor=nobody").await.ok(200);
    assert_eq!(nobody["items"], json!([]));
    admin
        .get("activity?kind=x")
        .await
        .about(422, "invalid_field", "kind");
    let dan = platform
        .user("dan", Role::Viewer, crate::support::only(&["default"]))
        .await;
    dan.get("activity?project=shop")
        .await
        .problem(404, "not_found");
    assert_eq!(
        dan.get("activity?kind=App").await.ok(200)["items"],
        json!([])
    );
}
