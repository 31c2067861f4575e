//! The engine on the real daemon. One binary, so that what the tests stand on is one module.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its ground is missing, and tells what it measured"
)]

mod build;
mod conformance;
mod ground;
mod hardening;
mod image;
mod lifecycle;
mod loss;
