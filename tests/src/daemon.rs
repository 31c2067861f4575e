//! A Docker daemon of a test's own, to be stopped and started again.
//!
//! Theory of operation: everything of it is in a folder of its own, and it keeps its hands off what a second daemon on a
//! machine would share with the first: a default bridge of its own (with none at all a daemon removes `docker0`, which
//! is the first one's), no firewall rules, no change of the kernel's settings. Its
//! pods are reached from this machine over their bridge as always; they reach nothing outside. It is a child
//! in the test's process group, so that a test that is killed takes it along.

use std::os::unix::fs::DirBuilderExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::docker::Docker;
use crate::process::signal;
use crate::source::TEST_IMAGE;
use crate::wait::{LONG, until};

/// A Docker daemon of a test's own.
#[derive(Debug)]
pub struct Daemon {
    home: TempDir,
    bridge: Bridge,
    child: Option<Child>,
}

/// A bridge that the daemon takes for its default one. Removed when dropped.
#[derive(Debug)]
struct Bridge(String);

impl Bridge {
    fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let (process, made) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        // Addresses that nobody else on a test machine is likely to have (RFC 2544's range for tests).
        let address = format!("198.18.{}.{}/30", process % 256, made % 64 * 4 + 1);
        // A network interface's name has 15 bytes at most.
        let bridge = Self(format!("cor{process}-{made}"));
        bridge.ip(&["link", "add", &bridge.0, "type", "bridge"]);
        bridge.ip(&["addr", "add", &address, "dev", &bridge.0]);
        bridge.ip(&["link", "set", &bridge.0, "up"]);
        bridge
    }

    fn ip(&self, args: &[&str]) {
        let done = std::process::Command::new("ip").args(args).status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "ip {args:?} failed (Debian's package iproute2)"
        );
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Nothing more can be done about one that stays.
        drop(
            std::process::Command::new("ip")
                .args(["link", "del", &self.0])
                .status(),
        );
    }
}

impl Daemon {
    /// Starts one that has the test image, or nothing where this is not root's test.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: a second Docker daemon needs root");
            return None;
        }
        let home = TempDir::with_prefix("coracle-e2e-dockerd.").expect("a folder can be made");
        for folder in ["data", "exec"] {
            std::fs::DirBuilder::new()
                .mode(0o711)
                .create(home.path().join(folder))
                .expect("a folder can be made");
        }
        let mut daemon = Self {
            home,
            bridge: Bridge::new(),
            child: None,
        };
        daemon.up().await;
        daemon.load_test_image();
        Some(daemon)
    }

    /// How to speak to it.
    #[must_use]
    pub fn docker(&self) -> Docker {
        Docker {
            socket: Some(self.home.path().join("docker.sock")),
        }
    }

    /// Starts it (again).
    ///
    /// # Panics
    /// When it does not answer in time.
    pub async fn up(&mut self) {
        let path = |name: &str| self.home.path().join(name);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path("log"))
            .expect("a log");
        let program = if std::path::Path::new("/usr/sbin/dockerd").exists() {
            "/usr/sbin/dockerd"
        } else {
            "dockerd"
        };
        let child = Command::new(program)
            .arg("--host")
            .arg(format!("unix://{}", path("docker.sock").display()))
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("docker.pid"))
            .args([
                "--bridge",
                &self.bridge.0,
                "--iptables=false",
                "--ip-masq=false",
                "--ip-forward=false",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("dockerd can be run");
        self.child = Some(child);
        let docker = self.docker();
        until("the test's own Docker daemon to answer", LONG, || async {
            docker.try_run(&["version"]).is_ok()
        })
        .await;
    }

    /// Asks it to end and waits for it. Its containers end with it.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn down(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        if let Some(pid) = pid(&child) {
            signal(pid, Signal::TERM);
        }
        let ended = tokio::time::timeout(LONG, child.wait()).await;
        assert!(ended.is_ok(), "the Docker daemon does not end");
    }

    fn load_test_image(&self) {
        let mut save = Docker::default()
            .command()
            .args(["save", TEST_IMAGE])
            .stdout(Stdio::piped())
            .spawn()
            .expect("docker can be run");
        let image = save.stdout.take().expect("it is piped");
        let loaded = self
            .docker()
            .command()
            .arg("load")
            .stdin(image)
            .output()
            .expect("docker can be run");
        let saved = save.wait().expect("it can be waited for");
        assert!(
            loaded.status.success() && saved.success(),
            "the test image is not there: run scripts/test-image"
        );
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // Containers of an own daemon are removed first, so that no shim and no mount outlives it.
        let docker = self.docker();
        let all = docker.try_run(&["ps", "-aq"]).unwrap_or_default();
        for id in all.lines() {
            drop(docker.try_run(&["rm", "-f", id]));
        }
        let networks = docker
            .try_run(&["network", "ls", "-q", "--filter", "type=custom"])
            .unwrap_or_default();
        for id in networks.lines() {
            drop(docker.try_run(&["network", "rm", id]));
        }
        if let Some(pid) = pid(&child) {
            signal(pid, Signal::TERM);
        }
        // No runtime to wait with in here; some ten seconds are more than it takes.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while matches!(child.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}
