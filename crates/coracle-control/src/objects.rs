//! Typed access to the store.
//!
//! Theory of operation: an object is a versioned JSON record under its key; its revision is the store's.
//! Every change goes through compare-and-set: either with the revision that a caller read
//! ([`Objects::update`]), or as a function that is applied to a fresh read again and again until nobody
//! came in between ([`Objects::modify`]). Several objects change together in one [`Batch`].

use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use coracle_model::name::ProjectName;
use coracle_model::object::{List, Metadata, Object, Of, Spec};
use coracle_store::{Entry, Expected, Op, Page, Put, Revision, Store, StoreError, WatchStream};
use serde::{Deserialize, Serialize};

use crate::error::OperationError;

/// The version of the records that are written. Older ones are read; see `tests/records.rs`.
const RECORD_VERSION: u32 = 1;

/// How often [`Objects::modify`] tries before it gives the conflict to its caller.
const MOST_TRIES: usize = 16;

#[derive(Serialize)]
struct RecordOut<'a, T> {
    v: u32,
    object: &'a T,
}

#[derive(Deserialize)]
struct RecordIn<T> {
    #[expect(
        dead_code,
        reason = "there is one version so far; the field is what makes a second one possible"
    )]
    v: u32,
    object: T,
}

/// Typed access to the store. Clones share it.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn Store>,
}

/// Several changes that are made together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    ops: Vec<Op>,
}

impl Batch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates `value` at `key`, which must not exist.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn create<T: Serialize>(self, key: String, value: &T) -> Result<Self, OperationError> {
        self.put(key, value, Expected::Absent)
    }

    /// Writes an object that was read at `revision`.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn update<T: Serialize>(
        self,
        key: String,
        revision: Revision,
        value: &T,
    ) -> Result<Self, OperationError> {
        self.put(key, value, Expected::Revision(revision))
    }

    /// Writes `value` at `key`, whatever is there.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn set<T: Serialize>(self, key: String, value: &T) -> Result<Self, OperationError> {
        self.put(key, value, Expected::Any)
    }

    fn put<T: Serialize>(
        mut self,
        key: String,
        value: &T,
        expected: Expected,
    ) -> Result<Self, OperationError> {
        let bytes = encode(&key, value)?;
        self.ops
            .push(Op::Put(Put::new(key, bytes).expecting(expected)));
        Ok(self)
    }

    /// Deletes `key`, if it is as expected.
    #[must_use]
    pub fn delete(mut self, key: String, expected: Expected) -> Self {
        self.ops.push(Op::delete(key, expected));
        self
    }

    /// Demands that `key` is as expected, without changing it.
    #[must_use]
    pub fn check(mut self, key: String, expected: Expected) -> Self {
        self.ops.push(Op::check(key, expected));
        self
    }

    /// Would a store take so much in one write?
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub(crate) fn check_size(&self) -> Result<(), StoreError> {
        coracle_store::validate_ops(&self.ops)
    }
}

fn encode<T: Serialize>(key: &str, value: &T) -> Result<Bytes, OperationError> {
    serde_json::to_vec(&RecordOut {
        v: RECORD_VERSION,
        object: value,
    })
    .map(Bytes::from)
    .map_err(|source| OperationError::Record {
        key: key.to_owned(),
        source,
    })
}

/// Reads a record that is no API object.
///
/// # Errors
/// When it is not of this type.
pub fn decode<T: for<'de> Deserialize<'de>>(entry: &Entry) -> Result<T, OperationError> {
    serde_json::from_slice::<RecordIn<T>>(&entry.value)
        .map(|record| record.object)
        .map_err(|source| OperationError::Record {
            key: entry.key.clone(),
            source,
        })
}

/// Reads an API object; its revision is that of the entry.
///
/// # Errors
/// When it is not of this kind.
pub fn decode_object<S: Spec>(entry: &Entry) -> Result<Of<S>, OperationError> {
    let mut object: Of<S> = decode(entry)?;
    object.metadata.revision = entry.modified;
    Ok(object)
}

/// A new object that was not stored yet.
#[must_use]
pub fn new_object<S: Spec>(
    name: impl Into<String>,
    project: Option<ProjectName>,
    spec: S,
) -> Of<S> {
    Object {
        kind: S::KIND,
        metadata: Metadata {
            name: name.into(),
            project,
            uid: new_uid(),
            revision: 0,
            created: Utc::now(),
            deleting: None,
        },
        spec,
        status: S::Status::default(),
    }
}

/// 128 random bits in hexadecimal. Whoever may not see the object cannot guess them, and images of builds rely on that.
///
/// Falls back to the clock should the system have no randomness, where nothing that is sealed could be made either.
#[must_use]
pub fn new_uid() -> String {
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        let nanos = Utc::now().timestamp_nanos_opt().unwrap_or_default();
        bytes[..8].copy_from_slice(&nanos.to_be_bytes());
    }
    hex::encode(bytes)
}

impl Objects {
    /// Over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The store itself, for leases and watches over everything.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The object at `key`.
    ///
    /// # Errors
    /// When the store fails or the record cannot be read.
    pub async fn get<S: Spec>(&self, key: &str) -> Result<Option<Of<S>>, OperationError> {
        match self.store.get(key).await? {
            Some(entry) => decode_object::<S>(&entry).map(Some),
            None => Ok(None),
        }
    }

    /// The object at `key`, which must exist.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], or as [`Objects::get`].
    pub async fn need<S: Spec>(
        &self,
        key: &str,
        name: impl ToString + Send,
    ) -> Result<Of<S>, OperationError> {
        let name = name.to_string();
        self.get::<S>(key).await?.ok_or(OperationError::NotFound {
            kind: S::KIND,
            name,
        })
    }

    /// A record that is no API object.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub async fn get_record<T: for<'de> Deserialize<'de>>(
        &self,
        key: &str,
    ) -> Result<Option<T>, OperationError> {
        self.store
            .get(key)
            .await?
            .map(|entry| decode(&entry))
            .transpose()
    }

    /// Everything under `prefix`, in key order.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub async fn list<S: Spec>(&self, prefix: &str) -> Result<Vec<Of<S>>, OperationError> {
        self.store
            .list_all(prefix)
            .await?
            .entries
            .iter()
            .map(decode_object::<S>)
            .collect()
    }

    /// One page under `prefix`. The cursor is the key without the prefix.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub async fn page<S: Spec>(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<List<Of<S>>, OperationError> {
        let page = Page {
            after: after.map(|after| format!("{prefix}{after}")),
            limit,
        };
        let listing = self.store.list(prefix, page).await?;
        let items = listing
            .entries
            .iter()
            .map(decode_object::<S>)
            .collect::<Result<_, _>>()?;
        let next = listing
            .next
            .map(|key| key.strip_prefix(prefix).map(str::to_owned).unwrap_or(key));
        Ok(List { items, next })
    }

    /// Makes all changes of `batch` together, or none.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] names the first key that was not as expected.
    pub async fn write(&self, batch: Batch) -> Result<Revision, OperationError> {
        Ok(self.store.write(batch.ops).await?)
    }

    /// Creates an object at `key`.
    ///
    /// # Errors
    /// [`OperationError::AlreadyExists`].
    pub async fn create<S: Spec>(
        &self,
        key: String,
        mut object: Of<S>,
    ) -> Result<Of<S>, OperationError>
    where
        Of<S>: Serialize,
    {
        match self.write(Batch::new().create(key, &object)?).await {
            Ok(revision) => {
                object.metadata.revision = revision;
                Ok(object)
            }
            Err(error) if error.is_race() => Err(OperationError::AlreadyExists {
                kind: S::KIND,
                name: object.metadata.name,
            }),
            Err(error) => Err(error),
        }
    }

    /// Applies `change` to a fresh read of the object and writes it, again and again until nobody wrote in
    /// between. Nothing is written when `change` left the object as it was.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], what `change` answers, or as [`Objects::write`].
    pub async fn modify<S: Spec>(
        &self,
        key: &str,
        name: impl ToString + Send,
        mut change: impl FnMut(&mut Of<S>) -> Result<(), OperationError> + Send,
    ) -> Result<Of<S>, OperationError>
    where
        Of<S>: PartialEq,
    {
        let name = name.to_string();
        let mut tries = 0;
        loop {
            let before = self.need::<S>(key, &name).await?;
            let mut after = before.clone();
            change(&mut after)?;
            if after == before {
                return Ok(before);
            }
            let batch = Batch::new().update(key.to_owned(), before.metadata.revision, &after)?;
            match self.write(batch).await {
                Ok(revision) => {
                    after.metadata.revision = revision;
                    return Ok(after);
                }
                Err(error) if error.is_race() && tries < MOST_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes `key`, whatever revision it is at. No error when it does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, key: &str) -> Result<(), OperationError> {
        self.store.delete(key, Expected::Any).await?;
        Ok(())
    }

    /// Everything under `prefix` and what changes from there on, as raw entries.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_and_watch(
        &self,
        prefix: &str,
    ) -> Result<(Vec<Entry>, WatchStream), StoreError> {
        let listing = self.store.list_all(prefix).await?;
        let changes = self.store.watch(prefix, Some(listing.revision + 1)).await?;
        Ok((listing.entries, changes))
    }
}

/// Fails unless `object` is at the revision that the caller has, if it has one.
///
/// # Errors
/// [`OperationError::Stale`].
pub fn check_revision<S, T>(
    object: &Object<S, T>,
    expected: Option<Revision>,
) -> Result<(), OperationError> {
    match expected {
        Some(expected) if expected != object.metadata.revision => Err(OperationError::Stale {
            kind: object.kind,
            name: object.metadata.name.clone(),
            current: object.metadata.revision,
        }),
        _ => Ok(()),
    }
}

/// Fails when the deletion of `object` was asked for.
///
/// # Errors
/// [`OperationError::Conflict`].
pub fn check_not_deleting<S, T>(object: &Object<S, T>) -> Result<(), OperationError> {
    if object.metadata.deleting.is_none() {
        return Ok(());
    }
    Err(OperationError::Conflict {
        reason: format!(
            "the {} {} is being deleted",
            crate::error::noun(object.kind),
            object.metadata.name
        ),
        hint: Some("wait until it is gone, then make a new one".to_owned()),
    })
}
