//! Where the store's keys are among etcd's: behind a prefix.
//!
//! The prefix is put before every key as it is, which keeps their order; so `/apps/a` is at `/coracle//apps/a`.

use std::sync::Arc;

use bytes::Bytes;
use etcd_client::KeyValue;

use crate::store::{Entry, LeaseId, Revision};

/// The prefix. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<str>);

impl Place {
    pub(super) fn new(prefix: &str) -> Self {
        Self(prefix.into())
    }

    pub(super) fn prefix(&self) -> &str {
        &self.0
    }

    /// The key in etcd.
    pub(super) fn of(&self, key: &str) -> Vec<u8> {
        [self.0.as_bytes(), key.as_bytes()].concat()
    }

    /// The end of all keys in etcd that begin with `prefix`.
    pub(super) fn end(&self, prefix: &str) -> Vec<u8> {
        let mut end = self.of(prefix);
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return end;
            }
        }
        // Not reached: a key is UTF-8, which has no byte 0xff. It would mean: to the end of all keys.
        vec![0]
    }

    /// The store's key, `None` for one that only somebody else can have written.
    pub(super) fn key(&self, key: &[u8]) -> Option<String> {
        let key = key.strip_prefix(self.0.as_bytes())?;
        String::from_utf8(key.to_vec()).ok()
    }

    pub(super) fn entry(&self, found: &KeyValue) -> Option<Entry> {
        Some(Entry {
            key: self.key(found.key())?,
            value: Bytes::copy_from_slice(found.value()),
            created: revision(found.create_revision()),
            modified: revision(found.mod_revision()),
            lease: (found.lease() != 0).then(|| LeaseId(found.lease().cast_unsigned())),
        })
    }
}

/// etcd's revisions are signed, and never negative.
pub(super) fn revision(revision: i64) -> Revision {
    Revision::try_from(revision).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_no_key_of_it_follows() {
        let place = Place::new("/c/");
        assert_eq!(place.of("/apps"), b"/c//apps");
        assert_eq!(place.end("/apps/"), b"/c//apps0");
        assert_eq!(place.end(""), b"/c0");
        assert_eq!(place.key(b"/c/a").as_deref(), Some("a"));
        assert_eq!(place.key(b"/d/a"), None);
        assert_eq!(place.key(b"/c/\xff"), None);
    }
}
