//! Types, names, quantities, validation and pure planning of Coracle. No I/O, no async.
//!
//! | module | what is in it |
//! |---|---|
//! | [`name`], [`quantity`] | newtypes parsed at the edge: whoever holds one need not check it again |
//! | [`object`], [`problem`] | the envelope of every API object; errors as people and programs see them |
//! | [`project`], [`app`], [`source`], [`build`], [`release`], [`pod`], [`node`], [`mod@env`], [`domain`], [`user`], [`token`], [`event`] | the API objects |
//! | [`workload`] | what an engine is asked to keep running |
//! | [`route`] | what the gateway is told |
//! | [`manifest`] | `coracle.toml` and `Procfile` |
//! | [`usage`] | what pods, apps and nodes use over time |
//! | [`image`], [`registry`] | who relies on an image; the registry and its collection |
//! | [`disk`], [`import`] | what is kept free of a disk; what an import tells |
//! | [`plan`] | desired + observed → actions, as pure functions |

pub mod app;
pub mod build;
pub mod disk;
pub mod domain;
pub mod env;
pub mod event;
pub mod image;
pub mod import;
pub mod manifest;
pub mod name;
pub mod node;
pub mod object;
pub mod plan;
pub mod pod;
pub mod problem;
pub mod project;
pub mod quantity;
pub mod registry;
pub mod release;
pub mod route;
pub mod settings;
pub mod source;
pub mod token;
pub mod usage;
pub mod user;
pub mod workload;
