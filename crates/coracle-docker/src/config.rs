//! What the engine is told once, when it is made.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use coracle_model::quantity::{ByteSize, InvalidQuantity};
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
    /// How much the daemon may keep to make builds faster.
    pub build_cache: CacheLimit,
    /// Owner of every task of the engine.
    pub supervisor: Supervisor,
}

/// How much the daemon may keep to make builds faster. Its cache is one for all who build there and does not say
/// whose a part is, so this is a bound for all of it: what was not used for longest goes first, whoever made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheLimit {
    /// A tenth of the disk that it is on, and 10 GB at most.
    #[default]
    Share,
    /// So much.
    Bytes(ByteSize),
    /// The cache is left alone: somebody else bounds it, or nobody.
    Off,
}

impl CacheLimit {
    /// The most of [`CacheLimit::Share`].
    const MOST: u64 = 10_000_000_000;
    /// The part of the disk of [`CacheLimit::Share`].
    const PART: u64 = 10;

    /// In bytes, on a disk of this size; none when it is not bounded.
    pub(crate) fn bytes(self, disk: Option<u64>) -> Option<u64> {
        match self {
            Self::Share => {
                Some(disk.map_or(Self::MOST, |disk| (disk / Self::PART).min(Self::MOST)))
            }
            Self::Bytes(size) => Some(size.0),
            Self::Off => None,
        }
    }
}

impl FromStr for CacheLimit {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Share),
            size => size.parse().map(Self::Bytes),
        }
    }
}

impl fmt::Display for CacheLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share => f.write_str("auto"),
            Self::Bytes(size) => size.fmt(f),
            Self::Off => f.write_str("off"),
        }
    }
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
            build_cache: CacheLimit::Share,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_cache_is_written_as_it_is_read() {
        for text in ["auto", "off", "5Gi"] {
            assert_eq!(text.parse::<CacheLimit>().unwrap().to_string(), text);
        }
        assert!("much".parse::<CacheLimit>().is_err());
        assert_eq!(
            CacheLimit::Share.bytes(Some(50_000_000_000)),
            Some(5_000_000_000)
        );
        assert_eq!(
            CacheLimit::Share.bytes(Some(u64::MAX)),
            Some(CacheLimit::MOST)
        );
        assert_eq!(CacheLimit::Share.bytes(None), Some(CacheLimit::MOST));
        assert_eq!(CacheLimit::Off.bytes(Some(1)), None);
    }
}
