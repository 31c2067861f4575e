//! Images: who gets which, on the real daemon and a registry of our own.

use coracle_engine::{Engine as _, EngineError};
use coracle_model::name::ImageRef;

use crate::build::{Hub, TOKEN, build, credentials, folder, give, request};
use crate::ground::{Ground, docker, lines, quiet, replicas, web};

fn is_here(image: &ImageRef) -> bool {
    let name = image.as_str();
    let (repository, _) = name.split_once('@').unwrap_or((name, ""));
    let format = "{{.Repository}}:{{.Tag}}\n{{.Repository}}@{{.Digest}}";
    lines(&["images", "--digests", "--format", format, repository])
        .iter()
        .any(|line| line == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_with_a_login_and_refused_without() {
    let hub = Hub::new().await;
    let ground = Ground::new().await;
    let image = hub.image("default/private:1");
    let source = folder(&[("Dockerfile", "FROM coracle-test:1\nLABEL a=b\n")]);
    let (result, _) = build(&ground, request("p", &source, image.clone())).await;
    let reference = result.unwrap().reference;
    let forget = || {
        quiet(&["rmi", "-f", image.as_str()]);
        quiet(&["rmi", "-f", reference.as_str()]);
    };
    forget();
    let fresh = Ground::new().await;
    let refused = fresh.engine.resolve_image(&image, None).await;
    match refused {
        Err(EngineError::ImageUnavailable { reason, .. }) => {
            assert!(reason.contains("login"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let absent = hub.image("default/absent:1");
    match fresh
        .engine
        .resolve_image(&absent, Some(&credentials(TOKEN)))
        .await
    {
        Err(EngineError::ImageUnavailable { reason, .. }) => {
            assert!(reason.contains("no such image"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let info = fresh
        .engine
        .resolve_image(&image, Some(&credentials(TOKEN)))
        .await
        .unwrap();
    assert_eq!(info.pinned, reference);
    // Nobody's Dockerfile finds it here by its tag.
    assert!(!is_here(&image));
    for _ in 0..2 {
        fresh.engine.remove_image(&reference).await.unwrap();
        assert!(!is_here(&reference));
    }
    forget();
    assert!(!docker(&["images", "-q", "coracle-test:1"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_a_tag_leaves_no_tag_for_others() {
    let hub = Hub::new().await;
    let mut ground = Ground::new().await;
    let image = hub.image("default/box:1");
    let source = folder(&[("Dockerfile", "FROM coracle-test:1\nLABEL e=f\n")]);
    let (result, _) = build(&ground, request("box", &source, image.clone())).await;
    let reference = result.unwrap().reference;
    for name in [&image, &reference] {
        quiet(&["rmi", "-f", name.as_str()]);
    }
    give(&ground, &hub, TOKEN).await;
    let mut workload = web("box", replicas(1));
    workload.template.image = image.clone();
    ground.apply(workload).await;
    ground.ready("box", 1).await;
    assert!(!is_here(&image));
    assert!(is_here(&reference));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_an_image_by_the_first_letters_of_its_id() {
    let ground = Ground::new().await;
    let id = docker(&["inspect", "--format", "{{.Id}}", "coracle-test:1"]);
    let hex = id.strip_prefix("sha256:").unwrap();
    for short in [&hex[..6], &hex[..20], &id[..20]] {
        let resolved = ground
            .engine
            .resolve_image(&ImageRef::new(short).unwrap(), None)
            .await;
        assert!(
            matches!(resolved, Err(EngineError::ImageUnavailable { .. })),
            "{short}: {resolved:?}"
        );
    }
    let mut ground = ground;
    let mut workload = web("short", replicas(1));
    workload.template.image = ImageRef::new(&hex[..6]).unwrap();
    ground.apply(workload).await;
    let refused = |seen: &crate::ground::Seen| {
        let pods = seen.of("short");
        pods.iter().any(|pod| pod.status.reason.is_some())
    };
    ground.seen.until("it is refused", refused).await;
    assert!(ground.platform.containers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_under_a_tag_that_can_be_foreseen_loses_it_at_the_start() {
    let hub = Hub::new().await;
    let ground = Ground::new().await;
    let [before, hidden] = ["default/old:b7", "default/old:b7-00ff"].map(|path| hub.image(path));
    let source = folder(&[("Dockerfile", "FROM coracle-test:1\nLABEL g=h\n")]);
    let (result, _) = build(&ground, request("00ff", &source, before.clone())).await;
    let reference = result.unwrap().reference;
    // The platform's registry had another name then.
    let moved = ImageRef::new("127.0.0.1:1/default/old:b7").unwrap();
    docker(&["tag", before.as_str(), moved.as_str()]);
    assert!(is_here(&before) && is_here(&moved));
    let ground = Ground::on(ground.crash().await).await;
    // Whoever removes an image, or builds, finds it done.
    let absent = hub.image("default/absent:1");
    ground.engine.remove_image(&absent).await.unwrap();
    assert!(!is_here(&before) && !is_here(&moved));
    assert!(is_here(&hidden));
    let moved = ImageRef::new("127.0.0.1:1/default/old:b7-00ff").unwrap();
    assert!(is_here(&moved));
    quiet(&["rmi", moved.as_str()]);
    // Without a pull.
    let resolved = ground.engine.resolve_image(&reference, None).await;
    assert_eq!(resolved.unwrap().pinned, reference);
    ground.engine.remove_image(&hidden).await.unwrap();
    assert!(!is_here(&reference));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_image_is_gone_pulls_it_with_what_its_project_was_given() {
    let hub = Hub::new().await;
    let mut ground = Ground::new().await;
    let image = hub.image("default/own:1");
    let source = folder(&[("Dockerfile", "FROM coracle-test:1\nLABEL c=d\n")]);
    let (result, _) = build(&ground, request("own", &source, image.clone())).await;
    let reference = result.unwrap().reference;
    for name in [&image, &reference] {
        quiet(&["rmi", "-f", name.as_str()]);
    }
    give(&ground, &hub, "wrong").await;
    let mut workload = web("own", replicas(1));
    workload.template.image = reference.clone();
    ground.apply(workload).await;
    let refused = |seen: &crate::ground::Seen| {
        let pods = seen.of("own");
        let mut reasons = pods.iter().filter_map(|pod| pod.status.reason.as_deref());
        reasons.any(|reason| reason.contains("login"))
    };
    ground.seen.until("it is refused", refused).await;
    give(&ground, &hub, TOKEN).await;
    ground.ready("own", 1).await;
    ground
        .engine
        .remove(&crate::ground::workload_id("own"))
        .await
        .unwrap();
    ground.gone("own").await;
    for name in [&image, &reference] {
        quiet(&["rmi", "-f", name.as_str()]);
    }
}
