//! The API for the platform's own parts, and a store that is not the local disk.

use std::sync::Arc;

use coracle_registry::{
    Digest, Limits, MediaType, Reference, Registry, RegistryError, RepositoryName, Tag,
};
use futures::TryStreamExt as _;
use http::Method;
use object_store::memory::InMemory;

use crate::support::{
    CONFIG, Harness, LAYER, OCI_INDEX, OCI_MANIFEST, TestAuthorizer, descriptor, image_manifest,
};

fn name(name: &str) -> RepositoryName {
    RepositoryName::new(name).unwrap()
}

fn tag(tag: &str) -> Reference {
    Tag::new(tag).unwrap().into()
}

#[tokio::test]
async fn an_image_without_http() {
    let h = Harness::new();
    let (registry, repository) = (&h.registry, name("team/app"));
    registry.put_blob(&repository, CONFIG.into()).await.unwrap();
    let layer = registry.put_blob(&repository, LAYER.into()).await.unwrap();
    let bytes = image_manifest().to_string();
    let put = registry
        .put_manifest(&repository, &tag("v1"), None, bytes.clone().into())
        .await
        .unwrap();
    registry
        .put_tag(&repository, &Tag::new("live").unwrap(), &put.digest)
        .await
        .unwrap();
    let unknown = registry
        .put_tag(&repository, &Tag::new("live").unwrap(), &Digest::of(b"x"))
        .await;
    assert!(matches!(unknown, Err(RegistryError::ManifestUnknown(_))));

    let stored = registry.manifest(&repository, &tag("live")).await.unwrap();
    assert_eq!(
        (stored.digest.clone(), stored.media_type),
        (put.digest.clone(), MediaType::OciManifest)
    );
    assert_eq!(stored.bytes, bytes);
    let blob = registry.blob(&repository, &layer, None).await.unwrap();
    assert_eq!(
        blob.stream.try_collect::<Vec<_>>().await.unwrap().concat(),
        LAYER
    );

    let image = registry.image(&repository, &tag("v1")).await.unwrap();
    assert_eq!(
        image.size as usize,
        bytes.len() + CONFIG.len() + LAYER.len()
    );
    assert_eq!(
        (
            image.platforms[0].os.as_str(),
            image.platforms[0].architecture.as_str()
        ),
        ("linux", "amd64")
    );
    let config = image.config.clone().unwrap();
    assert_eq!(config.command, ["/hello"]);
    assert_eq!(config.exposed_ports, ["8080/tcp"]);
    assert_eq!(config.env_names, ["PATH", "KEY"]);
    assert!(
        !serde_json::to_string(&image).unwrap().contains("secret"),
        "values of variables are not told"
    );

    let entries = registry.manifests(&repository).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        entries[0].tags.iter().map(Tag::as_str).collect::<Vec<_>>(),
        ["live", "v1"]
    );
    let listed = registry.repositories(None, 10).await.unwrap().items;
    assert_eq!(
        listed
            .iter()
            .map(RepositoryName::as_str)
            .collect::<Vec<_>>(),
        ["team/app"]
    );
    let usage = registry.usage().await.unwrap();
    assert_eq!((usage.blobs, usage.bytes), (3, image.size));

    registry
        .delete_manifest(&repository, &put.digest)
        .await
        .unwrap();
    assert!(matches!(
        registry.resolve(&repository, &tag("v1")).await,
        Err(RegistryError::ManifestUnknown(_))
    ));
}

#[tokio::test]
async fn a_repository_is_removed_as_a_whole() {
    let h = Harness::new();
    for repository in ["team/app", "team/app/more", "team/other"] {
        h.push_image(repository, "v1").await;
    }
    h.registry
        .delete_repository(&name("team/app"))
        .await
        .unwrap();
    h.get("/v2/team/app/tags/list")
        .await
        .refused(404, "NAME_UNKNOWN");
    h.get(&format!("/v2/team/app/blobs/{}", Digest::of(LAYER)))
        .await
        .refused(404, "BLOB_UNKNOWN");
    let catalog = h.get("/v2/_catalog").await.json();
    assert_eq!(
        catalog["repositories"],
        serde_json::json!(["team/app/more", "team/other"])
    );
    h.get("/v2/team/other/manifests/v1").await.expect(200);
    let again = h.registry.delete_repository(&name("team/app")).await;
    assert!(matches!(again, Err(RegistryError::NameUnknown)));
    h.push_image("team/app", "v2").await;
}

#[tokio::test]
async fn an_index_is_summed_up() {
    let h = Harness::new();
    h.push_image("team/app", "v1").await;
    let mut child = descriptor(OCI_MANIFEST, image_manifest().to_string().as_bytes());
    child["platform"] =
        serde_json::json!({ "os": "linux", "architecture": "arm64", "variant": "v8" });
    let index =
        serde_json::json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child] });
    h.put_manifest("team/app", "all", &index).await.expect(201);
    let image = h
        .registry
        .image(&name("team/app"), &tag("all"))
        .await
        .unwrap();
    assert_eq!(image.media_type, MediaType::OciIndex);
    assert_eq!(image.platforms.len(), 1);
    assert_eq!(image.platforms[0].architecture, "arm64");
    let whole =
        index.to_string().len() + image_manifest().to_string().len() + CONFIG.len() + LAYER.len();
    assert_eq!(image.size as usize, whole);
    assert_eq!(image.config.unwrap().command, ["/hello"]);
}

#[tokio::test]
async fn a_store_that_is_not_the_local_disk() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(
        Arc::new(InMemory::new()),
        folder.path().to_owned(),
        Arc::new(TestAuthorizer),
        Limits::default(),
    );
    let h = Harness { folder, registry };
    // More than one part of a multipart upload.
    let content: Vec<u8> = (0..12_000_000u32).map(|i| (i % 233) as u8).collect();
    let digest = h.push_blob("team/app", &content).await;
    let blob = format!("/v2/team/app/blobs/{digest}");
    assert!(h.get(&blob).await.expect(200).body == content);
    let part = h
        .call(Method::GET, &blob)
        .header("range", "bytes=5-9")
        .send()
        .await
        .expect(206);
    assert_eq!(part.body, content[5..10]);
    h.push_image("team/app", "v1").await;
    h.push_blob("team/app", b"").await;
    h.get("/v2/team/app/manifests/v1").await.expect(200);
    assert!(h.files("").is_empty(), "nothing is left of the uploads");
}
