//! API tokens.

use chrono::{DateTime, Duration, Utc};
use coracle_model::user::{ProjectScope, Role};
use serde_json::json;

use crate::support::{Platform, only};

#[tokio::test]
async fn a_tokens_secret_is_shown_once() {
    let platform = Platform::new().await;
    let ann = platform
        .user("ann", Role::Developer, ProjectScope::All)
        .await;
    let answer = ann
        .post("tokens", &json!({"name": "ci", "expires_in": "30d"}))
        .await;
    let made = answer.ok(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("cor_") && secret.len() == 68, "{secret}");
    assert_eq!(made["metadata"]["name"], "ci");
    assert_eq!(made["spec"]["user"], "ann");
    assert_eq!(made["spec"]["role"], "developer");
    let expires: DateTime<Utc> = made["spec"]["expires"].as_str().unwrap().parse().unwrap();
    let left = expires - Utc::now();
    assert!(left > Duration::days(29) && left <= Duration::days(30));

    platform.bearing(secret).get("session").await.ok(200);
    let list = ann.get("tokens").await;
    assert!(!list.text().contains(secret) && !list.text().contains("secret"));
    assert!(list.text().contains("last_used"));
    let names: Vec<_> = list.ok(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, ["ci", "test"]);
    ann.post("tokens", &json!({"name": "ci"}))
        .await
        .about(409, "already_exists", "metadata.name");

    ann.delete("tokens/ci").await.ok(204);
    platform
        .bearing(secret)
        .get("session")
        .await
        .problem(401, "unauthenticated");
    ann.delete("tokens/ci").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_token_opens_no_more_than_what_it_was_made_with() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for name in ["shop", "bank"] {
        admin.make_project(name).await;
    }
    let dan = platform
        .user("dan", Role::Developer, only(&["shop", "default"]))
        .await;
    dan.post("tokens", &json!({"name": "t", "role": "admin"}))
        .await
        .about(403, "forbidden", "role");
    dan.post(
        "tokens",
        &json!({"name": "t", "projects": {"only": ["shop", "bank"]}}),
    )
    .await
    .about(404, "not_found", "projects");
    // "All" of somebody who has two is those two, also when they get more later.
    let made = dan.post("tokens", &json!({"name": "t"})).await.ok(201);
    assert_eq!(
        made["spec"]["projects"],
        json!({"only": ["default", "shop"]})
    );
    let narrow = dan
        .post("tokens", &json!({"name": "n", "role": "viewer", "projects": {"only": ["shop"]}, "expires_in": "1h"}))
        .await
        .ok(201);
    let narrow = platform.bearing(narrow["secret"].as_str().unwrap());
    narrow.get("projects/shop").await.ok(200);
    narrow
        .get("projects/default")
        .await
        .problem(404, "not_found");
    narrow
        .post(
            "projects/shop/apps",
            &json!({"metadata": {"name": "a"}, "spec": {}}),
        )
        .await
        .problem(403, "forbidden");
}

#[tokio::test]
async fn a_token_that_is_narrowed_does_not_manage_its_owners_tokens() {
    let platform = Platform::new().await;
    platform.admin().await.make_project("shop").await;
    let dan = platform
        .user("dan", Role::Developer, only(&["shop", "default"]))
        .await;
    let bearer = async |body: serde_json::Value| {
        let made = dan.post("tokens", &body).await.ok(201);
        platform.bearing(made["secret"].as_str().unwrap())
    };
    dan.post("tokens", &json!({"name": "other"})).await.ok(201);
    let lower = bearer(json!({"name": "lower", "role": "viewer"})).await;
    let fewer = bearer(json!({"name": "fewer", "projects": {"only": ["shop"]}})).await;
    for (token, name) in [(&lower, "lower"), (&fewer, "fewer")] {
        for body in [json!({"name": "m"}), json!({"name": "m", "role": "viewer"})] {
            token.post("tokens", &body).await.problem(403, "forbidden");
        }
        token.delete("tokens/other").await.problem(403, "forbidden");
        // It does not tell which there are, either.
        token.delete("tokens/never").await.problem(403, "forbidden");
        // Itself it may end.
        token.delete(&format!("tokens/{name}")).await.ok(204);
        token.get("session").await.problem(401, "unauthenticated");
    }
    // One of the full scope may, but what it makes does not outlive it.
    let whole = bearer(json!({"name": "whole", "expires_in": "1h"})).await;
    whole
        .post("tokens", &json!({"name": "m", "expires_in": "2h"}))
        .await
        .about(403, "forbidden", "expires_in");
    let heir = whole.post("tokens", &json!({"name": "m"})).await.ok(201);
    let own = dan.get("tokens").await.ok(200);
    let own = own["items"].as_array().unwrap();
    let parent = own
        .iter()
        .find(|token| token["metadata"]["name"] == "whole")
        .unwrap();
    assert_eq!(heir["spec"]["expires"], parent["spec"]["expires"]);
    whole.delete("tokens/other").await.ok(204);
    // A viewer is nobody's lesser self.
    let vera = platform.user("vera", Role::Viewer, ProjectScope::All).await;
    vera.post("tokens", &json!({"name": "mine"})).await.ok(201);
    vera.delete("tokens/mine").await.ok(204);
}

#[tokio::test]
async fn a_token_ends_when_it_says() {
    let platform = Platform::new().await;
    let ann = platform
        .user("ann", Role::Developer, ProjectScope::All)
        .await;
    let made = ann
        .post("tokens", &json!({"name": "now", "expires_in": "0s"}))
        .await
        .ok(201);
    let ended = platform.bearing(made["secret"].as_str().unwrap());
    ended.get("session").await.problem(401, "unauthenticated");
    for wrong in [
        "soon",
        "-1d",
        "1.5h",
        "99999999999999999999d",
        "9000000000d",
    ] {
        ann.post("tokens", &json!({"name": "t", "expires_in": wrong}))
            .await
            .about(422, "invalid_field", "expires_in");
    }
    ann.post("tokens", &json!({"name": "t", "expires_in": "3000000d"}))
        .await
        .about(422, "invalid_field", "expires_in");
}

#[tokio::test]
async fn tokens_are_their_owners_own() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let ann = platform
        .user("ann", Role::Developer, ProjectScope::All)
        .await;
    ann.post("tokens", &json!({"name": "mine"})).await.ok(201);
    admin.delete("tokens/mine").await.problem(404, "not_found");
    let list = admin.get("tokens").await.ok(200);
    assert!(!list.to_string().contains("mine"));
}
