//! The gateway over real TCP, between real little servers and clients.

mod control_plane;
mod draining;
mod hostile;
mod pages;
mod routing;
mod streaming;
mod support;
mod swaps;
mod tunnels;
