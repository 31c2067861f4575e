//! The controllers against a simulated engine, on virtual time.

#![expect(clippy::unwrap_used, reason = "tests and what they stand on")]

#[path = "../../../coracle-builder/tests/fixture/git_server.rs"]
mod git_server;

mod builds;
mod collections;
mod crashes;
mod memory;
mod nodes;
mod platform;
mod pod_actions;
mod pods;
mod registry_access;
mod rollouts;
mod settings;
mod sources;
mod stop;
mod sweeps;
mod usage;
