//! The history of etcd, which nobody cuts by itself unless it is told to.
//!
//! Theory of operation: whoever leads cuts it now and then. etcd has one history for all who use it, so that is done
//! only where nobody else keeps keys; who may not see whether somebody does leaves it to whoever looks after etcd.

use std::convert::Infallible;
use std::time::Duration;

use coracle_store::{Etcd, Store as _, StoreError};

use crate::error::chain;
use crate::store::Compaction;

/// How often the history is cut: what is older than one to two of these periods,
const PERIOD: Duration = Duration::from_secs(600);
/// but never the newest changes.
const KEEP_CHANGES: u64 = 10_000;

/// Whose it is to cut the history.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whose {
    /// This platform's.
    Ours,
    /// Not this platform's, and why.
    NotOurs(String),
}

/// Cuts the history of `store`, as `wish` says, for as long as this process leads.
pub(crate) async fn keep(store: &Etcd, wish: Compaction) -> Result<(), Infallible> {
    let mut known = Whose::Ours;
    let mut before = None;
    loop {
        match whose(store, wish).await {
            Ok(whose) => {
                if let Whose::NotOurs(why) = &whose
                    && known != whose
                {
                    tracing::info!(
                        "the history of etcd is not cut from here, because {why}: have etcd do it (--auto-compaction-retention=1h)"
                    );
                }
                known = whose;
                if known == Whose::Ours
                    && let Err(error) = cut(store, &mut before).await
                {
                    tracing::warn!(
                        error = chain(&error),
                        "the history of etcd could not be cut"
                    );
                }
            }
            Err(error) => tracing::warn!(
                error = chain(&error),
                "the history of etcd could not be cut"
            ),
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn whose(store: &Etcd, wish: Compaction) -> Result<Whose, StoreError> {
    let because = |why: &str| Ok(Whose::NotOurs(why.to_owned()));
    match wish {
        Compaction::On => Ok(Whose::Ours),
        Compaction::Off => because("--etcd-compaction says off"),
        Compaction::Auto => match store.is_shared().await {
            Ok(false) => Ok(Whose::Ours),
            Ok(true) => because("others keep keys in it"),
            Err(StoreError::Refused { .. }) => {
                because("this platform's user may not see whether others keep keys in it")
            }
            Err(error) => Err(error),
        },
    }
}

/// Forgets what is older than the time before.
async fn cut(store: &Etcd, before: &mut Option<u64>) -> Result<(), StoreError> {
    let now = store.revision().await?;
    if let Some(before) = before.replace(now) {
        let keep_from = now.saturating_sub(KEEP_CHANGES).min(before);
        store.compact(keep_from).await?;
    }
    Ok(())
}
