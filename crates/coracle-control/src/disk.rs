//! Room that is kept free on the disk of the data directory.
//!
//! Theory of operation: what people send is taken while there is room beside a reserve, so that a large upload ends before the
//! store, the logs and everybody else have none. The file system is asked again every few bytes that came: others write too.

use std::path::{Path, PathBuf};

use coracle_model::disk::kept_free;
use coracle_model::registry::DiskState;

use crate::error::OperationError;

/// The disk is asked again after so many bytes.
const STEP_BYTES: u64 = 256 << 10;

/// What comes onto the disk of a folder.
#[derive(Debug)]
pub struct DiskReserve {
    dir: PathBuf,
    what: &'static str,
    /// Bytes that may still come before the disk is asked again.
    granted: u64,
}

impl DiskReserve {
    /// For what is about to be written to `dir`, which exists. `what` it is, in errors.
    #[must_use]
    pub fn new(dir: &Path, what: &'static str) -> Self {
        Self {
            dir: dir.to_owned(),
            what,
            granted: 0,
        }
    }

    /// Asks for room for the next `bytes`.
    ///
    /// # Errors
    /// [`OperationError::NoRoom`] when less than the reserve would be left.
    pub async fn take(&mut self, bytes: u64) -> Result<(), OperationError> {
        if let Some(left) = self.granted.checked_sub(bytes) {
            self.granted = left;
            return Ok(());
        }
        let step = bytes.max(STEP_BYTES);
        self.check(step).await?;
        self.granted = step - bytes;
        Ok(())
    }

    /// Fails when `bytes` more would leave less than the reserve.
    ///
    /// # Errors
    /// [`OperationError::NoRoom`].
    pub async fn check(&self, bytes: u64) -> Result<(), OperationError> {
        let failed = |source| OperationError::Io {
            what: "the disk could not be asked for its free space",
            source,
        };
        let DiskState { free, total } = state(&self.dir).await.map_err(failed)?;
        let reserve = kept_free(total);
        if free < reserve.saturating_add(bytes) {
            return Err(OperationError::NoRoom {
                what: self.what,
                free,
                reserve,
            });
        }
        Ok(())
    }
}

/// How full the disk of a folder is.
///
/// # Errors
/// When the system does not say.
pub async fn state(dir: &Path) -> std::io::Result<DiskState> {
    let dir = dir.to_owned();
    // A shared volume may be across a network.
    let disk = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&dir))
        .await
        .map_err(std::io::Error::other)??;
    Ok(DiskState {
        total: disk.f_blocks.saturating_mul(disk.f_frsize),
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_there_is_is_refused_with_what_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = DiskReserve::new(dir.path(), "the upload");
        let told = disk.take(1 << 60).await.unwrap_err();
        assert!(
            matches!(told, OperationError::NoRoom { what: "the upload", reserve, .. } if reserve > 0),
            "{told}"
        );
        assert_eq!(told.problem().code, coracle_model::problem::Code::DiskFull);
        disk.take(1).await.unwrap();
        assert_eq!(disk.granted, STEP_BYTES - 1);
        disk.take(STEP_BYTES).await.unwrap();
        assert_eq!(disk.granted, 0);
    }
}
