//! Watches.
//!
//! Theory of operation: a watcher is a place in etcd's history: a revision, and how many events of it were
//! handed out. Whatever happens to the connection, it goes on from its place with another member, and skips what
//! it had, so there are no gaps and no doubles. Where the place is in the past the watch begins one revision
//! earlier: etcd forgets deletions at the very revision of a compaction without saying so, and refuses only
//! what lies before it.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream as Responses};
use futures::StreamExt as _;
use tokio::time::Instant;

use super::call::{Caller, PAUSE};
use super::failure;
use super::place::{Place, revision as to_revision};
use super::read::{self, MAX_ANSWER_BYTES};
use crate::error::StoreError;
use crate::store::{Event, Revision, WatchStream};

/// How long a watch tries to go on before it tells its reader.
const RESUME_PATIENCE: Duration = Duration::from_secs(30);
/// The most for a member to begin a watch.
const BEGIN: Duration = Duration::from_secs(8);

/// The next event: the `place`-th (from 0) of `revision`, or any of a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    revision: Revision,
    place: u64,
}

impl Position {
    const fn before(revision: Revision) -> Self {
        Self { revision, place: 0 }
    }
}

struct Cursor {
    caller: Caller,
    place: Place,
    prefix: String,
    next: Position,
    /// The place of the last event that came on this stream: its revision, and its number in it.
    last: Option<Position>,
    stream: Option<Responses>,
    ready: VecDeque<Event>,
}

/// From where a stream is asked for.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// From what the member has when it begins.
    Now,
    At(Revision),
}

impl Cursor {
    /// Begins a stream, and waits until the member has taken it. Returns the revision that the member was at.
    async fn begin(&mut self, start: Start) -> Result<Revision, StoreError> {
        let mut options = WatchOptions::new()
            .with_range(self.place.end(&self.prefix))
            .with_progress_notify()
            .with_fragment();
        if let Start::At(revision) = start {
            options = options.with_start_revision(i64::try_from(revision).unwrap_or(i64::MAX));
        }
        let key = self.place.of(&self.prefix);
        let mut client = self
            .caller
            .client()
            .watch_client()
            .max_decoding_message_size(MAX_ANSWER_BYTES);
        let opening = async {
            let mut stream = client.watch(key, Some(options)).await?;
            let first = stream.message().await?;
            Ok((stream, first))
        };
        let (stream, first) = tokio::time::timeout(BEGIN, opening)
            .await
            .map_err(|_elapsed| failure::silent(self.caller.sides()))?
            .map_err(|error| self.failed(error))?;
        let first = first.ok_or_else(|| self.ended("it ended at once"))?;
        self.canceled(&first)?;
        self.last = None;
        self.stream = Some(stream);
        Ok(first
            .header()
            .map_or(0, |header| to_revision(header.revision())))
    }

    fn failed(&self, error: etcd_client::Error) -> StoreError {
        let sides = self.caller.sides();
        failure::judge("watch", error, sides).into_not_done(sides)
    }

    fn ended(&self, why: &str) -> StoreError {
        let error = etcd_client::Error::WatchError(why.to_owned());
        self.failed(error)
    }

    fn canceled(&self, response: &WatchResponse) -> Result<(), StoreError> {
        let compacted = to_revision(response.compact_revision());
        if compacted > 0 {
            return Err(StoreError::Compacted {
                oldest: compacted + 1,
            });
        }
        if response.canceled() {
            let why = response.cancel_reason();
            if why.contains("permission denied") {
                let status = tonic::Status::permission_denied(why);
                return Err(self.failed(etcd_client::Error::GRpcStatus(status)));
            }
            return Err(self.ended(why));
        }
        Ok(())
    }

    /// Begins again where it was.
    async fn resume(&mut self) -> Result<(), StoreError> {
        let current = read::revision(&self.caller, &self.place).await?;
        let from = self.next.revision;
        let start = if from > current {
            from
        } else {
            from.saturating_sub(1).max(1)
        };
        self.begin(Start::At(start)).await.map(drop)
    }

    /// Takes in what came.
    fn take(&mut self, response: &WatchResponse) -> Result<(), StoreError> {
        self.canceled(response)?;
        for event in response.events() {
            let Some(found) = event.kv() else { continue };
            let revision = to_revision(found.mod_revision());
            let at = match self.last {
                Some(last) if last.revision == revision => Position {
                    revision,
                    place: last.place + 1,
                },
                _ => Position::before(revision),
            };
            self.last = Some(at);
            if at < self.next {
                continue;
            }
            self.next = Position {
                revision,
                place: at.place + 1,
            };
            let event = match event.event_type() {
                EventType::Put => self.place.entry(found).map(Event::Put),
                EventType::Delete => self
                    .place
                    .key(found.key())
                    .map(|key| Event::Delete { key, revision }),
            };
            // What is not of this store's kind was not written by it.
            self.ready.extend(event);
        }
        if response.events().is_empty()
            && !response.created()
            && let Some(header) = response.header()
        {
            // Progress: everything up to here was told, so a later compaction of it is none of ours.
            let told = Position::before(to_revision(header.revision()) + 1);
            self.next = self.next.max(told);
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Event, StoreError> {
        let mut trouble: Option<Instant> = None;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let closed = self.caller.clone();
            let came = tokio::select! {
                () = closed.closed() => return Err(StoreError::Closed),
                came = self.receive() => came,
            };
            match came {
                Ok(()) => trouble = None,
                Err(error @ (StoreError::Unavailable { .. } | StoreError::Io { .. })) => {
                    self.stream = None;
                    let since = *trouble.get_or_insert_with(Instant::now);
                    if since.elapsed() > RESUME_PATIENCE {
                        return Err(error);
                    }
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a watch goes on with another connection"
                    );
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn receive(&mut self) -> Result<(), StoreError> {
        let Some(stream) = &mut self.stream else {
            return self.resume().await;
        };
        let response = stream.message().await;
        match response {
            Ok(Some(response)) => self.take(&response),
            Ok(None) => Err(self.ended("its connection ended")),
            Err(error) => Err(self.failed(error)),
        }
    }
}

/// The changes under `prefix` from `from` on.
pub(super) async fn watch(
    caller: Caller,
    place: Place,
    prefix: &str,
    from: Option<Revision>,
) -> Result<WatchStream, StoreError> {
    let current = read::revision(&caller, &place).await?;
    let mut cursor = Cursor {
        caller,
        place,
        prefix: prefix.to_owned(),
        next: Position::before(from.unwrap_or(current + 1)),
        last: None,
        stream: None,
        ready: VecDeque::new(),
    };
    let begun = match from {
        // What a member that is ahead had already is older than this watch; what one that is behind still
        // tells is too.
        None => cursor.begin(Start::Now).await.map(|at| {
            cursor.next = cursor.next.max(Position::before(at + 1));
        }),
        Some(_) => cursor.resume().await,
    };
    match begun {
        // The stream goes on trying.
        Ok(()) | Err(StoreError::Unavailable { .. } | StoreError::Io { .. }) => {}
        Err(error) => return Err(error),
    }
    let events = futures::stream::unfold(Some(cursor), |cursor| async move {
        let mut cursor = cursor?;
        match cursor.next().await {
            Ok(event) => Some((Ok(event), Some(cursor))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(events.boxed())
}
