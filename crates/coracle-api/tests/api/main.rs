//! The API's tests: the product in a box, asked over a real socket.
//!
//! Theory of operation: [`support`] opens a platform in a temporary folder (the embedded store, the registry, the
//! simulated engine, no controllers unless a test starts them) and serves it on a loopback port. One file per
//! resource; [`access`] asks every route with every sort of credentials.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod access;
mod app;
mod archive;
mod build;
mod build_log;
mod build_source;
mod connect;
mod connection;
mod console;
mod dashboard;
mod deploy;
mod describe;
mod documents;
mod domain;
mod env;
mod events;
mod export;
mod gateway;
mod hostile;
mod image;
mod import;
mod import_bounds;
mod import_replace;
mod import_seal;
mod logs;
mod node;
mod paging;
mod pod;
mod project;
mod registry;
mod release;
mod revision;
mod secrets;
mod session;
mod settings;
mod source;
mod support;
mod tenure;
mod token;
mod usage;
mod user;
mod volume;
mod wire;
mod write_budget;
