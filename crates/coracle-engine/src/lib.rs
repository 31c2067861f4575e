//! What runs workloads: the port, its conformance suite, and a deterministic in-memory engine.
//!
//! | module | what is in it |
//! |---|---|
//! | [`engine`] | the [`Engine`] trait and its laws |
//! | [`error`] | what can go wrong, typed |
//! | [`stream`] | logs, sessions and byte streams |
//! | [`usage`] | what an engine tells of the use of everything at once |
//! | [`build`] | what an image build is asked and tells |
//! | [`describe`] | what is hidden of an engine's own words |
//! | [`desk`] | sources of builds that other machines fetch |
//! | [`wish`], [`follow`] | what every engine keeps of wishes, and how it is watched |
//! | [`conformance`] | the laws as a suite that any engine is put through |
//! | [`sim`] | a deterministic engine in memory, for tests |
//! | [`fault`], [`flaky`] | faults to put between a caller and an engine, for tests |

pub mod build;
pub mod conformance;
pub mod describe;
pub mod desk;
pub mod engine;
pub mod error;
pub mod fault;
pub mod flaky;
pub mod follow;
pub mod sim;
pub mod stream;
pub mod usage;
pub mod wish;

pub use desk::ContextDesk;
pub use engine::{
    Capabilities, Engine, EngineEvent, EngineVersion, ImageInfo, Restarts, Support, VolumeInfo,
};
pub use error::EngineError;
pub use usage::EngineUsage;
