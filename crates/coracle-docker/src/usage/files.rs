//! The kernel's files: control groups of version 1 and 2, and what `/proc` tells.
//!
//! Theory of operation: `/proc/self/mountinfo` says where control groups are to be seen and which part of them; a process's
//! `cgroup` file says where it is in each hierarchy. With version 1 a controller has a hierarchy of its own, with version 2
//! all are in one; on machines with both, memory tells which one counts. What a container's process made below its own
//! group, as an init system does, is part of it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use coracle_model::usage::{Processor, Reading, Total};

/// No file that is read is longer.
const FILE_BYTES: u64 = 1 << 20;

/// From when on time is counted.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Where a hierarchy of control groups is to be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hierarchy {
    /// The part of it that is to be seen, as groups are named.
    part: String,
    place: PathBuf,
}

impl Hierarchy {
    /// The folder of a group.
    fn folder(&self, group: &str) -> Option<PathBuf> {
        let below = match self.part.as_str() {
            "/" => group,
            part => group.strip_prefix(part)?,
        };
        let below = below.trim_start_matches('/');
        // A group outside what this process may see is named so.
        let inside = !below.split('/').any(|part| part == "..");
        inside.then(|| self.place.join(below))
    }
}

/// Where control groups are to be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hierarchies {
    processors: Option<Hierarchy>,
    memory: Option<Hierarchy>,
    unified: Option<Hierarchy>,
}

impl Hierarchies {
    /// Reads `mountinfo` (proc(5)).
    fn read(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((mount, system)) = line.split_once(" - ") else {
                continue;
            };
            let mut mount = mount.split(' ').skip(3);
            let mut system = system.split(' ');
            let (Some(part), Some(place), Some(kind)) = (mount.next(), mount.next(), system.next())
            else {
                continue;
            };
            let hierarchy = || {
                Some(Hierarchy {
                    part: part.to_owned(),
                    place: place.into(),
                })
            };
            let options = system.nth(1).unwrap_or_default();
            let has = |controller| options.split(',').any(|option| option == controller);
            match kind {
                "cgroup2" => found.unified = hierarchy(),
                "cgroup" if has("cpuacct") => found.processors = hierarchy(),
                "cgroup" if has("memory") => found.memory = hierarchy(),
                _ => {}
            }
        }
        found
    }
}

/// The groups that a container's process is in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Groups {
    processors: Option<String>,
    memory: Option<String>,
    unified: Option<String>,
}

impl Groups {
    /// Reads a process's `cgroup` file (cgroups(7)), as far as the groups are of this container.
    fn read(text: &str, container: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let group = || of_container(path, container).map(str::to_owned);
            let has = |controller| controllers.split(',').any(|one| one == controller);
            if controllers.is_empty() {
                found.unified = group();
            }
            if has("cpuacct") {
                found.processors = group();
            }
            if has("memory") {
                found.memory = group();
            }
        }
        found
    }
}

/// The path of the group up to the container's own: `/docker/ID`, `/system.slice/docker-ID.scope`, or below another parent.
fn of_container<'a>(path: &'a str, container: &str) -> Option<&'a str> {
    let mut end = 0;
    let mut found = None;
    for part in path.split('/') {
        end += part.len();
        if !container.is_empty() && part.contains(container) {
            found = path.get(..end);
        }
        end += 1;
    }
    found
}

/// The machine's files. One is read after another, into one buffer.
pub(super) struct Files {
    proc: PathBuf,
    hierarchies: Hierarchies,
    text: String,
}

impl Files {
    pub(super) fn of_this_machine() -> Self {
        Self::under(Path::new("/proc"))
    }

    pub(super) fn under(proc: &Path) -> Self {
        let mut files = Self {
            proc: proc.to_owned(),
            hierarchies: Hierarchies::default(),
            text: String::new(),
        };
        if let Some(mounts) = files.proc("self/mountinfo") {
            files.hierarchies = Hierarchies::read(mounts);
        }
        files
    }

    /// The time, on a clock that never goes back.
    pub(super) fn now(&self) -> Duration {
        BEGAN.elapsed()
    }

    /// A file of `/proc`. None for one that is not there, or not any more.
    pub(super) fn proc(&mut self, name: &str) -> Option<&str> {
        let path = self.proc.join(name);
        self.read(&path)
    }

    fn read(&mut self, path: &Path) -> Option<&str> {
        self.text.clear();
        let file = File::open(path).ok()?;
        file.take(FILE_BYTES).read_to_string(&mut self.text).ok()?;
        Some(&self.text)
    }

    /// The number that a file begins with.
    fn number(&mut self, path: &Path) -> Option<u64> {
        self.read(path)?
            .split_ascii_whitespace()
            .next()?
            .parse()
            .ok()
    }

    /// The number behind a name at the beginning of a line.
    fn named(&mut self, path: &Path, name: &str) -> Option<u64> {
        let text = self.read(path)?;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value)
    }

    /// What a container uses whose first process this was when it was looked at last. None when it is not any more.
    pub(super) fn container(&mut self, container: &str, process: u32) -> Option<Reading> {
        let groups = Groups::read(self.proc(&format!("{process}/cgroup"))?, container);
        let hierarchies = self.hierarchies.clone();
        let folder = |hierarchy: Option<Hierarchy>, group: &Option<String>| {
            hierarchy.and_then(|hierarchy| hierarchy.folder(group.as_deref()?))
        };
        let unified = folder(hierarchies.unified, &groups.unified);
        let (nanos, memory) = match folder(hierarchies.memory, &groups.memory) {
            Some(memory) => {
                let processors = folder(hierarchies.processors, &groups.processors);
                let nanos =
                    processors.and_then(|folder| self.number(&folder.join("cpuacct.usage")));
                (
                    nanos,
                    self.memory(&memory, "memory.usage_in_bytes", "total_inactive_file"),
                )
            }
            None => {
                let unified = unified?;
                let micros = self.named(&unified.join("cpu.stat"), "usage_usec");
                let nanos = micros.and_then(|micros| micros.checked_mul(1000));
                (
                    nanos,
                    self.memory(&unified, "memory.current", "inactive_file"),
                )
            }
        };
        // Neither: the group is gone, and with it the container.
        if nanos.is_none() && memory.is_none() {
            return None;
        }
        let at = self.now();
        let network = self
            .proc(&format!("{process}/net/dev"))
            .map(|table| bytes(table, |name| name != "lo"));
        Some(Reading {
            cpu: nanos.map(|amount| Processor::Time(Total { at, amount })),
            memory_bytes: memory,
            memory_limit_bytes: None,
            network_in: network.map(|(received, _)| Total {
                at,
                amount: received,
            }),
            network_out: network.map(|(_, sent)| Total { at, amount: sent }),
            disk_bytes: None,
        })
    }

    /// Without page cache that can be given up at any time, as `docker stats` counts it.
    fn memory(&mut self, folder: &Path, usage: &str, cache: &str) -> Option<u64> {
        let used = self.number(&folder.join(usage))?;
        let cache = self
            .named(&folder.join("memory.stat"), cache)
            .unwrap_or_default();
        Some(used.saturating_sub(cache))
    }

    /// Bytes received and sent by the machine: what goes between its own containers is left out.
    pub(super) fn machine_network(&mut self) -> Option<(u64, u64)> {
        const INNER: [&str; 6] = ["lo", "veth", "br-", "docker", "virbr", "cni"];
        let outer = |name: &str| !INNER.iter().any(|inner| name.starts_with(inner));
        self.proc("net/dev").map(|table| bytes(table, outer))
    }
}

/// Bytes received and sent by those network interfaces of a `net/dev` that count.
fn bytes(table: &str, counts: impl Fn(&str) -> bool) -> (u64, u64) {
    let mut sum = (0_u64, 0_u64);
    for line in table.lines() {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        if !counts(name.trim()) {
            continue;
        }
        let mut numbers = numbers.split_ascii_whitespace();
        let mut number = |n| {
            numbers
                .nth(n)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0)
        };
        // The first column is what was received; eight later begins what was sent.
        let (received, sent): (u64, u64) = (number(0), number(7));
        sum = (sum.0.saturating_add(received), sum.1.saturating_add(sent));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_containers_whoever_laid_it_out() {
        let id = "54e955080f1ab353";
        for (path, group) in [
            ("/docker/54e955080f1ab353", Some("/docker/54e955080f1ab353")),
            (
                "/system.slice/docker-54e955080f1ab353.scope",
                Some("/system.slice/docker-54e955080f1ab353.scope"),
            ),
            (
                "/own/parent/54e955080f1ab353/init.scope/x",
                Some("/own/parent/54e955080f1ab353"),
            ),
            ("/docker/another", None),
            ("/", None),
        ] {
            assert_eq!(of_container(path, id), group);
        }
        assert_eq!(of_container("/docker/x", ""), None);
    }

    #[test]
    fn a_part_of_a_hierarchy_is_seen_where_it_is_mounted() {
        let seen = |part: &str, group: &str| {
            let hierarchy = Hierarchy {
                part: part.to_owned(),
                place: "/sys/fs/cgroup".into(),
            };
            hierarchy.folder(group)
        };
        let place = |name: &str| Some(PathBuf::from("/sys/fs/cgroup").join(name));
        assert_eq!(seen("/", "/docker/x"), place("docker/x"));
        assert_eq!(seen("/outer", "/outer/docker/x"), place("docker/x"));
        assert_eq!(seen("/outer", "/docker/x"), None);
        assert_eq!(seen("/", "/../../docker/x"), None);
    }

    #[test]
    fn interfaces_are_summed() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n    lo:  5 1 0 0 0 0 0 0  5 1 0 0 0 0 0 0\n  eth0: 286 3 0 0 0 0 0 0 40 1 0 0 0 0 0 0\n eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(bytes(table, |name| name != "lo"), (287, 42));
        assert_eq!(bytes("eth0: x\n", |_| true), (0, 0));
    }
}
