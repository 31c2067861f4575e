//! Whether a caller has seen an app as it is.
//!
//! Theory of operation: controllers write the app's status into the same object, so its revision moves without
//! anybody's doing. What a caller read is stale only when the *spec* was changed since: `status.spec_after` says
//! after which revision that was. It is the store's revision just before the write: what was read before has at
//! most that one, and the write itself has a greater one.

use coracle_model::app::App;
use coracle_model::object::Kind;
use coracle_store::Revision;

use crate::error::OperationError;

/// Fails unless the caller, who has read the app at `expected`, has seen its spec as it is.
pub(crate) fn check_seen(app: &App, expected: Option<Revision>) -> Result<(), OperationError> {
    let current = app.metadata.revision;
    let seen = |read: Revision| match app.status.spec_after {
        // Written before this was noted.
        0 => read == current,
        after => read > after && read <= current,
    };
    match expected {
        Some(read) if !seen(read) => Err(OperationError::Stale {
            kind: Kind::App,
            name: app.metadata.name.clone(),
            current,
        }),
        _ => Ok(()),
    }
}
