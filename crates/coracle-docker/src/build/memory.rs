//! The memory of a build's commands.
//!
//! Theory of operation: the daemon's BuildKit knows no limits: it ignores those of the request, and Engine 20.10
//! ignores a cgroup parent too. It does put every command into a cgroup of its own. So while a command of the
//! build runs, cgroups of commands that appear are given the limit from outside: not more of them than this
//! build runs commands, and only ones that were not there before, because others may build at the same time.
//! The limit is for each command, and commands of one build that run at once have it each: BuildKit in the daemon
//! puts the commands of all builds side by side into one folder of its own, so there is no group of one build that a
//! limit could be put on, and a limit of that folder would be one for all who build on this machine. A command that
//! passes its limit is killed, not the machine. Where the cgroups cannot
//! be written (no root, an unknown layout) the build's log says that there is no limit.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum};

/// A command that takes memory as fast as it can has not taken much more than its limit in this time.
const LOOK: Duration = Duration::from_millis(50);
/// BuildKit's ids, unlike those of containers (64), have so many letters.
const ID_LETTERS: usize = 25;

/// Limits the memory of one build's commands.
#[derive(Debug)]
pub(super) struct Limit {
    bytes: u64,
    layout: Result<Layout, &'static str>,
    seen: HashSet<PathBuf>,
    mine: Vec<PathBuf>,
}

/// Where the cgroups of commands are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    /// The folder that they are in.
    folder: PathBuf,
    /// Around a command's id.
    prefix: &'static str,
    suffix: &'static str,
    /// Files that take the limit, in the order in which they must be written.
    files: &'static [&'static str],
}

impl Limit {
    pub(super) async fn new(docker: &Docker, bytes: u64) -> Self {
        let layout = match docker.info().await {
            Ok(info) => layout(
                info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2),
                info.cgroup_driver == Some(SystemInfoCgroupDriverEnum::SYSTEMD),
            ),
            Err(_) => Err("the daemon does not say how it groups processes"),
        };
        let layout = layout.and_then(|layout| {
            let root = layout.folder.ancestors().find(|f| f.exists());
            let writable = root
                .is_some_and(|root| rustix::fs::access(root, rustix::fs::Access::WRITE_OK).is_ok());
            if writable {
                Ok(layout)
            } else {
                Err("cgroups cannot be written by this user")
            }
        });
        let mut limit = Self {
            bytes,
            layout,
            seen: HashSet::new(),
            mine: Vec::new(),
        };
        limit.seen = limit.commands().into_iter().collect();
        limit
    }

    /// What the build's log must say.
    pub(super) fn words(&self) -> Option<String> {
        let why = self.layout.as_ref().err()?;
        Some(format!("the memory of this build is not limited: {why}"))
    }

    /// Looks for cgroups of new commands while commands of this build run; for ever when there is nothing to do.
    pub(super) async fn watch(&mut self, running: usize) {
        if self.layout.is_err() {
            return std::future::pending().await;
        }
        tokio::time::sleep(LOOK).await;
        let commands = self.commands();
        self.mine.retain(|folder| commands.contains(folder));
        for folder in commands {
            if !self.seen.insert(folder.clone()) || self.mine.len() >= running {
                continue;
            }
            match self.apply(&folder) {
                Ok(()) => self.mine.push(folder),
                // It ended meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "a build's command has no memory limit"),
            }
        }
    }

    fn commands(&self) -> Vec<PathBuf> {
        let Ok(layout) = &self.layout else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(&layout.folder) else {
            return Vec::new();
        };
        entries
            .filter_map(Result::ok)
            .filter(|entry| {
                entry
                    .file_name()
                    .to_str()
                    .is_some_and(|n| layout.is_command(n))
            })
            .map(|entry| entry.path())
            .collect()
    }

    fn apply(&self, folder: &Path) -> std::io::Result<()> {
        let files = self.layout.as_ref().map(|l| l.files).unwrap_or_default();
        for (number, file) in files.iter().enumerate() {
            let written = std::fs::write(folder.join(file), self.bytes.to_string());
            // Only the first is memory itself; the kernel may do without accounting of swap.
            if number == 0 {
                written?;
            }
        }
        Ok(())
    }
}

fn layout(second_version: bool, systemd: bool) -> Result<Layout, &'static str> {
    let root = Path::new("/sys/fs/cgroup");
    let root = if second_version {
        root.to_owned()
    } else {
        root.join("memory")
    };
    let (folder, prefix, suffix) = if systemd {
        (root.join("system.slice"), "docker-", ".scope")
    } else {
        (root.join("docker/buildkit"), "", "")
    };
    if !root.exists() {
        return Err("this machine has no cgroups for memory where they usually are");
    }
    let files: &[&str] = if second_version {
        &["memory.max", "memory.swap.max"]
    } else {
        &["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
    };
    Ok(Layout {
        folder,
        prefix,
        suffix,
        files,
    })
}

impl Layout {
    fn is_command(&self, name: &str) -> bool {
        let id = name
            .strip_prefix(self.prefix)
            .and_then(|n| n.strip_suffix(self.suffix));
        id.is_some_and(|id| id.len() == ID_LETTERS && id.bytes().all(|b| b.is_ascii_alphanumeric()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_containers() {
        let layout = Layout {
            folder: PathBuf::new(),
            prefix: "docker-",
            suffix: ".scope",
            files: &[],
        };
        assert!(layout.is_command("docker-djvrxdrg21jt4xkpfrs9mjk48.scope"));
        let container = format!("docker-{}.scope", "a".repeat(64));
        assert!(!layout.is_command(&container));
        assert!(!layout.is_command("ssh.service"));
    }
}
