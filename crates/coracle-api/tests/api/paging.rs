//! Every list is a partition: page after page, each thing comes once.

use coracle_model::name::VolumeName;
use coracle_model::user::{ProjectScope, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, As, Platform, only, project};

async fn fill(platform: &Platform, admin: &As) {
    for name in ["a", "b-c", "b"] {
        platform
            .user(&format!("user-{name}"), Role::Viewer, ProjectScope::All)
            .await;
        admin.post("tokens", &json!({"name": name})).await.ok(201);
        admin.make_project(&format!("p-{name}")).await;
        admin.make_app("default", name).await;
        admin
            .post(
                "projects/default/apps/a/releases?create=true",
                &json!({"image": "a:1"}),
            )
            .await
            .ok(202);
        let build = admin
            .request(Method::POST, "projects/default/apps/a/builds")
            .body("x");
        Answer::of(build).await.ok(202);
        let pod = json!({"metadata": {"name": name}, "spec": {"image": "a:1"}});
        admin.post("projects/default/pods", &pod).await.ok(201);
        admin
            .post(&format!("projects/p-{name}/pods"), &pod)
            .await
            .ok(201);
        let volume = VolumeName::new(name).unwrap();
        platform
            .control
            .engine
            .ensure_volume(&project("default"), &volume, None)
            .await
            .unwrap();
        let template = json!({"template": "static-site"});
        let source = admin.post("projects/default/sources", &template).await;
        source.ok(201);
        platform
            .run_pod("default", None, &format!("run-{name}"))
            .await;
        crate::registry::push(admin, &format!("default/{name}"), "latest").await;
        crate::registry::push(admin, "default/a", name).await;
    }
}

async fn pages(caller: &As, path: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut after = None::<String>;
    for _ in 0..500 {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(after.map(|after| ("after", after)));
        let page = Answer::of(caller.request(Method::GET, path).query(&query))
            .await
            .ok(200);
        let here = page["items"].as_array().unwrap();
        assert!(here.len() <= limit, "{path}: {page}");
        items.extend(here.iter().cloned());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = Some(next.to_owned()),
            None => return items,
        }
    }
    panic!("{path} has no end");
}

#[tokio::test]
async fn every_list_is_a_partition_whatever_the_page() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    fill(&platform, &admin).await;
    let dan = platform
        .user("dan", Role::Viewer, only(&["p-a", "p-b-c"]))
        .await;
    let document = admin.get("openapi.json").await.ok(200);
    let mut lists = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if !parameters
            .iter()
            .any(|parameter| parameter["name"] == "limit")
        {
            continue;
        }
        lists += 1;
        let path = path
            .replace("{project}", "default")
            .replace("{app}", "a")
            .replace("{repository}", "default/a");
        let whole = admin.get(&path).await.ok(200)["items"]
            .as_array()
            .unwrap()
            .clone();
        let many = whole.len() > 1 || path.ends_with("nodes");
        assert!(many, "{path} has too little in it to tell: {whole:?}");
        for limit in [1, 2] {
            assert_eq!(
                pages(&admin, &path, limit).await,
                whole,
                "{path} by {limit}"
            );
        }
        for (limit, most) in [("0", 1), ("100000", 500)] {
            let page = admin.get(&format!("{path}?limit={limit}")).await.ok(200);
            assert!(page["items"].as_array().unwrap().len() <= most);
        }
        for wrong in ["-1", "x", "1.5", ""] {
            admin
                .get(&format!("{path}?limit={wrong}"))
                .await
                .about(422, "invalid_field", "limit");
        }
        admin
            .get(&format!("{path}?watch=true"))
            .await
            .problem(422, "unknown_field");
        // Cursors come from outside, too.
        let long = "a".repeat(2000);
        for after in [
            "../../users/",
            "/",
            "%00",
            "%0A",
            "%F4%8F%BF%BF",
            "zzz",
            long.as_str(),
        ] {
            let answer = admin.get(&format!("{path}?after={after}")).await;
            assert!(
                matches!(answer.status, 200 | 422),
                "{path} after {after:.20}: {}",
                answer.text()
            );
            if answer.status == 422 {
                answer.about(422, "invalid_field", "after");
            } else {
                for item in answer.json()["items"].as_array().unwrap() {
                    assert!(whole.contains(item), "{path} after {after:.20}: {item}");
                }
            }
        }
    }
    assert!(lists >= 12, "only {lists} lists");
    // Also for who sees only a part of it.
    for path in ["projects", "pods", "activity", "images"] {
        let whole = dan.get(path).await.ok(200)["items"]
            .as_array()
            .unwrap()
            .clone();
        assert_eq!(pages(&dan, path, 1).await, whole, "{path}");
        assert!(whole.len() < pages(&admin, path, 100).await.len(), "{path}");
    }
}
