//! The engine on a real cluster: where `KUBECONFIG` says (`make test-kubernetes` sets it). Without it every test says that
//! it is skipped. One binary, so that what the tests stand on is one module.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test ends where its ground is missing, and tells what it measured or skipped"
)]

mod builds;
mod conformance;
mod ground;
mod hub;
mod link;
mod trouble;
