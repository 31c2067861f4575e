//! Typed client of Coracle's API: one method for each thing that the API does.
//!
//! | module | what is in it |
//! |---|---|
//! | [`client`], [`error`], [`page`] | requests and answers in general |
//! | [`session`], [`user`], [`token`], [`project`], [`app`], [`mod@env`], [`source`], [`build`], [`release`], [`pod`], [`node`], [`image`], [`volume`], [`activity`], [`settings`], [`system`] | the resources |
//! | [`usage`] | what is used, and was |
//! | [`logs`], [`events`], [`exec`], [`connect`] | streams |
//! | [`export`], [`import`] | from one platform to another |
//! | [`wait`] | until a build or a release has come to its end |

pub mod activity;
pub mod app;
pub mod build;
pub mod client;
pub mod connect;
pub mod env;
pub mod error;
pub mod events;
pub mod exec;
pub mod export;
pub mod image;
pub mod import;
mod lines;
pub mod logs;
pub mod node;
pub mod page;
pub mod pod;
pub mod project;
pub mod release;
pub mod session;
pub mod settings;
mod socket;
pub mod source;
mod sse;
pub mod system;
pub mod token;
pub mod usage;
pub mod user;
pub mod volume;
pub mod wait;

pub use client::Client;
pub use error::ClientError;

/// What most methods answer.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// Items as they come; an error is the last of them.
pub type Items<T> = futures::stream::BoxStream<'static, Result<T>>;
