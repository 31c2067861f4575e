//! Where Docker keeps images and containers, and how much room is left there.

use std::path::PathBuf;

use coracle_engine::EngineError;

use crate::client::engine_error;
use crate::engine::DockerEngine;

/// Where Docker keeps images and containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The storage driver, such as `overlay2`.
    pub driver: String,
    /// The folder.
    pub root: PathBuf,
    /// Bytes that are free there for everybody; unknown when the folder is not on this machine.
    pub free: Option<u64>,
}

impl DockerEngine {
    /// Where the daemon keeps images and containers.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn storage(&self) -> Result<Storage, EngineError> {
        let docker = self.core.client.docker().await?;
        let info = docker.info().await.map_err(engine_error)?;
        let root = PathBuf::from(info.docker_root_dir.unwrap_or_default());
        let free = rustix::fs::statvfs(&root)
            .ok()
            .and_then(|found| found.f_bavail.checked_mul(found.f_frsize));
        Ok(Storage {
            driver: info.driver.unwrap_or_default(),
            root,
            free,
        })
    }
}
