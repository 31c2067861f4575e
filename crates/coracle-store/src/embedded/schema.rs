//! What is in the file, to the byte.
//!
//! Theory of operation: five tables. `current` has the value of each key; `log` has each change at
//! (revision, place within its write), with its value, so that a watch is only a cursor over it; `leases`
//! has the time to live of each live lease, `lease_keys` its keys; `meta` has the counters. Records are
//! little-endian headers before the raw value, because a value is opaque here and reading it must not cost
//! a decoder. The format has a number in `meta`: a change of anything in this file needs a new one, and a
//! reader of the old.

use bytes::Bytes;
use redb::TableDefinition;

use crate::store::{Entry, Event, LeaseId, Revision};

/// The format that is written.
pub(super) const FORMAT: u64 = 1;

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const CURRENT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("current");
pub(super) const LOG: TableDefinition<'_, (Revision, u32), &[u8]> = TableDefinition::new("log");
pub(super) const LEASES: TableDefinition<'_, u64, u64> = TableDefinition::new("leases");
pub(super) const LEASE_KEYS: TableDefinition<'_, (u64, &str), ()> =
    TableDefinition::new("lease_keys");

/// Names in [`META`].
pub(super) mod meta {
    pub(in crate::embedded) const FORMAT: &str = "format";
    /// The revision of the last write.
    pub(in crate::embedded) const REVISION: &str = "revision";
    /// The oldest revision that can be watched from.
    pub(in crate::embedded) const OLDEST: &str = "oldest";
    /// The bytes of all records in the log.
    pub(in crate::embedded) const LOG_BYTES: &str = "log_bytes";
    /// The last lease that was granted.
    pub(in crate::embedded) const LAST_LEASE: &str = "last_lease";
}

/// A lease's place in a record: 0 is none, and no lease is called 0.
fn lease_code(lease: Option<LeaseId>) -> u64 {
    lease.map_or(0, |lease| lease.0)
}

fn lease_of(code: u64) -> Option<LeaseId> {
    (code != 0).then_some(LeaseId(code))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

/// The header of a record in [`CURRENT`]: `created`, `modified`, lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) created: Revision,
    pub(super) modified: Revision,
    pub(super) lease: Option<LeaseId>,
}

const HEAD_BYTES: usize = 24;

impl Head {
    /// Reads the header of a record, `None` when it is none.
    pub(super) fn decode(record: &[u8]) -> Option<Self> {
        Some(Self {
            created: u64_at(record, 0)?,
            modified: u64_at(record, 8)?,
            lease: lease_of(u64_at(record, 16)?),
        })
    }

    /// The whole record.
    pub(super) fn encode(self, value: &[u8]) -> Vec<u8> {
        let mut record = Vec::with_capacity(HEAD_BYTES + value.len());
        record.extend_from_slice(&self.created.to_le_bytes());
        record.extend_from_slice(&self.modified.to_le_bytes());
        record.extend_from_slice(&lease_code(self.lease).to_le_bytes());
        record.extend_from_slice(value);
        record
    }
}

/// Reads a record of [`CURRENT`], `None` when it is none.
pub(super) fn decode_entry(key: &str, record: &[u8]) -> Option<Entry> {
    let head = Head::decode(record)?;
    Some(Entry {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(record.get(HEAD_BYTES..)?),
        created: head.created,
        modified: head.modified,
        lease: head.lease,
    })
}

const KIND_PUT: u8 = 1;
const KIND_DELETE: u8 = 2;
/// Kind, length of the key.
const LOG_HEAD_BYTES: usize = 3;

fn log_record(kind: u8, key: &str, rest: usize) -> Vec<u8> {
    let mut record = Vec::with_capacity(LOG_HEAD_BYTES + key.len() + rest);
    record.push(kind);
    // Keys are checked to be at most MAX_KEY_BYTES long before they come here.
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(key.as_bytes());
    record
}

/// The record in [`LOG`] of a put: kind, key, `created`, lease, value. Its revision is in the table's key.
pub(super) fn encode_put(key: &str, head: Head, value: &[u8]) -> Vec<u8> {
    let mut record = log_record(KIND_PUT, key, 16 + value.len());
    record.extend_from_slice(&head.created.to_le_bytes());
    record.extend_from_slice(&lease_code(head.lease).to_le_bytes());
    record.extend_from_slice(value);
    record
}

/// The record in [`LOG`] of a deletion: kind, key.
pub(super) fn encode_delete(key: &str) -> Vec<u8> {
    log_record(KIND_DELETE, key, 0)
}

/// The key of a record of [`LOG`]: a watcher of another prefix need not copy the value.
pub(super) fn log_key(record: &[u8]) -> Option<&str> {
    let length = u16::from_le_bytes(record.get(1..LOG_HEAD_BYTES)?.try_into().ok()?);
    let key = record.get(LOG_HEAD_BYTES..LOG_HEAD_BYTES + usize::from(length))?;
    std::str::from_utf8(key).ok()
}

/// Reads a record of [`LOG`], `None` when it is none.
pub(super) fn decode_event(revision: Revision, record: &[u8]) -> Option<Event> {
    let key = log_key(record)?;
    let body = record.get(LOG_HEAD_BYTES + key.len()..)?;
    match *record.first()? {
        KIND_DELETE => Some(Event::Delete {
            key: key.to_owned(),
            revision,
        }),
        KIND_PUT => Some(Event::Put(Entry {
            key: key.to_owned(),
            created: u64_at(body, 0)?,
            modified: revision,
            lease: lease_of(u64_at(body, 8)?),
            value: Bytes::copy_from_slice(body.get(16..)?),
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of format 1. When this test must change, [`FORMAT`] must, too.
    #[test]
    fn records_of_format_1_are_these_bytes() {
        assert_eq!(FORMAT, 1);
        let head = Head {
            created: 1,
            modified: 0x0203,
            lease: Some(LeaseId(4)),
        };
        assert_eq!(
            head.encode(b"v"),
            *b"\x01\0\0\0\0\0\0\0\x03\x02\0\0\0\0\0\0\x04\0\0\0\0\0\0\0v"
        );
        assert_eq!(
            encode_put("/k", head, b"v"),
            *b"\x01\x02\0/k\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0v"
        );
        assert_eq!(encode_delete("/k"), *b"\x02\x02\0/k");
    }

    #[test]
    fn records_read_back_and_torn_ones_are_refused() {
        let head = Head {
            created: 7,
            modified: 9,
            lease: None,
        };
        let entry = decode_entry("/k", &head.encode(b"value")).unwrap();
        assert_eq!((entry.created, entry.modified, entry.lease), (7, 9, None));
        assert_eq!(entry.value, "value");

        let put = encode_put("/k", head, b"value");
        assert_eq!(decode_event(9, &put), Some(Event::Put(entry)));
        for end in 0..put.len() - b"value".len() {
            assert_eq!(decode_event(9, &put[..end]), None, "cut at {end}");
        }
        let delete = encode_delete("/k");
        let deleted = Event::Delete {
            key: "/k".into(),
            revision: 3,
        };
        assert_eq!(decode_event(3, &delete), Some(deleted));
        assert_eq!(decode_event(3, b"\x09\x00\x00"), None, "unknown kind");
    }
}
