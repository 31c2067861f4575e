//! Images, their deletion, the collection, and releases of other apps.

use coracle_control::controllers::{Controllers, Options as ControllerOptions};
use coracle_model::user::{ProjectScope, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::registry::push;
use crate::support::{As, Platform, only, project, soon};

async fn image_of(caller: &As, repository: &str, reference: &str) -> crate::support::Answer {
    let query = format!("/image?repository={repository}&reference={reference}");
    caller.get(&format!("/api/v1{query}")).await
}

async fn delete(caller: &As, repository: &str, reference: &str) -> crate::support::Answer {
    let query = format!("/image?repository={repository}&reference={reference}");
    caller.delete(&format!("/api/v1{query}")).await
}

/// Makes a release of an image, of an app of the project `shop` or of `PROJECT/apps/APP`, and says where it stands.
pub(crate) async fn release(platform: &Platform, admin: &As, app: &str, image: &str, phase: &str) {
    let (in_project, app) = app.split_once("/apps/").unwrap_or(("shop", app));
    release_as(platform, admin, (in_project, app), (image, image), phase).await;
}

/// The same, of the image `asked` which the engine knows as `pinned`.
async fn release_as(
    platform: &Platform,
    admin: &As,
    (in_project, app): (&str, &str),
    (image, pinned): (&str, &str),
    phase: &str,
) {
    use coracle_control::keys;
    use coracle_model::name::{AppName, ImageRef};
    use coracle_model::release::{PinnedImage, ReleaseSpec};
    let path = format!("/api/v1/projects/{in_project}/apps/{app}/releases?create=true");
    let made = admin.post(&path, &json!({ "image": image })).await;
    assert_eq!(made.status, 202, "{}", made.text());
    let number: coracle_model::release::ReleaseNumber = made.json()["metadata"]["name"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let at = keys::release(&project(in_project), &AppName::new(app).unwrap(), number);
    let phase = serde_json::from_value(json!(phase)).unwrap();
    let objects = &platform.control.objects;
    let pinned = ImageRef::new(pinned).unwrap();
    objects
        .modify::<ReleaseSpec>(&at, number, |release| {
            release.status.phase = phase;
            release.status.image = Some(PinnedImage {
                reference: pinned.clone(),
                ports: Vec::new(),
            });
            Ok(())
        })
        .await
        .unwrap();
}

async fn digest(caller: &As, repository: &str, tag: &str) -> String {
    let image = image_of(caller, repository, tag).await;
    assert_eq!(image.status, 200, "{}", image.text());
    image.json()["digest"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_image_is_shown_to_those_who_see_its_project() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    admin.make_project("bank").await;
    push(&admin, "shop/till", "v1").await;
    let clerk = platform.user("clerk", Role::Viewer, only(&["shop"])).await;
    let banker = platform
        .user("banker", Role::Developer, only(&["bank"]))
        .await;
    let shown = image_of(&clerk, "shop/till", "v1").await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    let image = shown.json();
    assert_eq!(image["repository"], "shop/till");
    assert_eq!(image["tags"], json!(["v1"]));
    assert_eq!(image["used_by"], json!([]));
    let by_digest = image_of(&clerk, "shop/till", image["digest"].as_str().unwrap()).await;
    assert_eq!(by_digest.json(), image);
    for absent in [
        image_of(&banker, "shop/till", "v1").await,
        delete(&banker, "shop/till", "v1").await,
        image_of(&clerk, "shop/till", "v2").await,
        image_of(&clerk, "shop/nothing", "v1").await,
        image_of(&clerk, "../shop", "v1").await,
        banker.get("/api/v1/images/shop%2Ftill").await,
    ] {
        assert_eq!(absent.status, 404, "{}", absent.text());
    }
    let wrong = image_of(&clerk, "shop/till", "no%20tag").await;
    assert_eq!(wrong.json()["field"], "reference");
    let refused = delete(&clerk, "shop/till", "v1").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let listed = clerk.get("/api/v1/images").await.json();
    assert_eq!(listed["items"][0]["tags"], 1, "{listed}");
    assert_eq!(listed["items"][0]["project"], "shop");
    assert!(listed["items"][0]["bytes"].as_u64().unwrap() > 0);
    let tags = clerk.get("/api/v1/images/shop%2Ftill").await.json();
    assert_eq!(tags["items"][0]["digest"], image["digest"], "{tags}");
}

#[tokio::test]
async fn what_is_needed_is_not_deleted() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    push(&admin, "shop/till", "v1").await;
    let by_digest = digest(&admin, "shop/till", "v1").await;
    let host = &platform.control.settings.registry_host;
    let image = format!("{host}/shop/till@{by_digest}");
    let developer = platform.user("dev", Role::Developer, only(&["shop"])).await;
    release(&platform, &admin, "till", &image, "superseded").await;
    for reference in ["v1", &by_digest] {
        let refused = delete(&developer, "shop/till", reference).await;
        assert_eq!(refused.status, 409, "{}", refused.text());
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("release v1 of till"), "{detail}");
        // The same through the registry's own door.
        let path = format!("/v2/shop/till/manifests/{reference}");
        let refused = developer.request(Method::DELETE, &path);
        let refused = crate::support::Answer::of(refused).await;
        assert_eq!(refused.status, 409, "{}", refused.text());
        assert!(refused.text().contains("release v1 of till"));
    }
    release(&platform, &admin, "till", &image, "live").await;
    let forced = format!("{by_digest}&force=true");
    let refused = delete(&developer, "shop/till", &forced).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    let shown = image_of(&developer, "shop/till", "v1").await.json();
    assert_eq!(shown["used_by"][0]["live"], "live", "{shown}");
    assert_eq!(shown["used_by"][0]["release"], 2);
    assert_eq!(shown["used_by"][1]["live"], "earlier");
}

#[tokio::test]
async fn what_a_pod_runs_by_its_tag_is_not_deleted_by_any_door() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    push(&admin, "shop/till", "v1").await;
    let by_digest = digest(&admin, "shop/till", "v1").await;
    let host = &platform.control.settings.registry_host;
    let pod = json!({ "metadata": { "name": "bare" }, "spec": { "image": format!("{host}/shop/till:v1") } });
    admin.post("projects/shop/pods", &pod).await.ok(201);
    let developer = platform.user("dev", Role::Developer, only(&["shop"])).await;
    for reference in ["v1", &by_digest] {
        let path = format!("/v2/shop/till/manifests/{reference}");
        let at_the_registry = developer.request(Method::DELETE, &path);
        for refused in [
            crate::support::Answer::of(at_the_registry).await,
            delete(&developer, "shop/till", &format!("{reference}&force=true")).await,
        ] {
            assert_eq!(refused.status, 409, "{}", refused.text());
            assert!(refused.text().contains("pod bare"), "{}", refused.text());
        }
    }
}

/// Images are named by the address that the platform listened on when their releases were made.
#[tokio::test]
async fn what_is_needed_by_a_former_name_of_the_registry_stays_and_can_be_promoted() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    admin.make_project("prod").await;
    push(&admin, "shop/till", "v1").await;
    let by_digest = digest(&admin, "shop/till", "v1").await;
    let former = format!("127.0.0.1:1/shop/till@{by_digest}");
    release(&platform, &admin, "till", &former, "live").await;
    let shown = image_of(&admin, "shop/till", "v1").await.json();
    assert_eq!(shown["used_by"].as_array().unwrap().len(), 1, "{shown}");
    for reference in ["v1", &by_digest] {
        let refused = delete(&admin, "shop/till", &format!("{reference}&force=true")).await;
        assert_eq!(refused.status, 409, "{}", refused.text());
    }
    let needed: &dyn coracle_control::image::Needed = &platform.control;
    let needed = needed.needed().await.unwrap();
    assert!(needed.iter().any(|image| image.repository == "shop/till"));
    let path = "projects/prod/apps/till/releases?create=true";
    let promote = json!({ "promote": { "project": "shop", "app": "till", "release": "v1" } });
    let made = admin.post(path, &promote).await.ok(202);
    let host = &platform.control.settings.registry_host;
    let image = format!("{host}/prod/till@{by_digest}");
    assert_eq!(made["spec"]["image"], image);
}

#[tokio::test]
async fn nothing_is_copied_for_a_promotion_that_is_refused() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    admin.make_project("prod").await;
    push(&admin, "shop/till", "v1").await;
    let by_digest = digest(&admin, "shop/till", "v1").await;
    let host = &platform.control.settings.registry_host;
    let image = format!("{host}/shop/till@{by_digest}");
    release(&platform, &admin, "till", &image, "live").await;
    let promote = json!({ "promote": { "project": "shop", "app": "till", "release": "v1" } });
    for (path, status) in [
        ("projects/nowhere/apps/x/releases?create=true", 404),
        ("projects/nowhere/apps/x/releases", 404),
        ("projects/prod/apps/x/releases", 404),
    ] {
        let refused = admin.post(path, &promote).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.text());
    }
    admin.make_app("prod", "x").await;
    let stale = admin
        .request(Method::POST, "/api/v1/projects/prod/apps/x/releases")
        .header("if-match", "\"1\"")
        .json(&promote);
    let stale = crate::support::Answer::of(stale).await;
    assert!(matches!(stale.status, 409 | 412), "{}", stale.text());
    let listed = admin.get("/api/v1/images").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");

    // Of a tag that only an engine remembers nobody can say what it was.
    let id = format!("sha256:{}", "a".repeat(64));
    let by_tag = format!("{host}/shop/till:v1");
    release_as(
        &platform,
        &admin,
        ("shop", "old"),
        (&by_tag, &id),
        "superseded",
    )
    .await;
    let promote = json!({ "promote": { "project": "shop", "app": "old", "release": "v1" } });
    let path = "projects/prod/apps/x/releases";
    let refused = admin.post(path, &promote).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(
        refused.text().contains("by its digest"),
        "{}",
        refused.text()
    );
    let known = format!("{host}/shop/till@{by_digest}");
    release_as(
        &platform,
        &admin,
        ("shop", "old"),
        (&known, &id),
        "superseded",
    )
    .await;
    let promote = json!({ "promote": { "project": "shop", "app": "old", "release": "v2" } });
    admin.post(path, &promote).await.ok(202);
}

#[tokio::test]
async fn a_tag_goes_alone_and_an_image_with_its_tags() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    for tag in ["v1", "v2"] {
        push(&admin, "shop/till", tag).await;
    }
    let by_digest = digest(&admin, "shop/till", "v1").await;
    let host = &platform.control.settings.registry_host;
    let image = format!("{host}/shop/till@{by_digest}");
    release(&platform, &admin, "till", &image, "superseded").await;
    let developer = platform.user("dev", Role::Developer, only(&["shop"])).await;
    let deleted = delete(&developer, "shop/till", "v1&force=true").await;
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    let shown = image_of(&developer, "shop/till", "v2").await.json();
    assert_eq!(shown["tags"], json!(["v2"]));
    let deleted = delete(&developer, "shop/till", &format!("{by_digest}&force=true")).await;
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    assert_eq!(image_of(&developer, "shop/till", "v2").await.status, 404);
    let log = admin.get("/api/v1/activity").await.text();
    assert!(
        log.contains("image.deleted") && log.contains("image.pushed"),
        "{log}"
    );
}

#[tokio::test]
async fn images_outside_of_projects_are_the_administrators() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    push(&admin, "base/debian", "v1").await;
    let developer = platform
        .user("dev", Role::Developer, ProjectScope::All)
        .await;
    let refused = delete(&developer, "base/debian", "v1").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(delete(&admin, "base/debian", "v1").await.status, 204);
}

async fn collected(admin: &As) -> Value {
    let idle = async {
        loop {
            let state = admin.get("/api/v1/registry").await.json();
            if state["collection"]["phase"] != "running" {
                return state;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the collection", idle).await
}

#[tokio::test]
async fn a_collection_frees_what_nothing_needs() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    push(&admin, "shop/till", "v1").await;
    push(&admin, "shop/kept", "v1").await;
    let kept = digest(&admin, "shop/kept", "v1").await;
    let host = &platform.control.settings.registry_host;
    release(
        &platform,
        &admin,
        "kept",
        &format!("{host}/shop/kept@{kept}"),
        "superseded",
    )
    .await;
    for gone in [
        "shop/till&reference=v1",
        "shop/kept&reference=v1&force=true",
    ] {
        let deleted = admin
            .delete(&format!("/api/v1/image?repository={gone}"))
            .await;
        assert_eq!(deleted.status, 204, "{}", deleted.text());
    }
    let state = admin.get("/api/v1/registry").await.json();
    assert_eq!(state["blobs"], 2, "{state}");
    assert!(state["disk"]["total"].as_u64() >= state["disk"]["free"].as_u64());
    // Everything is young.
    assert_eq!(state["reclaimable_bytes"], 0, "{state}");
    let options = ControllerOptions::default();
    let _controllers = Controllers::start(platform.control.clone(), options, &platform.supervisor);
    let asked = admin
        .post("/api/v1/registry/collect?min_age=0s", &json!({}))
        .await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    assert_eq!(asked.json()["collection"]["phase"], "running");
    let state = collected(&admin).await;
    assert_eq!(state["collection"]["freed_images"], 1, "{state}");
    // A release can be rolled back to it.
    assert_eq!(image_of(&admin, "shop/kept", &kept).await.status, 200);
    assert_eq!(image_of(&admin, "shop/till", &kept).await.status, 404);

    let viewer = platform
        .user("viewer", Role::Viewer, ProjectScope::All)
        .await;
    assert_eq!(viewer.get("/api/v1/registry").await.status, 200);
    let refused = viewer.post("/api/v1/registry/collect", &json!({})).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let wrong = admin
        .post("/api/v1/registry/collect?min_age=soon", &json!({}))
        .await;
    assert_eq!(wrong.json()["field"], "min_age", "{}", wrong.text());
}

#[tokio::test]
async fn a_release_is_promoted_into_another_project_and_outlives_its_origin() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    admin.make_project("prod").await;
    push(&admin, "shop/till", "v1").await;
    let by_digest = digest(&admin, "shop/till", "v1").await;
    let host = &platform.control.settings.registry_host;
    let image = format!("{host}/shop/till@{by_digest}");
    release(&platform, &admin, "till", &image, "live").await;

    let path = "/api/v1/projects/prod/apps/till/releases?create=true";
    let promote = json!({ "promote": { "project": "shop", "app": "till", "release": "v1" } });
    let outsider = platform
        .user("outsider", Role::Developer, only(&["prod"]))
        .await;
    let absent = outsider.post(path, &promote).await;
    assert_eq!(absent.status, 404, "{}", absent.text());
    let viewer = platform
        .user("viewer", Role::Viewer, only(&["shop", "prod"]))
        .await;
    assert_eq!(viewer.post(path, &promote).await.status, 403);

    let developer = platform
        .user("dev", Role::Developer, only(&["shop", "prod"]))
        .await;
    let made = developer.post(path, &promote).await;
    assert_eq!(made.status, 202, "{}", made.text());
    let made = made.json();
    assert_eq!(
        made["spec"]["image"],
        format!("{host}/prod/till@{by_digest}")
    );
    let origin = json!({ "from": "promotion", "project": "shop", "app": "till", "release": 1 });
    assert_eq!(made["spec"]["origin"], origin);
    // What was copied is there without the origin.
    let deleted = platform
        .registry
        .delete_repository(&coracle_registry::RepositoryName::new("shop/till").unwrap())
        .await;
    deleted.unwrap();
    assert_eq!(
        image_of(&developer, "prod/till", &by_digest).await.status,
        200
    );

    for (wrong, status) in [
        (
            json!({ "promote": { "project": "shop", "app": "till", "release": "v9" } }),
            404,
        ),
        (
            json!({ "promote": { "project": "shop", "app": "nothing" } }),
            404,
        ),
        (
            json!({ "promote": { "project": "shop", "app": "till", "release": "soon" } }),
            422,
        ),
        (
            json!({ "promote": { "app": "till" }, "rollback": "v1" }),
            422,
        ),
        // It has no live release.
        (json!({ "promote": { "app": "till" } }), 409),
        // Its image is gone.
        (
            json!({ "promote": { "project": "shop", "app": "till", "release": "v1" } }),
            409,
        ),
    ] {
        let refused = developer.post(path, &wrong).await;
        assert!(
            refused.status == status || (status == 422 && refused.status == 400),
            "{wrong}: {}",
            refused.text()
        );
    }
}
