//! The archive of an export as a file: [`write`] makes it while it is sent, [`read`] checks what somebody sends. What its
//! records are is in [`coracle_control::archive`].

pub(crate) mod read;
pub(crate) mod write;

use coracle_control::archive::BLOBS_FOLDER;
use coracle_registry::Digest;

/// Where a blob is in an archive: names in a tar are short, so long digests are folders.
pub(crate) fn blob_path(digest: &Digest) -> String {
    let mut path = format!("{BLOBS_FOLDER}/{}", digest.algorithm().as_str());
    for part in digest.hex().as_bytes().chunks(64) {
        path.push('/');
        path.push_str(&String::from_utf8_lossy(part));
    }
    path
}

/// The digest of the blob that is at `path`, if one may be there.
pub(crate) fn blob_digest(path: &str) -> Option<Digest> {
    let mut parts = path.split('/');
    if parts.next() != Some(BLOBS_FOLDER) {
        return None;
    }
    let algorithm = parts.next()?;
    let digest: Digest = format!("{algorithm}:{}", parts.collect::<String>())
        .parse()
        .ok()?;
    (blob_path(&digest) == path).then_some(digest)
}
