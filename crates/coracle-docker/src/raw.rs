//! The daemon's byte streams: a request that is upgraded, and Docker's framing of two outputs in one stream.
//!
//! Theory of operation: exec and attach hand over the connection itself. It is opened here rather than through
//! the client library, because there a terminal's output is guessed to be framed when its first byte is small,
//! which any program can print; here the caller says which of the two it is.

use std::path::Path;

use bytes::{Buf as _, Bytes, BytesMut};
use coracle_engine::EngineError;
use coracle_engine::stream::Channel;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The daemon's message about a refusal is read up to this size.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Any other answer is read up to this size: it names each part of a cache that went.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// The connection after an upgrade.
pub(crate) type Raw = TokioIo<Upgraded>;

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EngineError {
    EngineError::Unavailable(error.into())
}

/// A connection to the daemon: what sends requests, and what drives it.
async fn connect(
    socket: &Path,
) -> Result<
    (
        http1::SendRequest<Full<Bytes>>,
        http1::Connection<TokioIo<UnixStream>, Full<Bytes>>,
    ),
    EngineError,
> {
    let stream = UnixStream::connect(socket).await.map_err(broken)?;
    http1::handshake(TokioIo::new(stream)).await.map_err(broken)
}

/// Posts to the daemon and takes over the connection.
pub(crate) async fn upgrade(socket: &Path, path: &str, body: String) -> Result<Raw, EngineError> {
    let (mut sender, connection) = connect(socket).await?;
    let request = Request::post(path)
        .header(hyper::header::HOST, "docker")
        .header(hyper::header::CONNECTION, "Upgrade")
        .header(hyper::header::UPGRADE, "tcp")
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(broken)?;
    let taken = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        if status == hyper::StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = hyper::upgrade::on(answer).await.map_err(broken)?;
            return Ok(TokioIo::new(upgraded));
        }
        let message = Limited::new(answer.into_body(), MESSAGE_BYTES)
            .collect()
            .await
            .map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned())
            .unwrap_or_default();
        Err(refusal(status.as_u16(), &message))
    };
    let driven = connection.with_upgrades();
    tokio::pin!(taken, driven);
    tokio::select! {
        result = &mut taken => result,
        end = &mut driven => match end {
            Ok(()) => taken.await,
            Err(error) => Err(broken(error)),
        },
    }
}

/// Posts to the daemon without a body and reads its answer.
pub(crate) async fn post(socket: &Path, path: &str) -> Result<serde_json::Value, EngineError> {
    let (mut sender, connection) = connect(socket).await?;
    let request = Request::post(path)
        .header(hyper::header::HOST, "docker")
        .body(Full::<Bytes>::default())
        .map_err(broken)?;
    let asked = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES)
            .collect()
            .await
            .map_err(broken)?
            .to_bytes();
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &String::from_utf8_lossy(&body)));
        }
        serde_json::from_slice(&body).map_err(broken)
    };
    tokio::pin!(asked, connection);
    tokio::select! {
        result = &mut asked => result,
        end = &mut connection => match end {
            Ok(()) => asked.await,
            Err(error) => Err(broken(error)),
        },
    }
}

fn refusal(status: u16, body: &str) -> EngineError {
    let message = serde_json::from_str::<serde_json::Value>(body)
        .ok()
        .and_then(|v| Some(v.get("message")?.as_str()?.trim().to_owned()))
        .unwrap_or_else(|| format!("status {status}"));
    if matches!(status, 400 | 409) {
        EngineError::Refused(message)
    } else {
        EngineError::Failed {
            message,
            source: None,
        }
    }
}

/// Takes Docker's frames apart: one byte of channel, three of nothing, four of length, and the bytes. What is
/// there of a frame is given out at once, so a frame's length, whatever is claimed, costs no memory.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    channel: Option<Channel>,
    left: usize,
}

/// Bytes before a frame's own.
const HEADER: usize = 8;

impl Frames {
    /// The next piece of output in `buffer`, if there is one.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Option<(Channel, Bytes)> {
        loop {
            if self.left > 0 {
                if buffer.is_empty() {
                    return None;
                }
                let piece = buffer.split_to(self.left.min(buffer.len())).freeze();
                self.left -= piece.len();
                match self.channel {
                    Some(channel) => return Some((channel, piece)),
                    None => continue,
                }
            }
            if buffer.len() < HEADER {
                return None;
            }
            self.channel = match buffer[0] {
                1 => Some(Channel::Stdout),
                2 => Some(Channel::Stderr),
                _ => None,
            };
            buffer.advance(4);
            self.left = usize::try_from(buffer.get_u32()).unwrap_or(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // However the stream is cut into reads, the same bytes come out on the same channels.
        #[test]
        fn frames_come_out_whole(
            frames in proptest::collection::vec((1_u8..3, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            cut in 1_usize..16,
        ) {
            let mut wire = Vec::new();
            let mut want: [Vec<u8>; 2] = Default::default();
            for (channel, bytes) in &frames {
                wire.extend([*channel, 0, 0, 0]);
                wire.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
                wire.extend(bytes);
                want[usize::from(*channel) - 1].extend(bytes);
            }
            let mut got: [Vec<u8>; 2] = Default::default();
            let (mut reader, mut buffer) = (Frames::default(), BytesMut::new());
            for piece in wire.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some((channel, bytes)) = reader.next(&mut buffer) {
                    got[usize::from(channel == Channel::Stderr)].extend(bytes);
                }
            }
            prop_assert_eq!(got, want);
            prop_assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_daemons_words() {
        let error = refusal(409, "{\"message\":\"Container x is not running\"}\n");
        assert_eq!(
            error.to_string(),
            "the engine refused: Container x is not running"
        );
    }
}
