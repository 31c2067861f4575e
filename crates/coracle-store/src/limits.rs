//! Named bounds of the store, and the checks that every implementation makes before it does anything.
//!
//! The checks are here and not in an implementation so that a write refused by one is refused by all,
//! with the same words.

use std::collections::HashSet;
use std::time::Duration;

use crate::error::StoreError;
use crate::store::Op;

/// The longest key, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 512;
/// The largest value, in bytes. What is bigger belongs into a file, with its name in the store.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// The most operations in one write.
pub const MAX_WRITE_OPS: usize = 128;
/// The most bytes in one write: of all its keys and values together.
pub const MAX_WRITE_BYTES: usize = 4 * MAX_VALUE_BYTES;
/// The most entries in one page of a listing. A larger wish gets this many.
pub const MAX_PAGE: usize = 1000;
/// A page of a listing ends early when its values reach this many bytes.
pub const MAX_PAGE_BYTES: usize = 8 * MAX_VALUE_BYTES;
/// The most events that an implementation holds in memory for one watcher.
pub const WATCH_BUFFER: usize = 256;
/// The longest time to live of a lease.
pub const MAX_LEASE_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Checks a key: 1 to [`MAX_KEY_BYTES`] bytes, no control characters.
///
/// # Errors
/// [`StoreError::InvalidKey`].
pub fn validate_key(key: &str) -> Result<(), StoreError> {
    if key.is_empty() {
        return Err(invalid(key, "it is empty"));
    }
    validate_prefix(key)
}

/// Checks a prefix: as a key, but it may be empty, which means every key.
///
/// # Errors
/// [`StoreError::InvalidKey`].
pub fn validate_prefix(prefix: &str) -> Result<(), StoreError> {
    if prefix.len() > MAX_KEY_BYTES {
        return Err(invalid(prefix, "it is longer than 512 bytes"));
    }
    if prefix.chars().any(char::is_control) {
        return Err(invalid(prefix, "it has a control character"));
    }
    Ok(())
}

fn invalid(key: &str, reason: &'static str) -> StoreError {
    // A hostile key may be huge: what is shown of it is bounded.
    let key = key.chars().take(64).collect();
    StoreError::InvalidKey { key, reason }
}

/// Checks the operations of one write: keys, values, their number, and that no key is named twice.
///
/// # Errors
/// [`StoreError::InvalidKey`], [`StoreError::TooLarge`], [`StoreError::DuplicateKey`].
pub fn validate_ops(ops: &[Op]) -> Result<(), StoreError> {
    if ops.len() > MAX_WRITE_OPS {
        return Err(StoreError::TooLarge {
            what: "write operations",
            limit: MAX_WRITE_OPS,
        });
    }
    let mut seen = HashSet::with_capacity(ops.len());
    for op in ops {
        validate_key(op.key())?;
        if let Op::Put(put) = op
            && put.value.len() > MAX_VALUE_BYTES
        {
            return Err(StoreError::TooLarge {
                what: "value bytes",
                limit: MAX_VALUE_BYTES,
            });
        }
        if !seen.insert(op.key()) {
            return Err(StoreError::DuplicateKey {
                key: op.key().to_owned(),
            });
        }
    }
    if ops.iter().map(Op::bytes).sum::<usize>() > MAX_WRITE_BYTES {
        return Err(StoreError::TooLarge {
            what: "bytes in one write",
            limit: MAX_WRITE_BYTES,
        });
    }
    Ok(())
}

/// Checks the time to live of a lease: more than zero, at most [`MAX_LEASE_TTL`].
///
/// # Errors
/// [`StoreError::InvalidTtl`].
pub fn validate_ttl(ttl: Duration) -> Result<(), StoreError> {
    if ttl.is_zero() || ttl > MAX_LEASE_TTL {
        return Err(StoreError::InvalidTtl { ttl });
    }
    Ok(())
}
