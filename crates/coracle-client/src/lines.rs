//! Lines out of a stream of bytes, each with a bound.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};

use crate::Result;
use crate::client::Client;
use crate::error::ClientError;

/// The lines of an answer, without their ends.
pub(crate) struct Lines {
    client: Client,
    chunks: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    buffer: BytesMut,
    /// So much of the buffer was searched for an end already.
    searched: usize,
    most: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The answer ended; what is left is a last line.
    Ended,
    Done,
}

impl Lines {
    pub(crate) fn new(client: Client, response: reqwest::Response, most: usize) -> Self {
        Self {
            client,
            chunks: response.bytes_stream().boxed(),
            buffer: BytesMut::new(),
            searched: 0,
            most,
            state: State::Open,
        }
    }

    fn cut(&mut self) -> Option<Bytes> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|b| *b == b'\n');
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return None;
        };
        let mut line = self.buffer.split_to(self.searched + end);
        self.buffer.advance(1);
        self.searched = 0;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(line.freeze())
    }

    fn fail(&mut self, error: ClientError) -> Poll<Option<Result<Bytes>>> {
        self.state = State::Done;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Lines {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.state == State::Done {
                return Poll::Ready(None);
            }
            if let Some(line) = self.cut() {
                return Poll::Ready(Some(Ok(line)));
            }
            if self.buffer.len() > self.most {
                let error = self
                    .client
                    .protocol(format!("a line has more than {} bytes", self.most));
                return self.fail(error);
            }
            if self.state == State::Ended {
                self.state = State::Done;
                let rest = self.buffer.split().freeze();
                return Poll::Ready((!rest.is_empty()).then_some(Ok(rest)));
            }
            match ready!(self.chunks.as_mut().poll_next(cx)) {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(_cut)) => {
                    let error = self.client.interrupted();
                    return self.fail(error);
                }
                None => self.state = State::Ended,
            }
        }
    }
}
