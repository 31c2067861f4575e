//! OCI distribution server of Coracle over `object_store` (OCI Distribution Spec 1.1).
//!
//! # Theory of operation
//!
//! Content is stored once, by its digest; repositories hold small records that name content. A client can
//! only reach content through a record of a repository that it may read, so that knowing a digest is not
//! enough to have the bytes.
//!
//! ## Storage layout (keys in the object store)
//!
//! | key | content |
//! |---|---|
//! | `blobs/{alg}/{2 hex}/{hex}` | the bytes of a layer, a config or a manifest; immutable |
//! | `repositories/{repo}/blobs/{alg}/{hex}` | record: this repository has that blob |
//! | `repositories/{repo}/manifests/{alg}/{hex}` | record: this repository has that manifest, and its media type |
//! | `repositories/{repo}/tags/{tag}` | record: the digest that the tag means |
//! | `repositories/{repo}/referrers/{alg}/{subject hex}/{alg}-{hex}` | descriptor of a manifest whose `subject` it is |
//!
//! `{repo}` is the repository's name with `+` for `/`, which no name can contain: one flat level, so that the
//! records of `a` and of `a/blobs` cannot meet, and the catalog is one listing. Every part of a key comes from a
//! type that was parsed by the specification's grammar ([`RepositoryName`], [`Tag`], [`Digest`]); no string
//! from outside reaches a path. Records carry a `version`, and are replaced as a whole.
//!
//! Uploads are files outside the object store, `{uploads}/{repo}/{upload id}`: the length of the file is the
//! state of the upload, so that it survives a restart. The running hash is a cache; it is
//! computed again from the file when it is missing.
//!
//! ## Order of writes
//!
//! bytes → fsync → rename into `blobs/` → blob record → (all blobs there) → manifest bytes → manifest record
//! → referrer record → tag record. Each step is atomic and makes nothing visible that is not complete, so a
//! process can be killed between any two of them; what is left is an upload file ([`Registry::sweep_uploads`])
//! or content without a record (garbage collection).
//!
//! ## Garbage collection beside pushes (to be built; the layout is made for it)
//!
//! 1. *Records*: a blob record that no manifest of its repository names, and that is older than the grace period, goes.
//! 2. *Content*: a blob that no record of any repository names, and that is older than the grace period, goes.
//!
//! The age is the object's last modification, and every step of a push that relies on something already there makes it
//! young again: a finished upload or a mount of known content touches the blob, and then (re)writes the record. The grace period must be
//! longer than the longest push. (A mount on a store that is not local cannot touch: the collector's issue has to add a marker object there.) A manifest is accepted only when all records that it needs exist; the check and the write of the manifest record happen
//! under the shared side of a lock (`Inner::publishing`), whose exclusive side a collector takes for each batch of deletions
//! after it read the ages again: a push then either finds the record gone (`MANIFEST_BLOB_UNKNOWN`, the client pushes the blob again) or keeps it.
//! With several servers on one object store the collector runs on the one that holds the platform's lease and
//! the grace period alone protects the others' pushes.
//!
//! A pull-through cache becomes one more source in `blob.rs` and `manifest_store.rs`, asked when a record is missing.

mod access;
mod blob;
mod catalog;
mod digest;
mod error;
mod http;
mod image;
mod layout;
mod limits;
mod manifest;
mod manifest_store;
mod placement;
mod reading;
mod record;
mod referrer;
mod registry;
mod repository;
mod tag;
mod transfer;
mod upload;

pub use access::{Action, Authorizer, Credentials, Denied};
pub use catalog::{Page, Usage};
pub use digest::{Algorithm, Digest, InvalidDigest};
pub use error::{ErrorCode, RegistryError};
pub use image::{ImageConfig, ImageSummary, Platform};
pub use limits::Limits;
pub use manifest::{Descriptor, MediaType};
pub use manifest_store::{ManifestEntry, PutManifest, StoredManifest};
pub use reading::BlobStream;
pub use registry::Registry;
pub use repository::{InvalidReference, Reference, RepositoryName, Tag};
pub use upload::Swept;
