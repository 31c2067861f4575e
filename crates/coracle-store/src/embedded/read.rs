//! Reads: single keys, pages, and pieces of the log.
//!
//! They run on the caller's thread and not on one for blocking work: redb's readers take no lock that a
//! commit holds while it waits for the disk, what they read is nearly always in memory, and each is bounded
//! (one value, one page, one piece of the log). A trip to another thread would cost more than the read.

use std::ops::Bound;

use redb::ReadTransaction;

use super::file::{Failure, StoreFile};
use super::schema::{self, CURRENT, LOG, META};
use crate::error::StoreError;
use crate::limits::{MAX_PAGE, MAX_PAGE_BYTES, MAX_VALUE_BYTES, WATCH_BUFFER};
use crate::store::{Entry, Event, Listing, Page, Revision};

/// One piece of the log has at most this many bytes of values (and one value more).
const PIECE_BYTES: usize = 4 * MAX_VALUE_BYTES;
/// One piece of the log passes at most this many changes of other prefixes, so that a watcher far behind
/// does not hold its thread.
const PIECE_STEPS: usize = 4096;

/// A counter of the store.
pub(super) fn counter(transaction: &ReadTransaction, name: &str) -> Result<u64, Failure> {
    let meta = transaction.open_table(META)?;
    Ok(meta.get(name)?.map_or(0, |value| value.value()))
}

pub(super) fn revision(file: &StoreFile) -> Result<Revision, StoreError> {
    file.read(|transaction| counter(transaction, schema::meta::REVISION))
}

pub(super) fn get(file: &StoreFile, key: &str) -> Result<Option<Entry>, StoreError> {
    file.read(|transaction| {
        let current = transaction.open_table(CURRENT)?;
        let Some(record) = current.get(key)? else {
            return Ok(None);
        };
        schema::decode_entry(key, record.value())
            .map(Some)
            .ok_or(BAD_ENTRY)
    })
}

pub(super) fn list(file: &StoreFile, prefix: &str, page: &Page) -> Result<Listing, StoreError> {
    let limit = page.limit.clamp(1, MAX_PAGE);
    let start = match page.after.as_deref() {
        // A cursor before the prefix begins at the prefix.
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    file.read(|transaction| {
        let revision = counter(transaction, schema::meta::REVISION)?;
        let current = transaction.open_table(CURRENT)?;
        let mut listing = Listing {
            entries: Vec::new(),
            revision,
            next: None,
        };
        let mut bytes = 0;
        for row in current.range::<&str>((start, Bound::Unbounded))? {
            let (key, record) = row?;
            if !key.value().starts_with(prefix) {
                break;
            }
            if listing.entries.len() == limit || bytes >= MAX_PAGE_BYTES {
                listing.next = listing.entries.last().map(|entry| entry.key.clone());
                break;
            }
            let entry = schema::decode_entry(key.value(), record.value()).ok_or(BAD_ENTRY)?;
            bytes += entry.value.len();
            listing.entries.push(entry);
        }
        Ok(listing)
    })
}

/// A place in the log: the next change at or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) revision: Revision,
    pub(super) place: u32,
}

impl Position {
    /// Before the first change of `revision`.
    pub(super) fn before(revision: Revision) -> Self {
        Self { revision, place: 0 }
    }
}

/// A piece of the log.
#[derive(Debug)]
pub(super) struct Piece {
    /// The changes under the asked prefix, in order.
    pub(super) events: Vec<Event>,
    /// Where the next piece begins.
    pub(super) next: Position,
    /// Whether the log had no more.
    pub(super) end: bool,
}

/// The next changes under `prefix` at or after `from`.
pub(super) fn log(file: &StoreFile, prefix: &str, from: Position) -> Result<Piece, StoreError> {
    file.read(|transaction| {
        let revision = counter(transaction, schema::meta::REVISION)?;
        let oldest = counter(transaction, schema::meta::OLDEST)?;
        if from.revision < oldest {
            return Err(StoreError::Compacted { oldest }.into());
        }
        let log = transaction.open_table(LOG)?;
        let mut piece = Piece {
            events: Vec::new(),
            next: from,
            end: false,
        };
        let mut bytes = 0;
        let start = (from.revision, from.place);
        for (steps, row) in log.range(start..)?.enumerate() {
            if piece.events.len() == WATCH_BUFFER || bytes >= PIECE_BYTES || steps == PIECE_STEPS {
                return Ok(piece);
            }
            let (at, record) = row?;
            let (revision, place) = at.value();
            let record = record.value();
            if schema::log_key(record)
                .ok_or(BAD_CHANGE)?
                .starts_with(prefix)
            {
                bytes += record.len();
                piece
                    .events
                    .push(schema::decode_event(revision, record).ok_or(BAD_CHANGE)?);
            }
            piece.next = Position {
                revision,
                place: place + 1,
            };
        }
        // At the end the place moves behind the last write, so that a compaction of what this watcher was
        // not interested in does not end it. One that starts in the future stays there.
        piece.next = piece.next.max(Position::before(revision + 1));
        piece.end = true;
        Ok(piece)
    })
}

const BAD_ENTRY: Failure = Failure::Record("a value's header is damaged");
const BAD_CHANGE: Failure = Failure::Record("a record of the change log is damaged");
