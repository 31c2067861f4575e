//! A full disk: a clear answer, and nothing left behind. Needs root, for a small file system of its own.

use std::path::Path;
use std::process::Command;

use coracle_registry::{Digest, Limits};
use http::Method;

use crate::support::{Harness, LAYER, image_manifest, open};

const DISK_BYTES: usize = 4 << 20;

struct SmallDisk(Harness);

impl SmallDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={DISK_BYTES}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "coracle-test"])
            .arg(folder.path())
            .status();
        assert!(
            mounted.unwrap().success(),
            "this test mounts a small tmpfs and needs root for it"
        );
        let registry = open(folder.path(), Limits::default());
        Self(Harness { folder, registry })
    }

    fn path(&self) -> &Path {
        self.0.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
        assert!(unmounted.unwrap().success());
    }
}

#[tokio::test]
async fn an_upload_that_fills_the_disk_is_removed() {
    let disk = SmallDisk::new();
    let h = &disk.0;
    let big: Vec<u8> = (0..DISK_BYTES + 1000).map(|i| (i % 239) as u8).collect();
    let digest = Digest::of(&big);
    let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let answer = h
        .call(Method::POST, &path)
        .body(big.clone())
        .send()
        .await
        .refused(507, "UNKNOWN");
    assert!(
        answer.json()["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("full")
    );
    assert!(h.files("").is_empty());

    let upload = h.begin("team/app").await;
    h.call(Method::PATCH, &upload)
        .body(big[..DISK_BYTES / 2].to_vec())
        .send()
        .await
        .expect(202);
    h.call(Method::PATCH, &upload)
        .body(big[DISK_BYTES / 2..].to_vec())
        .send()
        .await
        .refused(507, "UNKNOWN");
    assert!(h.files("").is_empty());
    h.get(&upload).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
    h.get(&format!("/v2/team/app/blobs/{digest}"))
        .await
        .refused(404, "BLOB_UNKNOWN");

    h.push_image("team/app", "v1").await;
    h.get("/v2/team/app/manifests/v1").await.expect(200);
}

#[tokio::test]
async fn an_upload_ends_before_the_disk_is_full() {
    let disk = SmallDisk::new();
    let h = &disk.0;
    let stat = || rustix::fs::statvfs(disk.path()).unwrap();
    let kept = stat().f_blocks * stat().f_frsize / 20;
    let noise: Vec<u8> = (0..DISK_BYTES).map(|i| (i % 239) as u8).collect();
    let most = DISK_BYTES - usize::try_from(kept).unwrap();
    let push = async |content: &[u8]| {
        let path = format!("/v2/team/app/blobs/uploads/?digest={}", Digest::of(content));
        let request = h.call(Method::POST, &path).body(content.to_vec());
        request.send().await
    };
    push(&noise[..most - (256 << 10)]).await.expect(201);
    push(&noise[..512 << 10]).await.refused(507, "UNKNOWN");
    assert!(stat().f_bavail * stat().f_frsize >= kept);
    assert!(h.files("uploads").is_empty());
    push(&noise[..1024]).await.expect(201);
}

#[tokio::test]
async fn records_on_a_full_disk() {
    let disk = SmallDisk::new();
    let h = &disk.0;
    let digest = h.push_image("team/app", "v1").await;
    let before = h.files("objects");
    let filler = disk.path().join("filler");
    // To the last byte: tmpfs gives out whole pages.
    std::fs::write(&filler, vec![0; DISK_BYTES]).unwrap_err();

    let mut newer = image_manifest();
    newer["annotations"] = serde_json::json!({ "version": "2" });
    h.put_manifest("team/app", "v1", &newer)
        .await
        .refused(507, "UNKNOWN");
    let path = format!("/v2/team/new/blobs/uploads/?digest={}", Digest::of(b"new"));
    h.call(Method::POST, &path)
        .body("new")
        .send()
        .await
        .refused(507, "UNKNOWN");
    assert_eq!(h.files("objects"), before);
    assert!(h.files("uploads").is_empty());
    // What was there is still served, also the tag that should have moved.
    let served = h.get("/v2/team/app/manifests/v1").await.expect(200);
    assert_eq!(served.header("docker-content-digest"), digest.to_string());
    assert_eq!(
        h.get(&format!("/v2/team/app/blobs/{}", Digest::of(LAYER)))
            .await
            .expect(200)
            .body,
        LAYER
    );

    std::fs::remove_file(filler).unwrap();
    h.put_manifest("team/app", "v1", &newer).await.expect(201);
}
