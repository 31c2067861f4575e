//! The etcd store against real etcd processes: the laws of every store, the model, and what only servers do.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../model/play.rs"]
mod play;

mod faults;
mod killed;
mod laws;
mod model;
mod secure;
mod server;
