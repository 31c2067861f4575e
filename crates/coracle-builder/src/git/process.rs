//! One process of `git`, and all that it starts.
//!
//! It sees an environment that is made here, and no configuration but what is in it. It is in a process group of its own,
//! which is killed when whoever waits gives up. Limits of memory, processor time and the size of a file are the
//! kernel's; the size of the whole folder is looked at while it runs, because a pack comes in several files.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use coracle_model::env::Secret;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStdout, Command};

use super::GitError;
use crate::limits::{Limit, Limits};

/// Of what git tells; the rest is thrown away.
const MOST_TOLD: u64 = 64 * 1024;
/// Between two looks at the folder.
const LOOK: Duration = Duration::from_millis(250);
/// Address space of one process.
const MEMORY_BYTES: u64 = 2 << 30;
/// Processor time of one process.
const CPU_SECONDS: u64 = 300;

/// What is set for every process. A later value of a key wins over an earlier one.
const SETTINGS: &[(&str, &str)] = &[
    ("protocol.allow", "never"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "30"),
    ("http.userAgent", "coracle (git)"),
    ("credential.helper", ""),
    ("core.askPass", ""),
    ("core.hooksPath", "/dev/null"),
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.bigFileThreshold", "16m"),
    ("core.packedGitWindowSize", "32m"),
    ("core.packedGitLimit", "128m"),
    ("core.deltaBaseCacheLimit", "32m"),
    ("pack.threads", "1"),
    ("fetch.unpackLimit", "1"),
    ("fetch.recurseSubmodules", "false"),
    ("submodule.recurse", "false"),
    ("transfer.bundleURI", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
    ("log.showSignature", "false"),
];

/// Of our own environment, where it is set: where programs are, and which authorities are trusted.
const PASSED_ON: &[&str] = &[
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "CURL_CA_BUNDLE",
    "GIT_EXEC_PATH",
];

/// How git is run for one source.
#[derive(Debug)]
pub(super) struct Git {
    home: PathBuf,
    repository: PathBuf,
    limits: Limits,
}

/// How a process ended.
#[derive(Debug)]
pub(super) enum Ran {
    /// Well; this is its output.
    Done(String),
    /// Not; this is what it told.
    Failed(String),
}

impl Ran {
    /// The output, where nothing that is asked can fail because of whoever asked.
    pub(super) fn done(self) -> Result<String, GitError> {
        match self {
            Self::Done(output) => Ok(output),
            Self::Failed(told) => Err(GitError::failed(&told)),
        }
    }
}

impl Git {
    pub(super) fn new(home: &Path, repository: &Path, limits: Limits) -> Self {
        Self {
            home: home.to_owned(),
            repository: repository.to_owned(),
            limits,
        }
    }

    pub(super) async fn run(&self, arguments: &[&str]) -> Result<Ran, GitError> {
        self.run_with(arguments, &[]).await
    }

    /// With further settings, which may be secret: they are in the environment, which only this user can read.
    pub(super) async fn run_with(
        &self,
        arguments: &[&str],
        settings: &[(&str, Secret)],
    ) -> Result<Ran, GitError> {
        let mut running = self.start(arguments, settings)?;
        let Some(output) = running.take_output() else {
            return Err(GitError::NoCommit);
        };
        let (output, ended) = tokio::join!(read_text(output), running.end());
        match ended? {
            Ran::Done(_) => Ok(Ran::Done(output.map_err(GitError::Io)?)),
            failed @ Ran::Failed(_) => Ok(failed),
        }
    }

    pub(super) fn start(
        &self,
        arguments: &[&str],
        settings: &[(&str, Secret)],
    ) -> Result<Running, GitError> {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(&self.home)
            .env_clear()
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", &self.home)
            .env("TMPDIR", &self.home)
            .env("LC_ALL", "C")
            .env("GIT_DIR", &self.repository)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "http:https")
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let all = SETTINGS.iter().map(|(key, value)| (*key, *value));
        let all = all.chain(settings.iter().map(|(key, value)| (*key, value.expose())));
        let mut count = 0;
        for (key, value) in all {
            command.env(format!("GIT_CONFIG_KEY_{count}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        command.env("GIT_CONFIG_COUNT", count.to_string());
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::NoGit,
            _ => GitError::Io(error),
        })?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = group {
            self.bound(group);
        }
        Ok(Running {
            child,
            group,
            ended: false,
            home: self.home.clone(),
            // What is fetched, and what is made of it meanwhile.
            most: self.limits.bytes_compressed.saturating_mul(2),
            limit: Limit::Compressed(self.limits.bytes_compressed),
        })
    }

    /// Best effort: children that it had begun before have no such limits, and are under the looks all the same.
    fn bound(&self, process: Pid) {
        let limits = [
            (Resource::As, MEMORY_BYTES),
            (Resource::Cpu, CPU_SECONDS),
            (
                Resource::Fsize,
                self.limits.bytes_compressed.saturating_mul(2),
            ),
            (Resource::Core, 0),
        ];
        for (resource, most) in limits {
            let limit = Rlimit {
                current: Some(most),
                maximum: Some(most),
            };
            if let Err(error) = prlimit(Some(process), resource, limit) {
                tracing::debug!(%error, "a process of git has no limit of its own");
            }
        }
    }
}

/// A process that runs. Dropped before its end, it is killed with all that it started.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    group: Option<Pid>,
    ended: bool,
    home: PathBuf,
    most: u64,
    limit: Limit,
}

impl Running {
    pub(super) fn take_output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for its end.
    pub(super) async fn end(&mut self) -> Result<Ran, GitError> {
        let told = self.child.stderr.take();
        let told = async {
            match told {
                Some(told) => read_text(told).await,
                None => Ok(String::new()),
            }
        };
        let (status, told) = tokio::join!(wait(&mut self.child, &self.home, self.most), told);
        let Some(status) = status? else {
            return Err(GitError::TooLarge(self.limit));
        };
        self.ended = true;
        let told = told.map_err(GitError::Io)?;
        if status.success() {
            return Ok(Ran::Done(String::new()));
        }
        // A part of it was ended by the kernel, which git does not tell.
        if folder_size(&self.home).await >= self.most {
            return Err(GitError::TooLarge(self.limit));
        }
        Ok(Ran::Failed(told))
    }
}

/// Nothing when the folder became too large, and the process was killed.
async fn wait(child: &mut Child, home: &Path, most: u64) -> Result<Option<ExitStatus>, GitError> {
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    loop {
        tokio::select! {
            status = child.wait() => return status.map(Some).map_err(GitError::Io),
            () = tokio::time::sleep(LOOK) => {}
        }
        if folder_size(home).await > most {
            if let Some(group) = group {
                kill(group);
            }
            child.wait().await.map_err(GitError::Io)?;
            return Ok(None);
        }
    }
}

async fn folder_size(folder: &Path) -> u64 {
    let folder = folder.to_owned();
    let size = tokio::task::spawn_blocking(move || size(&folder));
    size.await.unwrap_or_default()
}

/// Bytes in a folder. What vanishes meanwhile does not count.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn kill(group: Pid) {
    if let Err(error) = kill_process_group(group, Signal::KILL) {
        tracing::debug!(%error, "a process of git was gone already");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended
            && let Some(group) = self.group
        {
            kill(group);
        }
    }
}

/// The beginning of a text, and its end awaited.
async fn read_text(mut from: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut text = Vec::new();
    (&mut from).take(MOST_TOLD).read_to_end(&mut text).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
