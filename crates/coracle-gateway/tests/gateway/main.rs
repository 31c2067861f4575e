//! The gateway over real TCP, between real little servers and clients.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy sees tests only in #[test] functions"
)]

mod client;
mod cluster;
mod control_plane;
mod draining;
mod hostile;
mod pages;
mod routing;
mod streaming;
mod support;
mod swaps;
mod tunnels;
