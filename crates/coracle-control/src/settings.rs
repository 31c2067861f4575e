//! How this platform is set up: at its start ([`Settings`]), and by administrators while it runs ([`wished`]).

pub mod wished;

use std::path::{Path, PathBuf};

use coracle_builder::git::Reach;
use coracle_engine::build::RegistryCredentials;
use coracle_model::app::host_label;
use coracle_model::name::{AppName, Hostname, InvalidName, ProjectName};

/// How this platform was set up at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its files are.
    pub data_dir: PathBuf,
    /// Where the files are that all control planes need: the data directory of one that is alone, a shared
    /// volume for several.
    pub shared_dir: PathBuf,
    /// Apps are served at `APP.DOMAIN`, unless another one was set since.
    pub domain: Hostname,
    /// The gateway's port as people reach it.
    pub http_port: u16,
    /// The embedded registry as the engine reaches it, such as `127.0.0.1:7070`.
    pub registry_host: String,
    /// Other names by which it is reached, such as the one that a cluster's nodes use.
    pub registry_names: Vec<String>,
    /// What is below this path of the registry, such as `base`, stands in for public images.
    pub base_images: Option<String>,
    /// How the platform itself logs in to its registry.
    pub registry_credentials: RegistryCredentials,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of what people can ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one compressed upload.
    pub upload_bytes: u64,
    /// Bytes of an unpacked upload.
    pub unpacked_bytes: u64,
    /// Files and folders in an upload.
    pub upload_entries: u64,
    /// Time of one build.
    pub build_time: std::time::Duration,
    /// Bytes of memory of one build.
    pub build_memory_bytes: u64,
    /// Builds at the same time.
    pub builds: usize,
    /// Bytes of one build's log.
    pub build_log_bytes: u64,
    /// Time to fetch a source from a repository.
    pub git_time: std::time::Duration,
    /// Which addresses repositories are fetched from.
    pub git_reach: Reach,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 512 << 20,
            unpacked_bytes: 2 << 30,
            upload_entries: 200_000,
            build_time: std::time::Duration::from_secs(30 * 60),
            build_memory_bytes: 4 << 30,
            builds: 2,
            build_log_bytes: 16 << 20,
            git_time: std::time::Duration::from_secs(5 * 60),
            git_reach: Reach::default(),
        }
    }
}

/// The host name that every app has under `domain`.
///
/// # Errors
/// When the domain is so long that no host name fits before it.
pub fn default_host(
    project: &ProjectName,
    app: &AppName,
    domain: &Hostname,
) -> Result<Hostname, InvalidName> {
    Hostname::new(format!("{}.{domain}", host_label(project, app)))
}

impl Settings {
    /// Where people reach `host`.
    #[must_use]
    pub fn url(&self, host: &Hostname) -> String {
        match self.http_port {
            80 => format!("http://{host}"),
            port => format!("http://{host}:{port}"),
        }
    }

    /// Uploads that wait for their build.
    #[must_use]
    pub fn uploads_dir(&self) -> PathBuf {
        self.shared_dir.join("uploads")
    }

    /// Where builds unpack their source.
    #[must_use]
    pub fn work_dir(&self) -> PathBuf {
        self.data_dir.join("work")
    }

    /// Where sources are fetched and looked through.
    #[must_use]
    pub fn fetch_dir(&self) -> PathBuf {
        self.data_dir.join("fetch")
    }

    /// The bounds of an archive that is unpacked here.
    #[must_use]
    pub fn source_limits(&self) -> coracle_builder::Limits {
        coracle_builder::Limits {
            bytes_compressed: self.limits.upload_bytes,
            bytes_expanded: self.limits.unpacked_bytes,
            entries: self.limits.upload_entries,
            ..coracle_builder::Limits::default()
        }
    }

    /// Logs of builds.
    #[must_use]
    pub fn build_logs_dir(&self) -> PathBuf {
        self.shared_dir.join("builds")
    }
}

/// The file in the data directory that holds the platform's id.
pub const PLATFORM_ID_FILE: &str = "platform.id";

/// The platform's id, made at the first start: it is on everything that the platform makes in an engine.
///
/// # Errors
/// When the data directory cannot be read or written.
pub fn platform_id(data_dir: &Path) -> std::io::Result<String> {
    let path = data_dir.join(PLATFORM_ID_FILE);
    match std::fs::read_to_string(&path) {
        Ok(id) if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(id),
        Ok(_) => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("{} is damaged: restore it from a backup", path.display()),
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = crate::objects::new_uid();
            crate::vault::write_private(&path, id.as_bytes())?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}
