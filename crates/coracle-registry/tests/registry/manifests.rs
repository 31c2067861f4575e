//! Manifests, tags, listings and referrers.

use coracle_registry::{Digest, Limits};
use http::Method;
use serde_json::json;

use crate::support::{
    CONFIG, DOCKER_MANIFEST, Harness, LAYER, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, descriptor,
    image_manifest,
};

#[tokio::test]
async fn push_and_pull_by_tag_and_digest() {
    let h = Harness::new();
    let digest = h.push_image("team/app", "v1").await;
    let bytes = image_manifest().to_string();
    assert_eq!(digest, Digest::of(bytes.as_bytes()));
    for reference in ["v1".to_owned(), digest.to_string()] {
        let path = format!("/v2/team/app/manifests/{reference}");
        let get = h.get(&path).await.expect(200);
        assert_eq!(get.body, bytes, "the bytes are those that were pushed");
        assert_eq!(get.header("content-type"), OCI_MANIFEST);
        assert_eq!(get.header("docker-content-digest"), digest.to_string());
        let head = h.call(Method::HEAD, &path).send().await.expect(200);
        assert_eq!(head.header("content-length"), bytes.len().to_string());
        assert!(head.body.is_empty());
        let unchanged = h
            .call(Method::GET, &path)
            .header("if-none-match", get.header("etag"))
            .send()
            .await;
        unchanged.expect(304);
        h.call(Method::GET, &path)
            .header("accept", OCI_MANIFEST)
            .send()
            .await
            .expect(200);
        let refused = h
            .call(Method::GET, &path)
            .header("accept", DOCKER_MANIFEST)
            .send()
            .await;
        refused.refused(404, "MANIFEST_UNKNOWN");
    }
    h.get("/v2/team/app/manifests/none")
        .await
        .refused(404, "MANIFEST_UNKNOWN");
    h.get("/v2/team/other/manifests/v1")
        .await
        .refused(404, "MANIFEST_UNKNOWN");
    h.get(&format!("/v2/team/other/manifests/{digest}"))
        .await
        .refused(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_manifest_needs_all_that_it_names() {
    let h = Harness::new();
    h.push_blob("team/app", CONFIG).await;
    h.push_blob("team/other", LAYER).await;
    let answer = h
        .put_manifest("team/app", "v1", &image_manifest())
        .await
        .refused(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(
        answer.json()["errors"][0]["detail"]["digest"],
        Digest::of(LAYER).to_string()
    );
    h.get("/v2/team/app/manifests/v1")
        .await
        .refused(404, "MANIFEST_UNKNOWN");

    h.push_blob("team/app", LAYER).await;
    let mut lying = image_manifest();
    lying["layers"][0]["size"] = json!(1);
    h.put_manifest("team/app", "v1", &lying)
        .await
        .refused(400, "MANIFEST_INVALID");

    let mut elsewhere = image_manifest();
    let foreign = json!({ "mediaType": "x", "digest": Digest::of(b"foreign"), "size": 9, "urls": ["http://example.com/x"] });
    elsewhere["layers"].as_array_mut().unwrap().push(foreign);
    h.put_manifest("team/app", "v1", &elsewhere)
        .await
        .expect(201);

    let child = descriptor(OCI_MANIFEST, image_manifest().to_string().as_bytes());
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child] });
    h.put_manifest("team/app", "all", &index)
        .await
        .refused(404, "MANIFEST_BLOB_UNKNOWN");
    h.put_manifest("team/app", "v2", &image_manifest())
        .await
        .expect(201);
    h.put_manifest("team/app", "all", &index).await.expect(201);
    assert_eq!(
        h.get("/v2/team/app/manifests/all")
            .await
            .expect(200)
            .header("content-type"),
        OCI_INDEX
    );
}

#[tokio::test]
async fn kinds_sizes_and_digests_are_checked() {
    let h = Harness::limited(Limits {
        manifest_bytes: 2000,
        ..Limits::default()
    });
    h.push_image("team/app", "v1").await;
    let path = "/v2/team/app/manifests/v2";
    let put = |kind: &'static str, body: String| {
        h.call(Method::PUT, path)
            .header("content-type", kind)
            .body(body)
            .send()
    };
    put(DOCKER_MANIFEST, image_manifest().to_string())
        .await
        .refused(400, "MANIFEST_INVALID");
    put("text/html", image_manifest().to_string())
        .await
        .refused(400, "MANIFEST_INVALID");
    put(OCI_MANIFEST, "{".into())
        .await
        .refused(400, "MANIFEST_INVALID");
    put(OCI_MANIFEST, " ".repeat(2001))
        .await
        .refused(413, "MANIFEST_INVALID");
    let mut docker = image_manifest();
    docker["mediaType"] = json!(DOCKER_MANIFEST);
    put(DOCKER_MANIFEST, docker.to_string()).await.expect(201);
    h.call(Method::PUT, path)
        .body(image_manifest().to_string())
        .send()
        .await
        .expect(201);

    let wrong = Digest::of(b"wrong").to_string();
    h.put_manifest("team/app", &wrong, &image_manifest())
        .await
        .refused(400, "DIGEST_INVALID");
    let right = Digest::of(image_manifest().to_string().as_bytes()).to_string();
    let put = h
        .put_manifest("team/app", &right, &image_manifest())
        .await
        .expect(201);
    assert_eq!(
        put.header("location"),
        format!("/v2/team/app/manifests/{right}")
    );
}

#[tokio::test]
async fn deletion() {
    let h = Harness::new();
    let digest = h.push_image("team/app", "v1").await;
    h.put_manifest("team/app", "v2", &image_manifest())
        .await
        .expect(201);
    h.call(Method::DELETE, "/v2/team/app/manifests/v1")
        .send()
        .await
        .expect(202);
    h.get("/v2/team/app/manifests/v1")
        .await
        .refused(404, "MANIFEST_UNKNOWN");
    h.call(Method::DELETE, "/v2/team/app/manifests/v1")
        .send()
        .await
        .refused(404, "MANIFEST_UNKNOWN");
    h.get("/v2/team/app/manifests/v2").await.expect(200);

    let by_digest = format!("/v2/team/app/manifests/{digest}");
    h.call(Method::DELETE, &by_digest).send().await.expect(202);
    h.get(&by_digest).await.refused(404, "MANIFEST_UNKNOWN");
    h.get("/v2/team/app/manifests/v2")
        .await
        .refused(404, "MANIFEST_UNKNOWN");
    h.call(Method::DELETE, &by_digest)
        .send()
        .await
        .refused(404, "MANIFEST_UNKNOWN");
    h.get("/v2/team/app/tags/list")
        .await
        .refused(404, "NAME_UNKNOWN");
    assert_eq!(
        h.get("/v2/_catalog").await.expect(200).json(),
        json!({ "repositories": [] })
    );
    // The blobs' records stay until garbage collection, so pushing again is only a manifest.
    h.put_manifest("team/app", "v3", &image_manifest())
        .await
        .expect(201);
}

#[tokio::test]
async fn tags_and_catalog_are_paged() {
    let h = Harness::new();
    for tag in ["c", "a", "b", "Z", "1"] {
        h.push_image("team/app", tag).await;
    }
    let all = h.get("/v2/team/app/tags/list").await.expect(200);
    assert_eq!(
        all.json(),
        json!({ "name": "team/app", "tags": ["1", "Z", "a", "b", "c"] })
    );
    assert_eq!(all.header("link"), "");
    let mut path = "/v2/team/app/tags/list?n=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = h.get(&path).await.expect(200);
        seen.extend(
            page.json()["tags"]
                .as_array()
                .unwrap()
                .iter()
                .map(|t| t.as_str().unwrap().to_owned()),
        );
        let Some(next) = page
            .header("link")
            .strip_prefix('<')
            .and_then(|l| l.strip_suffix(">; rel=\"next\""))
        else {
            break;
        };
        path = next.to_owned();
    }
    assert_eq!(seen, ["1", "Z", "a", "b", "c"]);
    assert_eq!(
        h.get("/v2/team/app/tags/list?last=Zz").await.json()["tags"],
        json!(["a", "b", "c"])
    );
    assert_eq!(
        h.get("/v2/team/app/tags/list?n=0").await.expect(200).json()["tags"],
        json!([])
    );
    for bad in ["-1", "x", "1.5", ""] {
        h.get(&format!("/v2/team/app/tags/list?n={bad}"))
            .await
            .refused(400, "PAGINATION_NUMBER_INVALID");
    }
    h.get("/v2/team/none/tags/list")
        .await
        .refused(404, "NAME_UNKNOWN");

    // "team-x" sorts before "team/app", and "team/app/blobs" does not disturb "team/app".
    for repository in ["team-x", "team/app/blobs", "a"] {
        h.push_image(repository, "v1").await;
    }
    h.push_blob("only-blobs", LAYER).await;
    let catalog = h.get("/v2/_catalog").await.expect(200).json();
    assert_eq!(
        catalog,
        json!({ "repositories": ["a", "team-x", "team/app", "team/app/blobs"] })
    );
    let page = h.get("/v2/_catalog?n=1&last=a").await.expect(200);
    assert_eq!(page.json(), json!({ "repositories": ["team-x"] }));
    assert_eq!(
        page.header("link"),
        "</v2/_catalog?n=1&last=team-x>; rel=\"next\""
    );
    let last = h.get("/v2/_catalog?n=2&last=team-x").await.expect(200);
    assert_eq!(last.header("link"), "");
}

#[tokio::test]
async fn referrers() {
    let h = Harness::new();
    let subject = h.push_image("team/app", "v1").await;
    let path = format!("/v2/team/app/referrers/{subject}");
    let none = h.get(&path).await.expect(200);
    assert_eq!(none.header("content-type"), OCI_INDEX);
    assert_eq!(none.json()["manifests"], json!([]));

    let mut signature = image_manifest();
    signature["artifactType"] = json!("application/vnd.example.signature");
    signature["annotations"] = json!({ "by": "ann" });
    signature["subject"] = descriptor(OCI_MANIFEST, image_manifest().to_string().as_bytes());
    let put = h
        .put_manifest("team/app", "sig", &signature)
        .await
        .expect(201);
    assert_eq!(put.header("oci-subject"), subject.to_string());
    let mut plain = signature.clone();
    plain.as_object_mut().unwrap().remove("artifactType");
    h.put_manifest("team/app", "plain", &plain)
        .await
        .expect(201);

    let list = h.get(&path).await.expect(200).json();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
    let filtered = h
        .get(&format!(
            "{path}?artifactType=application/vnd.example.signature"
        ))
        .await
        .expect(200);
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    let only = &filtered.json()["manifests"];
    assert_eq!(only.as_array().unwrap().len(), 1);
    assert_eq!(only[0]["digest"], put.header("docker-content-digest"));
    assert_eq!(only[0]["annotations"]["by"], "ann");
    let plain = h
        .get(&format!("{path}?artifactType={OCI_CONFIG}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        plain["manifests"].as_array().unwrap().len(),
        0,
        "a plus sign in a query is a space"
    );
    let plain = h
        .get(&format!(
            "{path}?artifactType={}",
            OCI_CONFIG.replace('+', "%2B")
        ))
        .await
        .expect(200)
        .json();
    assert_eq!(plain["manifests"].as_array().unwrap().len(), 1);

    h.call(
        Method::DELETE,
        &format!(
            "/v2/team/app/manifests/{}",
            put.header("docker-content-digest")
        ),
    )
    .send()
    .await
    .expect(202);
    assert_eq!(
        h.get(&path).await.json()["manifests"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let mut huge = signature;
    huge["annotations"] = json!({ "x": "y".repeat(100_000) });
    h.put_manifest("team/app", "huge", &huge)
        .await
        .refused(400, "MANIFEST_INVALID");
}
