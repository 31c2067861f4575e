//! From what etcd says to the store's errors, in words that say what to do.

use std::error::Error;
use std::sync::Arc;

use tonic::{Code, ConnectError, Status};

use crate::error::StoreError;
use crate::store::LeaseId;

/// Who speaks with whom, for messages.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) endpoints: String,
    pub(super) user: Option<String>,
    pub(super) prefix: String,
}

/// What is known of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// It was not sent, or refused before anything was done; it may work the next time.
    NotYet,
    /// It may or may not have been done.
    Unknown,
    /// It was refused for good.
    Refused,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: StoreError,
    done: Done,
}

impl Failure {
    /// Is it sure that nothing was done, and may it work now?
    pub(super) fn never_sent(&self) -> bool {
        self.done == Done::NotYet
    }

    /// May it work the next time?
    pub(super) fn passes(&self) -> bool {
        self.done != Done::Refused
    }

    /// The error of a call that changes nothing: then it does not matter whether it was done.
    pub(super) fn into_not_done(self, sides: &Sides) -> StoreError {
        match self.error {
            StoreError::Io { source, .. } => unavailable(sides, source),
            error => error,
        }
    }
}

/// A `tonic::Status` says its cause in its text; it is the source of what the store says.
#[derive(Debug, thiserror::Error)]
#[error("etcd: {0}")]
struct Said(String);

/// The chain of causes as one text: what a transport error says by itself is only that it is one.
fn said(error: &(dyn Error + 'static)) -> Arc<dyn Error + Send + Sync> {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = next.source();
    }
    Arc::new(Said(text))
}

fn status(status: &Status) -> Arc<dyn Error + Send + Sync> {
    let mut text = status.message().to_owned();
    if let Some(source) = status.source() {
        let more = said(source).to_string();
        let more = more.trim_start_matches("etcd: ");
        if !text.contains(more) {
            text.push_str(": ");
            text.push_str(more);
        }
    }
    Arc::new(Said(text))
}

fn unavailable(sides: &Sides, source: Arc<dyn Error + Send + Sync>) -> StoreError {
    StoreError::Unavailable {
        reason: format!(
            "etcd does not answer at {}: see that its members run and can be reached from here, and that the endpoints and certificates are right",
            sides.endpoints
        ),
        source,
    }
}

fn no_leader(sides: &Sides, source: Arc<dyn Error + Send + Sync>) -> StoreError {
    StoreError::Unavailable {
        reason: format!(
            "etcd at {} has no leader, so it can be neither read nor written: start its members again, more than half of them are needed (`etcdctl endpoint status --cluster` shows them)",
            sides.endpoints
        ),
        source,
    }
}

/// What to say when nothing was heard at all.
pub(super) fn silent(sides: &Sides) -> StoreError {
    unavailable(
        sides,
        Arc::new(Said("no member answered in time".to_owned())),
    )
}

/// A call that was sent and not answered in time.
pub(super) fn no_answer(action: &'static str) -> Failure {
    Failure {
        error: StoreError::Io {
            action,
            source: Arc::new(Said("there was no answer in time".to_owned())),
        },
        done: Done::Unknown,
    }
}

/// What a failed call means.
pub(super) fn judge(action: &'static str, error: etcd_client::Error, sides: &Sides) -> Failure {
    let found = match error {
        etcd_client::Error::GRpcStatus(found) => found,
        etcd_client::Error::LeaseKeepAliveError(text) if text.contains("not found") => {
            return refused(StoreError::LeaseNotFound { lease: LeaseId(0) });
        }
        etcd_client::Error::InvalidArgs(reason) => {
            return refused(StoreError::InvalidConfig {
                field: "etcd endpoints",
                reason,
            });
        }
        etcd_client::Error::InvalidUri(error) => {
            return refused(StoreError::InvalidConfig {
                field: "etcd endpoints",
                reason: format!("{error}: use http://HOST:PORT or https://HOST:PORT"),
            });
        }
        // At the time of connecting: certificates that cannot be read.
        etcd_client::Error::TransportError(error) if action == "connect" => {
            return refused(StoreError::InvalidConfig {
                field: "etcd certificates",
                reason: said(&error).to_string(),
            });
        }
        other => {
            return Failure {
                error: StoreError::Io {
                    action,
                    source: said(&other),
                },
                done: Done::Unknown,
            };
        }
    };
    of_status(action, &found, sides)
}

fn refused(error: StoreError) -> Failure {
    Failure {
        error,
        done: Done::Refused,
    }
}

/// Was no connection made? Then nothing was sent.
fn is_connect(found: &Status) -> bool {
    let mut cause = found.source();
    while let Some(next) = cause {
        if next.is::<ConnectError>() {
            return true;
        }
        cause = next.source();
    }
    false
}

fn of_status(action: &'static str, found: &Status, sides: &Sides) -> Failure {
    let text = found.message();
    let source = || status(found);
    let has = |part: &str| text.contains(part);
    if is_connect(found) {
        return Failure {
            error: unavailable(sides, source()),
            done: Done::NotYet,
        };
    }
    if has("no leader") {
        return Failure {
            error: no_leader(sides, source()),
            done: Done::NotYet,
        };
    }
    if has("too many requests") {
        return Failure {
            error: unavailable(sides, source()),
            done: Done::NotYet,
        };
    }
    if has("requested lease not found") {
        return refused(StoreError::LeaseNotFound { lease: LeaseId(0) });
    }
    if has("has been compacted") {
        return refused(StoreError::Compacted { oldest: 0 });
    }
    if has("database space exceeded") {
        return refused(StoreError::OutOfSpace {
            reason: format!(
                "etcd at {} is out of space (alarm NOSPACE) and takes no writes: compact and defragment it (`etcdctl compact REVISION`, `etcdctl defrag`) or raise its --quota-backend-bytes, then `etcdctl alarm disarm`; deletions still work",
                sides.endpoints
            ),
        });
    }
    if has("request is too large") || has("larger than max") {
        return refused(StoreError::Refused {
            reason:
                "the write is larger than etcd takes: start it with --max-request-bytes 8388608"
                    .to_owned(),
            source: source(),
        });
    }
    if has("too many operations") {
        return refused(StoreError::Refused {
            reason:
                "the write has more operations than etcd takes: start it with --max-txn-ops 256"
                    .to_owned(),
            source: source(),
        });
    }
    if has("permission denied") {
        let user = sides.user.as_deref().unwrap_or("(none)");
        return refused(StoreError::Refused {
            reason: format!(
                "etcd user {user} may not do this below {0}: grant it with `etcdctl role grant-permission ROLE readwrite {0} --prefix=true`",
                sides.prefix
            ),
            source: source(),
        });
    }
    if has("user name is empty") {
        return refused(StoreError::Refused {
            reason: "etcd wants a user and password, and none is given: name them".to_owned(),
            source: source(),
        });
    }
    if has("authentication failed")
        || has("authentication is not enabled")
        || found.code() == Code::Unauthenticated
    {
        let user = sides.user.as_deref().unwrap_or("(none)");
        let reason = if has("not enabled") {
            "etcd has no authentication, but a user is given: leave the user out, or `etcdctl auth enable`".to_owned()
        } else {
            format!(
                "etcd does not let user {user} in: see that the name and the password are right"
            )
        };
        return refused(StoreError::Refused {
            reason,
            source: source(),
        });
    }
    if has("corrupt") {
        return refused(StoreError::Refused {
            reason: format!(
                "etcd at {} found its data damaged (alarm CORRUPT): replace the damaged member or restore a snapshot",
                sides.endpoints
            ),
            source: source(),
        });
    }
    if found.code() == Code::InvalidArgument {
        return refused(StoreError::Refused {
            reason: "etcd does not understand the request".to_owned(),
            source: source(),
        });
    }
    Failure {
        error: StoreError::Io {
            action,
            source: source(),
        },
        done: Done::Unknown,
    }
}

/// Names the lease that a call was about.
pub(super) fn of_lease(error: StoreError, lease: LeaseId) -> StoreError {
    match error {
        StoreError::LeaseNotFound { .. } => StoreError::LeaseNotFound { lease },
        error => error,
    }
}
