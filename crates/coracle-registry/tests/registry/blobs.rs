//! Blobs and uploads (distribution specification, "Pulling blobs" and "Pushing blobs").

use coracle_registry::{Digest, Limits};
use http::Method;

use crate::support::{Harness, LAYER};

#[tokio::test]
async fn base_and_version_header() {
    let h = Harness::new();
    for path in ["/v2", "/v2/"] {
        let answer = h.get(path).await.expect(200);
        assert_eq!(
            answer.header("docker-distribution-api-version"),
            "registry/2.0"
        );
        assert_eq!(answer.body, "{}");
    }
}

#[tokio::test]
async fn one_request_upload_then_head_and_get() {
    let h = Harness::new();
    let digest = Digest::of(LAYER);
    let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let answer = h
        .call(Method::POST, &path)
        .body(LAYER)
        .send()
        .await
        .expect(201);
    assert_eq!(
        answer.header("location"),
        format!("/v2/team/app/blobs/{digest}")
    );
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());

    let blob = answer.header("location").to_owned();
    let head = h.call(Method::HEAD, &blob).send().await.expect(200);
    assert_eq!(head.header("content-length"), LAYER.len().to_string());
    assert_eq!(head.header("etag"), format!("\"{digest}\""));
    assert!(head.body.is_empty());
    let get = h.get(&blob).await.expect(200);
    assert_eq!(get.body, LAYER);
    assert_eq!(get.header("docker-content-digest"), digest.to_string());
    assert_eq!(get.header("x-content-type-options"), "nosniff");
    let unchanged = h
        .call(Method::GET, &blob)
        .header("if-none-match", head.header("etag"))
        .send()
        .await;
    assert!(unchanged.expect(304).body.is_empty());
    assert!(h.files("uploads").is_empty());
}

#[tokio::test]
async fn ranges() {
    let h = Harness::new();
    let content: Vec<u8> = (0..700_000u32).map(|i| (i % 251) as u8).collect();
    let digest = h.push_blob("team/app", &content).await;
    let blob = format!("/v2/team/app/blobs/{digest}");
    let size = content.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=10-300000", 10, 300_001),
        ("bytes=699990-", 699_990, size),
        ("bytes=699990-999999999", 699_990, size),
        ("bytes=-7", size - 7, size),
    ] {
        let answer = h
            .call(Method::GET, &blob)
            .header("range", range)
            .send()
            .await
            .expect(206);
        assert_eq!(answer.body, content[from..to], "{range}");
        assert_eq!(
            answer.header("content-range"),
            format!("bytes {from}-{}/{size}", to - 1)
        );
        assert_eq!(answer.header("content-length"), (to - from).to_string());
    }
    for outside in ["bytes=700000-", "bytes=-0", "bytes=18446744073709551615-"] {
        let answer = h
            .call(Method::GET, &blob)
            .header("range", outside)
            .send()
            .await
            .expect(416);
        assert_eq!(answer.header("content-range"), "bytes */700000");
    }
    for ignored in ["bytes=5-1", "bytes=0-1,5-6", "lines=1-2"] {
        assert_eq!(
            h.call(Method::GET, &blob)
                .header("range", ignored)
                .send()
                .await
                .expect(200)
                .body
                .len(),
            size
        );
    }
    let other = h
        .call(Method::GET, &blob)
        .header("range", "bytes=0-0")
        .header("if-range", "\"x\"")
        .send()
        .await;
    assert_eq!(other.expect(200).body.len(), size);
    let empty = h.push_blob("team/app", b"").await;
    assert!(
        h.get(&format!("/v2/team/app/blobs/{empty}"))
            .await
            .expect(200)
            .body
            .is_empty()
    );
}

#[tokio::test]
async fn chunks_status_and_completion() {
    let h = Harness::new();
    let digest = Digest::of(b"hello world!");
    let upload = h.begin("team/app").await;
    let answer = h
        .call(Method::PATCH, &upload)
        .header("content-range", "0-4")
        .body("hello")
        .send()
        .await
        .expect(202);
    assert_eq!(answer.header("range"), "0-4");
    assert_eq!(answer.header("location"), upload);
    h.call(Method::PATCH, &upload)
        .body(" world")
        .send()
        .await
        .expect(202);
    assert_eq!(h.get(&upload).await.expect(204).header("range"), "0-10");

    // Chunks that do not fit are refused, change nothing, and say where to go on.
    for range in ["5-9", "0-4", "12-13"] {
        let answer = h
            .call(Method::PATCH, &upload)
            .header("content-range", range)
            .body("xxxxx")
            .send()
            .await;
        let answer = answer.refused(416, "BLOB_UPLOAD_INVALID");
        assert_eq!(answer.header("range"), "0-10");
        assert_eq!(answer.header("location"), upload);
    }
    for (range, body) in [
        ("11-12", "!"),
        ("11-11", "!!"),
        ("11", "!"),
        ("12-11", "!"),
        ("x-y", "!"),
    ] {
        let answer = h
            .call(Method::PATCH, &upload)
            .header("content-range", range)
            .body(body)
            .send()
            .await;
        answer.refused(400, "BLOB_UPLOAD_INVALID");
        assert_eq!(
            h.get(&upload).await.expect(204).header("range"),
            "0-10",
            "{range}"
        );
    }
    let finish = format!("{upload}?digest={digest}");
    h.call(Method::PUT, &finish)
        .header("content-range", "11-11")
        .body("!")
        .send()
        .await
        .expect(201);
    assert_eq!(
        h.get(&format!("/v2/team/app/blobs/{digest}"))
            .await
            .expect(200)
            .body,
        "hello world!"
    );
    h.get(&upload).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
    h.call(Method::PUT, &finish)
        .send()
        .await
        .refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn sha512_and_big_chunks() {
    let h = Harness::new();
    let content = vec![7u8; 1_000_000];
    let hex = "3cc6e4ba4bf2d5dd2ee4b8e6ec6a4b0b";
    let wrong = format!("sha512:{}", hex.repeat(4));
    let upload = h.begin("team/app").await;
    h.call(Method::PATCH, &upload)
        .body(content.clone())
        .send()
        .await
        .expect(202);
    let answer = h
        .call(Method::PUT, &format!("{upload}?digest={wrong}"))
        .send()
        .await
        .refused(400, "DIGEST_INVALID");
    // The refusal names the digest that it has computed; with it the same content is taken.
    let message = answer.json()["errors"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    let actual = message
        .split([' ', ','])
        .find(|w| w.starts_with("sha512:"))
        .unwrap()
        .to_owned();
    let answer = h
        .call(
            Method::POST,
            &format!("/v2/team/app/blobs/uploads/?digest={actual}"),
        )
        .body(content.clone())
        .send()
        .await
        .expect(201);
    assert_eq!(
        h.get(answer.header("location")).await.expect(200).body,
        content
    );
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let h = Harness::new();
    let other = Digest::of(b"other");
    let path = format!("/v2/team/app/blobs/uploads/?digest={other}");
    h.call(Method::POST, &path)
        .body(LAYER)
        .send()
        .await
        .refused(400, "DIGEST_INVALID");
    let upload = h.begin("team/app").await;
    h.call(Method::PATCH, &upload)
        .body(LAYER)
        .send()
        .await
        .expect(202);
    h.call(Method::PUT, &upload)
        .send()
        .await
        .refused(400, "DIGEST_INVALID");
    h.get(&upload).await.expect(204);
    h.call(Method::PUT, &format!("{upload}?digest={other}"))
        .send()
        .await
        .refused(400, "DIGEST_INVALID");
    h.get(&upload).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
    assert!(h.files("uploads").is_empty());
    assert!(h.files("objects").is_empty());
}

#[tokio::test]
async fn cancel() {
    let h = Harness::new();
    let upload = h.begin("team/app").await;
    h.call(Method::PATCH, &upload)
        .body(LAYER)
        .send()
        .await
        .expect(202);
    h.call(Method::DELETE, &upload).send().await.expect(204);
    h.call(Method::PATCH, &upload)
        .body(LAYER)
        .send()
        .await
        .refused(404, "BLOB_UPLOAD_UNKNOWN");
    assert!(h.files("uploads").is_empty());
}

#[tokio::test]
async fn mount_only_what_exists() {
    let h = Harness::new();
    let digest = h.push_blob("team/app", LAYER).await;
    let mount = |from: &str, digest: &Digest| {
        format!("/v2/team/other/blobs/uploads/?mount={digest}&from={from}")
    };
    let done = h
        .call(Method::POST, &mount("team/app", &digest))
        .send()
        .await
        .expect(201);
    assert_eq!(h.get(done.header("location")).await.expect(200).body, LAYER);
    for path in [
        mount("team/none", &digest),
        mount("team/app", &Digest::of(b"none")),
    ] {
        let begun = h.call(Method::POST, &path).send().await.expect(202);
        assert!(
            begun
                .header("location")
                .starts_with("/v2/team/other/blobs/uploads/")
        );
    }
    let begun = h
        .call(
            Method::POST,
            &format!("/v2/team/other/blobs/uploads/?mount={digest}"),
        )
        .send()
        .await;
    begun.expect(202);
}

#[tokio::test]
async fn content_is_stored_once_and_seen_only_where_it_was_pushed() {
    let h = Harness::new();
    let digest = h.push_blob("team/a", LAYER).await;
    h.get(&format!("/v2/team/b/blobs/{digest}"))
        .await
        .refused(404, "BLOB_UNKNOWN");
    h.call(Method::HEAD, &format!("/v2/team/b/blobs/{digest}"))
        .send()
        .await
        .expect(404);
    h.push_blob("team/b", LAYER).await;
    h.get(&format!("/v2/team/b/blobs/{digest}"))
        .await
        .expect(200);
    assert_eq!(h.files("objects/blobs").len(), 1);
    h.get(&format!("/v2/team/b/blobs/{}", Digest::of(b"x")))
        .await
        .refused(404, "BLOB_UNKNOWN");
    h.call(Method::DELETE, &format!("/v2/team/a/blobs/{digest}"))
        .send()
        .await
        .refused(405, "UNSUPPORTED");
}

#[tokio::test]
async fn sizes_and_numbers_are_bounded() {
    let limits = Limits {
        blob_bytes: 10,
        uploads_per_repository: 2,
        ..Limits::default()
    };
    let h = Harness::limited(limits);
    let path = format!("/v2/team/app/blobs/uploads/?digest={}", Digest::of(LAYER));
    h.call(Method::POST, &path)
        .body(LAYER)
        .send()
        .await
        .refused(413, "SIZE_INVALID");
    let upload = h.begin("team/app").await;
    h.call(Method::PATCH, &upload)
        .body("12345678")
        .send()
        .await
        .expect(202);
    let announced = h
        .call(Method::PATCH, &upload)
        .header("content-length", "3")
        .body("abc")
        .send()
        .await;
    announced.refused(413, "SIZE_INVALID");
    assert!(
        h.files("uploads").is_empty(),
        "what can never become a blob is not kept"
    );
    for _ in 0..2 {
        h.begin("team/app").await;
    }
    let refused = h
        .call(Method::POST, "/v2/team/app/blobs/uploads/")
        .send()
        .await;
    assert!(
        !refused
            .refused(429, "TOOMANYREQUESTS")
            .header("retry-after")
            .is_empty()
    );
    h.begin("team/other").await;
}

#[tokio::test(start_paused = true)]
async fn transfers_wait_for_a_turn_and_stalled_ones_are_cut_off() {
    let limits = Limits {
        concurrent_uploads: 1,
        slot_wait: std::time::Duration::from_secs(5),
        transfer_idle: std::time::Duration::from_secs(20),
        ..Limits::default()
    };
    let h = Harness::limited(limits);
    let (one, two) = (h.begin("team/app").await, h.begin("team/app").await);
    let silent = axum::body::Body::from_stream(futures::stream::pending::<
        Result<bytes::Bytes, std::io::Error>,
    >());
    let stalled = h.call(Method::PATCH, &one).body(silent).send();
    let waiting = h.call(Method::PATCH, &two).body("x").send();
    let (stalled, waiting) = tokio::join!(stalled, waiting);
    waiting.refused(429, "TOOMANYREQUESTS");
    stalled.refused(400, "BLOB_UPLOAD_INVALID");
    h.call(Method::PATCH, &one)
        .body("x")
        .send()
        .await
        .expect(202);
}
