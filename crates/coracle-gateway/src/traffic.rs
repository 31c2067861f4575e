//! Counters per app.
//!
//! Theory of operation: each request adds to atomics that its route owns; nobody locks, nobody polls. The reporter
//! reads them when something changed. An app's counters live as long as the app is in the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coracle_model::name::AppName;
use coracle_model::route::{AppTraffic, WAIT_PARTS, wait_part};
use http::StatusCode;

use crate::signals::Signals;

/// One app as the gateway sees it.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: AppName,
    signals: Arc<Signals>,
    answers: [AtomicU64; 5],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    wait_micros: AtomicU64,
    waits: [AtomicU64; WAIT_PARTS],
}

impl App {
    pub(crate) fn new(name: AppName, signals: Arc<Signals>) -> Self {
        Self {
            name,
            signals,
            answers: Default::default(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            wait_micros: AtomicU64::new(0),
            waits: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// An answer's head is on its way, `wait` after the request's.
    pub(crate) fn answered(&self, status: StatusCode, wait: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.answers[class].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.wait_micros.fetch_add(micros, Ordering::Relaxed);
        self.waits[wait_part(micros)].fetch_add(1, Ordering::Relaxed);
        self.signals.count();
    }

    /// Body bytes went through.
    pub(crate) fn carried(&self, bytes_in: u64, bytes_out: u64) {
        if bytes_in > 0 {
            self.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        }
        if bytes_out > 0 {
            self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
        }
        if bytes_in + bytes_out > 0 {
            self.signals.count();
        }
    }

    pub(crate) fn read(&self) -> AppTraffic {
        let waits = self.waits.iter().map(|part| part.load(Ordering::Relaxed));
        let mut waits: Vec<u64> = waits.collect();
        let used = waits.iter().rposition(|count| *count > 0);
        waits.truncate(used.map_or(0, |last| last + 1));
        AppTraffic {
            waits,
            answers: std::array::from_fn(|i| self.answers[i].load(Ordering::Relaxed)),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            wait_micros: self.wait_micros.load(Ordering::Relaxed),
        }
    }
}
