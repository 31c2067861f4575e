//! Watches.
//!
//! Theory of operation: a watcher is a place in the log and nothing else. It reads a bounded piece of the
//! log, hands out its events, and reads on; at the end it waits to be told of a commit. No event is ever
//! handed from the writer to a watcher, so none can be lost between registration and the first wait, doubled,
//! or reordered, and a slow watcher costs one piece of memory however far it is behind.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::watch;

use super::file::StoreFile;
use super::read::{self, Position};
use crate::error::StoreError;
use crate::store::{Event, Revision, WatchStream};

struct Cursor {
    file: Arc<StoreFile>,
    prefix: String,
    next: Position,
    commits: watch::Receiver<Revision>,
    /// What was read and not handed out yet.
    piece: VecDeque<Event>,
}

impl Cursor {
    async fn next(&mut self) -> Result<Event, StoreError> {
        loop {
            if let Some(event) = self.piece.pop_front() {
                return Ok(event);
            }
            // Marked as seen before the read: a commit after the read wakes the wait below.
            self.commits.mark_unchanged();
            let piece = read::log(&self.file, &self.prefix, self.next)?;
            self.next = piece.next;
            // Replaced, not extended: an idle watcher keeps no memory of its busiest moment.
            self.piece = piece.events.into();
            if !self.piece.is_empty() {
                continue;
            }
            if piece.end {
                self.commits
                    .changed()
                    .await
                    .map_err(|_closed| StoreError::Closed)?;
            } else {
                // A long stretch of other prefixes: let others have this thread between two pieces.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The changes under `prefix` from `from` on.
pub(super) fn watch(
    file: Arc<StoreFile>,
    commits: watch::Receiver<Revision>,
    prefix: &str,
    from: Option<Revision>,
) -> Result<WatchStream, StoreError> {
    let from = match from {
        // Revision 0 is the empty store: from there is from the first write.
        Some(from) => from.max(1),
        None => read::revision(&file)? + 1,
    };
    let next = Position::before(from);
    // Read once at once, so that a revision that is too old is told here and not only by the first item.
    let piece = read::log(&file, prefix, next)?;
    let cursor = Cursor {
        file,
        prefix: prefix.to_owned(),
        next: piece.next,
        commits,
        piece: piece.events.into(),
    };
    let events = futures::stream::unfold(Some(cursor), |cursor| async move {
        let mut cursor = cursor?;
        match cursor.next().await {
            Ok(event) => Some((Ok(event), Some(cursor))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(events.boxed())
}
