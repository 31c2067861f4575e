//! The small records of a repository, as they lie in the object store.
//!
//! Theory of operation: every record has a `version`; a reader refuses versions that it does not know instead
//! of guessing. The golden texts in the tests are what older releases wrote and must stay readable.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::manifest::MediaType;

/// The version that is written now.
const VERSION: u32 = 1;
/// A record is far smaller; something bigger is not ours.
const RECORD_BYTES: u64 = 64 << 10;
/// Records looked up at the same time for one request.
const LOOKUPS: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    value: T,
}

/// This repository has this blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlobLink {
    /// Bytes of the content.
    pub(crate) size: u64,
}

/// This repository has this manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestLink {
    /// As it was pushed.
    pub(crate) media_type: MediaType,
    /// Bytes of the content.
    pub(crate) size: u64,
    /// The manifest's `subject`, so that a deletion finds the referrer record without reading the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Digest>,
}

/// What a tag means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TagRecord {
    pub(crate) digest: Digest,
}

/// The record at `key`, if there is one.
pub(crate) async fn read<T: DeserializeOwned>(
    store: &dyn ObjectStore,
    key: &Path,
) -> Result<Option<T>, RegistryError> {
    let got = match store.get(key).await {
        Ok(got) => got,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(source) => return Err(RegistryError::store("read a record", source)),
    };
    if got.meta.size > RECORD_BYTES {
        return Err(RegistryError::Corrupt {
            key: key.to_string(),
            source: None,
        });
    }
    let bytes = got
        .bytes()
        .await
        .map_err(|source| RegistryError::store("read a record", source))?;
    decode(key, &bytes).map(Some)
}

/// The records at `keys`, in their order, some of them looked up at the same time.
pub(crate) async fn read_each<T: DeserializeOwned + Send>(
    store: &Arc<dyn ObjectStore>,
    keys: Vec<Path>,
) -> Result<Vec<Option<T>>, RegistryError> {
    let lookups = keys.into_iter().map(|key| {
        let store = Arc::clone(store);
        async move { read::<T>(&*store, &key).await }
    });
    stream::iter(lookups.collect::<Vec<_>>())
        .buffered(LOOKUPS)
        .try_collect()
        .await
}

pub(crate) fn decode<T: DeserializeOwned>(key: &Path, bytes: &[u8]) -> Result<T, RegistryError> {
    let corrupt = |source| RegistryError::Corrupt {
        key: key.to_string(),
        source,
    };
    let record: Versioned<T> = serde_json::from_slice(bytes).map_err(|e| corrupt(Some(e)))?;
    if record.version != VERSION {
        return Err(corrupt(None));
    }
    Ok(record.value)
}

/// Writes the record at `key`, new or again: also the latter makes its modification time young.
pub(crate) async fn write<T: Serialize + Sync>(
    store: &dyn ObjectStore,
    key: &Path,
    value: &T,
) -> Result<(), RegistryError> {
    let bytes = serde_json::to_vec(&Versioned {
        version: VERSION,
        value,
    })
    .map_err(|source| RegistryError::Corrupt {
        key: key.to_string(),
        source: Some(source),
    })?;
    store
        .put(key, Bytes::from(bytes).into())
        .await
        .map(|_| ())
        .map_err(|source| RegistryError::store("write a record", source))
}

/// Would the record be too big to be read again?
pub(crate) fn check_size<T: Serialize>(value: &T) -> Result<(), RegistryError> {
    let bytes = serde_json::to_vec(value)
        .map(|text| text.len() as u64)
        .unwrap_or(u64::MAX);
    // Half, because the record has a little more than the value.
    if bytes > RECORD_BYTES / 2 {
        return Err(RegistryError::ManifestInvalid(format!(
            "annotations of a manifest with a subject may have at most {} bytes",
            RECORD_BYTES / 2
        )));
    }
    Ok(())
}

/// Whether something was there to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    Yes,
    WasNotThere,
}

/// Removes the object at `key`.
pub(crate) async fn remove(store: &dyn ObjectStore, key: &Path) -> Result<Removed, RegistryError> {
    match store.delete(key).await {
        Ok(()) => Ok(Removed::Yes),
        Err(object_store::Error::NotFound { .. }) => Ok(Removed::WasNotThere),
        Err(source) => Err(RegistryError::store("delete a record", source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_records() {
        let key = Path::from("x");
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let blob: BlobLink = decode(&key, br#"{"version":1,"size":7}"#).unwrap();
        assert_eq!(blob, BlobLink { size: 7 });
        let text =
            r#"{"version":1,"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7}"#;
        let manifest: ManifestLink = decode(&key, text.as_bytes()).unwrap();
        assert_eq!(manifest.media_type, MediaType::OciManifest);
        assert_eq!(
            serde_json::to_string(&Versioned {
                version: VERSION,
                value: manifest
            })
            .unwrap(),
            text
        );
        let text = format!(r#"{{"version":1,"digest":"{empty}"}}"#);
        let tag: TagRecord = decode(&key, text.as_bytes()).unwrap();
        assert_eq!(tag.digest, Digest::of(b""));
        assert!(decode::<BlobLink>(&key, br#"{"version":2,"size":7}"#).is_err());
        assert!(decode::<BlobLink>(&key, b"").is_err());
    }
}
