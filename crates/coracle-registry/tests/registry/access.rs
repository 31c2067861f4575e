//! Who may do what, and what they can learn.

use coracle_registry::Digest;
use http::Method;
use serde_json::json;

use crate::support::{ADMIN, Harness, LAYER, READER, TEAM, basic, bearer};

#[tokio::test]
async fn a_challenge_without_credentials() {
    let h = Harness::new();
    let digest = Digest::of(LAYER);
    for (method, path) in [
        (Method::GET, "/v2/".to_owned()),
        (Method::GET, "/v2/_catalog".to_owned()),
        (Method::GET, "/v2/team/app/tags/list".to_owned()),
        (Method::GET, "/v2/team/app/manifests/v1".to_owned()),
        (Method::PUT, "/v2/team/app/manifests/v1".to_owned()),
        (Method::DELETE, "/v2/team/app/manifests/v1".to_owned()),
        (Method::GET, format!("/v2/team/app/blobs/{digest}")),
        (Method::DELETE, format!("/v2/team/app/blobs/{digest}")),
        (Method::POST, "/v2/team/app/blobs/uploads/".to_owned()),
        (Method::PATCH, "/v2/team/app/blobs/uploads/x".to_owned()),
        (Method::GET, format!("/v2/team/app/referrers/{digest}")),
        (Method::GET, "/v2/no/such/route".to_owned()),
        (Method::GET, "/v2/BAD/tags/list".to_owned()),
    ] {
        let answer = h
            .anonymous(method.clone(), &path)
            .send()
            .await
            .refused(401, "UNAUTHORIZED");
        assert_eq!(
            answer.header("www-authenticate"),
            "Basic realm=\"coracle\"",
            "{method} {path}"
        );
        for wrong in [
            "Bearer wrong",
            "Basic !!",
            "Basic d3Jvbmc=",
            "Negotiate x",
            "x",
        ] {
            let answer = h
                .anonymous(method.clone(), &path)
                .header("authorization", wrong)
                .send()
                .await;
            answer.refused(401, "UNAUTHORIZED");
        }
    }
}

#[tokio::test]
async fn basic_and_bearer_carry_the_same_token() {
    let h = Harness::new();
    for value in [basic(ADMIN), bearer(ADMIN)] {
        h.anonymous(Method::GET, "/v2/")
            .header("authorization", value)
            .send()
            .await
            .expect(200);
    }
    let twice = h
        .call(Method::GET, "/v2/")
        .header("authorization", bearer(ADMIN))
        .send()
        .await;
    twice.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn no_access_looks_the_same_whether_it_exists_or_not() {
    let h = Harness::new();
    let digest = h.push_image("secret/app", "v1").await;
    let layer = Digest::of(LAYER);
    for repository in ["secret/app", "secret/none"] {
        for path in [
            format!("/v2/{repository}/tags/list"),
            format!("/v2/{repository}/manifests/v1"),
            format!("/v2/{repository}/manifests/{digest}"),
            format!("/v2/{repository}/blobs/{layer}"),
            format!("/v2/{repository}/referrers/{digest}"),
        ] {
            let answer = h
                .anonymous(Method::GET, &path)
                .header("authorization", bearer(TEAM))
                .send()
                .await;
            let answer = answer.refused(403, "DENIED");
            assert_eq!(
                answer.body,
                r#"{"errors":[{"code":"DENIED","message":"access is not allowed"}]}"#
            );
        }
    }
}

#[tokio::test]
async fn a_blob_is_not_mounted_from_where_it_may_not_be_pulled() {
    let h = Harness::new();
    let digest = h.push_blob("secret/app", LAYER).await;
    let path = format!("/v2/team/app/blobs/uploads/?mount={digest}&from=secret/app");
    let begun = h
        .anonymous(Method::POST, &path)
        .header("authorization", bearer(TEAM))
        .send()
        .await
        .expect(202);
    assert!(
        begun
            .header("location")
            .starts_with("/v2/team/app/blobs/uploads/")
    );
    h.get(&format!("/v2/team/app/blobs/{digest}"))
        .await
        .refused(404, "BLOB_UNKNOWN");
    h.call(Method::POST, &path).send().await.expect(201);
}

#[tokio::test]
async fn a_reader_cannot_change_anything() {
    let h = Harness::new();
    let digest = h.push_image("team/app", "v1").await;
    let as_reader = |method: Method, path: String| {
        h.anonymous(method, &path)
            .header("authorization", bearer(READER))
    };
    as_reader(Method::GET, "/v2/team/app/manifests/v1".into())
        .send()
        .await
        .expect(200);
    as_reader(Method::GET, "/v2/team/app/tags/list".into())
        .send()
        .await
        .expect(200);
    for (method, path) in [
        (Method::PUT, "/v2/team/app/manifests/v1".to_owned()),
        (Method::DELETE, format!("/v2/team/app/manifests/{digest}")),
        (Method::DELETE, "/v2/team/app/manifests/v1".to_owned()),
        (Method::POST, "/v2/team/app/blobs/uploads/".to_owned()),
    ] {
        as_reader(method, path)
            .body("x")
            .send()
            .await
            .refused(403, "DENIED");
    }
    h.get("/v2/team/app/manifests/v1").await.expect(200);
}

#[tokio::test]
async fn the_catalog_shows_only_what_may_be_listed() {
    let h = Harness::new();
    for repository in ["secret/a", "team/a", "team/b", "zzz"] {
        h.push_image(repository, "v1").await;
    }
    let answer = h
        .anonymous(Method::GET, "/v2/_catalog?n=2")
        .header("authorization", bearer(TEAM))
        .send()
        .await
        .expect(200);
    assert_eq!(
        answer.json(),
        json!({ "repositories": ["team/a", "team/b"] })
    );
    assert_eq!(
        answer.header("link"),
        "",
        "a link would tell that there is more"
    );
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let h = Harness::new();
    let upload = h.begin("team/app").await;
    let elsewhere = upload.replace("team/app", "team/other");
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        h.call(method, &elsewhere)
            .send()
            .await
            .refused(404, "BLOB_UPLOAD_UNKNOWN");
    }
    let digest = Digest::of(b"");
    h.call(Method::PUT, &format!("{elsewhere}?digest={digest}"))
        .send()
        .await
        .refused(404, "BLOB_UPLOAD_UNKNOWN");
    h.get(&upload).await.expect(204);
}
