//! A folder becomes a URL, and nothing that is done to it costs an application or a request: the whole of it, from
//! outside, by the program's own commands.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy sees tests only in #[test] functions"
)]

#[path = "../../crates/coracle-builder/tests/fixture/git_server.rs"]
mod git_server;

mod bad_input;
mod bad_platform;
mod build_cache;
mod commands;
mod container_removed;
mod engine_restart;
mod export_import;
mod folder_to_url;
mod followers;
mod forward;
mod gateway_alone;
mod images_of_others;
mod kill_control_plane;
mod leader_killed;
mod leader_refused;
mod nodes;
mod projects;
mod rolling_update;
mod sources;
mod store_away;
