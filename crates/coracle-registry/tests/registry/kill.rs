//! SIGKILL to a serving process while a real client pushes: at each of the first steps that show on the disk.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coracle_registry::{Digest, Limits};

use crate::support::{Harness, open};
use crate::tools::{DOCKER, Images, SKOPEO, layer, ok, run};

/// An image of one layer and a configuration becomes two blobs with records, a manifest with a record, and a tag: seven files, and
/// uploads before them.
const STEPS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(60);

struct Server(Child);

impl Server {
    /// The crate's example, which Cargo builds for tests beside them.
    fn start(folder: &Path) -> (Self, SocketAddr) {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let tests = std::env::current_exe().unwrap();
        let serve = tests
            .parent()
            .and_then(Path::parent)
            .unwrap()
            .join("examples/serve");
        let server = Self(
            Command::new(serve)
                .arg(folder)
                .arg(address.to_string())
                .spawn()
                .unwrap(),
        );
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the server does not start");
            std::thread::yield_now();
        }
        (server, address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL: the process gets no chance to tidy up.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn push(archive: &Path, address: SocketAddr) -> Command {
    let mut push = Command::new(SKOPEO);
    push.args([
        "--insecure-policy",
        "copy",
        "--dest-tls-verify=false",
        "--dest-no-creds",
    ]);
    push.arg(format!("docker-archive:{}", archive.display()))
        .arg(format!("docker://{address}/team/app:v1"));
    push.stdout(Stdio::null()).stderr(Stdio::null());
    push
}

/// What lies under a digest has it, and what a tag shows is whole. Returns how many tags there are.
async fn check(h: &Harness) -> usize {
    for file in h
        .files("objects")
        .iter()
        .filter(|f| f.starts_with("blobs/") && !f.contains('#'))
    {
        let content = std::fs::read(h.folder.path().join("objects").join(file)).unwrap();
        assert!(file.ends_with(Digest::of(&content).hex()), "{file}");
    }
    let tags = h.get("/v2/team/app/tags/list").await;
    if tags.status == 404 {
        return 0;
    }
    let tags = tags.expect(200).json()["tags"].as_array().unwrap().clone();
    for tag in &tags {
        let manifest = h
            .get(&format!("/v2/team/app/manifests/{}", tag.as_str().unwrap()))
            .await
            .expect(200)
            .json();
        for part in manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .chain([&manifest["config"]])
        {
            let digest = part["digest"].as_str().unwrap();
            let blob = h
                .get(&format!("/v2/team/app/blobs/{digest}"))
                .await
                .expect(200);
            assert_eq!(Digest::of(&blob.body).to_string(), digest);
        }
    }
    tags.len()
}

fn archive(folder: &Path) -> PathBuf {
    let name = format!("coracle-registry-kill-{}:v1", std::process::id());
    let _images = Images(vec![name.clone()]);
    let imported = run(DOCKER, &["import", "-", &name], &layer(folder, 1 << 20));
    assert!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    let archive = folder.join("image.tar");
    ok(
        DOCKER,
        &["save", "--output", archive.to_str().unwrap(), &name],
    );
    archive
}

#[tokio::test]
async fn killed_while_a_client_pushes() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = archive(scratch.path());
    for step in 1..=STEPS {
        let folder = tempfile::tempdir().unwrap();
        let registry = open(folder.path(), Limits::default());
        let h = Harness { folder, registry };
        let (server, address) = Server::start(h.folder.path());
        let mut client = push(&archive, address).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while h.files("").len() < step && client.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "step {step} is never reached");
        }
        drop(server);
        // The client gives up by itself or is made to.
        client.kill().unwrap();
        client.wait().unwrap();

        let h = h.restarted();
        check(&h).await;
        let (server, address) = Server::start(h.folder.path());
        assert!(
            push(&archive, address).status().unwrap().success(),
            "the push goes through after step {step}"
        );
        drop(server);
        let h = h.restarted();
        assert_eq!(check(&h).await, 1);
        h.registry.sweep_uploads(Duration::ZERO).await.unwrap();
        assert!(h.files("uploads").is_empty());
    }
}
