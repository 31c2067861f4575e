//! Ports for the platforms under test.
//!
//! Theory of operation: they are taken from below the kernel's ephemeral range (32768 and up on Linux), so that no
//! outgoing connection gets one while a platform is down between two starts.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// An address of this machine that nobody listens on.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free() -> SocketAddr {
    for _ in 0..1000 {
        let port = fastrand::u16(RANGE);
        // On all addresses: what is free there is free on the loopback address too.
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        }
    }
    panic!("no port is free in {RANGE:?}");
}

/// A port that is taken as long as this lives.
#[derive(Debug)]
pub struct Held(TcpListener);

impl Held {
    /// Takes one.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new() -> Self {
        Self(TcpListener::bind(free()).expect("the port was free a moment ago"))
    }

    /// Which one.
    ///
    /// # Panics
    /// Never, on a socket that is bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket has an address")
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::new()
    }
}
