//! A small disk, to be filled.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A file system of its own in memory. Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of so many bytes, or nothing where this is not root's test.
    ///
    /// # Panics
    /// When it cannot be mounted.
    #[must_use]
    pub fn mount(bytes: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: a disk of its own needs root");
            return None;
        }
        let place = TempDir::with_prefix("coracle-e2e-disk.").expect("a folder can be made");
        let size = format!("size={bytes}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "coracle-e2e"])
            .arg(place.path())
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "a tmpfs cannot be mounted"
        );
        Some(Self(place))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("left mounted: {}", self.path().display());
        }
    }
}
