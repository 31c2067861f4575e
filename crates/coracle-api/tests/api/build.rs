//! Uploads of source: bounded, whole or not at all.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use coracle_control::settings::Limits;
use coracle_model::user::{ProjectScope, Role};
use futures::StreamExt as _;
use reqwest::{Body, Method};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::support::{Answer, As, Options, Platform, files, soon};

const PATH: &str = "projects/default/apps/hello/builds";

async fn upload(caller: &As, path: &str, body: impl Into<Body>) -> Answer {
    let request = caller
        .request(Method::POST, path)
        .header("content-type", "application/gzip")
        .body(body);
    Answer::of(request).await
}

fn small() -> Options {
    Options {
        limits: Limits {
            upload_bytes: 10_000,
            ..Limits::default()
        },
        ..Options::default()
    }
}

fn chunked(bytes: usize) -> Body {
    let pieces = (0..bytes / 1000).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7_u8; 1000])));
    Body::wrap_stream(futures::stream::iter(pieces))
}

#[tokio::test]
async fn an_upload_becomes_a_queued_build() {
    let platform = Platform::new().await;
    let dora = platform
        .user("dora", Role::Developer, ProjectScope::All)
        .await;
    dora.make_app("default", "hello").await;
    let build = upload(&dora, PATH, "an archive").await.ok(202);
    assert_eq!(build["metadata"]["name"], "b1");
    assert_eq!(build["status"], json!({"phase": "queued"}));
    assert_eq!(build["spec"]["source"]["bytes"], 10);
    let id = build["spec"]["source"]["id"].as_str().unwrap();
    let kept = std::fs::read_to_string(platform.data.join("uploads").join(id)).unwrap();
    assert_eq!(kept, "an archive");
    // In pieces of unknown number it is the same.
    let second = upload(&dora, PATH, chunked(5000)).await.ok(202);
    assert_eq!(second["spec"]["source"]["bytes"], 5000);
    for name in ["b2", "2"] {
        assert_eq!(dora.get(&format!("{PATH}/{name}")).await.ok(200), second);
    }
    dora.get(&format!("{PATH}/b3"))
        .await
        .problem(404, "not_found");
    for wrong in ["bb1", "latest", "-1", "99999999999"] {
        dora.get(&format!("{PATH}/{wrong}"))
            .await
            .about(422, "invalid_field", "build");
    }
    assert_eq!(dora.get(&format!("{PATH}/b1/log")).await.status, 200);

    let cancelled = dora
        .post(&format!("{PATH}/b1/cancel"), &json!({}))
        .await
        .ok(202);
    assert_eq!(cancelled["spec"]["cancel"], "requested");
    dora.post(&format!("{PATH}/b9/cancel"), &json!({}))
        .await
        .problem(404, "not_found");
    assert_eq!(
        dora.get("projects/default/apps/hello").await.ok(200)["status"]["last_build"],
        2
    );
}

#[tokio::test]
async fn a_refused_upload_leaves_nothing_behind() {
    let platform = Platform::with(small()).await;
    let admin = platform.admin().await;
    let make = format!("{PATH}?create=true");
    upload(&admin, PATH, "x").await.problem(404, "not_found");
    upload(&admin, &make, "")
        .await
        .problem(422, "invalid_source");
    let problem = upload(&admin, &make, chunked(11_000))
        .await
        .problem(413, "too_large");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .starts_with("the upload is larger than"),
        "{problem}"
    );
    // Announced to be too large: not read at all.
    upload(&admin, &make, vec![0_u8; 10_001])
        .await
        .problem(413, "too_large");
    for kind in ["multipart/form-data; boundary=x", "text/html"] {
        let request = admin
            .request(Method::POST, &make)
            .header("content-type", kind)
            .body("x");
        Answer::of(request)
            .await
            .problem(415, "unsupported_media_type");
    }
    upload(&admin, "projects/never/apps/a/builds?create=true", "x")
        .await
        .problem(404, "not_found");
    admin
        .get("projects/default/apps/hello")
        .await
        .problem(404, "not_found");
    assert_eq!(files(&platform.data.join("uploads")), Vec::<String>::new());

    upload(&admin, &make, vec![0_u8; 10_000]).await.ok(202);
    admin.delete("projects/default/apps/hello").await.ok(202);
    upload(&admin, PATH, "x").await.problem(409, "conflict");
    assert_eq!(files(&platform.data.join("uploads")).len(), 1);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing_behind() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    let uploads = platform.data.join("uploads");
    for head in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut socket = tokio::net::TcpStream::connect(platform.address)
            .await
            .unwrap();
        let request = format!(
            "POST /api/v1/{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n{head}\r\n\r\n400\r\n{}",
            admin.authorization.clone().unwrap(),
            "x".repeat(500),
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let begun = async {
            while files(&uploads).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        soon("the upload to begin", begun).await;
        drop(socket);
        let ended = async {
            while !files(&uploads).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        soon("its file to be removed", ended).await;
    }
    assert_eq!(admin.get(PATH).await.ok(200)["items"], json!([]));
}

/// A file system of 1 MiB, gone with the value.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "coracle-test"])
            .arg(dir.path())
            .status();
        assert!(
            mounted.unwrap().success(),
            "this test mounts a small tmpfs and needs root for it"
        );
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.unwrap().success());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_left_behind() {
    let disk = SmallDisk::new();
    let platform = Platform::with(Options {
        data_dir: Some(disk.path().to_owned()),
        ..Options::default()
    })
    .await;
    let admin = platform.admin().await;
    admin.make_app("default", "hello").await;
    let answer = upload(&admin, PATH, chunked(3_000_000)).await;
    let problem = answer.problem(507, "disk_full");
    assert!(
        problem["hint"]
            .as_str()
            .unwrap()
            .contains("nothing was changed")
    );
    assert_eq!(files(&disk.path().join("uploads")), Vec::<String>::new());
    assert_eq!(admin.get(PATH).await.ok(200)["items"], json!([]));
    // With room again it works again.
    upload(&admin, PATH, chunked(500_000)).await.ok(202);
    drop(platform);
}

#[tokio::test]
async fn uploads_at_the_same_time_have_numbers_of_their_own() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let all = futures::stream::iter(0..6).map(|n| {
        let admin = admin.clone();
        async move {
            upload(
                &admin,
                &format!("{PATH}?create=true"),
                format!("archive {n}"),
            )
            .await
            .ok(202)
        }
    });
    let builds: Vec<_> = all.buffer_unordered(6).collect().await;
    let mut names: Vec<_> = builds
        .iter()
        .map(|b| b["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["b1", "b2", "b3", "b4", "b5", "b6"]);
    assert_eq!(files(&platform.data.join("uploads")).len(), 6);
}
