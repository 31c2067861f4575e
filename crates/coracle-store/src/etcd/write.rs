//! Writes: one transaction each.
//!
//! The expectations are the transaction's comparisons; should one not be met, the same transaction reads what
//! each of the expected keys is, so that the conflict that is told is the one that was.

use etcd_client::{
    Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
};

use super::call::{Caller, Repeat};
use super::place::{Place, revision};
use crate::error::StoreError;
use crate::store::{Expected, Op, Revision};

/// What a write did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Its revision, or that of the last write when it changed nothing.
    pub(super) revision: Revision,
    /// Keys that it deleted.
    pub(super) deleted: i64,
}

fn compare(key: Vec<u8>, expected: Expected) -> Option<Compare> {
    match expected {
        Expected::Any => None,
        Expected::Absent => Some(Compare::create_revision(key, CompareOp::Equal, 0)),
        Expected::Revision(expected) => Some(match i64::try_from(expected) {
            Ok(expected) if expected > 0 => Compare::mod_revision(key, CompareOp::Equal, expected),
            // No key is ever at such a revision; to etcd zero would mean that there is none.
            _ => Compare::version(key, CompareOp::Less, 0),
        }),
    }
}

fn transaction(place: &Place, ops: &[Op]) -> Txn {
    let mut compares = Vec::new();
    let (mut then, mut otherwise) = (Vec::new(), Vec::new());
    for op in ops {
        let key = place.of(op.key());
        if let Some(compare) = compare(key.clone(), op.expected()) {
            compares.push(compare);
            let read = GetOptions::new().with_keys_only();
            otherwise.push(TxnOp::get(key.clone(), Some(read)));
        }
        match op {
            Op::Put(put) => {
                let options = put
                    .lease
                    .map(|lease| PutOptions::new().with_lease(lease.0.cast_signed()));
                then.push(TxnOp::put(key, put.value.to_vec(), options));
            }
            Op::Delete { .. } => then.push(TxnOp::delete(key, None)),
            Op::Check { .. } => {}
        }
    }
    Txn::new().when(compares).and_then(then).or_else(otherwise)
}

pub(super) async fn write(
    caller: &Caller,
    place: &Place,
    ops: Vec<Op>,
) -> Result<Written, StoreError> {
    let transaction = transaction(place, &ops);
    let answer = caller
        .call("write", Repeat::NeverSent, |client| {
            let transaction = transaction.clone();
            async move { client.kv_client().txn(transaction).await }
        })
        .await
        .map_err(|error| name_lease(error, &ops))?;
    if !answer.succeeded() {
        return Err(conflict(&ops, &answer));
    }
    let done = answer.op_responses();
    let deleted = done.iter().map(|done| match done {
        TxnOpResponse::Delete(done) => done.deleted(),
        _ => 0,
    });
    Ok(Written {
        deleted: deleted.sum(),
        revision: answer
            .header()
            .map_or(0, |header| revision(header.revision())),
    })
}

/// The first key that is not as expected.
fn conflict(ops: &[Op], answer: &TxnResponse) -> StoreError {
    let expecting = ops.iter().filter(|op| op.expected() != Expected::Any);
    for (op, found) in expecting.zip(answer.op_responses()) {
        let TxnOpResponse::Get(found) = found else {
            continue;
        };
        let current = found.kvs().first().map(|kv| revision(kv.mod_revision()));
        if !op.expected().is_met_by(current) {
            return StoreError::Conflict {
                key: op.key().to_owned(),
                current,
            };
        }
    }
    // The comparisons and the reads are of one moment: one of them differs.
    StoreError::Conflict {
        key: ops
            .first()
            .map(|op| op.key().to_owned())
            .unwrap_or_default(),
        current: None,
    }
}

/// etcd does not say which lease is dead; a write that names one is about that one.
fn name_lease(error: StoreError, ops: &[Op]) -> StoreError {
    let named = ops.iter().find_map(|op| match op {
        Op::Put(put) => put.lease,
        Op::Delete { .. } | Op::Check { .. } => None,
    });
    match named {
        Some(lease) => super::failure::of_lease(error, lease),
        None => error,
    }
}
