//! What all requests share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_task::Supervisor;

use crate::config::Limits;
use crate::signals::Signals;
use crate::table::Routes;

/// The parts of a running gateway that requests use.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) routes: Routes,
    pub(crate) signals: Arc<Signals>,
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: Vec<IpAddr>,
    /// Owner of everything that a shutdown waits for.
    pub(crate) connections: Supervisor,
    closing: AtomicBool,
}

impl Gateway {
    pub(crate) fn new(
        routes: Routes,
        signals: Arc<Signals>,
        limits: Limits,
        trusted_proxies: Vec<IpAddr>,
    ) -> Self {
        Self {
            routes,
            signals,
            limits,
            trusted_proxies,
            connections: Supervisor::new("gateway connections"),
            closing: AtomicBool::new(false),
        }
    }

    /// From now on every answer asks its client to connect anew.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Should requests be sent here? Not before the first table, and not once this process was asked to end.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_closing() && self.routes.table().is_some()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
