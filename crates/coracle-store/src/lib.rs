//! Revisioned object store of Coracle: the port, its conformance suite, and its implementations.
//!
//! - [`Store`] is the port, with the laws that every implementation keeps.
//! - [`conformance`] puts any implementation through these laws.
//! - [`embedded`] is the implementation for one machine: a file, without a server.
//! - [`etcd`] is the implementation for several control planes: an etcd cluster.
//! - [`election`] and [`Fenced`] let one of several processes lead, on any implementation.

pub mod conformance;
pub mod election;
pub mod embedded;
pub mod etcd;

mod error;
mod fence;
mod limits;
mod store;

pub use election::{Candidate, Leadership};
pub use embedded::{Embedded, EmbeddedConfig, Retention};
pub use error::StoreError;
pub use etcd::{Etcd, EtcdConfig, EtcdTls, EtcdUser};
pub use fence::{Fence, Fenced};
pub use limits::{
    MAX_KEY_BYTES, MAX_LEASE_TTL, MAX_PAGE, MAX_PAGE_BYTES, MAX_VALUE_BYTES, MAX_WRITE_BYTES,
    MAX_WRITE_OPS, WATCH_BUFFER, validate_key, validate_ops, validate_prefix, validate_ttl,
};
pub use store::{
    Entry, Event, Expected, LeaseId, Listing, Op, Page, Put, Revision, Store, WatchStream,
};
