//! Why a request to the platform was not done.

use std::error::Error as StdError;
use std::io;

use coracle_model::problem::Problem;

/// Why a request to the platform was not done. `Display` is one line for people; [`ClientError::explain`] adds the
/// cause, and [`ClientError::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The platform's address is none.
    #[error("{url:?} is no address of a platform: {reason}")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is allowed.
        reason: &'static str,
    },
    /// The token cannot be sent: it has characters that no token has.
    #[error("the token has characters that no token has")]
    BadToken,
    /// Nobody answers there.
    #[error("the platform at {url} cannot be reached")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// It took too long.
    #[error("the platform at {url} did not answer in time")]
    TimedOut {
        /// Its address.
        url: String,
    },
    /// There are no credentials, or they are not valid any more.
    #[error("{}", .0.detail)]
    Unauthenticated(Box<Problem>),
    /// The platform refused, and says why.
    #[error("{}", told(.0))]
    Problem(Box<Problem>),
    /// Something answered, but not as a platform of this version does.
    #[error("{url} does not answer as Coracle does: {reason}")]
    Protocol {
        /// Its address.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
    /// The answer points elsewhere. It is not followed: the token is for this address only.
    #[error("{url} answers from another address, {to}: use that one")]
    Redirected {
        /// The address that was asked.
        url: String,
        /// The address that was named.
        to: String,
    },
    /// A stream ended before its time.
    #[error("the connection to {url} was lost")]
    Interrupted {
        /// Its address.
        url: String,
    },
    /// What was to be sent could not be read.
    #[error("the source could not be sent")]
    Source(#[source] io::Error),
}

/// The detail with its field, unless the detail names it already.
fn told(problem: &Problem) -> String {
    match &problem.field {
        Some(field) if !problem.detail.contains(field.as_str()) => {
            format!("{field}: {}", problem.detail)
        }
        _ => problem.detail.clone(),
    }
}

impl ClientError {
    /// What happened and its innermost cause, in one line for people.
    #[must_use]
    pub fn explain(&self) -> String {
        if let Self::Source(error) = self {
            // What the packer says is the whole truth; that it was being sent adds nothing.
            return error.to_string();
        }
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(inner) = cause.and_then(StdError::source) {
            cause = Some(inner);
        }
        if let Some(cause) = cause {
            text.push_str(": ");
            text.push_str(&cause.to_string());
        }
        text
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Problem(problem) => problem.hint.clone(),
            Self::Unauthenticated(problem) => Some(
                problem
                    .hint
                    .clone()
                    .unwrap_or_else(|| "log in with `coracle login`".to_owned()),
            ),
            Self::Unreachable { .. } | Self::TimedOut { .. } => Some(
                "start the platform with `coracle up`, or look into it with `coracle doctor`"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The platform's own words, where it had any.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) | Self::Unauthenticated(problem) => Some(problem),
            _ => None,
        }
    }

    /// May the same request succeed in a moment, because the platform is being restarted or the network is?
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Interrupted { .. } => true,
            Self::Problem(problem) => matches!(problem.status, 429 | 502..=504),
            _ => false,
        }
    }
}
