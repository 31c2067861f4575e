//! Repositories of friends and strangers, over a real `git http-backend`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy sees tests only in #[test] functions"
)]

#[path = "fixture/git_server.rs"]
mod git_server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coracle_builder::git::{Fetched, GitCredentials, GitError, GitRequest, Reach, fetch};
use coracle_builder::{Inspected, Limits, SourceError, inspect};
use coracle_model::env::Secret;
use coracle_model::source::{GitOrigin, GitRef, GitUrl, SourcePath};
use git_server::{GitServer, Manners, Repository};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("served")
    }

    fn repository(&self, name: &str) -> Repository {
        Repository::new(&self.root(), name)
    }

    /// Makes a link in the repository `app`, which the next commit has.
    fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.root().join("app.git").join(path)).unwrap();
    }

    fn server(&self, manners: Manners) -> GitServer {
        std::fs::create_dir_all(self.root()).unwrap();
        GitServer::start(&self.root(), manners)
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    fn request(&self, url: &str) -> GitRequest {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        GitRequest {
            origin: GitOrigin {
                url: GitUrl::new(url).unwrap(),
                reference: None,
                path: None,
            },
            credentials: None,
            dir,
            archive: self.archive(),
            limits: Limits::default(),
            time: Duration::from_secs(60),
            reach: Reach::Everything,
        }
    }

    async fn look(&self) -> Result<(Inspected, PathBuf), SourceError> {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let file = tokio::fs::File::open(self.archive()).await.unwrap();
        let found = inspect(file, &dir, Limits::default()).await?;
        Ok((found, dir))
    }
}

fn of(mut request: GitRequest, reference: &str, path: &str) -> GitRequest {
    request.origin.reference = (!reference.is_empty()).then(|| GitRef::new(reference).unwrap());
    request.origin.path = (!path.is_empty()).then(|| SourcePath::new(path).unwrap());
    request
}

fn read(dir: &Path, name: &str) -> String {
    String::from_utf8(std::fs::read(dir.join(name)).unwrap()).unwrap()
}

#[tokio::test]
async fn branches_tags_commits_and_folders_are_fetched() {
    let place = Place::new();
    let repository = place.repository("app");
    repository.write("Dockerfile", b"FROM scratch\nEXPOSE 80\n");
    repository.write("web/Dockerfile", b"FROM busybox:1\n");
    let first = repository.commit("First");
    repository.git(&["tag", "--annotate", "--message=one", "v1"]);
    repository.write("Dockerfile", b"FROM debian:12\n");
    let second = repository.commit("Second \u{1b}[31m<script>alert(1)</script>\u{202e}\n\nbody");
    repository.git(&["branch", "feature/x"]);
    let server = place.server(Manners::default());
    let url = server.url("app.git");
    for (reference, path, commit, dockerfile) in [
        ("", "", &second, "FROM debian:12\n"),
        ("main", "", &second, "FROM debian:12\n"),
        ("feature/x", "", &second, "FROM debian:12\n"),
        ("v1", "", &first, "FROM scratch\nEXPOSE 80\n"),
        (first.as_str(), "", &first, "FROM scratch\nEXPOSE 80\n"),
        ("v1", "web", &first, "FROM busybox:1\n"),
    ] {
        let fetched = fetch(of(place.request(&url), reference, path))
            .await
            .unwrap();
        assert_eq!(&fetched.commit.id, commit, "{reference}");
        assert_eq!(fetched.commit.author, "Ann Author");
        assert_eq!(
            fetched.commit.date.unwrap().to_rfc3339(),
            "2024-05-06T07:08:09+00:00"
        );
        let (found, dir) = place.look().await.unwrap();
        assert_eq!(read(&dir, "Dockerfile"), dockerfile, "{reference}");
        assert_eq!(found.detected.problem, None);
        assert_eq!(
            fetched.bytes,
            std::fs::metadata(place.archive()).unwrap().len()
        );
    }
    let fetched = fetch(place.request(&url)).await.unwrap();
    assert_eq!(
        fetched.commit.subject,
        "Second \u{fffd}[31m<script>alert(1)</script>\u{fffd}"
    );
}

/// Whatever the repository says about its files, they come as they were committed, and nothing of it runs.
#[tokio::test]
async fn attributes_filters_and_hooks_do_nothing() {
    let place = Place::new();
    let repository = place.repository("app");
    let mark = place.dir.path().join("mark");
    let touch = format!("#!/bin/sh\ntouch {}\n", mark.display());
    repository
        .write(
            ".gitattributes",
            b"* ident eol=crlf text filter=evil export-subst\nDockerfile export-ignore\nsecret export-ignore\n*.bin filter=lfs\n",
        )
        .write("Dockerfile", b"FROM scratch\n# $Id$ $Format:%H$\n")
        .write("secret", b"kept\n")
        .write(".git-hooks/post-checkout", touch.as_bytes())
        .write(".gitmodules", b"[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c 'touch /tmp/x'\n")
        .write("-rf", b"--upload-pack=x\n");
    place.link("inside", "Dockerfile");
    repository.commit("--upload-pack=touch");
    let gitlink = format!("160000,{},x", "1".repeat(40));
    repository.git(&["update-index", "--add", "--cacheinfo", &gitlink]);
    repository.git(&["commit", "--quiet", "--message=submodule"]);
    let server = place.server(Manners::default());
    fetch(place.request(&server.url("app.git"))).await.unwrap();
    let (found, dir) = place.look().await.unwrap();
    assert_eq!(
        read(&dir, "Dockerfile"),
        "FROM scratch\n# $Id$ $Format:%H$\n"
    );
    assert_eq!(read(&dir, "secret"), "kept\n");
    assert_eq!(read(&dir, "-rf"), "--upload-pack=x\n");
    assert_eq!(
        std::fs::read_link(dir.join("inside")).unwrap(),
        Path::new("Dockerfile")
    );
    assert!(dir.join("x").is_dir() && std::fs::read_dir(dir.join("x")).unwrap().next().is_none());
    assert!(!mark.exists());
    let warnings = found.detected.warnings.join("\n");
    assert!(
        warnings.contains("submodules") && warnings.contains("LFS"),
        "{warnings}"
    );
}

#[tokio::test]
async fn a_link_that_leads_out_is_refused() {
    for target in ["/etc/passwd", "../../outside", "a/../../x"] {
        let place = Place::new();
        let repository = place.repository("app");
        repository.write("Dockerfile", b"FROM scratch\n");
        place.link("out", target);
        repository.commit("link");
        let server = place.server(Manners::default());
        fetch(place.request(&server.url("app.git"))).await.unwrap();
        let error = place.look().await.unwrap_err();
        assert!(
            matches!(error, SourceError::Refused { .. }),
            "{target}: {error}"
        );
    }
}

#[tokio::test]
async fn the_platforms_own_machine_is_not_asked() {
    let place = Place::new();
    place.repository("app").commit("x");
    let server = place.server(Manners::default());
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "127.9.9.9",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
    ] {
        let mut request = place.request(&format!("http://{host}:{port}/app.git"));
        request.reach = Reach::Others;
        let error = fetch(request).await.unwrap_err();
        assert!(matches!(error, GitError::OutOfReach(_)), "{host}: {error}");
    }
    // Nor by the address that others know it by, if there is one; nothing is sent to learn it.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("198.51.100.1:9").is_ok() {
        let own = socket.local_addr().unwrap().ip();
        let mut request = place.request(&format!("http://{own}:{port}/app.git"));
        request.reach = Reach::Others;
        let error = fetch(request).await.unwrap_err();
        assert!(matches!(error, GitError::OutOfReach(_)), "{own}: {error}");
    }
    assert_eq!(server.seen(), Vec::<String>::new());
    // The operator may allow it, also by a name, to whose address the connection is then pinned.
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{port}/app.git");
        fetch(place.request(&url)).await.unwrap();
    }
}

#[tokio::test]
async fn redirects_are_not_followed_but_to_the_same_repository() {
    let place = Place::new();
    let repository = place.repository("app");
    repository.write("Dockerfile", b"FROM scratch\n");
    repository.commit("x");
    let inner = place.server(Manners::default());
    let outer = place.server(Manners {
        redirect: Some(format!("http://{}", inner.address)),
        ..Manners::default()
    });
    let error = fetch(place.request(&outer.url("app.git")))
        .await
        .unwrap_err();
    assert!(matches!(error, GitError::Redirects), "{error}");
    assert_eq!(inner.seen(), Vec::<String>::new());
    assert!(!outer.seen().is_empty());

    let adds_git = place.server(Manners {
        adds_git: true,
        ..Manners::default()
    });
    fetch(place.request(&adds_git.url("app"))).await.unwrap();
    fetch(place.request(&adds_git.url("app/"))).await.unwrap();
}

/// Who was redirected to the right spelling hears what is wrong there.
#[tokio::test]
async fn a_redirect_hides_nothing() {
    let place = Place::new();
    let repository = place.repository("app");
    repository.write("Dockerfile", b"FROM scratch\n");
    repository.commit("x");
    let private = place.server(Manners {
        adds_git: true,
        basic: Some("YW5uOng=".into()),
        ..Manners::default()
    });
    let error = fetch(place.request(&private.url("app"))).await.unwrap_err();
    assert!(matches!(error, GitError::Refused), "{error}");
    let open = place.server(Manners {
        adds_git: true,
        ..Manners::default()
    });
    let request = of(place.request(&open.url("app")), "nothing", "");
    let error = fetch(request).await.unwrap_err();
    assert!(matches!(error, GitError::NoReference(_)), "{error}");
    let error = fetch(place.request(&open.url("none"))).await.unwrap_err();
    assert!(matches!(error, GitError::Redirects), "{error}");
}

/// The commands of all processes of this machine that name a word.
fn commands_with(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command) = std::fs::read(process.path().join("cmdline")) else {
            continue;
        };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(word) {
            found.push(command);
        }
    }
    found
}

#[tokio::test]
async fn credentials_are_told_to_the_server_and_nobody_else() {
    use base64::Engine as _;
    let place = Place::new();
    let repository = place.repository("app");
    repository.write("Dockerfile", b"FROM scratch\n");
    repository.commit("x");
    let password = "hunter2-that-nobody-may-see";
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("ann:{password}"));
    let manners = Manners {
        basic: Some(basic.clone()),
        ..Manners::default()
    };
    let server = place.server(manners.clone());
    let with = |password: &str| {
        let mut request = place.request(&server.url("app.git"));
        request.credentials = Some(GitCredentials {
            username: "ann".into(),
            password: Secret::new(password),
        });
        request
    };
    fetch(with(password)).await.unwrap();
    for request in [with("wrong-word"), place.request(&server.url("app.git"))] {
        assert!(!format!("{request:?}").contains("wrong-word"));
        let error = fetch(request).await.unwrap_err();
        assert!(matches!(error, GitError::Refused), "{error}");
        assert!(!error.to_string().contains("wrong-word"), "{error}");
    }

    // While it runs: a server that never answers keeps it so.
    let silent = place.server(Manners {
        silent: Arc::new(true.into()),
        ..manners
    });
    let mut request = with(password);
    request.origin.url = GitUrl::new(silent.url("app.git")).unwrap();
    let (dir, mark) = (request.dir.clone(), silent.url("app.git"));
    let running = fetch(request);
    let looked = async {
        let asked = || silent.seen().iter().any(|line| line.contains(&basic));
        tokio::time::timeout(Duration::from_secs(60), async {
            while !asked() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        assert!(!commands_with(&mark).is_empty(), "it runs");
        assert_eq!(commands_with(password), Vec::<String>::new());
        assert_eq!(commands_with(&basic), Vec::<String>::new());
    };
    tokio::select! {
        ended = running => panic!("{ended:?}"),
        () = looked => {}
    }
    // What was given up is over, with all of its processes, and left nothing secret on the disk.
    tokio::time::timeout(Duration::from_secs(30), async {
        while !commands_with(&mark).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let found = std::process::Command::new("grep")
        .args(["-r", "-l", "-e", password, "-e", &basic])
        .arg(&dir)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[tokio::test]
async fn what_is_not_there_is_told_in_words() {
    let place = Place::new();
    let repository = place.repository("app");
    repository.write("Dockerfile", b"FROM scratch\n");
    repository.commit("x");
    place.repository("empty");
    let server = place.server(Manners::default());
    let url = server.url("app.git");
    let told = |error: Result<Fetched, GitError>| error.unwrap_err();
    let missing = "0123456789012345678901234567890123456789";
    for reference in ["nothing", missing] {
        let error = told(fetch(of(place.request(&url), reference, "")).await);
        assert!(
            matches!(error, GitError::NoReference(_)),
            "{reference}: {error}"
        );
    }
    for path in ["nothing", "Dockerfile"] {
        let error = told(fetch(of(place.request(&url), "", path)).await);
        assert!(matches!(error, GitError::NoPath(_)), "{path}: {error}");
    }
    let error = told(fetch(place.request(&server.url("nothing.git"))).await);
    assert!(matches!(error, GitError::NoRepository), "{error}");
    let error = told(fetch(place.request(&server.url("empty.git"))).await);
    assert!(matches!(error, GitError::NoCommit), "{error}");
    let error = told(fetch(place.request("http://nothing.invalid/app.git")).await);
    assert!(matches!(error, GitError::NoServer), "{error}");
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let error = told(fetch(place.request(&format!("http://{dead}/app.git"))).await);
    assert!(matches!(error, GitError::Unreachable), "{error}");
    // It speaks, but not TLS.
    let error = told(fetch(place.request(&format!("https://{}/app.git", server.address))).await);
    assert!(matches!(error, GitError::Untrusted), "{error}");
}

#[tokio::test]
async fn what_is_too_large_or_too_slow_is_given_up() {
    let place = Place::new();
    let repository = place.repository("app");
    // What cannot be compressed, and what can all too well.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    })
    .take(6 << 20)
    .collect();
    repository.write("noise", &noise);
    repository.commit("noise");
    let bomb = place.repository("bomb");
    bomb.write("zeros", &vec![0; 40 << 20]);
    bomb.commit("zeros");
    let server = place.server(Manners::default());
    let bounded = |name: &str| {
        let mut request = place.request(&server.url(name));
        request.limits.bytes_compressed = 1 << 20;
        request.limits.bytes_expanded = 20 << 20;
        request
    };
    for name in ["app.git", "bomb.git"] {
        let request = bounded(name);
        let dir = request.dir.clone();
        let error = fetch(request).await.unwrap_err();
        assert!(matches!(error, GitError::TooLarge(_)), "{name}: {error}");
        assert_eq!(commands_with(&server.url(name)), Vec::<String>::new());
        std::fs::remove_dir_all(dir).unwrap();
    }
    let silent = place.server(Manners {
        silent: Arc::new(true.into()),
        ..Manners::default()
    });
    let mut request = place.request(&silent.url("app.git"));
    request.time = Duration::from_secs(1);
    let error = fetch(request).await.unwrap_err();
    assert!(matches!(error, GitError::TooSlow(_)), "{error}");
}
