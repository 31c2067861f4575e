//! The data directory: where everything of a platform is, and who works in it.
//!
//! Theory of operation: a process that serves a data directory holds a lock (`flock`) on a file in `run/` that has its
//! process id in it. The kernel drops the lock with the process, however it ends, so a file without a lock is a
//! leftover and a file with one names a process that lives. Processes are then watched and signalled through a
//! pidfd, which never means another process that got the same number later.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_model::env::Secret;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;

use crate::env_vars;
use crate::error::{CliError, Result};

/// How long a lock is tried for: somebody who only looks whether it is held has it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// A process of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The control plane.
    Serve,
    /// The gateway.
    Gateway,
}

impl Part {
    /// The subcommand that is it, and the stem of its files.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Gateway => "gateway",
        }
    }

    /// In words.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Serve => "control plane",
            Self::Gateway => "gateway",
        }
    }
}

/// A data directory.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// The one that is named, or the default: `/var/lib/coracle` for root, else in the home directory.
    pub(crate) fn resolve(named: Option<&Path>) -> Result<Self> {
        if let Some(path) = named {
            let path = std::path::absolute(path)
                .map_err(|error| CliError::caused("--data-dir cannot be used", &error))?;
            return Ok(Self(path));
        }
        if rustix::process::geteuid().is_root() {
            return Ok(Self(PathBuf::from("/var/lib/coracle")));
        }
        let home = env_vars::read("HOME").ok_or_else(|| {
            CliError::usage("there is no HOME to keep data in")
                .hint("name a folder with --data-dir")
        })?;
        Ok(Self(Path::new(&home).join(".local/share/coracle")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    pub(crate) fn log(&self, part: Part) -> PathBuf {
        self.0.join("log").join(format!("{}.log", part.verb()))
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.0.join("coracle-settings.toml")
    }

    pub(crate) fn gateway_token(&self) -> PathBuf {
        self.0.join("keys/gateway.token")
    }

    /// Has the administrator's made-up password until somebody was shown it.
    pub(crate) fn first_password(&self) -> PathBuf {
        self.run().join("first-password")
    }

    fn awaited_file(&self) -> PathBuf {
        self.run().join("awaited")
    }

    /// What the control plane waits for at its start, if it waits.
    pub(crate) fn awaited(&self) -> Option<String> {
        std::fs::read_to_string(self.awaited_file()).ok()
    }

    /// Leaves word of what the control plane waits for at its start.
    pub(crate) fn note_awaited(&self, reason: Option<&str>) {
        let file = self.awaited_file();
        let noted = match reason {
            Some(reason) => coracle_control::vault::write_private(&file, reason.as_bytes()),
            None => match std::fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        if let Err(error) = noted {
            tracing::warn!(%error, file = %file.display(), "what is waited for could not be noted");
        }
    }

    fn pid_file(&self, part: Part) -> PathBuf {
        self.run().join(format!("{}.pid", part.verb()))
    }

    /// Makes the folder and those that every process needs, for their owner only, and the gateway's token.
    pub(crate) fn prepare(&self) -> Result {
        self.prepare_folders()?;
        self.ensure_gateway_token()
    }

    fn unusable(&self, error: &io::Error) -> CliError {
        let failed = CliError::caused(
            format!("the data directory {} cannot be used", self.0.display()),
            error,
        );
        let whose = belongs_to_stranger(&self.0, error);
        failed.hint(
            whose.unwrap_or_else(|| "name one that you may write to with --data-dir".to_owned()),
        )
    }

    /// Makes the folder and those that every process needs, for their owner only.
    pub(crate) fn prepare_folders(&self) -> Result {
        let fail = |error: io::Error| self.unusable(&error);
        for folder in [
            self.0.clone(),
            self.run(),
            self.0.join("log"),
            self.0.join("keys"),
        ] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(fail)?;
        }
        // Found now and not by the first write, which may be much later.
        let probe = self.run().join(format!(".probe-{}", std::process::id()));
        private_file(&probe).map_err(fail)?;
        std::fs::remove_file(&probe).map_err(fail)
    }

    /// Makes the gateway's token, if there is none.
    pub(crate) fn ensure_gateway_token(&self) -> Result {
        self.make_gateway_token()
            .map_err(|error| self.unusable(&error))
    }

    fn make_gateway_token(&self) -> io::Result<()> {
        let path = self.gateway_token();
        match std::fs::metadata(&path) {
            Ok(found) if found.len() > 0 => return Ok(()),
            Ok(_empty) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        coracle_control::vault::write_private(&path, text.as_bytes())
    }

    /// What gateways present to the control plane.
    pub(crate) fn read_gateway_token(&self) -> Result<Secret> {
        let path = self.gateway_token();
        let text = std::fs::read_to_string(&path).map_err(|error| {
            CliError::caused(format!("{} cannot be read", path.display()), &error)
        })?;
        Ok(Secret::new(text.trim()))
    }

    /// Its mode, where others than its owner may look into it.
    pub(crate) fn open_mode(&self) -> Option<u32> {
        let mode = std::fs::metadata(&self.0).ok()?.mode() & 0o777;
        (mode & 0o077 != 0).then_some(mode)
    }

    /// Makes this process the one that is `part` of this data directory, until the returned file is closed.
    ///
    /// # Errors
    /// When another process is.
    pub(crate) async fn claim(&self, part: Part) -> Result<File> {
        let path = self.pid_file(part);
        let fail = |error: io::Error| {
            CliError::caused(format!("{} cannot be used", path.display()), &error)
        };
        let mut file = open_pid_file(&path).map_err(fail)?;
        let deadline = tokio::time::Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(TryLockError::WouldBlock) => return Err(self.taken(part, &mut file)),
                Err(TryLockError::Error(error)) => return Err(fail(error)),
            }
        }
        write_pid(&mut file).map_err(fail)?;
        Ok(file)
    }

    fn taken(&self, part: Part, file: &mut File) -> CliError {
        let who = match read_pid(file) {
            Some(pid) => format!(" (process {})", pid.as_raw_nonzero()),
            None => String::new(),
        };
        CliError::new(format!(
            "another {} works in the data directory {}{who}",
            part.noun(),
            self.0.display()
        ))
        .hint("stop it with `coracle down`, or name another data directory with --data-dir")
    }

    /// Makes this process the `part` of this data directory in place of another that goes on until it is told to
    /// end. Who looks from now on finds this process.
    pub(crate) fn take_over(&self, part: Part) -> Result<File> {
        let path = self.pid_file(part);
        let fail = |error: io::Error| {
            CliError::caused(format!("{} cannot be used", path.display()), &error)
        };
        let new = path.with_extension(format!("pid.{}", std::process::id()));
        let mut file = open_pid_file(&new).map_err(fail)?;
        file.lock().map_err(fail)?;
        write_pid(&mut file).map_err(fail)?;
        std::fs::rename(&new, &path).map_err(fail)?;
        Ok(file)
    }

    /// The process that is `part` of this data directory now.
    pub(crate) fn running(&self, part: Part) -> Result<Option<Process>> {
        let path = self.pid_file(part);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let what = format!("{} cannot be read", path.display());
                return Err(CliError::caused(what, &error)
                    .hint("run this as the user who started the platform"));
            }
        };
        let Some(pid) = read_pid(&mut file) else {
            return Ok(None);
        };
        let Ok(fd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(None);
        };
        // Looked at after the pidfd was opened: who holds the lock now is who the pidfd means.
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(Process { pid, fd })),
            Err(TryLockError::Error(error)) => Err(CliError::caused(
                format!("{} cannot be used", path.display()),
                &error,
            )),
        }
    }
}

/// What to do, where `error` comes from `folder` being another user's.
pub(crate) fn belongs_to_stranger(folder: &Path, error: &io::Error) -> Option<String> {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return None;
    }
    let owner = std::fs::metadata(folder).ok()?.uid();
    let user = rustix::process::geteuid().as_raw();
    let home = match env_vars::read(env_vars::IN_CLUSTER) {
        Some(_) => Home::Pod,
        None => Home::Machine,
    };
    (owner != user).then(|| home.strangers_folder(owner, user))
}

/// Where this process runs.
#[derive(Clone, Copy, Debug)]
enum Home {
    /// In a pod of a cluster.
    Pod,
    /// On a machine.
    Machine,
}

impl Home {
    /// What to do about a folder of another user.
    fn strangers_folder(self, owner: u32, user: u32) -> String {
        let whose = format!("it belongs to user {owner}, and this process is user {user}");
        match self {
            Self::Pod => format!(
                "{whose}: the volume's storage class does not give it to the pod's group. Set persistence.ownerImage of the Helm chart, use another class, or `chown {user}` the folder on its node"
            ),
            Self::Machine => format!(
                "{whose}: name one that you may write to with --data-dir, or run this as its owner"
            ),
        }
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn open_pid_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<Pid> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

/// A process that lives, or lived a moment ago.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Does it run the same program file as this process?
    pub(crate) fn runs_this_program(&self) -> bool {
        let file = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
        let its = file(Path::new(&format!("/proc/{}/exe", self.id())));
        let ours = file(Path::new("/proc/self/exe"));
        match (its, ours) {
            (Ok(its), Ok(ours)) => its == ours,
            // Not to be told: then it is left alone.
            _ => true,
        }
    }

    /// Asks it to end, waits for at most `patience`, and kills it then.
    pub(crate) async fn stop(self, patience: Duration) -> Result<Stopped> {
        let pid = self.id();
        let fail = |error: io::Error| {
            CliError::caused(format!("process {pid} cannot be stopped"), &error)
                .hint("run this as the user who started the platform")
        };
        signal(&self.fd, Signal::TERM).map_err(fail)?;
        #[expect(
            deprecated,
            reason = "an OwnedFd keeps its descriptor open, as is asked for"
        )]
        let ended = AsyncFd::new(self.fd).map_err(fail)?;
        if let Ok(ready) = tokio::time::timeout(patience, ended.readable()).await {
            ready.map_err(fail)?.retain_ready();
            return Ok(Stopped::ByItself);
        }
        signal(ended.get_ref(), Signal::KILL).map_err(fail)?;
        ended.readable().await.map_err(fail)?.retain_ready();
        Ok(Stopped::Killed)
    }
}

/// A process that is gone already needs no signal.
fn signal(fd: &OwnedFd, signal: Signal) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(fd, signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// After it was asked.
    ByItself,
    /// It did not in time.
    Killed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_tells_the_living_from_a_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(&dir.path().join("data"))).unwrap();
        data.prepare().unwrap();
        assert!(data.running(Part::Serve).unwrap().is_none());
        let claimed = data.claim(Part::Serve).await.unwrap();
        let found = data.running(Part::Serve).unwrap().unwrap();
        assert_eq!(found.id(), std::process::id());
        assert!(found.runs_this_program());
        let refused = data.claim(Part::Serve).await.unwrap_err();
        assert!(
            refused
                .message
                .starts_with("another control plane works in the data directory"),
            "{refused}"
        );
        drop(claimed);
        assert!(data.running(Part::Serve).unwrap().is_none());
        data.claim(Part::Serve).await.unwrap();
    }

    #[tokio::test]
    async fn who_takes_over_is_who_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(dir.path())).unwrap();
        data.prepare().unwrap();
        let old = data.claim(Part::Gateway).await.unwrap();
        let new = data.take_over(Part::Gateway).unwrap();
        drop(old);
        assert!(data.running(Part::Gateway).unwrap().is_some());
        drop(new);
        assert!(data.running(Part::Gateway).unwrap().is_none());
    }

    #[test]
    fn a_strangers_folder_is_told_with_what_to_do() {
        let pod = Home::Pod.strangers_folder(0, 10_007);
        for word in [
            "user 0",
            "user 10007",
            "persistence.ownerImage",
            "chown 10007",
        ] {
            assert!(pod.contains(word), "{word}: {pod}");
        }
        let machine = Home::Machine.strangers_folder(0, 1000);
        assert!(machine.contains("--data-dir"), "{machine}");
        assert!(!machine.contains("Helm"), "{machine}");
    }

    #[test]
    fn what_is_made_is_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(&dir.path().join("a/b"))).unwrap();
        data.prepare().unwrap();
        assert_eq!(data.open_mode(), None);
        let token = data.read_gateway_token().unwrap();
        assert_eq!(token.expose().len(), 64);
        data.prepare().unwrap();
        assert_eq!(data.read_gateway_token().unwrap(), token);
    }
}
