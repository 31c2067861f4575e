//! What the engine is told once, when it is made.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use coracle_model::quantity::ByteSize;
use coracle_task::Supervisor;

/// What the engine is told once.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The platform's id: written into a label of everything that is made, and the only things with it are touched.
    pub platform: String,
    /// The daemon's socket. Absent: `DOCKER_HOST` when that is a `unix://` address, else `/var/run/docker.sock`.
    pub socket: Option<PathBuf>,
    /// Where projects get their networks from: an address and a prefix length of 8 to 24, split in `/24`s.
    pub subnet_pool: (Ipv4Addr, u8),
    /// So many containers are made and started at once. More make Docker slower, not faster.
    pub start_concurrency: usize,
    /// Memory of a pod that asks for none.
    pub default_memory: ByteSize,
    /// The most processes and threads of a pod.
    pub pids: u32,
    /// Owner of every task of the engine.
    pub supervisor: Supervisor,
}

impl DockerConfig {
    /// The defaults, for a platform.
    #[must_use]
    pub fn new(platform: impl Into<String>, supervisor: Supervisor) -> Self {
        Self {
            platform: platform.into(),
            socket: None,
            subnet_pool: (Ipv4Addr::new(10, 210, 0, 0), 16),
            start_concurrency: 3,
            default_memory: ByteSize::mib(1024),
            pids: 512,
            supervisor,
        }
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        if let Some(path) = &self.socket {
            return path.clone();
        }
        std::env::var("DOCKER_HOST")
            .ok()
            .and_then(|host| host.strip_prefix("unix://").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("/var/run/docker.sock"))
    }
}
