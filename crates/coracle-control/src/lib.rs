//! Coracle's controllers: reconcile loops from desired and observed state to actions.
//!
//! Two halves. State and operations, used by the API:
//!
//! | module | what is in it |
//! |---|---|
//! | [`control`] | [`Control`]: everything below, in one place |
//! | [`objects`], [`keys`] | typed access to the store |
//! | [`vault`] | secrets at rest |
//! | [`observed`] | what the engine reports, kept at hand |
//! | [`feed`] | the gateways: route tables out, reports in |
//! | [`journal`] | what happened |
//! | [`usage`] | what was used, over time |
//! | [`build_log`], [`upload`], [`disk`] | files, and the room for them |
//! | [`build_pass`] | with what one build logs in to the registry |
//! | [`registry_access`], [`image`] | what a project may do in the registry; how images are named |
//! | [`image_use`], [`registry`] | who relies on which image; the collection of what nothing needs |
//! | [`leading`], [`platform`] | several control planes: which one leads, and what they have in common |
//! | [`archive`], [`export`], [`import`] | from one platform to another |
//! | [`settings`] | how this platform is set up |
//! | [`project`], [`app`], [`env`](mod@env), [`domain`], [`source`], [`build`], [`release`], [`pod`], [`node`], [`user`], [`token`] | what can be done with each kind of object |
//!
//! And [`controllers`], which make it so.

pub mod app;
pub mod archive;
pub mod build;
pub mod build_log;
pub mod build_pass;
pub mod control;
pub mod controllers;
pub mod disk;
pub mod domain;
pub mod env;
pub mod error;
pub mod export;
pub mod feed;
pub mod image;
pub mod image_use;
pub mod import;
pub mod journal;
pub mod keys;
pub mod leading;
pub mod node;
pub mod objects;
pub mod observed;
pub mod platform;
pub mod pod;
pub mod pod_action;
pub mod project;
pub mod registry;
pub mod registry_access;
pub mod release;
pub mod served;
pub mod settings;
pub mod source;
pub mod stale;
pub mod token;
pub mod upload;
pub mod usage;
pub mod user;
pub mod vault;
mod volume;

pub use control::Control;
pub use error::OperationError;
