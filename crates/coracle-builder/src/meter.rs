//! Readers that count, and stop at a limit.
//!
//! An archive library turns the errors of its reader into its own, so the reason of a stop is kept beside the
//! stream, in a [`Gauge`], where whoever sees the library fail looks first.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::SourceError;
use crate::limits::{Limit, Limits};

/// What was read of one source, and why reading was stopped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    compressed: AtomicU64,
    expanded: AtomicU64,
    stop: OnceLock<Stop>,
}

/// Why reading was stopped.
#[derive(Debug)]
enum Stop {
    Limit(Limit),
    Reader(io::ErrorKind, String),
}

impl Gauge {
    pub(crate) fn compressed(&self) -> u64 {
        self.inner.compressed.load(Ordering::Relaxed)
    }

    /// The error to tell for an `error` that came out of a library between the meters.
    pub(crate) fn explain(&self, error: &io::Error) -> SourceError {
        match self.inner.stop.get() {
            Some(Stop::Limit(limit)) => SourceError::TooLarge(*limit),
            Some(Stop::Reader(kind, text)) => {
                SourceError::Interrupted(io::Error::new(*kind, text.clone()))
            }
            None => SourceError::Damaged(error.to_string()),
        }
    }

    fn stop(&self, limit: Limit) -> io::Error {
        // The first reason is the true one; later ones follow from it.
        self.inner.stop.get_or_init(|| Stop::Limit(limit));
        io::Error::other("over the limit")
    }
}

/// Counts what comes in.
pub(crate) struct Incoming<R> {
    pub(crate) reader: R,
    pub(crate) gauge: Gauge,
    pub(crate) most: u64,
}

impl<R: Read> Read for Incoming<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let inner = &self.gauge.inner;
        let n = match self.reader.read(buf) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                inner
                    .stop
                    .get_or_init(|| Stop::Reader(error.kind(), error.to_string()));
                return Err(error);
            }
        };
        let total = inner.compressed.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
        if total > self.most {
            return Err(self.gauge.stop(Limit::Compressed(self.most)));
        }
        Ok(n)
    }
}

/// Counts what comes out of the decompressor.
pub(crate) struct Expanded<R> {
    pub(crate) reader: R,
    pub(crate) gauge: Gauge,
    pub(crate) limits: Limits,
}

impl<R: Read> Read for Expanded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buf)?;
        let inner = &self.gauge.inner;
        let total = inner.expanded.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
        if total > self.limits.bytes_expanded {
            return Err(self.gauge.stop(Limit::Expanded(self.limits.bytes_expanded)));
        }
        let allowed = self.gauge.compressed().saturating_mul(self.limits.ratio);
        if total > Limits::RATIO_FROM && total > allowed {
            return Err(self.gauge.stop(Limit::Ratio(self.limits.ratio)));
        }
        Ok(n)
    }
}

/// Fails once nobody waits for the outcome any more: a thread that waits in a read cannot be cancelled otherwise.
pub(crate) struct Abandonable<R> {
    reader: R,
    abandoned: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<R> Abandonable<R> {
    pub(crate) fn new(reader: R, token: CancellationToken) -> Self {
        Self {
            reader,
            abandoned: Box::pin(token.cancelled_owned()),
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Abandonable<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.abandoned.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}
