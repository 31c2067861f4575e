//! Named bounds of everything that a client can make grow.

use std::time::Duration;

/// Bounds of one registry. The defaults suit one machine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest manifest in bytes (the specification asks for at least 4 MiB).
    pub manifest_bytes: usize,
    /// Most descriptors (layers, manifests) in one manifest.
    pub manifest_references: usize,
    /// Largest blob in bytes.
    pub blob_bytes: u64,
    /// Uploads that may send data at the same time; others wait for [`Limits::slot_wait`] and are then told to come back.
    pub concurrent_uploads: usize,
    /// How long a request waits for its turn to upload.
    pub slot_wait: Duration,
    /// Unfinished uploads that one repository may hold.
    pub uploads_per_repository: usize,
    /// An upload that sends no byte for so long is cut off; what came stays and can be resumed.
    pub transfer_idle: Duration,
    /// Most entries in one page of a listing.
    pub page: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            manifest_references: 4096,
            blob_bytes: 32 << 30,
            concurrent_uploads: 32,
            slot_wait: Duration::from_secs(30),
            uploads_per_repository: 256,
            transfer_idle: Duration::from_secs(60),
            page: 1000,
        }
    }
}
