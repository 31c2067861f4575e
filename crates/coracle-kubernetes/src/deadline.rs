//! How long the API server may be silent.
//!
//! Theory of operation: a server that takes a connection and says nothing must not hold whoever asked. Which bounds hold is
//! read off the request. An ordinary answer must begin in time, must not pause for as long again, and must be whole
//! within [`WHOLE`]. A watch must begin in time; when it falls silent later, kube's own bound ends it (the server
//! ends each watch after [`Patience::watch`], and a moment after that it is taken for dead). A command's stream must be granted in
//! time. A log that is followed may say nothing for days, not even its status line: there only the socket's keep-alive
//! (`client`) tells that nobody is at the other end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tower::{BoxError, Layer, Service};

use crate::config::Patience;

/// For the whole of an ordinary answer: that is slow, but it comes.
const WHOLE: Duration = Duration::from_mins(5);

/// The API server said nothing for too long.
#[derive(Debug, thiserror::Error)]
#[error("the API server took the connection and {missing} within {limit:?}")]
pub(crate) struct Silent {
    missing: &'static str,
    limit: Duration,
}

/// What an answer is like, as far as time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// One object or list.
    Whole,
    /// A log as it is now: as long as its reader takes.
    Log,
    /// Begins at once and goes on: a watch, a command's stream.
    Stream,
    /// Begins when there is something to say.
    Whenever,
}

impl Answer {
    fn to<B>(request: &Request<B>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let asks = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.any(|(key, value)| key == name && matches!(value, "true" | "1"))
        };
        if request.headers().contains_key(header::UPGRADE) || asks("watch") {
            Self::Stream
        } else if !request.uri().path().ends_with("/log") {
            Self::Whole
        } else if asks("follow") {
            Self::Whenever
        } else {
            Self::Log
        }
    }
}

/// Holds every request to the bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines(pub(crate) Patience);

impl<S> Layer<S> for Deadlines {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        let patience = self.0;
        Bounded { inner, patience }
    }
}

/// A service whose answers come in time.
pub(crate) struct Bounded<S> {
    inner: S,
    patience: Patience,
}

impl<S, R, B> Service<Request<R>> for Bounded<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<BoundedBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let limit = self.patience.answer;
        let kind = Answer::to(&request);
        let begun = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = match kind {
                Answer::Whenever => answer.await,
                Answer::Whole | Answer::Log | Answer::Stream => {
                    timeout(limit, answer).await.map_err(|_elapsed| Silent {
                        missing: "did not answer",
                        limit,
                    })?
                }
            };
            let (pause, end) = match kind {
                Answer::Whole => (Some(limit), Some(begun + WHOLE)),
                Answer::Log => (Some(limit), None),
                Answer::Stream | Answer::Whenever => (None, None),
            };
            let bound = |inner| BoundedBody {
                inner,
                pause,
                end,
                timer: None,
            };
            answer.map(|answer| answer.map(bound)).map_err(Into::into)
        })
    }
}

/// A body whose pieces come in time.
pub(crate) struct BoundedBody<B> {
    inner: B,
    pause: Option<Duration>,
    end: Option<Instant>,
    /// Runs while a piece is waited for: a reader that takes its time is no fault of the server.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Body for BoundedBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(limit) = this.pause else {
            return Poll::Pending;
        };
        let end = this.end;
        let timer = this.timer.get_or_insert_with(|| {
            let over = Instant::now() + limit;
            Box::pin(sleep_until(end.map_or(over, |end| over.min(end))))
        });
        ready!(timer.as_mut().poll(context));
        let silent = Silent {
            missing: "did not end its answer",
            limit,
        };
        Poll::Ready(Some(Err(silent.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
