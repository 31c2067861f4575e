//! What people read: whole outputs of the real program, against a platform that is made up here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use coracle_model::problem::{Code, Problem};
use coracle_task::Supervisor;
use serde_json::{Value, json};

struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

struct Cli {
    home: tempfile::TempDir,
    url: Option<String>,
}

impl Cli {
    fn alone() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            url: None,
        }
    }

    fn at(address: SocketAddr) -> Self {
        Self {
            url: Some(format!("http://{address}")),
            ..Self::alone()
        }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("CORACLE_DATA_DIR", self.home.path().join("data"))
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(url) = &self.url {
            command
                .env("CORACLE_URL", url)
                .env("CORACLE_TOKEN", "cor_test");
        }
        let mut child = command.spawn().unwrap();
        // A command that does not read its input may be gone already.
        let _unread = child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .is_err();
        let ended = child.wait_with_output().unwrap();
        Ran {
            status: ended.status.code(),
            out: String::from_utf8(ended.stdout).unwrap(),
            err: String::from_utf8(ended.stderr).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    fn is(&self, status: i32, out: &str, err: &str) {
        assert_eq!((self.out.as_str(), self.err.as_str()), (out, err));
        assert_eq!(self.status, Some(status));
    }
}

fn problem(problem: Problem) -> Response {
    (
        StatusCode::from_u16(problem.status).unwrap(),
        [(header::CONTENT_TYPE, "application/problem+json")],
        serde_json::to_vec(&problem).unwrap(),
    )
        .into_response()
}

fn app(name: &str) -> Value {
    json!({
        "kind": "App",
        "metadata": { "name": name, "project": "default", "uid": "u", "revision": 7, "created": "2026-01-01T00:00:00Z" },
        "spec": {},
        "status": { "phase": "running", "url": format!("http://{name}.localhost:8080"), "release": 3,
                    "last_release": 3, "last_build": 0, "processes": { "web": { "replicas": 2, "ready": 2 } } },
    })
}

/// A platform with two apps, that refuses everything else in its own ways.
async fn platform(supervisor: &Supervisor) -> SocketAddr {
    let apps = "/api/v1/projects/{project}/apps";
    let one = "/api/v1/projects/{project}/apps/{app}";
    let routes = Router::new()
        .route(apps, get(|| async { Json(json!({ "items": [app("hello"), app("shop")] })) }))
        .route(one, get(|Path((_, name)): Path<(String, String)>| async move {
            match name.as_str() {
                "hello" => Json(app("hello")).into_response(),
                _ => problem(Problem::new(Code::NotFound, format!("there is no app {name}"))),
            }
        }))
        .route(&format!("{one}/scale"), put(|| async {
            problem(
                Problem::new(Code::InvalidField, "this app has no process workr")
                    .field("processes.workr")
                    .hint("its processes are web and worker"),
            )
        }))
        .route("/api/v1/session", post(|Json(login): Json<Value>| async move {
            if login["password"] == "right horse" {
                let session = json!({ "token": "cor_1", "expires": "2030-01-01T00:00:00Z", "user": "admin", "role": "admin" });
                return (StatusCode::CREATED, Json(session)).into_response();
            }
            problem(Problem::new(Code::Unauthenticated, "the user name or the password is wrong"))
        }))
        .route("/api/v1/nodes", get(|| async { problem(Problem::new(Code::Forbidden, "only administrators may do this")) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    supervisor.spawn("platform", async move {
        axum::serve(listener, routes).await.unwrap();
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_tables_or_the_apis_own_objects() {
    let supervisor = Supervisor::new("test");
    let cli = Cli::at(platform(&supervisor).await);
    cli.run(&["apps"]).is(
        0,
        "NAME   PHASE    RELEASE  PODS  URL\n\
         hello  running  v3       2/2   http://hello.localhost:8080\n\
         shop   running  v3       2/2   http://shop.localhost:8080\n",
        "",
    );
    let json = cli.run(&["apps", "--output", "json"]);
    let items: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(items["items"][0]["metadata"]["name"], "hello");
    assert_eq!(
        items["items"][0]["status"]["url"],
        "http://hello.localhost:8080"
    );
    cli.run(&["open", "hello"])
        .is(0, "http://hello.localhost:8080\n", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_field_and_says_what_to_do() {
    let supervisor = Supervisor::new("test");
    let cli = Cli::at(platform(&supervisor).await);
    cli.run(&["scale", "hello", "workr=2"]).is(
        1,
        "",
        "error: processes.workr: this app has no process workr\nhint: its processes are web and worker\n",
    );
    cli.run(&["apps", "show", "helo"]).is(
        1,
        "",
        "error: there is no app helo\nhint: did you mean hello?\n",
    );
    cli.run(&["apps", "show", "qqq"]).is(
        1,
        "",
        "error: there is no app qqq\nhint: `coracle apps` lists those that there are\n",
    );
    cli.run(&["nodes"]).is(
        1,
        "",
        "error: only administrators may do this\nhint: `coracle whoami` shows what you may do\n",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_kept_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let supervisor = Supervisor::new("test");
    let address = platform(&supervisor).await;
    let (cli, url) = (Cli::alone(), format!("http://{address}"));
    cli.run_with(&["login", &url, "--password-stdin"], "wrong horse\n").is(
        1,
        "",
        "error: the user name or the password is wrong\nhint: log in with `coracle login URL --user NAME`\n",
    );
    cli.run_with(&["login", &url, "--password-stdin"], "right horse\n")
        .is(0, "", &format!("logged in at {url} as admin (admin)\n"));
    let file = cli.home.path().join(".config/coracle/config.toml");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("cor_1") && !kept.contains("horse"), "{kept}");
    cli.run(&["open", "hello"])
        .is(0, "http://hello.localhost:8080\n", "");

    std::fs::write(&file, "token = cor_secret").unwrap();
    let damaged = cli.run(&["apps"]);
    assert_eq!(damaged.status, Some(1));
    assert!(
        damaged.err.contains("is damaged") && !damaged.err.contains("cor_secret"),
        "{}",
        damaged.err
    );
}

#[test]
fn who_is_not_logged_in_is_told_how() {
    let cli = Cli::alone();
    cli.run(&["apps"]).is(
        1,
        "",
        "error: nobody is logged in at http://127.0.0.1:7070\n\
         hint: run `coracle login http://127.0.0.1:7070 --user NAME`; on the platform's own machine `coracle up` logs you in\n",
    );
}

#[test]
fn bad_names_are_refused_before_anything_is_sent() {
    // Nobody listens there: a request would be another error.
    let cli = Cli::at(SocketAddr::from(([127, 0, 0, 1], 9)));
    for name in [
        "a;b",
        "$(x)",
        "a\nb",
        "héllo",
        "аpp",
        "",
        "UPPER",
        &"a".repeat(64),
        &"a".repeat(1000),
    ] {
        let ran = cli.run(&["apps", "show", "--", name]);
        assert_eq!(ran.status, Some(2), "{name:?}: {}", ran.err);
        assert!(
            ran.err.contains("lower-case letters"),
            "{name:?}: {}",
            ran.err
        );
    }
    for address in [
        "file:///etc",
        "ext::sh",
        "https://me:word@example.com/x.git",
    ] {
        let ran = cli.run(&["deploy", "--git", address]);
        assert_eq!(ran.status, Some(2), "{address}: {}", ran.err);
        assert!(ran.err.contains("--git"), "{address}: {}", ran.err);
    }
    let ran = cli.run(&["scale", "hello", "web=many"]);
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.err
            .contains("use PROCESS=PODS with 0 to 100 pods, such as web=3"),
        "{}",
        ran.err
    );
    let ran = cli.run(&["env", "hello", "set", "1A=hunter2"]);
    assert_eq!(ran.status, Some(2));
}

#[test]
fn a_platform_that_is_away_is_told_of() {
    let cli = Cli::at(SocketAddr::from(([127, 0, 0, 1], 9)));
    let ran = cli.run(&["apps"]);
    assert_eq!(ran.status, Some(1));
    assert!(
        ran.err
            .starts_with("error: the platform at http://127.0.0.1:9 cannot be reached: "),
        "{}",
        ran.err
    );
    assert!(
        ran.err.ends_with("look into it with `coracle doctor`\n"),
        "{}",
        ran.err
    );
}

#[test]
fn a_port_that_is_taken_is_named_with_its_flag() {
    let cli = Cli::alone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port();
    for (verb, flag) in [
        ("serve", "--listen"),
        ("gateway", "--http"),
        ("up", "--listen"),
    ] {
        let ran = cli.run(&[verb, flag, &address]);
        ran.is(
            1,
            "",
            &format!(
                "error: port {port} ({address}) is used by another program\n\
                 hint: end that program, or choose another port with {flag}\n"
            ),
        );
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let cli = Cli::alone();
    std::fs::write(cli.home.path().join("file"), "").unwrap();
    let ran = cli.run(&["up", "--data-dir", "file"]);
    assert_eq!(ran.status, Some(1));
    assert!(
        ran.err.contains("the data directory ") && ran.err.contains("--data-dir"),
        "{}",
        ran.err
    );
}

#[test]
fn version_and_usage() {
    let cli = Cli::alone();
    cli.run(&["--version"])
        .is(0, concat!("coracle ", env!("CARGO_PKG_VERSION"), "\n"), "");
    assert_eq!(cli.run(&[]).status, Some(2));
    let ran = cli.run(&["aps"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("'apps'"), "{}", ran.err);
    let help = cli.run(&["--help"]);
    assert_eq!(help.status, Some(0));
    let reference = include_str!("../../../docs/cli.md");
    for line in help
        .out
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
    {
        let verb = line.split_whitespace().next().unwrap();
        assert!(reference.contains(verb), "{verb} is in no reference");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(cli.run(&["completions", shell]).out.contains("coracle"));
    }
    cli.run(&["down"]).is(
        0,
        "",
        &format!("no platform runs in {}/data\n", cli.home.path().display()),
    );
}
