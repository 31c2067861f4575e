//! The platform's processes, by the pid files in its data directory.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{LONG, until};

/// A process of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The control plane.
    Serve,
    /// The gateway.
    Gateway,
}

impl Part {
    pub(crate) const fn stem(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Gateway => "gateway",
        }
    }

    pub(crate) fn log(self, data: &Path) -> PathBuf {
        data.join("log").join(format!("{}.log", self.stem()))
    }

    /// Its process, if one lives.
    pub(crate) fn pid(self, data: &Path) -> Option<Pid> {
        let file = data.join("run").join(format!("{}.pid", self.stem()));
        let text = std::fs::read_to_string(file).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?)?;
        (alive(pid) && is_ours(pid, data, self)).then_some(pid)
    }
}

/// Does any thread of it run? The first one is a zombie already while others still end, and until the last of them
/// has ended its files are open and its locks held.
fn alive(pid: Pid) -> bool {
    let at = format!("/proc/{}", pid.as_raw_nonzero());
    let Ok(stat) = std::fs::read_to_string(format!("{at}/stat")) else {
        return false;
    };
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    let threads = std::fs::read_dir(format!("{at}/task")).map_or(0, Iterator::count);
    !state.starts_with(['Z', 'X']) || threads > 1
}

/// A pid file can outlive its process, and the number be given to another.
fn is_ours(pid: Pid, data: &Path, part: Part) -> bool {
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let environ =
        std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).into_owned();
    let all = format!("{line}{}", String::from_utf8_lossy(&environ));
    line.contains(part.stem()) && all.contains(&*data.to_string_lossy())
}

/// Sends a signal; a process that is gone needs none.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("signal to process {}: {error}", pid.as_raw_nonzero()),
    }
}

/// Kills it with SIGKILL and waits for its end.
pub(crate) async fn kill9(pid: Pid) {
    signal(pid, Signal::KILL);
    until("the process to end", LONG, || async { !alive(pid) }).await;
}
