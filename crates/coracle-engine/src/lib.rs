//! What runs workloads: the port, its conformance suite, and a deterministic in-memory engine.
//!
//! | module | what is in it |
//! |---|---|
//! | [`engine`] | the [`Engine`] trait and its laws |
//! | [`error`] | what can go wrong, typed |
//! | [`stream`] | logs, sessions and byte streams |
//! | [`build`] | what an image build is asked and tells |

pub mod build;
pub mod engine;
pub mod error;
pub mod stream;

pub use engine::{
    Capabilities, Engine, EngineEvent, EngineVersion, ImageInfo, Support, VolumeInfo,
};
pub use error::EngineError;
