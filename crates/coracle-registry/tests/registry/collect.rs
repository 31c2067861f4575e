//! Collections: what is needed stays, what is not goes, whatever happens meanwhile.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use coracle_registry::{
    Collected, Digest, Limits, NeededImages, Reference, Registry, RepositoryName, What,
};
use http::Method;
use object_store::memory::InMemory;
use serde_json::{Value, json};

use crate::crash::Dying;
use crate::support::{
    CONFIG, Harness, LAYER, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, TestAuthorizer, descriptor,
    image_manifest,
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// What the platform says that it needs.
#[derive(Default)]
pub(crate) struct Needs(pub(crate) Vec<(RepositoryName, Reference)>);

#[async_trait]
impl NeededImages for Needs {
    async fn needed(
        &self,
    ) -> Result<Vec<(RepositoryName, Reference)>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.clone())
    }
}

pub(crate) fn nothing() -> Needs {
    Needs::default()
}

pub(crate) fn name(repository: &str) -> RepositoryName {
    RepositoryName::new(repository).unwrap()
}

/// Collects what is not needed, whatever its age.
async fn collect(h: &Harness) -> Collected {
    collect_with(h, nothing()).await
}

async fn collect_with(h: &Harness, needs: Needs) -> Collected {
    let before = h
        .registry
        .collectable(&needs, Duration::ZERO)
        .await
        .unwrap();
    let collected = h.registry.collect(&needs, Duration::ZERO).await.unwrap();
    // What was foretold came true.
    assert_eq!(
        (before.manifests, before.blobs, before.bytes),
        (collected.manifests, collected.blobs, collected.bytes)
    );
    collected
}

/// Makes everything there is so old.
pub(crate) fn age(h: &Harness, by: Duration) {
    for file in h.files("objects") {
        // A collection beside may have removed it since the listing.
        if let Ok(file) = std::fs::File::open(h.folder.path().join("objects").join(file)) {
            file.set_modified(SystemTime::now() - by).unwrap();
        }
    }
}

/// An image of its own.
async fn image(h: &Harness, repository: &str, reference: &str, layer: &str) -> Digest {
    let manifest = manifest_of(layer);
    h.push_blob(repository, CONFIG).await;
    h.push_blob(repository, layer.as_bytes()).await;
    put(h, repository, reference, &manifest).await
}

fn manifest_of(layer: &str) -> Value {
    let mut manifest = image_manifest();
    manifest["layers"] = json!([descriptor("x", layer.as_bytes())]);
    manifest
}

async fn put(h: &Harness, repository: &str, reference: &str, manifest: &Value) -> Digest {
    let digest = Digest::of(manifest.to_string().as_bytes());
    let reference = match reference {
        "" => digest.to_string(),
        tag => tag.to_owned(),
    };
    h.put_manifest(repository, &reference, manifest)
        .await
        .expect(201);
    digest
}

fn index_of(children: &[&Value]) -> Value {
    let children: Vec<_> = children
        .iter()
        .map(|child| descriptor(OCI_MANIFEST, child.to_string().as_bytes()))
        .collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children })
}

async fn is_whole(h: &Harness, repository: &str, digest: &Digest) -> bool {
    let manifest = h.get(&format!("/v2/{repository}/manifests/{digest}")).await;
    if manifest.status != 200 {
        return false;
    }
    assert_eq!(Digest::of(&manifest.body), *digest);
    let document = manifest.json();
    for child in document["manifests"].as_array().into_iter().flatten() {
        let digest = child["digest"].as_str().unwrap().parse().unwrap();
        if !Box::pin(is_whole(h, repository, &digest)).await {
            return false;
        }
    }
    let layers = document["layers"].as_array().into_iter().flatten();
    for blob in layers.chain(document.get("config")) {
        let path = format!(
            "/v2/{repository}/blobs/{}",
            blob["digest"].as_str().unwrap()
        );
        if h.get(&path).await.status != 200 {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn what_a_tag_means_stays_and_the_rest_goes() {
    let h = Harness::new();
    let kept = image(&h, "team/app", "v1", "one").await;
    let gone = image(&h, "team/app", "", "two").await;
    let left = h
        .push_blob("team/app", b"of a push that ended in its middle")
        .await;
    age(&h, HOUR);
    let mut changes = h.registry.changes();
    let collected = collect(&h).await;
    assert_eq!(
        (collected.manifests, collected.blobs),
        (1, 3),
        "{collected:?}"
    );
    assert_eq!(collected.repositories, [name("team/app")]);
    assert!(collected.damaged.is_empty());
    assert_eq!(changes.recv().await.unwrap().what, What::Collected);
    assert!(is_whole(&h, "team/app", &kept).await);
    assert!(!is_whole(&h, "team/app", &gone).await);
    h.get(&format!("/v2/team/app/blobs/{left}"))
        .await
        .expect(404);
    assert_eq!(h.registry.usage().await.unwrap().blobs, 3);
    assert_eq!(collect(&h).await, Collected::default());
}

#[tokio::test]
async fn an_untagged_image_and_a_whole_repository_go_without_a_trace() {
    let h = Harness::new();
    image(&h, "team/app", "v1", "one").await;
    image(&h, "team/other", "v1", "one").await;
    h.registry
        .delete_repository(&name("team/app"))
        .await
        .unwrap();
    age(&h, HOUR);
    assert_eq!(
        collect(&h).await.bytes,
        0,
        "another repository has the same"
    );
    h.call(Method::DELETE, "/v2/team/other/manifests/v1")
        .send()
        .await
        .expect(202);
    let collected = collect(&h).await;
    assert_eq!((collected.manifests, collected.blobs), (1, 3));
    assert!(h.files("objects").is_empty(), "{:?}", h.files("objects"));
}

#[tokio::test]
async fn what_the_platform_needs_stays() {
    let h = Harness::new();
    let digest = image(&h, "team/app", "", "one").await;
    image(&h, "team/other", "", "one").await;
    age(&h, HOUR);
    let needs = Needs(vec![
        (name("team/app"), digest.clone().into()),
        (name("team/nowhere"), digest.clone().into()),
        (name("team/app"), "latest".parse().unwrap()),
    ]);
    assert_eq!(collect_with(&h, needs).await.manifests, 1);
    assert!(is_whole(&h, "team/app", &digest).await);
    assert!(!is_whole(&h, "team/other", &digest).await);
}

#[tokio::test]
async fn who_cannot_say_what_is_needed_collects_nothing() {
    struct Unknown;
    #[async_trait]
    impl NeededImages for Unknown {
        async fn needed(
            &self,
        ) -> Result<Vec<(RepositoryName, Reference)>, Box<dyn Error + Send + Sync>> {
            Err("the store is away".into())
        }
    }
    let h = Harness::new();
    image(&h, "team/app", "", "one").await;
    age(&h, HOUR);
    let before = h.files("objects");
    h.registry
        .collect(&Unknown, Duration::ZERO)
        .await
        .unwrap_err();
    assert_eq!(h.files("objects"), before);
}

#[tokio::test]
async fn young_things_stay() {
    let h = Harness::new();
    let digest = image(&h, "team/app", "", "one").await;
    let blob = h.push_blob("team/app", b"the first of several").await;
    let collected = h.registry.collect(&nothing(), HOUR).await.unwrap();
    assert_eq!(collected, Collected::default());
    assert!(is_whole(&h, "team/app", &digest).await);
    age(&h, 2 * HOUR);
    // Somebody asks for it and will not push it again.
    h.call(Method::HEAD, &format!("/v2/team/app/blobs/{blob}"))
        .send()
        .await
        .expect(200);
    let collected = h.registry.collect(&nothing(), HOUR).await.unwrap();
    assert_eq!(collected.manifests, 1);
    h.get(&format!("/v2/team/app/blobs/{blob}"))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_repository_into_which_somebody_uploads_keeps_its_blobs() {
    let h = Harness::new();
    let blob = h.push_blob("team/app", LAYER).await;
    age(&h, HOUR);
    let upload = h.begin("team/app").await;
    assert_eq!(collect(&h).await, Collected::default());
    h.get(&format!("/v2/team/app/blobs/{blob}"))
        .await
        .expect(200);
    h.call(Method::DELETE, &upload).send().await.expect(204);
    assert_eq!(collect(&h).await.blobs, 1);
}

#[tokio::test]
async fn an_index_keeps_its_platforms_and_what_is_about_them() {
    let h = Harness::new();
    let (amd, arm) = (manifest_of("amd"), manifest_of("arm"));
    image(&h, "team/app", "", "amd").await;
    image(&h, "team/app", "", "arm").await;
    let index = index_of(&[&amd, &arm]);
    let inner = put(&h, "team/app", "", &index).await;
    let nested = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_INDEX, index.to_string().as_bytes())] });
    let outer = put(&h, "team/app", "v1", &nested).await;
    // Signed, and the signature has a remark.
    let mut signature = manifest_of("signature");
    signature["subject"] = descriptor(OCI_MANIFEST, arm.to_string().as_bytes());
    h.push_blob("team/app", b"signature").await;
    let signature = (put(&h, "team/app", "", &signature).await, signature);
    let mut remark = manifest_of("signature");
    remark["subject"] = descriptor(OCI_MANIFEST, signature.1.to_string().as_bytes());
    let remark = put(&h, "team/app", "", &remark).await;
    age(&h, HOUR);
    assert_eq!(collect(&h).await, Collected::default());
    h.call(Method::DELETE, "/v2/team/app/manifests/v1")
        .send()
        .await
        .expect(202);
    // The inner one is needed by itself, the outer one is not.
    let needs = Needs(vec![(name("team/app"), inner.clone().into())]);
    assert_eq!(collect_with(&h, needs).await.manifests, 1);
    assert!(!is_whole(&h, "team/app", &outer).await);
    for kept in [&inner, &signature.0, &remark] {
        assert!(is_whole(&h, "team/app", kept).await);
    }
    assert_eq!(collect(&h).await.manifests, 5);
    assert!(h.files("objects").is_empty(), "{:?}", h.files("objects"));
}

#[tokio::test]
async fn a_repository_with_something_unreadable_keeps_all_it_has() {
    for damage in ["content torn", "content gone", "record torn"] {
        let h = Harness::new();
        let digest = image(&h, "team/app", "v1", "one").await;
        let blob = h.push_blob("team/app", b"of nobody").await;
        let hex = digest.hex();
        let content = format!("objects/blobs/sha256/{}/{hex}", &hex[..2]);
        let record = format!("objects/repositories/team+app/manifests/sha256/{hex}");
        let at = |path: &str| h.folder.path().join(path);
        match damage {
            "content torn" => std::fs::write(at(&content), "{").unwrap(),
            "content gone" => std::fs::remove_file(at(&content)).unwrap(),
            _ => std::fs::write(at(&record), "{\"version\":99}").unwrap(),
        }
        age(&h, HOUR);
        let collected = collect(&h).await;
        assert_eq!(collected.damaged, [name("team/app")], "{damage}");
        assert_eq!(collected.blobs, 0, "{damage}");
        h.get(&format!("/v2/team/app/blobs/{blob}"))
            .await
            .expect(200);
        // Pushed again, it is well again.
        image(&h, "team/app", "v1", "one").await;
        age(&h, HOUR);
        assert_eq!(collect(&h).await.blobs, 1, "{damage}");
        assert!(is_whole(&h, "team/app", &digest).await);
    }
}

#[tokio::test]
async fn a_copy_outlives_its_origin() {
    let h = Harness::new();
    let (amd, arm) = (manifest_of("amd"), manifest_of("arm"));
    image(&h, "team/app", "", "amd").await;
    image(&h, "team/app", "", "arm").await;
    let index = put(&h, "team/app", "v1", &index_of(&[&amd, &arm])).await;
    let (from, to) = (name("team/app"), name("prod/app"));
    h.registry.copy_image(&from, &index, &to).await.unwrap();
    h.registry.copy_image(&from, &index, &to).await.unwrap();
    h.registry.delete_repository(&from).await.unwrap();
    age(&h, HOUR);
    let needs = Needs(vec![(to.clone(), index.clone().into())]);
    collect_with(&h, needs).await;
    assert!(is_whole(&h, "prod/app", &index).await);
    let absent = h.registry.copy_image(&from, &index, &to).await.unwrap_err();
    assert_eq!(absent.status(), 404);
}

#[tokio::test]
async fn what_is_kept_for_a_release_that_is_not_written_yet_stays() {
    let h = Harness::new();
    let digest = image(&h, "team/app", "", "one").await;
    age(&h, 2 * HOUR);
    let reference = digest.clone().into();
    h.registry
        .keep(&name("team/app"), &reference)
        .await
        .unwrap();
    let collected = h.registry.collect(&nothing(), HOUR).await.unwrap();
    assert_eq!(collected, Collected::default());
    assert!(is_whole(&h, "team/app", &digest).await);
}

/// A release is written between the question who needs an image and its deletion.
#[tokio::test]
async fn what_is_kept_since_somebody_looked_is_not_deleted() {
    let h = Harness::new();
    let at = name("team/app");
    let digest = image(&h, "team/app", "v1", "one").await;
    let by_tag: Reference = "v1".parse().unwrap();
    for reference in [&by_tag, &digest.clone().into()] {
        age(&h, 2 * HOUR);
        let seen = h.registry.look(&at, reference).await.unwrap();
        h.registry.keep(&at, reference).await.unwrap();
        let refused = h.registry.delete_seen(&at, reference, &seen).await;
        assert_eq!(refused.unwrap_err().status(), 409);
        assert!(is_whole(&h, "team/app", &digest).await);
    }
    // A tag that means another image now is not the one that was looked at.
    let seen = h.registry.look(&at, &by_tag).await.unwrap();
    image(&h, "team/app", "v1", "two").await;
    let refused = h.registry.delete_seen(&at, &by_tag, &seen).await;
    assert_eq!(refused.unwrap_err().status(), 409);
    for reference in [by_tag, digest.clone().into()] {
        let seen = h.registry.look(&at, &reference).await.unwrap();
        let deleted = h.registry.delete_seen(&at, &reference, &seen).await;
        deleted.unwrap();
        assert!(h.registry.look(&at, &reference).await.is_err());
    }
}

/// Three images, of which one is needed; what the killed collections left is collected by the last.
#[tokio::test]
async fn killed_at_every_step_of_a_collection() {
    for writes in 0.. {
        assert!(writes < 100, "a collection has an end");
        let folder = tempfile::tempdir().unwrap();
        let inner = Arc::new(InMemory::new());
        let on = |store| {
            let uploads = folder.path().to_owned();
            Registry::new(store, uploads, Arc::new(TestAuthorizer), Limits::default())
        };
        let mut h = Harness {
            folder: tempfile::tempdir().unwrap(),
            registry: on(inner.clone()),
        };
        let kept = image(&h, "team/app", "v1", "kept").await;
        let (amd, arm) = (manifest_of("amd"), manifest_of("arm"));
        let parts = [
            image(&h, "team/app", "", "amd").await,
            image(&h, "team/app", "", "arm").await,
        ];
        let index = put(&h, "team/app", "", &index_of(&[&amd, &arm])).await;
        let mut about = manifest_of("amd");
        about["subject"] = descriptor(OCI_INDEX, index_of(&[&amd, &arm]).to_string().as_bytes());
        put(&h, "team/app", "", &about).await;
        h.push_blob("team/empty", b"nobody's").await;

        h.registry = on(Arc::new(Dying::after(inner.clone(), writes)));
        let whole = h.registry.collect(&nothing(), Duration::ZERO).await.is_ok();
        h.registry = on(inner);
        assert!(is_whole(&h, "team/app", &kept).await, "after {writes}");
        // What is still there of the rest is whole: somebody could give it a tag now.
        let there = h
            .get(&format!("/v2/team/app/manifests/{index}"))
            .await
            .status
            == 200;
        if there {
            assert!(is_whole(&h, "team/app", &index).await, "after {writes}");
        }
        for part in &parts {
            let there = h
                .get(&format!("/v2/team/app/manifests/{part}"))
                .await
                .status
                == 200;
            assert!(
                !there || is_whole(&h, "team/app", part).await,
                "after {writes}"
            );
        }
        h.registry
            .collect(&nothing(), Duration::ZERO)
            .await
            .unwrap();
        assert!(is_whole(&h, "team/app", &kept).await);
        assert_eq!(h.registry.usage().await.unwrap().blobs, 3, "after {writes}");
        let about = h
            .get(&format!("/v2/team/app/referrers/{index}"))
            .await
            .json();
        assert_eq!(about["manifests"], json!([]));
        if whole {
            assert!(writes > 10, "{writes} deletions");
            return;
        }
    }
}

#[tokio::test]
async fn an_image_s_own_words_are_bounded_and_stay_text() {
    let h = Harness::new();
    let script = "<script>alert(1)</script>\u{1b}]0;owned\u{7}";
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "x".repeat(100_000),
        "config": {
            "Env": ["KEY=secret", "é".repeat(10_000)],
            "Labels": { "html": script, "long": "y".repeat(1 << 20) },
            "Cmd": vec!["z"; 100_000],
        },
        "history": [
            { "created_by": script, "empty_layer": true },
            { "created_by": "COPY . .", "comment": "w".repeat(100_000) },
        ],
    })
    .to_string();
    let mut manifest = image_manifest();
    manifest["config"] = descriptor(OCI_CONFIG, config.as_bytes());
    h.push_blob("team/app", config.as_bytes()).await;
    h.push_blob("team/app", LAYER).await;
    put(&h, "team/app", "v1", &manifest).await;
    let detail = h
        .registry
        .image_detail(&name("team/app"), &"v1".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(detail.config.labels["html"], script);
    assert_eq!(detail.config.env_names[0], "KEY");
    assert_eq!(detail.history[0].created_by.as_deref(), Some(script));
    assert_eq!(detail.history[0].bytes, None);
    assert_eq!(detail.history[1].bytes, Some(LAYER.len() as u64));
    let shown = serde_json::to_string(&detail).unwrap();
    assert!(shown.len() < 32 << 10, "{} bytes", shown.len());
    assert!(!shown.contains("secret"));
}

#[tokio::test]
async fn a_repository_lists_tags_and_then_images_without_one() {
    let h = Harness::new();
    let (amd, arm) = (manifest_of("amd"), manifest_of("arm"));
    image(&h, "team/app", "", "amd").await;
    image(&h, "team/app", "", "arm").await;
    put(&h, "team/app", "many", &index_of(&[&amd, &arm])).await;
    let one = image(&h, "team/app", "one", "one").await;
    h.put_manifest("team/app", "also", &manifest_of("one"))
        .await
        .expect(201);
    let bare = [
        image(&h, "team/app", "", "bare").await,
        image(&h, "team/app", "", "naked").await,
    ];
    let mut expected = vec!["also".to_owned(), "many".to_owned(), "one".to_owned()];
    let mut digests: Vec<_> = bare.iter().map(ToString::to_string).collect();
    digests.sort();
    expected.extend(digests);
    for limit in 1..7 {
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let repository = name("team/app");
            let page = h.registry.images(&repository, after.as_deref(), limit);
            let page = page.await.unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items.iter().map(|entry| entry.key()));
            if !page.more {
                break;
            }
            after = seen.last().cloned();
        }
        assert_eq!(seen, expected, "in pages of {limit}");
    }
    let summary = h
        .registry
        .repository_summary(&name("team/app"))
        .await
        .unwrap();
    assert_eq!(summary.tags, 3);
    assert!(summary.bytes > 0 && summary.updated.is_some());
    let (at, child) = (name("team/app"), Digest::of(amd.to_string().as_bytes()));
    let indexes = h.registry.indexes_of(&at, &child).await.unwrap();
    assert_eq!(indexes.len(), 1);
    let none = h
        .registry
        .indexes_of(&name("team/app"), &one)
        .await
        .unwrap();
    assert!(none.is_empty());
}
