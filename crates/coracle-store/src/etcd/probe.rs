//! What can be known of a cluster without changing anything in it.

use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp, TxnOpResponse};

use super::call::{Caller, Repeat};
use super::place::Place;
use crate::error::StoreError;

/// How long a cluster has to say whether it takes writes: whoever asks is waited for by somebody.
const PATIENCE: Duration = Duration::from_secs(2);

/// Would a write be taken? A transaction that is never carried out passes everything that a write passes: a leader
/// with its majority, the user's permission, the alarm of a full disk.
pub(super) async fn writable(caller: &Caller, place: &Place) -> Result<(), StoreError> {
    // No key has a version below zero.
    let never = Compare::version(place.of(""), CompareOp::Less, 0);
    let put = TxnOp::put(place.of(""), Vec::new(), None);
    let transaction = Txn::new().when([never]).and_then([put]);
    caller
        .call_within(
            PATIENCE,
            "see whether etcd takes writes",
            Repeat::Always,
            |client| {
                let transaction = transaction.clone();
                async move { client.kv_client().txn(transaction).await.map(drop) }
            },
        )
        .await
}

/// Are there keys that do not begin with the prefix?
pub(super) async fn is_shared(caller: &Caller, place: &Place) -> Result<bool, StoreError> {
    let all = GetOptions::new().with_all_keys().with_count_only();
    let own = GetOptions::new()
        .with_range(place.end(""))
        .with_count_only();
    // Both of one moment.
    let transaction = Txn::new().and_then([
        TxnOp::get("", Some(all)),
        TxnOp::get(place.of(""), Some(own)),
    ]);
    let answer = caller
        .call("count keys", Repeat::Always, |client| {
            let transaction = transaction.clone();
            async move { client.kv_client().txn(transaction).await }
        })
        .await?;
    let counts: Vec<i64> = answer
        .op_responses()
        .iter()
        .map(|found| match found {
            TxnOpResponse::Get(found) => found.count(),
            _ => 0,
        })
        .collect();
    Ok(counts.first() != counts.last())
}
