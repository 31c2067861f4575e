//! Interrupted at any point: nothing half is seen, and everything can go on.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use coracle_registry::{Digest, Limits, Registry};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::Method;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::support::{Answer, CONFIG, Harness, LAYER, TestAuthorizer, image_manifest};

const PART: usize = 300_000;

fn content() -> Vec<u8> {
    (0..3 * PART).map(|i| (i % 241) as u8).collect()
}

/// Some data, then what `end` says.
fn body(data: &[u8], end: impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    let frames: Vec<_> = data
        .chunks(10_000)
        .map(|c| Ok(Bytes::copy_from_slice(c)))
        .collect();
    Body::from_stream(stream::iter(frames).chain(end))
}

#[tokio::test]
async fn a_broken_connection_leaves_what_came() {
    let h = Harness::new();
    let content = content();
    let digest = Digest::of(&content);
    let upload = h.begin("team/app").await;
    let broken = body(
        &content[..PART],
        stream::iter([Err(io::ErrorKind::ConnectionReset.into())]),
    );
    h.call(Method::PATCH, &upload)
        .body(broken)
        .send()
        .await
        .refused(400, "BLOB_UPLOAD_INVALID");
    h.get(&format!("/v2/team/app/blobs/{digest}"))
        .await
        .refused(404, "BLOB_UNKNOWN");
    assert_eq!(
        h.get(&upload).await.expect(204).header("range"),
        format!("0-{}", PART - 1)
    );

    let range = format!("{PART}-{}", content.len() - 1);
    let rest = content[PART..].to_vec();
    h.call(Method::PATCH, &upload)
        .header("content-range", range)
        .body(rest)
        .send()
        .await
        .expect(202);
    h.call(Method::PUT, &format!("{upload}?digest={digest}"))
        .send()
        .await
        .expect(201);
    assert_eq!(
        h.get(&format!("/v2/team/app/blobs/{digest}"))
            .await
            .expect(200)
            .body,
        content
    );
}

#[tokio::test]
async fn a_broken_last_request_publishes_nothing() {
    let h = Harness::new();
    let content = content();
    // The data is whole, only its end never came: it must not count.
    let digest = Digest::of(&content);
    let broken = || {
        body(
            &content,
            stream::iter([Err(io::ErrorKind::ConnectionReset.into())]),
        )
    };
    let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    h.call(Method::POST, &path)
        .body(broken())
        .send()
        .await
        .refused(400, "BLOB_UPLOAD_INVALID");
    assert!(
        h.files("").is_empty(),
        "the client has no name for this upload: it is gone"
    );
    let upload = h.begin("team/app").await;
    let finish = format!("{upload}?digest={digest}");
    h.call(Method::PUT, &finish)
        .body(broken())
        .send()
        .await
        .refused(400, "BLOB_UPLOAD_INVALID");
    h.get(&format!("/v2/team/app/blobs/{digest}"))
        .await
        .refused(404, "BLOB_UNKNOWN");
    h.call(Method::PUT, &finish).send().await.expect(201);
}

/// The length of the only upload's file.
fn upload_len(h: &Harness) -> u64 {
    h.files("uploads")
        .iter()
        .map(|f| {
            std::fs::metadata(h.folder.path().join("uploads").join(f))
                .unwrap()
                .len()
        })
        .sum()
}

/// Waits until nobody writes to the upload any more: the last write of a request that was dropped may still go on.
async fn freed(h: &Harness, upload: &str) -> Answer {
    let freed = async {
        loop {
            let answer = h.call(Method::PATCH, upload).send().await;
            if answer.status == 202 {
                break answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed)
        .await
        .unwrap()
}

#[tokio::test]
async fn killed_in_the_middle_and_resumed_after_a_restart() {
    let mut h = Harness::new();
    let content = content();
    let digest = Digest::of(&content);
    let upload = h.begin("team/app").await;
    // The data is given out only as far as it was written, so that the request is certainly in its middle when it is dropped.
    {
        let hanging = h
            .call(Method::PATCH, &upload)
            .body(body(&content[..PART], stream::pending()))
            .send();
        let written = async {
            while upload_len(&h) < 200_000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = hanging => panic!("the body never ends"),
            done = tokio::time::timeout(Duration::from_secs(20), written) => done.unwrap(),
        }
    }
    // A kill ends a write too; here the old registry lives in the same process as the new one.
    freed(&h, &upload).await;
    h = h.restarted();
    h.get(&format!("/v2/team/app/blobs/{digest}"))
        .await
        .refused(404, "BLOB_UNKNOWN");
    let range = h.get(&upload).await.expect(204).header("range").to_owned();
    let have: usize = range.strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
    assert!((200_000..=PART).contains(&have), "{have}");
    h.call(Method::PATCH, &upload)
        .body(content[have..2 * PART].to_vec())
        .send()
        .await
        .expect(202);
    h = h.restarted();
    let finish = format!("{upload}?digest={digest}");
    h.call(Method::PUT, &finish)
        .body(content[2 * PART..].to_vec())
        .send()
        .await
        .expect(201);
    assert_eq!(
        h.get(&format!("/v2/team/app/blobs/{digest}"))
            .await
            .expect(200)
            .body,
        content
    );
    assert!(h.files("uploads").is_empty());
}

#[tokio::test]
async fn a_dropped_request_frees_its_upload() {
    let h = Harness::new();
    let content = content();
    let upload = h.begin("team/app").await;
    {
        let hanging = h
            .call(Method::PATCH, &upload)
            .body(body(&content[..PART], stream::pending()))
            .send();
        let busy = async {
            while upload_len(&h) < 100_000 {
                tokio::task::yield_now().await;
            }
            h.call(Method::PATCH, &upload)
                .body("x")
                .send()
                .await
                .refused(409, "BLOB_UPLOAD_INVALID");
        };
        tokio::select! {
            _ = hanging => panic!("the body never ends"),
            done = tokio::time::timeout(Duration::from_secs(20), busy) => done.unwrap(),
        }
    }
    let answer = freed(&h, &upload).await;
    let have: usize = answer
        .header("range")
        .strip_prefix("0-")
        .unwrap()
        .parse::<usize>()
        .unwrap()
        + 1;
    let digest = Digest::of(&content);
    let finish = format!("{upload}?digest={digest}");
    h.call(Method::PUT, &finish)
        .body(content[have..].to_vec())
        .send()
        .await
        .expect(201);
}

#[tokio::test]
async fn leftovers_are_swept() {
    let h = Harness::new();
    let upload = h.begin("team/app").await;
    h.call(Method::PATCH, &upload)
        .body(LAYER)
        .send()
        .await
        .expect(202);
    assert_eq!(
        h.registry
            .sweep_uploads(Duration::from_secs(3600))
            .await
            .unwrap()
            .uploads,
        0
    );
    h.get(&upload).await.expect(204);
    let swept = h.registry.sweep_uploads(Duration::ZERO).await.unwrap();
    assert_eq!((swept.uploads, swept.bytes), (1, LAYER.len() as u64));
    h.get(&upload).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn content_without_a_record_is_not_seen_and_a_torn_file_is_replaced() {
    let h = Harness::new();
    let digest = Digest::of(LAYER);
    let place = h
        .folder
        .path()
        .join("objects/blobs/sha256")
        .join(&digest.hex()[..2]);
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join(digest.hex()), &LAYER[..3]).unwrap();
    h.get(&format!("/v2/team/app/blobs/{digest}"))
        .await
        .refused(404, "BLOB_UNKNOWN");
    h.push_blob("team/app", LAYER).await;
    assert_eq!(
        h.get(&format!("/v2/team/app/blobs/{digest}"))
            .await
            .expect(200)
            .body,
        LAYER
    );
}

#[tokio::test]
async fn damaged_content_is_mended_by_the_next_push() {
    let h = Harness::new();
    let digest = h.push_blob("team/app", LAYER).await;
    let blob = format!("/v2/team/app/blobs/{digest}");
    let file = h
        .folder
        .path()
        .join("objects/blobs/sha256")
        .join(&digest.hex()[..2])
        .join(digest.hex());
    for damage in ["torn", "gone"] {
        match damage {
            "torn" => std::fs::write(&file, &LAYER[..3]).unwrap(),
            _ => std::fs::remove_file(&file).unwrap(),
        }
        h.call(Method::HEAD, &blob).send().await.expect(404);
        h.get(&blob).await.refused(404, "BLOB_UNKNOWN");
        h.push_blob("team/app", LAYER).await;
        assert_eq!(h.get(&blob).await.expect(200).body, LAYER, "{damage}");
    }
}

/// A store that takes so many writes and then fails every one, as if the process had been killed there.
#[derive(Debug)]
pub(crate) struct Dying {
    inner: Arc<InMemory>,
    left: AtomicUsize,
}

impl Dying {
    pub(crate) fn after(inner: Arc<InMemory>, writes: usize) -> Self {
        Self {
            inner,
            left: AtomicUsize::new(writes),
        }
    }

    fn write(&self) -> Result<()> {
        let took = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        took.map(|_| ()).map_err(|_| object_store::Error::Generic {
            store: "dying",
            source: "killed".into(),
        })
    }
}

impl fmt::Display for Dying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dying")
    }
}

#[async_trait]
impl ObjectStore for Dying {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.write()?;
        self.inner.put_opts(location, payload, opts).await
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.write()?;
        self.inner.put_multipart_opts(location, opts).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.write() {
            Ok(()) => self.inner.delete_stream(locations),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.write()?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// Pushes an image and a newer one under the same tag, then deletes it, as far as the store lets.
async fn life(h: &Harness) -> bool {
    for (repository, manifest) in [("team/app", image_manifest()), ("team/app", newer())] {
        for blob in [CONFIG, LAYER] {
            let path = format!(
                "/v2/{repository}/blobs/uploads/?digest={}",
                Digest::of(blob)
            );
            if h.call(Method::POST, &path).body(blob).send().await.status != 201 {
                return false;
            }
        }
        if h.put_manifest(repository, "v1", &manifest).await.status != 201 {
            return false;
        }
    }
    let digest = Digest::of(newer().to_string().as_bytes());
    h.call(Method::DELETE, &format!("/v2/team/app/manifests/{digest}"))
        .send()
        .await
        .status
        == 202
}

fn newer() -> serde_json::Value {
    let mut manifest = image_manifest();
    manifest["annotations"] = serde_json::json!({ "version": "2" });
    manifest["subject"] = crate::support::descriptor(crate::support::OCI_MANIFEST, b"something");
    manifest
}

#[tokio::test]
async fn killed_at_every_write_of_the_store() {
    for writes in 0.. {
        assert!(writes < 100, "the life of an image has an end");
        let folder = tempfile::tempdir().unwrap();
        let inner = Arc::new(InMemory::new());
        let on = |store: Arc<dyn ObjectStore>| {
            Registry::new(
                store,
                folder.path().to_owned(),
                Arc::new(TestAuthorizer),
                Limits::default(),
            )
        };
        let dying = on(Arc::new(Dying::after(Arc::clone(&inner), writes)));
        let healthy = on(Arc::clone(&inner) as Arc<dyn ObjectStore>);
        let mut h = Harness {
            folder: tempfile::tempdir().unwrap(),
            registry: dying,
        };
        let whole = life(&h).await;

        // After the restart, whatever a tag or a record shows is whole.
        h.registry = healthy;
        let tags = h.get("/v2/team/app/tags/list").await;
        if tags.status == 200 {
            for tag in tags.json()["tags"].as_array().unwrap() {
                let manifest = h
                    .get(&format!("/v2/team/app/manifests/{}", tag.as_str().unwrap()))
                    .await
                    .expect(200);
                assert_eq!(
                    manifest.header("docker-content-digest"),
                    Digest::of(&manifest.body).to_string()
                );
                for blob in [CONFIG, LAYER] {
                    let path = format!("/v2/team/app/blobs/{}", Digest::of(blob));
                    assert_eq!(h.get(&path).await.expect(200).body, blob);
                }
            }
        }
        assert!(
            life(&h).await,
            "the same again goes through, after {writes} writes"
        );
        if whole {
            return;
        }
    }
}
