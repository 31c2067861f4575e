//! Server-sent events (WHATWG HTML, section 9.2) out of an answer.

use std::time::Duration;

use futures::{StreamExt as _, stream};

use crate::client::Client;
use crate::lines::Lines;
use crate::{Items, Result};

/// The most bytes of one line; an object is one line.
const LINE_BYTES: usize = 16 << 20;

/// The most bytes of one event.
const EVENT_BYTES: usize = 32 << 20;

/// The platform sends a comment every 15 s when nothing happens. After so long without anything the connection is
/// dead, even where no packet says so.
const SILENCE: Duration = Duration::from_secs(50);

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SseEvent {
    pub(crate) name: String,
    pub(crate) data: String,
}

struct Reader {
    client: Client,
    lines: Lines,
    event: SseEvent,
}

/// The events of an answer. It ends when the answer does.
pub(crate) fn events(client: &Client, response: reqwest::Response) -> Items<SseEvent> {
    let reader = Reader {
        lines: Lines::new(client.clone(), response, LINE_BYTES),
        client: client.clone(),
        event: SseEvent::default(),
    };
    stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(event)) => Some((Ok(event), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Reader {
    async fn next(&mut self) -> Result<Option<SseEvent>> {
        loop {
            let line = match tokio::time::timeout(SILENCE, self.lines.next()).await {
                Ok(Some(line)) => line?,
                Ok(None) => return Ok(None),
                Err(_elapsed) => return Err(self.client.interrupted()),
            };
            let Ok(line) = std::str::from_utf8(&line) else {
                return Err(self.client.protocol("an event is no UTF-8"));
            };
            if line.is_empty() {
                let mut event = std::mem::take(&mut self.event);
                if event.data.pop().is_some() {
                    return Ok(Some(event));
                }
                continue;
            }
            self.field(line);
            if self.event.data.len() > EVENT_BYTES {
                return Err(self.client.protocol("an event is too large"));
            }
        }
    }

    fn field(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                self.event.data.push_str(value);
                self.event.data.push('\n');
            }
            // A comment, the event's id, or what a later version may add.
            _ => {}
        }
    }
}
