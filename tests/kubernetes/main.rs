//! The same platform on a Kubernetes cluster: what the tests of one machine show of deploys, commands, projects and
//! kills, and what only several nodes can show. `make test-kubernetes` prepares the cluster.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and one that leaves something behind says so; clippy sees tests only in #[test] functions"
)]

mod build;
mod build_leader;
mod commands;
mod doctor;
mod export_import;
mod forward;
mod kill_control_plane;
mod nodes;
mod projects;
mod releases;
