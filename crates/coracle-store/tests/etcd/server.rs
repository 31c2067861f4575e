//! Real etcd members on loopback, each with a folder and ports of its own, ended by their process.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coracle_store::{Etcd, EtcdConfig};

/// How long a member or a cluster may take to be ready.
const READY: Duration = Duration::from_secs(60);

/// Where etcd is, or a word that the test is skipped.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("etcd"))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!(
            "skipped: there is no etcd on this machine (Debian: apt-get install etcd-server)"
        );
    }
    found
}

/// Two ports that are free now.
fn ports() -> (u16, u16) {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (a, b) = (listen(), listen());
    (
        a.local_addr().unwrap().port(),
        b.local_addr().unwrap().port(),
    )
}

pub(crate) struct Member {
    name: String,
    client: u16,
    peer: u16,
    process: Option<Child>,
}

/// Paths of the certificates that members show and ask for.
pub(crate) struct Certificates {
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A cluster. Its members end with it.
pub(crate) struct Cluster {
    binary: PathBuf,
    root: tempfile::TempDir,
    pub(crate) members: Vec<Member>,
    flags: Vec<String>,
    scheme: &'static str,
}

impl Cluster {
    /// Starts `size` members; `None` when there is no etcd here.
    pub(crate) fn start(size: usize, flags: &[&str]) -> Option<Self> {
        Self::start_with(size, flags, None)
    }

    pub(crate) fn start_with(
        size: usize,
        flags: &[&str],
        certificates: Option<&Certificates>,
    ) -> Option<Self> {
        let binary = binary()?;
        let members = (0..size).map(|number| {
            let (client, peer) = ports();
            Member {
                name: format!("m{number}"),
                client,
                peer,
                process: None,
            }
        });
        let mut flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        if let Some(with) = certificates {
            let path = |path: &Path| path.display().to_string();
            flags.extend([
                format!("--cert-file={}", path(&with.certificate)),
                format!("--key-file={}", path(&with.key)),
                format!("--trusted-ca-file={}", path(&with.ca)),
                "--client-cert-auth".to_owned(),
            ]);
        }
        let mut cluster = Self {
            binary,
            root: tempfile::tempdir().unwrap(),
            members: members.collect(),
            flags,
            scheme: if certificates.is_some() {
                "https"
            } else {
                "http"
            },
        };
        for number in 0..size {
            cluster.run(number);
        }
        Some(cluster)
    }

    fn url(&self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}", self.scheme)
    }

    pub(crate) fn run(&mut self, number: usize) {
        let peers: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{}=http://127.0.0.1:{}", member.name, member.peer))
            .collect();
        let member = &self.members[number];
        let log = File::create(self.root.path().join(format!("{}.log", member.name))).unwrap();
        let process = Command::new(&self.binary)
            .args(["--name", &member.name])
            .arg("--data-dir")
            .arg(self.root.path().join(&member.name))
            .args(["--listen-client-urls", &self.url(member.client)])
            .args(["--advertise-client-urls", &self.url(member.client)])
            .args([
                "--listen-peer-urls",
                &format!("http://127.0.0.1:{}", member.peer),
            ])
            .args([
                "--initial-advertise-peer-urls",
                &format!("http://127.0.0.1:{}", member.peer),
            ])
            .args(["--initial-cluster", &peers.join(",")])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.members[number].process = Some(process);
    }

    /// Kills a member with SIGKILL.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(mut process) = self.members[number].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|member| self.url(member.client))
            .collect()
    }

    pub(crate) fn config(&self, prefix: &str) -> EtcdConfig {
        EtcdConfig {
            endpoints: self.endpoints(),
            prefix: prefix.to_owned(),
            ..EtcdConfig::default()
        }
    }

    /// A store with nothing below `prefix`, once the cluster answers.
    pub(crate) async fn store(&self, prefix: &str) -> Etcd {
        self.store_as(self.config(prefix)).await
    }

    pub(crate) async fn store_as(&self, config: EtcdConfig) -> Etcd {
        let deadline = Instant::now() + READY;
        loop {
            match Etcd::connect(config.clone()).await {
                Ok(store) => return store,
                Err(error) if Instant::now() > deadline => unreachable!("{error:?}"),
                Err(_not_yet) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Runs `etcdctl`; `None` when there is none.
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub(crate) fn control(&self, arguments: &[&str]) -> Option<String> {
        let ran = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoints().join(",")])
            .args(arguments)
            .output();
        let Ok(ran) = ran else {
            eprintln!(
                "skipped: there is no etcdctl on this machine (Debian: apt-get install etcd-client)"
            );
            return None;
        };
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "etcdctl {arguments:?}: {text}{said}");
        Some(text)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..self.members.len() {
            self.kill(number);
        }
    }
}
