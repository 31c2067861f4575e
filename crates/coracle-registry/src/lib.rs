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
//! ## Garbage collection beside pushes
//!
//! Described in `collection.rs`. Every step of a push that relies on something already there pins it first (`pins.rs`), and makes
//! it young: a finished upload or a mount of known content touches the content and (re)writes the record, a manifest touches the records of its parts, and
//! so does a client that asks with `HEAD` whether a blob is there. Pins hold within one process. With several servers on one store
//! the collector runs on one of them, and the age alone protects the others' pushes: there the store must be a local or shared folder, where what exists
//! can be touched.
//!
//! A pull-through cache becomes one more source in `blob.rs` and `manifest_store.rs`, asked when a record is missing.

mod access;
mod blob;
mod catalog;
mod changes;
mod collection;
mod copy;
mod deletion;
mod digest;
mod error;
mod http;
mod image;
mod layout;
mod limits;
mod manifest;
mod manifest_store;
mod pins;
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
pub use catalog::{Page, RepositorySummary, Usage};
pub use changes::{Changed, What};
pub use collection::{Collected, NeededImages};
pub use deletion::Seen;
pub use digest::{Algorithm, Digest, InvalidDigest};
pub use error::{ErrorCode, RegistryError};
pub use image::{
    ImageConfig, ImageDetail, ImageEntry, ImagePlatform, ImageSummary, Layer, Platform, Step,
};
pub use limits::Limits;
pub use manifest::{Descriptor, MediaType};
pub use manifest_store::{ManifestEntry, PutManifest, StoredManifest};
pub use reading::BlobStream;
pub use registry::Registry;
pub use repository::{InvalidReference, Reference, RepositoryName, Tag};
pub use upload::Swept;
