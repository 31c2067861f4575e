//! `coracle up`: the platform in the background.
//!
//! Theory of operation: what runs already is found through its lock. A part is started anew when it does not run, when its
//! program file is another one now, or when the settings changed. The gateway is handed over: the new one listens
//! beside the old one (the port is shared), and only then the old one is asked to end, which finishes what it has begun.
//! Whoever runs this is then logged in through the operator's socket.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coracle_client::Client;
use tokio::time::Instant;

use crate::config::{self, Config};
use crate::context::Context;
use crate::data_dir::{DataDir, Part};
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::operator;
use crate::output::{Format, Progress};
use crate::serve::cannot_listen;
use crate::settings::{PlatformArgs, PlatformSettings};
use crate::store::gateway_token_file;

/// How long a part has to become ready. A store that was not closed is read once; that takes its time.
const READY: Duration = Duration::from_secs(60);
/// Between two looks whether it is.
const LOOK: Duration = Duration::from_millis(20);
/// How long the control plane has to end.
pub(crate) const SERVE_STOP: Duration = Duration::from_secs(30);
/// How long the gateway has to finish its requests.
pub(crate) const GATEWAY_STOP: Duration = Duration::from_secs(40);
/// So many of the last bytes of a log are looked at for what went wrong.
const LOG_TAIL: u64 = 4096;
/// So many of its last lines are shown.
const LOG_LINES: usize = 12;

/// Start the platform in the background, and log in
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    platform: PlatformArgs,
}

/// What has to be done with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Todo {
    /// It runs as it should.
    Nothing,
    /// It does not run.
    Start,
    /// It runs, but not as it should.
    Replace,
}

struct Up<'c> {
    context: &'c Context,
    data: DataDir,
    settings: PlatformSettings,
    remembered: Option<PlatformSettings>,
}

/// Starts what does not run.
pub(crate) async fn run(args: UpArgs, context: &Context) -> Result {
    let data = args.platform.place.resolve()?;
    let remembered = PlatformSettings::read(&data.settings())?;
    let settings = PlatformSettings::choose(&args.platform, remembered.clone())?;
    let up = Up {
        context,
        data,
        settings,
        remembered,
    };
    up.run().await
}

impl Up<'_> {
    async fn run(&self) -> Result {
        self.data.prepare()?;
        let serve = self.todo(Part::Serve).await?;
        let gateway = self.todo(Part::Gateway).await?;
        if (serve, gateway) == (Todo::Nothing, Todo::Nothing) {
            self.context.printer.note("the platform runs already")?;
        } else {
            self.check_ports(serve, gateway)?;
            self.settings.write(&self.data.settings())?;
            let mut progress = self.context.printer.progress("starting the platform");
            self.serve(serve, &mut progress).await?;
            self.gateway(gateway, &mut progress).await?;
            progress.end();
            self.context.printer.note("the platform is ready")?;
        }
        self.log_in().await?;
        self.tell()
    }

    async fn todo(&self, part: Part) -> Result<Todo> {
        let same_settings = self
            .remembered
            .as_ref()
            .is_none_or(|old| *old == self.settings);
        let deadline = Instant::now() + READY;
        loop {
            let Some(process) = self.data.running(part)? else {
                return Ok(Todo::Start);
            };
            if !same_settings || !process.runs_this_program() {
                return Ok(Todo::Replace);
            }
            // One that was killed a moment ago still holds its lock, and one that was just started does not
            // serve yet: only one that answers runs.
            match self.readiness(part).await {
                Ok(()) => return Ok(Todo::Nothing),
                Err(reason) if Instant::now() > deadline => {
                    return Err(self.too_late(part, reason));
                }
                Err(_not_yet) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Is a part ready? Else why it is not, where it says so.
    async fn readiness(&self, part: Part) -> std::result::Result<(), Option<String>> {
        match part {
            Part::Serve => {
                let answer = reqwest::get(format!("{}/readyz", self.settings.url())).await;
                let answer = answer.map_err(|_not_there| None)?;
                if answer.status().is_success() {
                    return Ok(());
                }
                let said = answer.text().await.map_err(|_cut| None)?;
                let said = said.trim().trim_start_matches("not ready: ").to_owned();
                Err(Some(self.data.awaited().unwrap_or(said)))
            }
            Part::Gateway => tokio::net::TcpStream::connect(self.settings.local_http())
                .await
                .map(drop)
                .map_err(|_not_there| None),
        }
    }

    fn too_late(&self, part: Part, reason: Option<String>) -> CliError {
        let (noun, seconds) = (part.noun(), READY.as_secs());
        let reason = reason.map(|said| format!(": {said}")).unwrap_or_default();
        CliError::new(format!(
            "the {noun} is not ready after {seconds} s{reason}; it goes on trying"
        ))
        .hint(format!("its log is {}", self.data.log(part).display()))
    }

    /// A port that is taken is better told here than from a log.
    fn check_ports(&self, serve: Todo, gateway: Todo) -> Result {
        let old = self.remembered.as_ref();
        let free = |flag: &str, address: SocketAddr, todo: Todo, before: Option<SocketAddr>| {
            // Ours already: it is handed over, or free once the old process ended.
            if todo == Todo::Nothing
                || (todo == Todo::Replace && before.is_none_or(|b| b.port() == address.port()))
            {
                return Ok(());
            }
            TcpListener::bind(address)
                .map(drop)
                .map_err(|error| cannot_listen(flag, address, &error))
        };
        free(
            "--listen",
            self.settings.listen,
            serve,
            old.map(|old| old.listen),
        )?;
        free(
            "--http",
            self.settings.http,
            gateway,
            old.map(|old| old.http),
        )
    }

    async fn serve(&self, todo: Todo, progress: &mut Progress) -> Result {
        match todo {
            Todo::Nothing => return Ok(()),
            Todo::Start => progress.say("starting the control plane"),
            Todo::Replace => {
                progress.say("restarting the control plane");
                if let Some(old) = self.data.running(Part::Serve)? {
                    old.stop(SERVE_STOP).await?;
                }
            }
        }
        let mut child = self.spawn(Part::Serve, &[])?;
        let deadline = Instant::now() + READY;
        loop {
            self.still_lives(&mut child)?;
            let mut reason = None;
            // Ours, and not another program that happens to answer at this address.
            if self
                .data
                .running(Part::Serve)?
                .is_some_and(|found| found.id() == child.process.id())
            {
                match self.readiness(Part::Serve).await {
                    Ok(()) => return Ok(()),
                    Err(said) => reason = said,
                }
            }
            if Instant::now() > deadline {
                return Err(self.too_late(Part::Serve, reason));
            }
            if let Some(reason) = reason {
                progress.say(&format!("the control plane waits: {reason}"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn gateway(&self, todo: Todo, progress: &mut Progress) -> Result {
        let old = match todo {
            Todo::Nothing => return Ok(()),
            Todo::Start => {
                progress.say("starting the gateway");
                None
            }
            Todo::Replace => {
                progress.say("handing over to a new gateway");
                self.data.running(Part::Gateway)?
            }
        };
        let flags: &[&str] = if old.is_some() { &["--replace"] } else { &[] };
        let mut child = self.spawn(Part::Gateway, flags)?;
        let deadline = Instant::now() + READY;
        loop {
            self.still_lives(&mut child)?;
            let found = self.data.running(Part::Gateway)?;
            if found.is_some_and(|found| found.id() == child.process.id())
                && self.readiness(Part::Gateway).await.is_ok()
            {
                break;
            }
            if Instant::now() > deadline {
                return Err(self.too_late(Part::Gateway, None));
            }
            tokio::time::sleep(LOOK).await;
        }
        if let Some(old) = old {
            progress.say("the old gateway finishes its requests");
            old.stop(GATEWAY_STOP).await?;
        }
        Ok(())
    }

    fn spawn(&self, part: Part, flags: &[&str]) -> Result<Started> {
        let fail = |what: String| move |error: std::io::Error| CliError::caused(what, &error);
        let path = self.data.log(part);
        let open = || {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&path)
        };
        let cannot_log = || fail(format!("{} cannot be written", path.display()));
        let log = open().map_err(cannot_log())?;
        let from = log.metadata().map_err(cannot_log())?.len();
        let program = std::env::current_exe()
            .map_err(fail("this program's file cannot be found".to_owned()))?;
        let mut command = Command::new(program);
        command
            .arg(part.verb())
            .arg("--data-dir")
            .arg(self.data.path())
            .args(flags)
            .args(["--listen", &self.settings.listen.to_string()])
            .args(["--http", &self.settings.http.to_string()]);
        if part == Part::Serve {
            command.args(["--domain", self.settings.domain.as_str()]);
        }
        // What the platform needs of the environment is in its flags; the caller's token is nobody's business there.
        command
            .env_remove(env_vars::TOKEN)
            .env_remove(env_vars::URL);
        if part == Part::Gateway && self.settings.etcd.shared_dir.is_some() {
            let token = gateway_token_file(&self.data, &self.settings);
            command.arg("--token-file").arg(token);
        }
        if part == Part::Gateway {
            for secret in [env_vars::SECRET_KEY, env_vars::ETCD_PASSWORD] {
                command.env_remove(secret);
            }
            command.env_remove(env_vars::ADMIN_PASSWORD);
        }
        let process = command
            // Few threads that allocate little: more arenas only cost memory.
            .env("MALLOC_ARENA_MAX", "2")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(cannot_log())?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(fail(format!("the {} cannot be started", part.noun())))?;
        Ok(Started {
            part,
            process,
            log_from: from,
        })
    }

    fn still_lives(&self, child: &mut Started) -> Result {
        let noun = child.part.noun();
        let ended = child
            .process
            .try_wait()
            .map_err(|error| CliError::caused(format!("the {noun} cannot be watched"), &error))?;
        let log = self.data.log(child.part);
        if ended.is_some() {
            let tail = tail(&log, child.log_from);
            return Err(
                CliError::new(format!("the {noun} did not start\n{tail}")).hint(format!(
                    "its log is {}; `coracle doctor` looks for causes",
                    log.display()
                )),
            );
        }
        Ok(())
    }

    /// Keeps a login that works; else makes one.
    async fn log_in(&self) -> Result {
        let url = self.settings.url();
        let config = Config::read()?;
        if config.url.as_deref() == Some(url.as_str())
            && let Some(token) = &config.token
            && Client::new(&url, Some(token))?.who_am_i().await.is_ok()
        {
            return Ok(());
        }
        let (user, token) = operator::ask(&self.data.run()).await.map_err(|error| {
            CliError::caused("the platform runs, but did not log you in", &error)
                .hint(format!("log in with `coracle login {url} --user admin`"))
        })?;
        let config = Config {
            url: Some(url),
            user: Some(user),
            token: Some(token),
        };
        config.write()
    }

    fn tell(&self) -> Result {
        let printer = &self.context.printer;
        let path = self.data.first_password();
        let password = match std::fs::read_to_string(&path) {
            Ok(password) => Some(password),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(CliError::caused(
                    format!("{} cannot be read", path.display()),
                    &error,
                ));
            }
        };
        let dashboard = format!("{}/", self.settings.url());
        let registry = self.settings.local_listen().to_string();
        let domain = &self.settings.domain;
        let apps = match self.settings.http.port() {
            80 => format!("http://APP.{domain}"),
            port => format!("http://APP.{domain}:{port}"),
        };
        if printer.format() == Format::Json {
            printer.json(&serde_json::json!({
                "dashboard": dashboard, "registry": registry, "apps": apps, "domain": domain,
                "data_dir": self.data.path(), "user": password.as_ref().map(|_| "admin"), "password": password,
            }))?;
        } else {
            printer.line(&format!("Dashboard:  {dashboard}"))?;
            printer.line(&format!("Registry:   {registry}"))?;
            printer.line(&format!("Apps:       {apps}"))?;
            if let Some(password) = &password {
                printer.line("User:       admin")?;
                printer.line(&format!("Password:   {password}"))?;
            }
        }
        if password.is_some() {
            printer.note("keep the password: it is shown only now")?;
            std::fs::remove_file(&path).map_err(|error| {
                CliError::caused(format!("{} cannot be deleted", path.display()), &error)
            })?;
        }
        if config::login()?.0.trim_end_matches('/') != self.settings.url() {
            printer.note(&format!(
                "note: {} names another platform, and commands go there",
                env_vars::URL
            ))?;
        }
        Ok(())
    }
}

struct Started {
    part: Part,
    process: Child,
    log_from: u64,
}

/// The last lines of the log since `from`.
fn tail(path: &std::path::Path, from: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_TAIL))))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    last.iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
