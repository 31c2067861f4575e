//! On trees of files as machines have them.

use std::path::{Path, PathBuf};

use coracle_model::name::{PodName, ProjectName};

use super::*;

/// How a machine lays control groups out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Version 1, laid out by Docker, each controller mounted alone.
    OneByDocker,
    /// Version 1, laid out by systemd, processors mounted together.
    OneBySystemd,
    /// Version 2, laid out by Docker.
    TwoByDocker,
    /// Version 2, laid out by systemd.
    TwoBySystemd,
    /// Version 1 for the controllers, and version 2 beside it without any.
    Both,
}

const LAYOUTS: [Layout; 5] = [
    Layout::OneByDocker,
    Layout::OneBySystemd,
    Layout::TwoByDocker,
    Layout::TwoBySystemd,
    Layout::Both,
];

struct Machine {
    folder: tempfile::TempDir,
    layout: Layout,
}

fn write(path: PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

impl Machine {
    fn new(layout: Layout) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Self { folder, layout };
        let groups = machine.groups();
        let groups = groups.display();
        let one = |name: &str, options: &str| {
            format!("33 31 0:30 / {groups}/{name} rw,relatime - cgroup cgroup rw,{options}\n")
        };
        let two = |name: &str| {
            format!("41 31 0:38 / {groups}{name} rw,relatime shared:4 - cgroup2 cgroup2 rw\n")
        };
        let mounts = match layout {
            Layout::OneByDocker => {
                one("cpu", "cpu") + &one("cpuacct", "cpuacct") + &one("memory", "memory")
            }
            Layout::OneBySystemd => one("cpu,cpuacct", "cpu,cpuacct") + &one("memory", "memory"),
            Layout::TwoByDocker | Layout::TwoBySystemd => two(""),
            Layout::Both => one("cpuacct", "cpuacct") + &one("memory", "memory") + &two("/unified"),
        };
        write(
            machine.proc("self/mountinfo"),
            &format!("31 23 0:28 / /sys rw - tmpfs tmpfs rw\n{mounts}"),
        );
        machine
    }

    fn groups(&self) -> PathBuf {
        self.folder.path().join("groups")
    }

    fn proc(&self, name: &str) -> PathBuf {
        self.folder.path().join("proc").join(name)
    }

    /// The folders of a container's groups for processors and for memory.
    fn of(&self, id: &str) -> [PathBuf; 2] {
        let group = match self.layout {
            Layout::OneBySystemd | Layout::TwoBySystemd => {
                format!("system.slice/docker-{id}.scope")
            }
            _ => format!("docker/{id}"),
        };
        let [processors, memory] = match self.layout {
            Layout::OneByDocker | Layout::Both => ["cpuacct", "memory"],
            Layout::OneBySystemd => ["cpu,cpuacct", "memory"],
            Layout::TwoByDocker | Layout::TwoBySystemd => ["", ""],
        };
        [processors, memory].map(|name| self.groups().join(name).join(&group))
    }

    /// A container that has used so many milliseconds, with 100 MiB of memory of which 30 are cache.
    fn container(&self, id: &str, process: u32, millis: u64) {
        let [processors, memory] = self.of(id);
        let group = memory.strip_prefix(self.groups()).unwrap();
        let group = Path::new("/").join(group.strip_prefix("memory").unwrap_or(group));
        let group = group.display();
        let cgroup = match self.layout {
            Layout::OneByDocker => format!(
                "9:name=systemd:{group}\n3:memory:{group}\n2:cpuacct:{group}\n1:cpu:{group}\n"
            ),
            Layout::OneBySystemd => {
                format!("5:memory:{group}\n4:cpu,cpuacct:{group}\n0::/init.scope\n")
            }
            Layout::TwoByDocker | Layout::TwoBySystemd => format!("0::{group}/below\n"),
            Layout::Both => format!("3:memory:{group}\n2:cpuacct:{group}\n0::{group}\n"),
        };
        write(self.proc(&format!("{process}/cgroup")), &cgroup);
        let dev = "Inter-|\n face |\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0: 286 3 0 0 0 0 0 0 40 1 0 0 0 0 0 0\n";
        write(self.proc(&format!("{process}/net/dev")), dev);
        let (used, cache) = (100 << 20, 30 << 20);
        let own = 1 << 20;
        if matches!(self.layout, Layout::TwoByDocker | Layout::TwoBySystemd) {
            let stat = format!("usage_usec {}\nuser_usec 1\nsystem_usec 1\n", millis * 1000);
            write(processors.join("cpu.stat"), &stat);
            write(memory.join("memory.current"), &format!("{used}\n"));
            write(
                memory.join("memory.stat"),
                &format!("anon 1\ninactive_anon 2\ninactive_file {cache}\n"),
            );
        } else {
            write(
                processors.join("cpuacct.usage"),
                &format!("{}\n", millis * 1_000_000),
            );
            write(memory.join("memory.usage_in_bytes"), &format!("{used}\n"));
            let stat = format!("cache 1\ninactive_file {own}\ntotal_inactive_file {cache}\n");
            write(memory.join("memory.stat"), &stat);
        }
    }

    fn files(&self) -> Files {
        Files::under(&self.folder.path().join("proc"))
    }
}

/// Ids as Docker makes them.
fn id(n: u32) -> String {
    format!("{n:064x}")
}

#[test]
fn a_container_is_read_on_every_layout() {
    for layout in LAYOUTS {
        let machine = Machine::new(layout);
        machine.container(&id(7), 70, 1500);
        let read = machine.files().container(&id(7), 70).unwrap();
        let Some(Processor::Time(total)) = read.cpu else {
            panic!("{layout:?}: {read:?}");
        };
        assert_eq!(total.amount, 1_500_000_000, "{layout:?}");
        assert_eq!(read.memory_bytes, Some(70 << 20), "{layout:?}");
        let network = (
            read.network_in.unwrap().amount,
            read.network_out.unwrap().amount,
        );
        assert_eq!(network, (286, 40), "{layout:?}");
    }
}

#[test]
fn a_process_that_is_somebody_elses_by_now_tells_nothing() {
    for layout in LAYOUTS {
        let machine = Machine::new(layout);
        machine.container(&id(7), 70, 1500);
        machine.container(&id(8), 80, 1500);
        let mut files = machine.files();
        assert_eq!(
            files.container(&id(7), 80),
            None,
            "{layout:?}: another container's"
        );
        assert_eq!(files.container(&id(7), 71), None, "{layout:?}: it is gone");
        for folder in machine.of(&id(8)) {
            std::fs::remove_dir_all(folder).ok();
        }
        assert_eq!(
            files.container(&id(8), 80),
            None,
            "{layout:?}: the group is gone"
        );
    }
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let machine = Machine::new(Layout::OneByDocker);
    machine.container(&id(7), 70, 1500);
    let [_, memory] = machine.of(&id(7));
    std::fs::remove_file(memory.join("memory.stat")).unwrap();
    std::fs::remove_file(machine.proc("70/net/dev")).unwrap();
    let read = machine.files().container(&id(7), 70).unwrap();
    assert_eq!(read.memory_bytes, Some(100 << 20));
    assert_eq!((read.network_in, read.network_out), (None, None));
    std::fs::write(memory.join("memory.usage_in_bytes"), "many\n").unwrap();
    assert_eq!(
        machine.files().container(&id(7), 70).unwrap().memory_bytes,
        None
    );
}

#[test]
fn this_machine_is_read() {
    let read = machine(&mut Files::of_this_machine(), Some("/"));
    assert!(read.memory_bytes.unwrap() > 0 && read.disk_bytes.unwrap() > 0);
    assert!(matches!(read.cpu, Some(Processor::Time(total)) if total.amount > 0));
    assert!(read.network_in.is_some() && read.network_out.is_some());
}

/// Run by hand: what a look at 200 pods costs, in processor time of this thread.
#[test]
#[ignore = "measures"]
fn the_cost_of_200_pods() {
    for layout in LAYOUTS {
        let machine = Machine::new(layout);
        let target = |n: u32| {
            machine.container(&id(n), 1000 + n, u64::from(n));
            Target {
                pod: PodId {
                    project: ProjectName::default_project(),
                    name: PodName::new(format!("pod-{n}")).unwrap(),
                },
                container: id(n),
                process: 1000 + n,
                memory_limit: None,
            }
        };
        let all: Vec<Target> = (0..200).map(target).collect();
        let looks = 20;
        let (before, began) = (on_processor(), std::time::Instant::now());
        for _ in 0..looks {
            let mut files = machine.files();
            let again = all.iter().map(|target| Target {
                pod: target.pod.clone(),
                container: target.container.clone(),
                ..*target
            });
            assert_eq!(pods(&mut files, again.collect()).len(), 200);
        }
        let (used, passed) = (on_processor() - before, began.elapsed());
        println!(
            "{layout:?}: {:?} of a processor and {:?} for a look at 200 pods",
            used / looks,
            passed / looks
        );
    }
}

/// Processor time of this thread.
fn on_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
