//! A platform in a box for the end-to-end tests: the real program, the real Docker Engine or a real cluster, real sockets.
//!
//! Theory of operation: [`Platform`] runs `coracle up` with a data directory, ports and a configuration file of
//! its own, so that several live side by side on one machine and one Docker daemon. Everything that a platform makes in
//! Docker carries its id as a label: dropping a [`Platform`] stops it and removes exactly that. Tests wait for conditions
//! ([`until`]) and assert no times; they print those that are worth knowing.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a harness for tests: what cannot go on fails the test, and what was measured is printed"
)]

mod api;
mod cluster;
mod command;
mod daemon;
mod disk;
mod docker;
mod etcd;
mod fleet;
mod forward;
mod kills;
mod load;
mod person;
mod platform;
mod ports;
mod process;
mod settled;
mod source;
mod wait;
mod web;

pub use api::{Answer, Api};
pub use cluster::{Cluster, Kubectl, Machine, VERY_LONG};
pub use command::{Finished, Running};
pub use daemon::Daemon;
pub use disk::SmallDisk;
pub use docker::{Docker, Made};
pub use etcd::EtcdServer;
pub use fleet::{Fleet, Writes};
pub use forward::{Forward, token_of};
pub use kills::Kills;
pub use load::{Load, ONE_POD, Tally};
pub use person::{Builds, Person};
pub use platform::{Options, Platform};
pub use ports::{Held, free as free_port};
pub use process::Part;
pub use source::{Source, TEST_IMAGE};
pub use wait::{LONG, until, until_ok};
pub use web::Page;
