//! An etcd of a test's own: stopped and started again, filled, locked up.

use std::path::PathBuf;
use std::process::Stdio;

use coracle_store::{Etcd, EtcdConfig, EtcdUser};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::ports;
use crate::wait::{LONG, until_ok};

/// The password of etcd's user `root`, once there is one.
const ROOT_PASSWORD: &str = "root-of-all";

/// One member on loopback, with a folder of its own. Killed when dropped.
#[derive(Debug)]
pub struct EtcdServer {
    program: PathBuf,
    home: TempDir,
    client: String,
    peer: String,
    flags: Vec<String>,
    process: Option<Child>,
    locked: bool,
}

impl EtcdServer {
    /// One that does not run yet, with more flags. `None` where there is no etcd, which is said.
    ///
    /// # Panics
    /// When there is no folder for it.
    #[must_use]
    pub fn prepare(flags: &[&str]) -> Option<Self> {
        let program = find("etcd", "etcd-server")?;
        find("etcdctl", "etcd-client")?;
        Some(Self {
            program,
            home: TempDir::with_prefix("coracle-e2e-etcd.").expect("a folder can be made"),
            client: format!("http://{}", ports::free()),
            peer: format!("http://{}", ports::free()),
            flags: flags.iter().map(ToString::to_string).collect(),
            process: None,
            locked: false,
        })
    }

    /// One that answers.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(flags: &[&str]) -> Option<Self> {
        let mut etcd = Self::prepare(flags)?;
        etcd.run().await;
        Some(etcd)
    }

    /// Starts it (again), and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub async fn run(&mut self) {
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.home.path().join("log"))
            .expect("a log can be made");
        let process = Command::new(&self.program)
            .arg("--data-dir")
            .arg(self.home.path().join("data"))
            .args(["--listen-client-urls", &self.client])
            .args(["--advertise-client-urls", &self.client])
            .args(["--listen-peer-urls", &self.peer])
            .args(["--initial-advertise-peer-urls", &self.peer])
            .args(["--initial-cluster", &format!("default={}", self.peer)])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("etcd can be started");
        self.process = Some(process);
        self.store("/").await;
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().await.expect("it can be killed");
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.client
    }

    /// What a control plane is started with to use it.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        ["--store", "etcd", "--etcd-endpoints", &self.client]
            .map(str::to_owned)
            .to_vec()
    }

    /// All of it below `prefix`, read and written without the platform.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn store(&self, prefix: &str) -> Etcd {
        let user = self.locked.then(|| EtcdUser {
            name: "root".to_owned(),
            password: ROOT_PASSWORD.to_owned(),
        });
        let config = EtcdConfig {
            endpoints: vec![self.client.clone()],
            prefix: prefix.to_owned(),
            user,
            ..EtcdConfig::default()
        };
        let connect = || async {
            let connected = Etcd::connect(config.clone()).await;
            connected.map_err(|error| error.to_string())
        };
        until_ok("etcd to answer", LONG, connect).await.0
    }

    /// Runs `etcdctl`.
    ///
    /// # Panics
    /// When it fails.
    pub async fn control(&self, line: &str) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3");
        command.args(["--endpoints", &self.client]);
        if self.locked {
            command.args(["--user", &format!("root:{ROOT_PASSWORD}")]);
        }
        let done = command
            .args(line.split(' '))
            .output()
            .await
            .expect("etcdctl can be run");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "etcdctl {line}: {said}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Makes a user who may read and write below the platform's prefix, and lets nobody in without a password.
    ///
    /// # Panics
    /// When etcd refuses.
    pub async fn lock(&mut self, user: &str, password: &str) {
        for line in [
            "role add platform".to_owned(),
            "role grant-permission platform readwrite /coracle/ --prefix=true".to_owned(),
            format!("user add {user}:{password}"),
            format!("user grant-role {user} platform"),
            format!("user add root:{ROOT_PASSWORD}"),
            "user grant-role root root".to_owned(),
            "auth enable".to_owned(),
        ] {
            self.control(&line).await;
        }
        self.locked = true;
    }
}

fn find(program: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no {program} here (Debian: apt-get install {package})");
    }
    found
}
