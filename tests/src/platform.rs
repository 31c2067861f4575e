//! A platform: started, spoken to, killed, and cleaned away.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::api::Api;
use crate::command::{self, Finished, Running};
use crate::docker::Docker;
use crate::ports;
use crate::process::{Part, kill9, signal};
use crate::wait::{LONG, until, until_ok};
use crate::web::{self, Page};

/// Password of user `admin`.
const PASSWORD: &str = "correct horse battery staple";
/// So many of the last lines of a log are shown when a test fails.
const LOG_LINES: usize = 60;

/// How a platform is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Docker daemon that it drives.
    pub docker: Docker,
    /// Address of the API.
    pub listen: SocketAddr,
    /// Address of applications.
    pub http: SocketAddr,
    /// Its data directory; one of its own when absent.
    pub data: Option<PathBuf>,
    /// More arguments of `coracle up`.
    pub arguments: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            docker: Docker::default(),
            listen: ports::free(),
            http: ports::free(),
            data: None,
            arguments: Vec::new(),
        }
    }
}

/// A platform. Dropped, it is stopped, and everything that it made in Docker is removed.
#[derive(Debug)]
pub struct Platform {
    home: TempDir,
    data: PathBuf,
    options: Options,
    api: OnceCell<Api>,
}

impl Platform {
    /// Starts one on the machine's own Docker daemon.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        Self::start_on(Docker::default()).await
    }

    /// Starts one on that Docker daemon.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_on(docker: Docker) -> Self {
        let platform = Self::prepare(Options {
            docker,
            ..Options::default()
        });
        platform.up().await;
        platform
    }

    /// One that is not started yet.
    ///
    /// # Panics
    /// When there is no program to start.
    #[must_use]
    pub fn prepare(options: Options) -> Self {
        let home = TempDir::with_prefix("coracle-e2e.").expect("a folder can be made");
        let own = || home.path().join("data");
        let data = options.data.clone().unwrap_or_else(own);
        assert!(
            binary().exists(),
            "{} is missing: run `cargo build -p coracle`",
            binary().display()
        );
        Self {
            home,
            data,
            options,
            api: OnceCell::new(),
        }
    }

    /// Starts it (again): `coracle up`. Gives the time until it said that it is ready.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn up(&self) -> Duration {
        let done = self.try_up().await;
        done.ok();
        done.took
    }

    /// `coracle up`, whatever comes of it.
    pub async fn try_up(&self) -> Finished {
        command::run(self.up_command(&self.data), &[]).await
    }

    /// `coracle up` of another data directory on the same ports, whatever comes of it.
    pub async fn try_up_elsewhere(&self, data: &Path) -> Finished {
        command::run(self.up_command(data), &[]).await
    }

    fn up_command(&self, data: &Path) -> Command {
        let mut command = self.command();
        command
            .arg("up")
            .arg("--data-dir")
            .arg(data)
            .args(["--domain", "localhost"]);
        command.arg("--listen").arg(self.options.listen.to_string());
        command.arg("--http").arg(self.options.http.to_string());
        command.args(&self.options.arguments);
        command
    }

    /// A second control plane in the foreground, on the same data directory and another port.
    pub async fn second_control_plane(&self) -> Finished {
        let mut command = self.command();
        command.arg("serve").arg("--data-dir").arg(&self.data);
        command.arg("--listen").arg(ports::free().to_string());
        command::run(command, &[]).await
    }

    /// Stops all of it: `coracle down`.
    ///
    /// # Panics
    /// When it fails, or something of it goes on.
    pub async fn down(&self) {
        self.run_in_data_dir(&["down"]).await.ok();
        for part in [Part::Serve, Part::Gateway] {
            assert!(!self.lives(part), "{part:?} goes on after `coracle down`");
        }
    }

    /// Runs a command that takes `--data-dir`.
    pub async fn run_in_data_dir(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command();
        command.args(arguments).arg("--data-dir").arg(&self.data);
        command::run(command, &[]).await
    }

    /// Logs user `admin` in for [`Platform::coracle`], where nobody ran `coracle up`.
    ///
    /// # Panics
    /// When the platform does not let them in.
    pub async fn log_in(&self) {
        let url = format!("http://{}", self.options.listen);
        let arguments = ["login", &url, "--user", "admin", "--password-stdin"];
        self.coracle_with(&arguments, PASSWORD.as_bytes())
            .await
            .ok();
    }

    /// Runs a command as the person who started the platform.
    pub async fn coracle(&self, arguments: &[&str]) -> Finished {
        self.coracle_with(arguments, &[]).await
    }

    /// The same, with standard input.
    pub async fn coracle_with(&self, arguments: &[&str], input: &[u8]) -> Finished {
        let mut command = self.command();
        command.args(arguments);
        command::run(command, input).await
    }

    /// The same, with more in its environment.
    pub async fn coracle_in(&self, arguments: &[&str], more: &[(&str, &str)]) -> Finished {
        let mut command = self.command();
        command.args(arguments).envs(more.iter().copied());
        command::run(command, &[]).await
    }

    /// Starts a command that goes on.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn coracle_running(&self, arguments: &[&str]) -> Running {
        let mut command = self.command();
        command.args(arguments);
        Running::start(command)
    }

    /// The same as somebody with this token.
    #[must_use]
    pub fn coracle_running_as(&self, token: &str, arguments: &[&str]) -> Running {
        let mut command = self.command();
        command.env("CORACLE_TOKEN", token).args(arguments);
        Running::start(command)
    }

    /// The program under test.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        binary()
    }

    /// What the environment must have for [`Platform::program`] to reach this platform.
    #[must_use]
    pub fn login(&self) -> [(&'static str, PathBuf); 1] {
        [("CORACLE_CONFIG", self.home.path().join("cli.toml"))]
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            // What points at another installation must not reach this one.
            if name.to_string_lossy().starts_with("CORACLE_") {
                command.env_remove(name);
            }
        }
        command
            .envs(self.login())
            .env("CORACLE_ADMIN_PASSWORD", PASSWORD)
            .env("NO_COLOR", "1")
            .current_dir(self.home.path());
        if let Some(host) = self.options.docker.host() {
            command.env("DOCKER_HOST", host);
        }
        command
    }

    /// Its API, by user `admin`.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn api(&self) -> &Api {
        let base = format!("http://{}", self.options.listen);
        self.api
            .get_or_init(|| Api::login(base, "admin", PASSWORD))
            .await
    }

    /// Where the control plane answers.
    #[must_use]
    pub const fn listen(&self) -> SocketAddr {
        self.options.listen
    }

    /// Where applications answer.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.options.http
    }

    /// Its Docker daemon.
    #[must_use]
    pub const fn docker(&self) -> &Docker {
        &self.options.docker
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its id, which is on everything that it makes in Docker.
    ///
    /// # Panics
    /// When it never started.
    #[must_use]
    pub fn id(&self) -> String {
        self.find_id()
            .expect("a platform that was started has an id")
    }

    fn find_id(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.data.join("platform.id")).ok()?;
        Some(text.trim().to_owned()).filter(|id| !id.is_empty())
    }

    /// The URL that an app of project `default` should have.
    #[must_use]
    pub fn url(&self, app: &str) -> String {
        format!("http://{app}.localhost:{}", self.options.http.port())
    }

    /// `GET` through the gateway.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn get(&self, host: &str, path: &str) -> Page {
        self.try_get(host, path)
            .await
            .unwrap_or_else(|error| panic!("GET {host}{path}: {error}"))
    }

    /// The same, where nobody may answer.
    ///
    /// # Errors
    /// The reason, when nobody answered.
    pub async fn try_get(&self, host: &str, path: &str) -> Result<Page, String> {
        web::get(self.options.http, host, path).await
    }

    /// Waits until `GET` through the gateway gives `status` and a body that contains `text`; gives the time.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn serves(&self, host: &str, path: &str, status: u16, text: &str) -> Duration {
        let what = format!("{host}{path} to answer {status} with {text:?}");
        until_ok(&what, LONG, || async {
            match self.try_get(host, path).await {
                Ok(page) if page.status == status && page.body.contains(text) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .1
    }

    /// Does this process live?
    #[must_use]
    pub fn lives(&self, part: Part) -> bool {
        part.pid(&self.data).is_some()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self, part: Part) -> Option<i32> {
        part.pid(&self.data).map(|pid| pid.as_raw_nonzero().get())
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Panics
    /// When it does not live.
    pub async fn kill9(&self, part: Part) {
        let pid = part
            .pid(&self.data)
            .unwrap_or_else(|| panic!("{part:?} does not live"));
        kill9(pid).await;
    }

    /// Starts the gateway alone, as a service manager does; it lives as long as what is returned.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_gateway(&self) -> tokio::process::Child {
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(Part::Gateway.log(&self.data));
        let mut command = self.command();
        command.arg("gateway").arg("--data-dir").arg(&self.data);
        command.arg("--listen").arg(self.options.listen.to_string());
        command.arg("--http").arg(self.options.http.to_string());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the log can be written"))
            .kill_on_drop(true)
            .spawn()
            .expect("the gateway can be started")
    }

    /// Starts the control plane alone with more flags, as a service manager does; it lives as long as what is returned.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_control_plane(&self, flags: &[String]) -> tokio::process::Child {
        let log = Part::Serve.log(&self.data);
        std::fs::create_dir_all(log.parent().expect("a log is in a folder"))
            .expect("a folder can be made");
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(log)
            .expect("the log can be written");
        let mut command = self.command();
        command.arg("serve").arg("--data-dir").arg(&self.data);
        command.arg("--listen").arg(self.options.listen.to_string());
        command.arg("--http").arg(self.options.http.to_string());
        command
            .args(["--domain", "localhost"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the control plane can be started")
    }

    /// A control plane in the foreground, in another data directory and with another key, until it ends.
    pub(crate) async fn serve_with_key(
        &self,
        data: &Path,
        flags: &[String],
        key: &str,
    ) -> Finished {
        let mut command = self.command();
        command.arg("serve").arg("--data-dir").arg(data);
        command.arg("--listen").arg(ports::free().to_string());
        command.args(flags).env("CORACLE_SECRET_KEY", key);
        command::run(command, &[]).await
    }

    /// Starts a gateway that asks several control planes.
    pub(crate) fn start_gateway_for(
        &self,
        control: &[String],
        token: &Path,
    ) -> tokio::process::Child {
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(Part::Gateway.log(&self.data))
            .expect("the log can be written");
        let mut command = self.command();
        command.arg("gateway").arg("--data-dir").arg(&self.data);
        command.arg("--http").arg(self.options.http.to_string());
        command.arg("--control").arg(control.join(","));
        command
            .arg("--token-file")
            .arg(token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the gateway can be started")
    }

    /// Asks the control plane for a page outside its API.
    ///
    /// # Errors
    /// The reason, when nobody answers.
    pub async fn ask_control_plane(&self, path: &str) -> Result<Page, String> {
        web::get(self.options.listen, "localhost", path).await
    }

    /// Asks a process to end (SIGTERM).
    ///
    /// # Panics
    /// When it does not live.
    pub fn ask_to_end(&self, part: Part) {
        signal(part.pid(&self.data).expect("it lives"), Signal::TERM);
    }

    /// Does the control plane say that it is ready?
    pub(crate) async fn is_ready(&self) -> bool {
        let page = web::get(self.options.listen, "localhost", "/readyz").await;
        page.is_ok_and(|page| page.status == 200)
    }

    /// Waits until the control plane says that it is ready, before anybody logged in.
    pub(crate) async fn answers(&self) {
        until("a control plane to be ready", LONG, || self.is_ready()).await;
    }

    /// Waits until the control plane says that it is ready; gives the time.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn ready(&self) -> Duration {
        let api = self.api().await;
        until("the control plane to be ready", LONG, || async {
            matches!(api.send(reqwest::Method::GET, "/readyz", None).await, Ok(answer) if answer.status == 200)
        })
        .await
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for part in [Part::Serve, Part::Gateway] {
                let log = std::fs::read_to_string(part.log(&self.data)).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let from = lines.len().saturating_sub(LOG_LINES);
                eprintln!(
                    "--- the end of the log of {part:?}\n{}",
                    lines[from..].join("\n")
                );
            }
            // All of it is worth looking into.
            self.home.disable_cleanup(true);
            eprintln!("--- kept: {}", self.data.display());
        }
        // It is of no use any more: no drain, no goodbye.
        let deadline = Instant::now() + Duration::from_secs(10);
        for part in [Part::Serve, Part::Gateway] {
            if let Some(pid) = part.pid(&self.data) {
                signal(pid, Signal::KILL);
            }
            while part.pid(&self.data).is_some() && Instant::now() < deadline {
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
        self.options
            .docker
            .sweep(self.find_id().as_deref(), &self.options.listen.to_string());
    }
}

/// The program under test: `CORACLE_BIN`, or what cargo built beside the test.
fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("CORACLE_BIN") {
        return PathBuf::from(named);
    }
    let test = std::env::current_exe().expect("a program knows its file");
    // target/debug/deps/e2e-… → target/debug/coracle
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("cargo puts tests two folders deep");
    folder.join("coracle")
}
