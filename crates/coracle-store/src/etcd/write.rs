//! Writes: one transaction each.
//!
//! The expectations are the transaction's comparisons; should one not be met, the same transaction reads what
//! each of the expected keys is, so that the conflict that is told is the one that was.

use etcd_client::{
    Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
};

use super::call::{Caller, Repeat};
use super::failure;
use super::place::{Place, revision};
use crate::error::StoreError;
use crate::store::{Expected, LeaseId, Op, Put, Revision};

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
    let answer = match caller
        .call("write", Repeat::NeverSent, |client| {
            let transaction = transaction.clone();
            async move { client.kv_client().txn(transaction).await }
        })
        .await
    {
        Ok(answer) => answer,
        Err(error) => return Err(name_lease(caller, &ops, error).await),
    };
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

/// etcd does not say which lease is dead: each that the write names is asked for, in their order.
async fn name_lease(caller: &Caller, ops: &[Op], error: StoreError) -> StoreError {
    if !matches!(error, StoreError::LeaseNotFound { .. }) {
        return error;
    }
    let mut named: Vec<LeaseId> = Vec::new();
    for op in ops {
        if let Op::Put(Put {
            lease: Some(lease), ..
        }) = op
            && !named.contains(lease)
        {
            named.push(*lease);
        }
    }
    let Some((last, others)) = named.split_last() else {
        return error;
    };
    for lease in others {
        match is_alive(caller, *lease).await {
            Ok(true) => {}
            Ok(false) => return failure::of_lease(error, *lease),
            // The write was refused for certain, and the caller must hear that.
            Err(_unknown) => break,
        }
    }
    failure::of_lease(error, *last)
}

async fn is_alive(caller: &Caller, lease: LeaseId) -> Result<bool, StoreError> {
    let id = lease.0.cast_signed();
    let answer = caller
        .call(
            "look at a lease",
            Repeat::Always,
            move |client| async move { client.lease_client().time_to_live(id, None).await },
        )
        .await?;
    // "-1" for a lease that is not there: LeaseTimeToLiveResponse in etcd's rpc.proto.
    Ok(answer.ttl() >= 0)
}
