//! Reads. All are linearizable: what was acknowledged to anybody before is seen.

use etcd_client::{GetOptions, GetResponse};

use super::call::{Caller, Repeat};
use super::place::{Place, revision as to_revision};
use crate::error::StoreError;
use crate::limits::{MAX_PAGE, MAX_PAGE_BYTES, MAX_VALUE_BYTES};
use crate::store::{Entry, Listing, Page, Revision};

/// Entries of the first piece of a page. Sizes are not known before they are there, so the first piece is small.
const FIRST_PIECE: usize = 32;
/// The largest answer that is taken: a first piece of the largest values, and some.
pub(super) const MAX_ANSWER_BYTES: usize = 2 * FIRST_PIECE * MAX_VALUE_BYTES;

async fn range(
    caller: &Caller,
    key: Vec<u8>,
    options: GetOptions,
) -> Result<GetResponse, StoreError> {
    caller
        .call("read", Repeat::Always, |client| {
            let (key, options) = (key.clone(), options.clone());
            async move {
                client
                    .kv_client()
                    .max_decoding_message_size(MAX_ANSWER_BYTES)
                    .get(key, Some(options))
                    .await
            }
        })
        .await
}

fn revision_of(answer: &GetResponse) -> Revision {
    answer
        .header()
        .map_or(0, |header| to_revision(header.revision()))
}

pub(super) async fn revision(caller: &Caller, place: &Place) -> Result<Revision, StoreError> {
    // A key that does not exist, below the prefix: to read there is what a user is allowed.
    let answer = range(caller, place.of(""), GetOptions::new().with_count_only()).await?;
    Ok(revision_of(&answer))
}

pub(super) async fn get(
    caller: &Caller,
    place: &Place,
    key: &str,
) -> Result<Option<Entry>, StoreError> {
    let answer = range(caller, place.of(key), GetOptions::new()).await?;
    Ok(answer.kvs().first().and_then(|found| place.entry(found)))
}

pub(super) async fn list(
    caller: &Caller,
    place: &Place,
    prefix: &str,
    page: &Page,
) -> Result<Listing, StoreError> {
    let limit = page.limit.clamp(1, MAX_PAGE);
    let mut from = place.of(prefix);
    if let Some(after) = &page.after {
        let mut after = place.of(after);
        after.push(0);
        // A cursor before the prefix begins at the prefix.
        from = from.max(after);
    }
    let end = place.end(prefix);
    let mut listing = Listing {
        entries: Vec::new(),
        revision: 0,
        next: None,
    };
    if from >= end {
        listing.revision = revision(caller, place).await?;
        return Ok(listing);
    }
    let mut bytes = 0;
    let mut piece = FIRST_PIECE;
    loop {
        let room = limit - listing.entries.len();
        let mut options = GetOptions::new()
            .with_range(end.clone())
            .with_limit(i64::try_from(piece.min(room)).unwrap_or(i64::MAX));
        if listing.revision > 0 {
            // The whole page is of one revision.
            options = options.with_revision(i64::try_from(listing.revision).unwrap_or(i64::MAX));
        }
        let answer = match range(caller, from.clone(), options).await {
            // Compacted while the page was read: what is here is a page.
            Err(StoreError::Compacted { .. }) if !listing.entries.is_empty() => {
                listing.next = listing.entries.last().map(|entry| entry.key.clone());
                return Ok(listing);
            }
            answer => answer?,
        };
        if listing.revision == 0 {
            listing.revision = revision_of(&answer);
        }
        for found in answer.kvs() {
            bytes += found.value().len();
            listing.entries.extend(place.entry(found));
        }
        if !answer.more() {
            return Ok(listing);
        }
        if listing.entries.len() >= limit || bytes >= MAX_PAGE_BYTES {
            listing.next = listing.entries.last().map(|entry| entry.key.clone());
            return Ok(listing);
        }
        if let Some(last) = answer.kvs().last() {
            from = last.key().to_vec();
            from.push(0);
        }
        // As many as fit into the page by the size of those before, should they be alike.
        let average = bytes / listing.entries.len().max(1) + 1;
        piece = (MAX_PAGE_BYTES / average).clamp(1, MAX_PAGE);
        if bytes > MAX_VALUE_BYTES {
            piece = piece.min(FIRST_PIECE);
        }
    }
}
