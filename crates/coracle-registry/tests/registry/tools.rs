//! The real command lines against a real port: Docker and skopeo. Both must be there.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use axum::Router;

use crate::support::{ADMIN, Harness, READER, TEAM};

pub(crate) const DOCKER: &str = "/usr/bin/docker";
pub(crate) const SKOPEO: &str = "/usr/bin/skopeo";
/// A whole scenario of tools, on a machine that may be busy.
const SCENARIO: Duration = Duration::from_secs(240);

/// Serves `router` on a free loopback port while `scenario` runs on a thread where it may block.
async fn while_serving(router: Router, scenario: impl FnOnce(SocketAddr) + Send + 'static) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scenario = tokio::task::spawn_blocking(move || scenario(address));
    tokio::select! {
        ended = axum::serve(listener, router) => panic!("the server ended: {ended:?}"),
        done = tokio::time::timeout(SCENARIO, scenario) => done.unwrap().unwrap(),
    }
}

pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program} must be installed for this test: {e}"));
    // A program that does not read its input may have ended before.
    let mut stdin = child.stdin.take().unwrap();
    if let Err(e) = stdin.write_all(input) {
        assert_eq!(e.kind(), std::io::ErrorKind::BrokenPipe);
    }
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[track_caller]
pub(crate) fn ok(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments, b"");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[track_caller]
fn fails(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments, b"");
    assert!(
        !output.status.success(),
        "{program} {arguments:?} should fail"
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Local images that this test made; removed when it ends, however it ends.
pub(crate) struct Images(pub(crate) Vec<String>);

impl Drop for Images {
    fn drop(&mut self) {
        for image in &self.0 {
            run(DOCKER, &["rmi", "--force", image], b"");
        }
    }
}

/// A tar of one file with content that no other test has.
pub(crate) fn layer(folder: &Path, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    getrandom::fill(&mut content).unwrap();
    std::fs::write(folder.join("data"), content).unwrap();
    run(
        "tar",
        &["--create", "--directory", folder.to_str().unwrap(), "data"],
        b"",
    )
    .stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_login_push_pull() {
    let h = Harness::new();
    while_serving(h.registry.router(), |address| {
        let scratch = tempfile::tempdir().unwrap();
        let config = scratch.path().join("config");
        let config = config.to_str().unwrap();
        let login = |token: &str| {
            let arguments = [
                "--config",
                config,
                "login",
                "--username",
                "any",
                "--password-stdin",
                &address.to_string(),
            ];
            run(DOCKER, &arguments, token.as_bytes()).status.success()
        };
        let image = format!(
            "{address}/team/coracle-registry-test-{}:v1",
            std::process::id()
        );
        let other = image.replace("/team/", "/elsewhere/");
        let mut images = Images(vec![image.clone(), other.clone()]);
        let imported = run(
            DOCKER,
            &["import", "-", &image],
            &layer(scratch.path(), 3 << 20),
        );
        assert!(
            imported.status.success(),
            "{}",
            String::from_utf8_lossy(&imported.stderr)
        );
        let id = ok(DOCKER, &["inspect", "--format", "{{.Id}}", &image]);

        assert!(!login("wrong"));
        let refused = fails(DOCKER, &["--config", config, "push", &image]);
        assert!(
            refused.contains("authentication") || refused.contains("no basic auth"),
            "{refused}"
        );
        assert!(login(READER));
        assert!(fails(DOCKER, &["--config", config, "push", &image]).contains("denied"));
        assert!(login(TEAM));
        let pushed = ok(DOCKER, &["--config", config, "push", &image]);
        let digest = pushed
            .split_whitespace()
            .find(|w| w.starts_with("sha256:"))
            .unwrap()
            .to_owned();
        // A second push finds everything there; a push to another's project is denied.
        assert!(ok(DOCKER, &["--config", config, "push", &image]).contains("already exists"));
        ok(DOCKER, &["tag", &image, &other]);
        assert!(fails(DOCKER, &["--config", config, "push", &other]).contains("denied"));

        for name in [&image, &other] {
            ok(DOCKER, &["rmi", name]);
        }
        ok(DOCKER, &["--config", config, "pull", &image]);
        assert_eq!(ok(DOCKER, &["inspect", "--format", "{{.Id}}", &image]), id);
        ok(DOCKER, &["rmi", &image]);
        let by_digest = format!("{}@{digest}", image.strip_suffix(":v1").unwrap());
        images.0.push(by_digest.clone());
        ok(DOCKER, &["--config", config, "pull", &by_digest]);
        assert_eq!(
            ok(DOCKER, &["inspect", "--format", "{{.Id}}", &by_digest]),
            id
        );
        let missing = image.replace(":v1", ":v2");
        assert!(fails(DOCKER, &["--config", config, "pull", &missing]).contains("not found"));
    })
    .await;
    assert!(h.files("uploads").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copy_list_inspect_delete() {
    let h = Harness::new();
    while_serving(h.registry.router(), |address| {
        let scratch = tempfile::tempdir().unwrap();
        let policy = ["--insecure-policy"];
        let creds = format!("any:{ADMIN}");
        // An image out of nothing, through Docker's archive format.
        let name = format!("coracle-registry-skopeo-{}:v1", std::process::id());
        let _images = Images(vec![name.clone()]);
        let imported = run(
            DOCKER,
            &["import", "-", &name],
            &layer(scratch.path(), 1 << 20),
        );
        assert!(
            imported.status.success(),
            "{}",
            String::from_utf8_lossy(&imported.stderr)
        );
        let archive = scratch.path().join("image.tar");
        ok(
            DOCKER,
            &["save", "--output", archive.to_str().unwrap(), &name],
        );

        let at = |reference: &str| format!("docker://{address}/team/{reference}");
        let copy = |from: &str, to: &str, more: &[&str]| {
            let plain = ["copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
            let creds = ["--src-creds", &creds, "--dest-creds", &creds];
            ok(
                SKOPEO,
                &[&policy[..], &plain, &creds, more, &[from, to]].concat(),
            )
        };
        let tarball = format!("docker-archive:{}", archive.display());
        copy(&tarball, &at("docker:v1"), &[]);
        copy(&tarball, &at("oci:v1"), &["--format", "oci"]);
        // Within the registry: the layers are mounted, not sent again.
        copy(&at("oci:v1"), &at("copied:v1"), &[]);
        copy(&at("oci:v1"), &at("copied:v2"), &[]);
        let layout = format!("oci:{}:v1", scratch.path().join("layout").display());
        copy(&at("copied:v2"), &layout, &[]);

        let on = |verb: &str, reference: &str| {
            [
                &policy[..],
                &[
                    verb,
                    "--tls-verify=false",
                    "--creds",
                    &creds,
                    &at(reference),
                ],
            ]
            .concat()
            .join("\n")
        };
        let skopeo = |verb: &str, reference: &str| {
            let line = on(verb, reference);
            ok(SKOPEO, &line.split('\n').collect::<Vec<_>>())
        };
        let tags: serde_json::Value = serde_json::from_str(&skopeo("list-tags", "copied")).unwrap();
        assert_eq!(tags["Tags"], serde_json::json!(["v1", "v2"]));
        let seen: serde_json::Value = serde_json::from_str(&skopeo("inspect", "oci:v1")).unwrap();
        let copied: serde_json::Value =
            serde_json::from_str(&skopeo("inspect", "copied:v1")).unwrap();
        assert_eq!(seen["Digest"], copied["Digest"]);
        assert_eq!(seen["Layers"], copied["Layers"]);
        skopeo("delete", "copied:v1");
        assert!(skopeo("list-tags", "oci").contains("v1"));
        let gone = on("list-tags", "copied");
        fails(SKOPEO, &gone.split('\n').collect::<Vec<_>>());
        let anonymous = at("oci:v1");
        fails(
            SKOPEO,
            &[
                "--insecure-policy",
                "inspect",
                "--tls-verify=false",
                "--no-creds",
                &anonymous,
            ],
        );
    })
    .await;
    assert!(h.files("uploads").is_empty());
}

/// Docker pushes and pulls an image again and again while what it left before is collected. It sends layers before the
/// manifest that names them, and none that the registry says it has.
#[tokio::test(flavor = "multi_thread")]
async fn docker_pushes_and_pulls_while_garbage_is_collected() {
    use crate::collect::{HOUR, age, nothing};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    const ROUNDS: usize = 4;
    let h = Arc::new(Harness::new());
    let (ended, collected) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let collecting = async {
        while !ended.load(Ordering::Relaxed) {
            let done = h.registry.collect(&nothing(), HOUR).await.unwrap();
            assert!(done.damaged.is_empty(), "{done:?}");
            collected.fetch_add(done.blobs, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    let (on, end) = (Arc::clone(&h), Arc::clone(&ended));
    let scenario = while_serving(h.registry.router(), move |address| {
        let scratch = tempfile::tempdir().unwrap();
        let config = scratch.path().join("config");
        let config = config.to_str().unwrap();
        let image = format!("{address}/team/collect-{}:v1", std::process::id());
        let _images = Images(vec![image.clone()]);
        let login = [
            "--config",
            config,
            "login",
            "--username",
            "any",
            "--password-stdin",
        ];
        let address = address.to_string();
        let arguments = [&login[..], &[address.as_str()]].concat();
        assert!(run(DOCKER, &arguments, TEAM.as_bytes()).status.success());
        // Two layers: one of them is in an image that stays.
        std::fs::write(
            scratch.path().join("Dockerfile"),
            "FROM scratch\nCOPY data /one\nCOPY Dockerfile /two\n",
        )
        .unwrap();
        layer(scratch.path(), 4 << 20);
        let folder = scratch.path().to_str().unwrap();
        ok(DOCKER, &["build", "--quiet", "--tag", &image, folder]);
        let id = ok(DOCKER, &["inspect", "--format", "{{.Id}}", &image]);
        let creds = format!("any:{ADMIN}");
        for _ in 0..ROUNDS {
            ok(DOCKER, &["--config", config, "push", &image]);
            ok(DOCKER, &["rmi", &image]);
            ok(DOCKER, &["--config", config, "pull", &image]);
            assert_eq!(ok(DOCKER, &["inspect", "--format", "{{.Id}}", &image]), id);
            let at = format!("docker://{image}");
            ok(
                SKOPEO,
                &["delete", "--tls-verify=false", "--creds", &creds, &at],
            );
            // What is left is old, and the next push begins while it is collected.
            age(&on, 2 * HOUR);
        }
        end.store(true, Ordering::Relaxed);
    });
    tokio::join!(scenario, collecting);
    assert!(collected.load(Ordering::Relaxed) > 0);
}
