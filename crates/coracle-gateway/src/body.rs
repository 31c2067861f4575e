//! Bodies on their way through.
//!
//! Theory of operation: nothing is buffered. A frame is asked of one side only when the other side asks for it, so
//! a slow reader slows the writer down. The answer's body also drives the pod's connection (see
//! [`crate::pod_connection`]) and holds the request's place in flight: both end with it, whether it was read to its
//! end or dropped because the client went away.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use coracle_task::CancellationToken;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::DropGuard;

use crate::endpoint::InFlight;
use crate::pod_connection::PodConnection;
use crate::traffic::App;

/// How far a request's body has come.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    state: AtomicU8,
    bytes: AtomicU64,
}

/// State of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum UploadState {
    /// More is to come.
    Open = 0,
    /// All of it went to the pod.
    Done = 1,
    /// The client broke it off or sent nonsense.
    Broken = 2,
    /// The client sent nothing for too long.
    Stalled = 3,
}

impl Upload {
    pub(crate) fn state(&self) -> UploadState {
        match self.state.load(Ordering::Acquire) {
            1 => UploadState::Done,
            2 => UploadState::Broken,
            3 => UploadState::Stalled,
            _ => UploadState::Open,
        }
    }

    fn set(&self, state: UploadState) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Why a request's body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the client's body is broken")]
    Client(#[source] hyper::Error),
    #[error("the client sent nothing for too long")]
    Stalled,
}

/// A request's body on its way to a pod.
#[derive(Debug)]
pub(crate) struct RequestBody {
    from: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    incoming: Incoming,
    upload: Arc<Upload>,
    most_pause: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    /// No body.
    pub(crate) const fn empty() -> Self {
        Self { from: None }
    }

    /// A client's body that may pause for at most `most_pause`. The second value tells how far it has come; there
    /// is none when there is no body.
    pub(crate) fn new(incoming: Incoming, most_pause: Duration) -> (Self, Option<Arc<Upload>>) {
        if incoming.is_end_stream() {
            return (Self::empty(), None);
        }
        let upload = Arc::new(Upload::default());
        let stream = Stream {
            incoming,
            upload: Arc::clone(&upload),
            most_pause,
            pause: None,
        };
        (Self { from: Some(stream) }, Some(upload))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(stream) = &mut self.from else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut stream.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                stream.pause = None;
                if let Some(data) = frame.data_ref() {
                    stream
                        .upload
                        .bytes
                        .fetch_add(data.len() as u64, Ordering::Relaxed);
                }
                if stream.incoming.is_end_stream() {
                    stream.upload.set(UploadState::Done);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                stream.upload.set(UploadState::Broken);
                Poll::Ready(Some(Err(UploadError::Client(error))))
            }
            Poll::Ready(None) => {
                stream.upload.set(UploadState::Done);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let most = stream.most_pause;
                let pause = stream.pause.get_or_insert_with(|| {
                    Box::pin(tokio::time::sleep_until(Instant::now() + most))
                });
                ready!(pause.as_mut().poll(cx));
                stream.upload.set(UploadState::Stalled);
                Poll::Ready(Some(Err(UploadError::Stalled)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.from
            .as_ref()
            .is_none_or(|s| s.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.from
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), |s| s.incoming.size_hint())
    }
}

/// An answer's body on its way to a client.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// The gateway's own.
    Whole(Full<Bytes>),
    /// A pod's.
    Pod(PodBody),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(full) => Pin::new(full)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Pod(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(full) => full.is_end_stream(),
            Self::Pod(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(full) => full.size_hint(),
            Self::Pod(body) => body.incoming.size_hint(),
        }
    }
}

/// Who moves a pod's connection while its answer is read.
#[derive(Debug)]
pub(crate) enum Driver {
    /// Whoever reads the answer's body.
    Reader(Box<PodConnection>),
    /// A task of its own, because the request's body is still on its way or HTTP may be left. It ends with this.
    Task { _end: DropGuard },
}

impl Driver {
    /// A driver elsewhere that ends when the returned token is cancelled, which dropping the driver does.
    pub(crate) fn elsewhere() -> (Self, CancellationToken) {
        let token = CancellationToken::new();
        (
            Self::Task {
                _end: token.clone().drop_guard(),
            },
            token,
        )
    }
}

/// A pod's answer body, with everything that has to last as long as it does.
#[derive(Debug)]
pub(crate) struct PodBody {
    incoming: Incoming,
    /// `None` when the pod's part is over.
    driver: Option<Driver>,
    in_flight: Option<InFlight>,
    pool_per_pod: usize,
    app: Arc<App>,
    upload: Option<Arc<Upload>>,
    bytes: u64,
}

impl PodBody {
    pub(crate) fn new(
        incoming: Incoming,
        driver: Driver,
        in_flight: InFlight,
        pool_per_pod: usize,
        app: Arc<App>,
        upload: Option<Arc<Upload>>,
    ) -> Self {
        let mut body = Self {
            incoming,
            driver: Some(driver),
            in_flight: Some(in_flight),
            pool_per_pod,
            app,
            upload,
            bytes: 0,
        };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = match &mut self.driver {
            Some(Driver::Reader(connection)) => {
                // Asking tells the connection that a frame is wanted; only it can bring one, so nobody else has to
                // wake us for it.
                let mut deaf = Context::from_waker(Waker::noop());
                let asked = Pin::new(&mut self.incoming).poll_frame(&mut deaf);
                if asked.is_pending() {
                    connection.drive(cx);
                    Pin::new(&mut self.incoming).poll_frame(cx)
                } else {
                    asked
                }
            }
            _ => Pin::new(&mut self.incoming).poll_frame(cx),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.bytes += frame.data_ref().map_or(0, |d| d.len() as u64);
                if self.incoming.is_end_stream() {
                    self.finish();
                }
            }
            Poll::Ready(None) => self.finish(),
            Poll::Ready(Some(Err(_broken))) => self.let_go(),
            Poll::Pending => {}
        }
        polled
    }

    /// The answer came whole: the connection can serve the next request.
    fn finish(&mut self) {
        if let Some(Driver::Reader(mut connection)) = self.driver.take()
            && connection.is_usable()
            && let Some(in_flight) = &self.in_flight
        {
            in_flight
                .endpoint()
                .keep_idle(connection, self.pool_per_pod);
        }
        self.let_go();
    }

    /// The pod has nothing more to do with this request.
    fn let_go(&mut self) {
        self.driver = None;
        self.in_flight = None;
    }
}

impl Drop for PodBody {
    fn drop(&mut self) {
        // The connection closes before the request stops counting: a drained pod sees no late bytes.
        self.let_go();
        self.app
            .carried(self.upload.as_ref().map_or(0, |u| u.bytes()), self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[test]
    fn an_empty_body_is_at_its_end() {
        let mut body = RequestBody::empty();
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(
            pin!(&mut body).poll_frame(&mut cx),
            Poll::Ready(None)
        ));
    }
}
