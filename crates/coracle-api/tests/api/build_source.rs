//! What a build on another machine gets: its source, until it has it, and the right to push its own image while it goes on.

use coracle_control::image::{PushedImage, PushedTag, TagError, pushed_tag};
use coracle_control::journal::Actor;
use coracle_control::keys;
use coracle_engine::desk::LaidSource;
use coracle_model::build::{Build, BuildPhase, BuildSpec, Source};
use coracle_model::env::Secret;

use crate::registry::{manifest_digest, push};
use crate::support::{As, GATEWAY_TOKEN, Platform, app, project};

const PATH: &str = "/internal/v1/build-source";

/// A build that waits.
pub(crate) async fn submitted(platform: &Platform, in_project: &str, name: &str) -> Build {
    let source = Source::Upload {
        id: "0".to_owned(),
        bytes: 1,
    };
    let (project, app) = (project(in_project), app(name));
    let actor = Actor::Platform("test");
    let build = platform
        .control
        .submit_build(&project, &app, source, None, &actor);
    build.await.unwrap()
}

/// Who has a build's pass.
pub(crate) fn with_pass(platform: &Platform, in_project: &str, build: &Build) -> As {
    let pass = platform.control.build_pass(&project(in_project), build);
    platform.bearing(pass.unwrap().password.expose())
}

#[tokio::test]
async fn a_source_is_handed_out_to_who_has_its_ticket() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("source");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\n").unwrap();
    std::fs::write(folder.join("sub/page"), "content\n").unwrap();
    let ticket = Secret::new("a1b2c3");
    let source = LaidSource {
        context: folder,
        dockerfile: "Dockerfile".into(),
    };
    let laid = platform.desk.lay_out(&ticket, source);
    for other in [
        platform.nobody(),
        admin.clone(),
        platform.bearing("a1b2c4"),
        platform.bearing(GATEWAY_TOKEN),
    ] {
        other.get(PATH).await.problem(401, "unauthenticated");
    }
    let pod = platform.bearing(ticket.expose());
    assert_eq!(platform.at_the_registry(&pod).get(PATH).await.status, 404);
    let answer = pod.get(PATH).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let to = dir.path().join("unpacked");
    let body = std::io::Cursor::new(answer.body.to_vec());
    coracle_builder::unpack(body, &to, coracle_builder::Limits::default())
        .await
        .unwrap();
    let page = std::fs::read_to_string(to.join("sub/page")).unwrap();
    assert_eq!(page, "content\n");
    // That it was sent does not say that it arrived.
    assert_eq!(pod.get(PATH).await.status, 200);
    laid.spent();
    pod.get(PATH).await.problem(401, "unauthenticated");
    laid.again();
    assert_eq!(pod.get(PATH).await.status, 200);
    drop(laid);
    pod.get(PATH).await.problem(401, "unauthenticated");
}

/// A pod is lost while it fetches: its successor gets the source, and what the former still had coming ends.
#[tokio::test]
async fn the_next_pod_gets_a_source_that_is_just_being_handed_out() {
    let platform = Platform::new().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let mut large = vec![0; 24 << 20];
    getrandom::fill(&mut large).unwrap();
    std::fs::write(dir.path().join("large"), large).unwrap();
    let ticket = Secret::new("a1b2c3");
    let source = LaidSource {
        context: dir.path().to_owned(),
        dockerfile: "Dockerfile".into(),
    };
    let laid = platform.desk.lay_out(&ticket, source);
    let pod = platform.bearing(ticket.expose());
    let first = pod.request(reqwest::Method::GET, PATH).send().await;
    let first = first.unwrap();
    assert_eq!(first.status(), 200);
    pod.get(PATH).await.problem(401, "unauthenticated");
    laid.again();
    let next = pod.request(reqwest::Method::GET, PATH).send().await;
    let next = next.unwrap();
    assert_eq!(next.status(), 200);
    first.bytes().await.unwrap_err();
    assert!(next.bytes().await.unwrap().len() > 23 << 20);
}

#[tokio::test]
async fn a_pass_pushes_the_image_of_its_build_while_it_goes_on() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for name in ["one", "two"] {
        admin.make_project(name).await;
    }
    admin.make_app("one", "shop").await;
    push(&admin, "one/base", "1").await;
    push(&admin, "two/web", "1").await;
    let build = submitted(&platform, "one", "shop").await;
    let pod = with_pass(&platform, "one", &build);
    assert_eq!(pod.get("/v2/").await.status, 200);
    let tag = pushed_tag(&build);
    push(&pod, "one/shop", &tag).await;
    // By digest it changes what nobody names; every other tag is somebody's.
    let pushed = format!("/v2/one/shop/manifests/{tag}");
    let answer = pod.get(&pushed).await;
    let (digest, manifest) = (answer.header("docker-content-digest"), answer.text());
    for (reference, status) in [
        (digest, 201),
        ("b1", 403),
        ("latest", 403),
        ("b2-0", 403),
        (&tag[..tag.len() - 1], 403),
        ("sha256:0", 403),
    ] {
        let path = format!("/v2/one/shop/manifests/{reference}");
        let put = pod
            .request(reqwest::Method::PUT, &path)
            .header("content-type", answer.header("content-type"))
            .body(manifest.clone());
        let put = put.send().await.unwrap();
        assert_eq!(put.status(), status, "{reference}");
    }
    assert_eq!(pod.get("/v2/one/base/manifests/1").await.status, 200);
    for closed in [
        "/v2/two/web/manifests/1",
        "/v2/_catalog",
        "/v2/one/shop/tags/list",
    ] {
        assert_eq!(pod.get(closed).await.status, 403, "{closed}");
    }
    for repository in ["one/base", "two/web", "one/shop/more"] {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let begun = pod.request(reqwest::Method::POST, &path).send().await;
        assert_eq!(begun.unwrap().status(), 403, "{repository}");
    }
    assert_eq!(pod.delete(&pushed).await.status, 403);
    // It opens nothing of the API.
    pod.get("projects").await.problem(401, "unauthenticated");

    let (objects, at) = (
        &platform.control.objects,
        keys::build(&project("one"), &app("shop"), 1),
    );
    let end = |build: &mut Build| {
        build.status.phase = BuildPhase::Succeeded;
        Ok(())
    };
    objects.modify::<BuildSpec>(&at, "b1", end).await.unwrap();
    assert_eq!(pod.get("/v2/").await.status, 401, "its build is over");
}

#[tokio::test]
async fn the_image_of_a_build_goes_by_its_name_and_not_by_the_tag_that_was_pushed() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("one").await;
    admin.make_app("one", "shop").await;
    let build = submitted(&platform, "one", "shop").await;
    let tag = pushed_tag(&build);
    push(&with_pass(&platform, "one", &build), "one/shop", &tag).await;
    let digest = manifest_digest(&admin, "one/shop", &tag).await;
    let (project, app) = (project("one"), app("shop"));
    let tags = platform.control.image_tags.as_ref().unwrap();
    let at = PushedTag {
        project: &project,
        app: &app,
        tag: &tag,
    };
    let pushed = PushedImage {
        at,
        digest: &digest,
    };
    let left = async || admin.get("/v2/one/shop/tags/list").await.ok(200)["tags"].clone();
    // A second time: a control plane that was killed does not know how far it had come.
    for _ in 0..2 {
        tags.publish(pushed, "b1").await.unwrap();
        assert_eq!(left().await, serde_json::json!(["b1", tag]));
        assert_eq!(manifest_digest(&admin, "one/shop", "b1").await, digest);
    }
    let other = &digest.replace(':', ":00")[..digest.len()];
    let never = PushedImage { at, digest: other };
    let refused = tags.publish(never, "b1").await;
    assert!(matches!(refused, Err(TagError::Absent(_))), "{refused:?}");
    // It means another image by now.
    tags.withdraw(at, Some(other)).await.unwrap();
    assert_eq!(left().await, serde_json::json!(["b1", tag]));
    for known in [Some(&*digest), None] {
        tags.withdraw(at, known).await.unwrap();
        assert_eq!(left().await, serde_json::json!(["b1"]));
    }
    assert_eq!(manifest_digest(&admin, "one/shop", "b1").await, digest);
}

#[tokio::test]
async fn a_pass_ends_with_the_wish_for_its_build() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("one").await;
    admin.make_app("one", "shop").await;
    let build = submitted(&platform, "one", "shop").await;
    let pod = with_pass(&platform, "one", &build);
    assert_eq!(pod.get("/v2/").await.status, 200);
    // One of a build that looks the same and is another.
    let mut other = build.clone();
    other.metadata.uid = "another".to_owned();
    let stranger = with_pass(&platform, "one", &other);
    assert_eq!(stranger.get("/v2/").await.status, 401);
    let path = "projects/one/apps/shop/builds/b1/cancel";
    admin.post(path, &serde_json::Value::Null).await.ok(202);
    assert_eq!(pod.get("/v2/").await.status, 401);
    let secret = pod.authorization.clone().unwrap();
    let cut = platform.bearing(&secret["Bearer ".len()..secret.len() - 4]);
    assert_eq!(cut.get("/v2/").await.status, 401);
}
