//! The registry behind the API's port.

use base64::Engine as _;
use coracle_api::PlatformCredential;
use coracle_control::image::pushed_tag;
use coracle_model::user::{ProjectScope, Role};
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::build_source::{submitted, with_pass};
use crate::support::{Answer, As, GATEWAY_TOKEN, Options, Platform, only, project};

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
        let [tag] = tags["items"].as_array().unwrap().as_slice() else {
            panic!("{tags}");
        };
        assert_eq!(tag["tag"], "v1");
        assert_eq!(tag["reference"], format!("{host}/shop/till:v1"));
        assert!(tag["bytes"].as_u64() > Some(2), "{tag}");
        assert_eq!(tag["used_by"], json!([]));
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

/// Who has a project's own secret.
async fn of_project(platform: &Platform, name: &str) -> As {
    let login = platform.control.registry_login(&project(name)).await;
    platform.bearing(login.unwrap().password.expose())
}

/// The digest of the image that [`push`] makes, as the registry says it.
pub(crate) async fn manifest_digest(caller: &As, repository: &str, tag: &str) -> String {
    let path = format!("/v2/{repository}/manifests/{tag}");
    let answer = caller.get(&path).await;
    assert_eq!(answer.status, 200);
    answer.header("docker-content-digest").to_owned()
}

#[tokio::test]
async fn a_projects_pull_secret_reads_its_images_and_nothing_else() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for name in ["one", "two"] {
        admin.make_project(name).await;
    }
    push(&admin, "one/web", "1").await;
    push(&admin, "two/web", "1").await;
    push(&admin, "debian", "12").await;
    let blob = digest(b"{}");
    let manifest = manifest_digest(&admin, "two/web", "1").await;
    let pull = of_project(&platform, "one").await;
    for node in [
        pull.clone(),
        basic(&pull, "pull"),
        basic(&pull, "anything"),
        platform.at_the_registry(&pull),
    ] {
        assert_eq!(node.get("/v2/").await.status, 200);
        assert_eq!(node.get("/v2/one/web/manifests/1").await.status, 200);
        let own = node.get(&format!("/v2/one/web/blobs/{blob}")).await;
        assert_eq!(own.status, 200);
        for closed in [
            "/v2/_catalog".to_owned(),
            "/v2/one/web/tags/list".to_owned(),
            "/v2/two/web/manifests/1".to_owned(),
            format!("/v2/two/web/manifests/{manifest}"),
            format!("/v2/two/web/blobs/{blob}"),
            format!("/v2/two/web/referrers/{manifest}"),
            "/v2/two/web/tags/list".to_owned(),
            "/v2/two/never/manifests/1".to_owned(),
            "/v2/ones/web/manifests/1".to_owned(),
            "/v2/one/manifests/1".to_owned(),
            "/v2/debian/manifests/12".to_owned(),
        ] {
            assert_eq!(node.get(&closed).await.status, 403, "{closed}");
        }
        for repository in ["one/web", "two/web"] {
            assert_eq!(begin(&node, repository).await.status, 403);
            let mount = format!("/v2/{repository}/blobs/uploads/?mount={blob}&from=two/web");
            let mount = Answer::of(node.request(Method::POST, &mount)).await;
            assert_eq!(mount.status, 403, "{repository}");
            let path = format!("/v2/{repository}/manifests/1");
            let deleted = Answer::of(node.request(Method::DELETE, &path)).await;
            assert_eq!(deleted.status, 403, "{repository}");
        }
    }
    // A secret that is nearly right is none at all.
    let secret = pull.authorization.clone().unwrap();
    let secret = secret.strip_prefix("Bearer ").unwrap();
    for wrong in [
        secret.replace("_pull.", "_build."),
        secret.replace(".one.", ".two."),
        secret.replace(".one.", ".three."),
        secret[..secret.len() - 1].to_owned(),
        format!("{secret}0"),
    ] {
        let node = platform.bearing(&wrong);
        assert_eq!(node.get("/v2/").await.status, 401);
        assert_eq!(node.get("/v2/one/web/manifests/1").await.status, 401);
    }
}

#[tokio::test]
async fn what_stands_in_for_public_images_is_written_by_administrators_only() {
    let platform = Platform::with(Options {
        base_images: Some("base".to_owned()),
        ..Options::default()
    });
    let platform = platform.await;
    let admin = platform.admin().await;
    for name in ["base", "bases"] {
        admin.make_project(name).await;
    }
    push(&admin, "base/library/debian", "12").await;
    let dora = platform
        .user("dora", Role::Developer, ProjectScope::All)
        .await;
    let docker = basic(&dora, "dora");
    let debian = "/v2/base/library/debian/manifests/12";
    docker.get(debian).await.ok(200);
    assert_eq!(begin(&docker, "base/library/debian").await.status, 403);
    let put = docker.request(Method::PUT, debian).body("{}");
    assert_eq!(Answer::of(put).await.status, 403);
    let delete = docker.request(Method::DELETE, debian);
    assert_eq!(Answer::of(delete).await.status, 403);
    // Nor through the API's own door, nor by a promotion.
    let image = "/api/v1/image?repository=base/library/debian&reference=12";
    assert_eq!(dora.delete(image).await.status, 403);
    docker.get(debian).await.ok(200);
    push(&docker, "bases/debian", "12").await;
    let of_bases = manifest_digest(&docker, "bases/debian", "12").await;
    let own = &platform.control.settings.registry_host;
    let of_bases = format!("{own}/bases/debian@{of_bases}");
    crate::image::release(&platform, &admin, "bases/apps/debian", &of_bases, "live").await;
    let promote = json!({ "promote": { "project": "bases", "app": "debian", "release": "v1" } });
    let promoted = "projects/base/apps/busybox/releases?create=true";
    assert_eq!(dora.post(promoted, &promote).await.status, 403);
    admin.get("projects/base/apps/busybox").await.ok(404);
    admin.post(promoted, &promote).await.ok(202);
    // Nor by a build there: of its own tag nobody's Dockerfile begins.
    admin.make_app("base", "debian").await;
    let build = submitted(&platform, "base", "debian").await;
    let pass = with_pass(&platform, "base", &build);
    push(&pass, "base/debian", &pushed_tag(&build)).await;
    let put = pass
        .request(Method::PUT, "/v2/base/debian/manifests/12")
        .body("{}");
    assert_eq!(Answer::of(put).await.status, 403);
}

#[tokio::test]
async fn images_are_taken_by_every_name_of_the_registry_and_from_the_project_only() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    let release = |image: String| {
        let admin = admin.clone();
        async move {
            let path = "projects/shop/apps/till/releases?create=true";
            admin.post(path, &json!({ "image": image })).await
        }
    };
    let own = platform.address.to_string();
    for host in ["127.0.0.1:30070", &own] {
        let made = release(format!("{host}/shop/till:v1")).await.ok(202);
        assert_eq!(made["spec"]["image"], format!("{own}/shop/till:v1"));
    }
    // By the name that the caller reached the API by, which a proxy passes on.
    let by_proxy = |method, path: &str| {
        let request = admin.request(method, path);
        request.header("host", "paas.example.org")
    };
    let image = json!({ "image": "paas.example.org/shop/till:v1" });
    let path = "projects/shop/apps/till/releases";
    let made = Answer::of(by_proxy(Method::POST, path).json(&image)).await;
    assert_eq!(made.ok(202)["spec"]["image"], format!("{own}/shop/till:v1"));
    push(&admin, "shop/till", "v1").await;
    let listed = Answer::of(by_proxy(Method::GET, "images")).await.ok(200);
    assert_eq!(
        listed["items"][0]["reference"],
        "paas.example.org/shop/till"
    );
    let refused = release("127.0.0.1:30070/default/web:1".to_owned()).await;
    refused.about(422, "invalid_field", "image");
    let text = refused.text();
    assert!(text.contains("127.0.0.1:30070/shop/web:1"), "{text}");
    let pod = json!({
        "metadata": { "name": "box" },
        "spec": { "image": format!("{own}/default/web:1") },
    });
    let refused = admin.post("projects/shop/pods", &pod).await;
    refused.about(422, "invalid_field", "spec.image");
}
