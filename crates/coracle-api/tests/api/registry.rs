//! The registry behind the API's port.

use base64::Engine as _;
use coracle_api::PlatformCredential;
use coracle_model::user::{ProjectScope, Role};
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::{Answer, As, GATEWAY_TOKEN, Platform, only};

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

async fn begin(caller: &As, repository: &str) -> Answer {
    Answer::of(caller.request(Method::POST, &format!("/v2/{repository}/blobs/uploads/"))).await
}

/// Pushes an image without layers.
pub(crate) async fn push(caller: &As, repository: &str, tag: &str) {
    let config = b"{}";
    let begun = begin(caller, repository).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let location = begun.header("location").to_owned();
    let path = location
        .split_once("/v2/")
        .map(|(_, rest)| format!("/v2/{rest}"))
        .unwrap();
    let joint = if path.contains('?') { '&' } else { '?' };
    let put = caller
        .request(
            Method::PUT,
            &format!("{path}{joint}digest={}", digest(config)),
        )
        .body(config.to_vec());
    let put = Answer::of(put).await;
    assert_eq!(put.status, 201, "{}", put.text());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "layers": [],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": 2},
    });
    let put = caller
        .request(Method::PUT, &format!("/v2/{repository}/manifests/{tag}"))
        .header("content-type", kind)
        .body(manifest.to_string());
    let put = Answer::of(put).await;
    assert_eq!(put.status, 201, "{}", put.text());
}

fn basic(caller: &As, user: &str) -> As {
    let token = caller.authorization.clone().unwrap();
    let token = token.strip_prefix("Bearer ").unwrap();
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{token}"));
    As {
        authorization: Some(format!("Basic {encoded}")),
        ..caller.clone()
    }
}

#[tokio::test]
async fn docker_is_asked_to_log_in_and_may_do_what_its_user_may() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    let challenge = platform.nobody().get("/v2/").await;
    assert_eq!(challenge.status, 401);
    assert!(
        challenge
            .header("www-authenticate")
            .to_lowercase()
            .starts_with("basic"),
        "{challenge:?}"
    );
    assert_eq!(
        challenge.header("docker-distribution-api-version"),
        "registry/2.0"
    );
    assert_eq!(platform.bearing("cor_wrong").get("/v2/").await.status, 401);

    let dora = platform
        .user("dora", Role::Developer, only(&["shop"]))
        .await;
    let docker = basic(&dora, "dora");
    assert_eq!(docker.get("/v2/").await.status, 200);
    push(&docker, "shop/till", "v1").await;
    let tags = docker.get("/v2/shop/till/tags/list").await.ok(200);
    assert_eq!(tags["tags"], json!(["v1"]));
    // Another project, and what is outside every project.
    for repository in ["default/hello", "debian", "shops/till"] {
        assert_eq!(begin(&docker, repository).await.status, 403, "{repository}");
        assert_eq!(
            docker
                .get(&format!("/v2/{repository}/tags/list"))
                .await
                .status,
            403,
            "{repository}"
        );
    }
    let vera = platform.user("vera", Role::Viewer, ProjectScope::All).await;
    let vera = basic(&vera, "vera");
    vera.get("/v2/shop/till/manifests/v1").await.ok(200);
    assert_eq!(begin(&vera, "shop/till").await.status, 403);
    let delete = vera.request(Method::DELETE, "/v2/shop/till/manifests/v1");
    assert_eq!(Answer::of(delete).await.status, 403);
    // The platform's own credential opens the registry and nothing else.
    let own = platform.bearing(platform.credential.secret().expose());
    push(&basic(&own, PlatformCredential::USER), "default/base", "1").await;
    own.get("session").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn images_are_listed_by_who_may_see_them() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    push(&admin, "shop/till", "v1").await;
    push(&admin, "default/hello", "b1").await;
    push(&admin, "debian", "12").await;
    let names = |answer: Answer| {
        let items = answer.ok(200)["items"].clone();
        items
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(admin.get("images").await),
        ["debian", "default/hello", "shop/till"]
    );
    let dan = platform.user("dan", Role::Viewer, only(&["shop"])).await;
    assert_eq!(names(dan.get("images").await), ["shop/till"]);
    let host = platform.address.to_string();
    for path in ["images/shop/till", "images/shop%2Ftill"] {
        let tags = dan.get(path).await.ok(200);
        assert_eq!(
            tags["items"],
            json!([{"tag": "v1", "reference": format!("{host}/shop/till:v1")}])
        );
    }
    for hidden in [
        "images/default/hello",
        "images/debian",
        "images/shop/never",
        "images/shop/..%2Fdefault",
        "images/Shop",
    ] {
        dan.get(hidden).await.problem(404, "not_found");
    }
    admin.get("images/debian").await.ok(200);
}

#[tokio::test]
async fn the_address_for_nodes_has_the_registry_and_nothing_else() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    push(&admin, "default/web", "1").await;
    let node = platform.at_the_registry(&admin);
    assert_eq!(node.get("/v2/").await.status, 200);
    assert_eq!(node.get("/v2/default/web/manifests/1").await.status, 200);
    for path in [
        "/",
        "/api/v1/system",
        "/api/v1/users",
        "/metrics",
        "/healthz",
    ] {
        assert_eq!(node.get(path).await.status, 404, "{path}");
    }
    let gateway = platform.at_the_registry(&platform.bearing(GATEWAY_TOKEN));
    assert_eq!(gateway.get("/internal/v1/routes").await.status, 404);
    let nobody = platform.at_the_registry(&platform.nobody());
    assert_eq!(nobody.get("/v2/").await.status, 401);
}

#[tokio::test]
async fn nodes_pull_with_a_credential_that_only_reads() {
    let platform = Platform::new().await;
    push(&platform.admin().await, "default/web", "1").await;
    let pull = platform.credential.pull_secret();
    let node = platform.bearing(pull.expose());
    assert_eq!(node.get("/v2/").await.status, 200);
    assert_eq!(node.get("/v2/default/web/manifests/1").await.status, 200);
    assert_eq!(begin(&node, "default/web").await.status, 403);
    assert_eq!(node.get("/v2/default/web/tags/list").await.status, 403);
    let deleted = node.request(Method::DELETE, "/v2/default/web/manifests/1");
    assert_eq!(Answer::of(deleted).await.status, 403);
    assert_eq!(node.get("/api/v1/projects").await.status, 401);
}
