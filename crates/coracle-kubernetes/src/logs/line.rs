//! The lines of a log, as the API server gives them: each with its time before it.
//!
//! Theory of operation: runtimes keep a line that is longer than [`LogLine::MOST_BYTES`] in pieces of just that size, and
//! older kubelets (1.20 among them) write a time before each of them. So lines come here in pieces of that size too, and a time at the
//! seam of two is left out.

use chrono::{DateTime, Utc};
use coracle_engine::stream::{Channel, LogLine};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// A line's time takes so many bytes at most.
const TIME_BYTES: usize = 40;
/// So much is read of a line before a piece of it is given.
const MOST: usize = LogLine::MOST_BYTES + TIME_BYTES;

/// A line, or a piece of one that is too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: DateTime<Utc>,
    /// As written, without the line's end.
    pub(crate) bytes: Vec<u8>,
    pub(crate) ending: Ending,
}

/// What a piece of a log ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its line's end.
    Line,
    /// As much as a piece may hold: the rest of the line follows.
    Room,
    /// The log's end.
    Log,
}

impl Line {
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        text.strip_suffix('\r').unwrap_or(&text).to_owned()
    }

    /// Which of the two outputs it came from is not told.
    pub(crate) fn told(&self) -> LogLine {
        LogLine {
            at: self.at,
            channel: Channel::Stdout,
            text: self.text(),
        }
    }
}

/// A log whose lines begin with their time.
pub(crate) struct Log<R> {
    from: R,
    /// What was read and not given yet.
    held: Vec<u8>,
    /// What the piece before ended with.
    before: Ending,
    /// When the line was written that the piece before is of.
    at: DateTime<Utc>,
    broken: Option<std::io::Error>,
}

impl<R: AsyncBufRead + Unpin> Log<R> {
    pub(crate) const fn of(from: R) -> Self {
        Self {
            from,
            held: Vec::new(),
            before: Ending::Line,
            at: DateTime::UNIX_EPOCH,
            broken: None,
        }
    }

    /// The next line, or a piece of one that is too long. What has no time is not the container's and is left out: kubelets
    /// write complaints of their own between its lines, such as that the container is gone meanwhile.
    pub(crate) async fn line(&mut self) -> Option<Line> {
        loop {
            let (piece, ending) = self.piece().await?;
            let begins = std::mem::replace(&mut self.before, ending) != Ending::Room;
            let mut bytes = match (timed(&piece), begins) {
                (Some((at, bytes)), _) => {
                    self.at = at;
                    bytes.to_vec()
                }
                (None, false) => piece,
                (None, true) => {
                    let words = String::from_utf8_lossy(&piece);
                    tracing::debug!(%words, "a kubelet's own words in a log");
                    continue;
                }
            };
            if bytes.len() > LogLine::MOST_BYTES {
                self.held = bytes.split_off(LogLine::MOST_BYTES);
                if ending == Ending::Line {
                    self.held.push(b'\n');
                }
                self.before = Ending::Room;
            }
            return Some(Line {
                at: self.at,
                bytes,
                ending: self.before,
            });
        }
    }

    /// Why the connection broke, when that is what ended the log.
    pub(crate) fn broken(&mut self) -> Option<std::io::Error> {
        self.broken.take()
    }

    /// A line without its end, or what there is room for. Nothing at the end of all.
    async fn piece(&mut self) -> Option<(Vec<u8>, Ending)> {
        let mut line = std::mem::take(&mut self.held);
        if line.last() == Some(&b'\n') {
            line.pop();
            return Some((line, Ending::Line));
        }
        loop {
            let buffer = match self.from.fill_buf().await {
                Ok(buffer) => buffer,
                Err(error) => {
                    self.broken = Some(error);
                    return None;
                }
            };
            if buffer.is_empty() {
                return (!line.is_empty()).then_some((line, Ending::Log));
            }
            let room = MOST - line.len();
            let piece = &buffer[..buffer.len().min(room)];
            if let Some(end) = piece.iter().position(|b| *b == b'\n') {
                line.extend_from_slice(&piece[..end]);
                self.from.consume(end + 1);
                return Some((line, Ending::Line));
            }
            let taken = piece.len();
            line.extend_from_slice(piece);
            self.from.consume(taken);
            if line.len() >= MOST {
                return Some((line, Ending::Room));
            }
        }
    }
}

/// A line with its time before it.
fn timed(line: &[u8]) -> Option<(DateTime<Utc>, &[u8])> {
    let head = &line[..line.len().min(TIME_BYTES)];
    let (at, text) = match head.iter().position(|b| *b == b' ') {
        Some(end) => (&line[..end], &line[end + 1..]),
        None => (line, &[][..]),
    };
    let at = DateTime::parse_from_rfc3339(std::str::from_utf8(at).ok()?).ok()?;
    Some((at.with_timezone(&Utc), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_its_time() {
        let (at, text) = timed(b"2026-11-23T10:00:00.123456789Z hello world").unwrap();
        assert_eq!(text, b"hello world");
        assert_eq!(at.timestamp_subsec_nanos(), 123_456_789);
        assert_eq!(timed(b"2026-11-23T10:00:00Z ").unwrap().1, b"");
        assert_eq!(timed(b"no time here"), None);
    }

    #[tokio::test]
    async fn what_a_kubelet_says_is_not_the_containers() {
        let long = "x".repeat(MOST);
        let text = format!(
            "2026-11-23T10:00:00Z one\nrpc error: code = Unknown desc = Error: No such container: 1\n2026-11-23T10:00:01Z {long}\n2026-11-23T10:00:02Z two\nunable to retrieve container logs"
        );
        let mut log = Log::of(text.as_bytes());
        let mut lines = Vec::new();
        let mut times = Vec::new();
        while let Some(line) = log.line().await {
            lines.push(line.text());
            times.push(line.at.timestamp() % 60);
        }
        assert_eq!(lines[0], "one");
        assert_eq!(lines[1].len() + lines[2].len(), MOST);
        assert_eq!(times, [0, 1, 1, 2], "a piece is as old as its line");
        assert_eq!(lines[3..], ["two"]);
    }

    /// With a time before each piece that the runtime kept, as old kubelets write it, and with one before the line.
    #[tokio::test]
    async fn a_long_line_is_whole_byte_for_byte() {
        let at = "2026-11-23T10:00:00.1Z ";
        for times in [true, false] {
            for length in [0, 1, 2, 3].map(|n| n * LogLine::MOST_BYTES) {
                for more in [0, 1, 20, TIME_BYTES] {
                    let written: Vec<u8> =
                        (0..length + more).map(|n| 200 + (n % 50) as u8).collect();
                    let mut text = Vec::new();
                    for (n, piece) in written.chunks(LogLine::MOST_BYTES).enumerate() {
                        if n == 0 || times {
                            text.extend_from_slice(at.as_bytes());
                        }
                        text.extend_from_slice(piece);
                    }
                    text.extend_from_slice(b"\n");
                    let mut log = Log::of(&text[..]);
                    let mut read = Vec::new();
                    while let Some(line) = log.line().await {
                        assert!(line.bytes.len() <= LogLine::MOST_BYTES);
                        read.extend_from_slice(&line.bytes);
                    }
                    assert_eq!(read, written, "{length} and {more}, {times}");
                }
            }
        }
    }
}
