//! What writes do to the tables.
//!
//! Theory of operation: one [`Change`] is one redb transaction, in which several writes of several callers
//! are done one after the other, each at its own revision. Each is first judged wholly and only then done,
//! so that a refused one leaves no trace and the transaction can go on with the next. Any failure that is
//! not a refusal ends the transaction for all of them.

use std::time::Duration;

use redb::{ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction};

use super::Retention;
use super::file::Failure;
use super::schema::{self, CURRENT, Head, LEASE_KEYS, LEASES, LOG, META, meta};
use crate::error::StoreError;
use crate::store::{LeaseId, Op, Put, Revision};

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its revision, or that of the last write when it changed nothing.
    pub(super) revision: Revision,
    pub(super) changed: bool,
}

/// An open transaction.
pub(super) struct Change<'t> {
    meta: Table<'t, &'static str, u64>,
    current: Table<'t, &'static str, &'static [u8]>,
    log: Table<'t, (Revision, u32), &'static [u8]>,
    leases: Table<'t, u64, u64>,
    lease_keys: Table<'t, (u64, &'static str), ()>,
    revision: Revision,
    oldest: Revision,
    log_bytes: u64,
    last_lease: u64,
    changed: bool,
}

impl<'t> Change<'t> {
    pub(super) fn begin(transaction: &'t WriteTransaction) -> Result<Self, Failure> {
        let meta = transaction.open_table(META)?;
        let counter =
            |name| -> Result<u64, Failure> { Ok(meta.get(name)?.map_or(0, |value| value.value())) };
        let (revision, oldest) = (counter(meta::REVISION)?, counter(meta::OLDEST)?);
        let (log_bytes, last_lease) = (counter(meta::LOG_BYTES)?, counter(meta::LAST_LEASE)?);
        Ok(Self {
            meta,
            current: transaction.open_table(CURRENT)?,
            log: transaction.open_table(LOG)?,
            leases: transaction.open_table(LEASES)?,
            lease_keys: transaction.open_table(LEASE_KEYS)?,
            revision,
            oldest,
            log_bytes,
            last_lease,
            changed: false,
        })
    }

    /// The revision of the last write so far.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Does one write, or refuses it.
    pub(super) fn write(&mut self, ops: &[Op]) -> Result<Written, Failure> {
        for op in ops {
            let current = self.head(op.key())?.map(|head| head.modified);
            if !op.expected().is_met_by(current) {
                let key = op.key().to_owned();
                return Err(StoreError::Conflict { key, current }.into());
            }
        }
        for op in ops {
            if let Op::Put(Put {
                lease: Some(lease), ..
            }) = op
            {
                self.require(*lease)?;
            }
        }
        let revision = self.revision + 1;
        let mut place = 0;
        for op in ops {
            let done = match op {
                Op::Put(put) => self.put(put, revision, place)?,
                Op::Delete { key, .. } => self.delete(key, revision, place)?,
                Op::Check { .. } => false,
            };
            place += u32::from(done);
        }
        Ok(self.end_write(place))
    }

    /// Grants a lease and names it.
    pub(super) fn grant(&mut self, ttl: Duration) -> Result<LeaseId, Failure> {
        self.last_lease += 1;
        // Rounded up: a lease must not live shorter after a restart.
        let millis = u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        self.leases.insert(self.last_lease, millis)?;
        self.changed = true;
        Ok(LeaseId(self.last_lease))
    }

    /// Ends a lease and deletes its keys in one write.
    pub(super) fn end_lease(&mut self, lease: LeaseId) -> Result<(), Failure> {
        self.require(lease)?;
        let mut keys = Vec::new();
        for row in self.lease_keys.range((lease.0, "")..(lease.0 + 1, ""))? {
            keys.push(row?.0.value().1.to_owned());
        }
        let revision = self.revision + 1;
        let mut place = 0;
        for key in keys {
            place += u32::from(self.delete(&key, revision, place)?);
        }
        self.leases.remove(lease.0)?;
        self.changed = true;
        self.end_write(place);
        Ok(())
    }

    /// Forgets the changes before `keep_from`.
    pub(super) fn compact(&mut self, keep_from: Revision) -> Result<(), Failure> {
        let keep_from = keep_from.min(self.revision + 1);
        if keep_from <= self.oldest {
            return Ok(());
        }
        let mut forgotten = 0;
        self.log.retain_in(..(keep_from, 0), |_, record| {
            forgotten += record.len() as u64;
            false
        })?;
        self.log_bytes = self.log_bytes.saturating_sub(forgotten);
        self.oldest = keep_from;
        self.changed = true;
        Ok(())
    }

    /// Makes the log as short as `retention` says, but always keeps the last write.
    ///
    /// It lets the log grow by a part over its bound before it cuts it, because one cut of many changes
    /// costs little more than one of a single change.
    pub(super) fn retain(&mut self, retention: Retention) -> Result<(), Failure> {
        let mut changes = self.log.len()?;
        let (most, most_bytes) = (retention.changes.max(1), retention.bytes.max(1));
        if changes <= most + most / 16 && self.log_bytes <= most_bytes + most_bytes / 16 {
            return Ok(());
        }
        let mut bytes = self.log_bytes;
        let mut keep_from = self.oldest;
        for row in self.log.iter()? {
            let (at, record) = row?;
            // A write is kept or forgotten wholly: `changes` counts those of this revision that are not
            // counted off yet, and it goes only when enough are left without it.
            let (revision, _place) = at.value();
            if revision >= self.revision || (changes <= most && bytes <= most_bytes) {
                keep_from = keep_from.max(revision);
                break;
            }
            changes -= 1;
            bytes = bytes.saturating_sub(record.value().len() as u64);
        }
        self.compact(keep_from)
    }

    /// Writes the counters. The answer is whether there is anything to commit.
    pub(super) fn finish(mut self) -> Result<bool, Failure> {
        if self.changed {
            self.meta.insert(meta::REVISION, self.revision)?;
            self.meta.insert(meta::OLDEST, self.oldest)?;
            self.meta.insert(meta::LOG_BYTES, self.log_bytes)?;
            self.meta.insert(meta::LAST_LEASE, self.last_lease)?;
        }
        Ok(self.changed)
    }

    fn end_write(&mut self, places: u32) -> Written {
        let changed = places > 0;
        if changed {
            self.revision += 1;
            self.changed = true;
        }
        Written {
            revision: self.revision,
            changed,
        }
    }

    fn head(&self, key: &str) -> Result<Option<Head>, Failure> {
        let Some(record) = self.current.get(key)? else {
            return Ok(None);
        };
        let head = Head::decode(record.value());
        head.map(Some)
            .ok_or(Failure::Record("a value's header is damaged"))
    }

    fn require(&self, lease: LeaseId) -> Result<(), Failure> {
        match self.leases.get(lease.0)? {
            Some(_) => Ok(()),
            None => Err(StoreError::LeaseNotFound { lease }.into()),
        }
    }

    fn put(&mut self, put: &Put, revision: Revision, place: u32) -> Result<bool, Failure> {
        let key = put.key.as_str();
        let before = self.head(key)?;
        self.attach(key, before.and_then(|head| head.lease), put.lease)?;
        let created = before.map_or(revision, |head| head.created);
        let head = Head {
            created,
            modified: revision,
            lease: put.lease,
        };
        self.current
            .insert(key, head.encode(&put.value).as_slice())?;
        self.append(revision, place, &schema::encode_put(key, head, &put.value))?;
        Ok(true)
    }

    fn delete(&mut self, key: &str, revision: Revision, place: u32) -> Result<bool, Failure> {
        let Some(before) = self.head(key)? else {
            return Ok(false);
        };
        self.attach(key, before.lease, None)?;
        self.current.remove(key)?;
        self.append(revision, place, &schema::encode_delete(key))?;
        Ok(true)
    }

    fn attach(
        &mut self,
        key: &str,
        before: Option<LeaseId>,
        after: Option<LeaseId>,
    ) -> Result<(), Failure> {
        if before == after {
            return Ok(());
        }
        if let Some(lease) = before {
            self.lease_keys.remove((lease.0, key))?;
        }
        if let Some(lease) = after {
            self.lease_keys.insert((lease.0, key), ())?;
        }
        Ok(())
    }

    fn append(&mut self, revision: Revision, place: u32, record: &[u8]) -> Result<(), Failure> {
        self.log_bytes += record.len() as u64;
        self.log.insert((revision, place), record)?;
        Ok(())
    }
}
