//! How far the gateways are, for every control plane.
//!
//! Theory of operation: gateways talk to the one that leads. It writes down up to which revision of the store all
//! of them have the routes; the others follow that record. So any control plane can answer once a release is
//! served, not only the one that feeds the gateways.

use std::time::Duration;

use coracle_store::{Event, Revision};
use futures::StreamExt as _;

use crate::control::Control;
use crate::error::OperationError;
use crate::feed::Reached;
use crate::keys;
use crate::objects::{Batch, decode};

/// The record is written at most so often.
const PAUSE: Duration = Duration::from_millis(200);

/// Writes down how far the gateways are, for as long as this process leads.
///
/// # Errors
/// When the store fails; it is to be begun again then.
pub async fn tell(control: &Control) -> Result<(), OperationError> {
    let mut last = 0;
    let mut progress = control.feed.progress();
    loop {
        let served = control.feed.served_here();
        if served > last {
            let batch = Batch::new().set(keys::SERVED.to_owned(), &served)?;
            let written = control.objects.write(batch).await?;
            last = told(served, written);
        }
        tokio::time::sleep(PAUSE).await;
        progress.changed().await;
    }
}

/// Up to where nobody needs to be told, when `served` was told by the write at `written`: that this record itself is
/// served is no news, or each would be followed by another for ever.
fn told(served: Revision, written: Revision) -> Revision {
    if written == served + 1 {
        written
    } else {
        served
    }
}

/// Follows what the leader writes down.
///
/// # Errors
/// When the store fails; it is to be begun again then.
pub async fn follow(control: &Control) -> Result<(), OperationError> {
    let (entries, mut changes) = control.objects.list_and_watch(keys::SERVED).await?;
    for entry in &entries {
        control.feed.note_served(decode(entry)?);
    }
    while let Some(change) = changes.next().await {
        if let Event::Put(entry) = change? {
            control.feed.note_served(decode(&entry)?);
        }
    }
    Ok(())
}

impl Control {
    /// Waits until every gateway has a table that tells all that the store had at `revision`, as
    /// [`Feed::reached_gateways`](crate::feed::Feed::reached_gateways), on any control plane.
    pub async fn reached_gateways(&self, revision: u64, most: Duration) -> Reached {
        if self.leading.holds() {
            self.feed.reached_gateways(revision, most).await
        } else {
            self.feed.reached_elsewhere(revision, most).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_not_told_of_itself() {
        // Nobody else wrote: the gateways come to 8, which is the record.
        assert_eq!(told(7, 8), 8);
        // Somebody wrote 8 and waits for it.
        assert_eq!(told(7, 9), 7);
    }
}
