//! Room for open files.
//!
//! Theory of operation: a request through the gateway holds two sockets, and many systems start programs with a soft
//! limit of 1,024. The hard limit is what the operator allows; up to it a process may help itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit of open files as far as it is allowed to, and warns when that is too little for
/// `connections` from clients.
pub(crate) fn make_room(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let wanted = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            tracing::debug!(%error, "cannot raise the limit of open files");
        }
    }
    let needed = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_mul(2);
    if let Some(most) = getrlimit(Resource::Nofile).current
        && most < needed
    {
        tracing::warn!(
            most,
            needed,
            "the limit of open files is lower than connections may need"
        );
    }
}
