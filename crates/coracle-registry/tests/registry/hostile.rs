//! Input that wants something else.

use coracle_registry::Digest;
use http::Method;

use crate::support::{Harness, LAYER};

#[tokio::test]
async fn names_that_leave_their_folder() {
    let h = Harness::new();
    let outside = h.folder.path().join("outside");
    std::fs::write(&outside, "secret").unwrap();
    for (path, code) in [
        ("/v2/../tags/list", "NAME_INVALID"),
        ("/v2/../../etc/passwd/tags/list", "NAME_INVALID"),
        ("/v2/team/../secret/tags/list", "NAME_INVALID"),
        ("/v2/team/%2e%2e/secret/tags/list", "NAME_INVALID"),
        ("/v2/..%2f..%2foutside/tags/list", "NAME_INVALID"),
        ("/v2/team%2fapp/tags/list", "NAME_INVALID"),
        ("/v2/team/app%00/tags/list", "NAME_INVALID"),
        ("/v2/team/app%0a/tags/list", "NAME_INVALID"),
        ("/v2/Team/tags/list", "NAME_INVALID"),
        ("/v2/team+app/tags/list", "NAME_INVALID"),
        ("/v2/te%D0%B0m/tags/list", "NAME_INVALID"),
        ("/v2/$(id)/tags/list", "NAME_INVALID"),
        ("/v2/team/app/tags/../../outside", "UNSUPPORTED"),
        ("/v2/team/app/manifests/..", "TAG_INVALID"),
        ("/v2/team/app/manifests/%2e%2e%2foutside", "TAG_INVALID"),
        ("/v2/team/app/manifests/-x", "TAG_INVALID"),
        ("/v2/team/app/manifests/a%00", "TAG_INVALID"),
        (
            "/v2/team/app/manifests/sha256:..%2f..%2foutside",
            "DIGEST_INVALID",
        ),
        (
            "/v2/team/app/manifests/md5:d41d8cd98f00b204e9800998ecf8427e",
            "DIGEST_INVALID",
        ),
        ("/v2/team/app/blobs/..", "DIGEST_INVALID"),
        (
            "/v2/team/app/blobs/sha256:..%2f..%2f..%2foutside",
            "DIGEST_INVALID",
        ),
        ("/v2/team/app/blobs/sha256:abc", "DIGEST_INVALID"),
        ("/v2/team/app/referrers/x", "DIGEST_INVALID"),
        ("/v2/team/app/blobs/uploads/..", "BLOB_UPLOAD_UNKNOWN"),
        (
            "/v2/team/app/blobs/uploads/..%2f..%2foutside",
            "BLOB_UPLOAD_UNKNOWN",
        ),
        ("/v2/team/app/blobs/uploads/%00", "BLOB_UPLOAD_UNKNOWN"),
        (
            "/v2/team/app/blobs/uploads/00000000000000000000000000000000",
            "BLOB_UPLOAD_UNKNOWN",
        ),
        ("/v2/team/app", "UNSUPPORTED"),
        ("/v2//", "UNSUPPORTED"),
        ("/v2/%zz", "UNSUPPORTED"),
    ] {
        let answer = h.get(path).await;
        assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
        assert_eq!(answer.code(), code, "{path}");
        assert!(
            !String::from_utf8_lossy(&answer.body).contains("secret\""),
            "{path}"
        );
    }
    let long = format!("/v2/{}/tags/list", "a".repeat(256));
    h.get(&long).await.refused(400, "NAME_INVALID");
    let longest = "a".repeat(255);
    h.push_image(&longest, &"t".repeat(128)).await;
    h.get(&format!("/v2/{longest}/manifests/{}", "t".repeat(128)))
        .await
        .expect(200);
}

#[tokio::test]
async fn writes_with_hostile_names_write_nothing() {
    let h = Harness::new();
    let digest = Digest::of(LAYER);
    for path in [
        format!("/v2/../x/blobs/uploads/?digest={digest}"),
        "/v2/team/app/blobs/uploads/?digest=sha256:../../x".to_owned(),
        "/v2/team/app/blobs/uploads/?digest=".to_owned(),
        format!("/v2/team/app/blobs/uploads/?mount={digest}&from=../secret"),
        "/v2/team/app/blobs/uploads/?mount=x&from=team/app".to_owned(),
    ] {
        let answer = h.call(Method::POST, &path).body(LAYER).send().await;
        assert_eq!(answer.status, 400, "{path}");
    }
    for path in [
        "/v2/team/app/manifests/..",
        "/v2/../manifests/v1",
        "/v2/team/app/manifests/a%2f..%2fb",
    ] {
        assert_eq!(
            h.call(Method::PUT, path).body("{}").send().await.status,
            400,
            "{path}"
        );
    }
    for path in [
        "/v2/team/app/blobs/uploads/..",
        "/v2/team/app/blobs/uploads/..%2fx",
    ] {
        for method in [Method::PATCH, Method::DELETE] {
            assert_eq!(
                h.call(method, path).body("x").send().await.status,
                404,
                "{path}"
            );
        }
    }
    assert!(h.files("").is_empty());
}

#[tokio::test]
async fn methods_that_are_not_served() {
    let h = Harness::new();
    for (method, path) in [
        (Method::POST, "/v2/"),
        (Method::DELETE, "/v2/_catalog"),
        (Method::PUT, "/v2/team/app/tags/list"),
        (Method::PATCH, "/v2/team/app/manifests/v1"),
        (Method::GET, "/v2/team/app/blobs/uploads/"),
        (Method::TRACE, "/v2/team/app/blobs/uploads/x"),
    ] {
        h.call(method, path)
            .send()
            .await
            .refused(405, "UNSUPPORTED");
    }
}
