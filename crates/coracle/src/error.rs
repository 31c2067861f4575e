//! What went wrong, as the person at the terminal reads it: one line of `error:`, then `hint:` lines.

use std::fmt;

use coracle_client::ClientError;
use coracle_model::name::InvalidName;
use coracle_model::problem::{Code, Problem};
use coracle_model::quantity::InvalidQuantity;

/// Result of a command.
pub(crate) type Result<T = (), E = CliError> = std::result::Result<T, E>;

/// What went wrong, and what to do about it.
#[derive(Debug)]
pub(crate) struct CliError {
    /// What, in one line (lines of a log or of a manifest's faults may follow it).
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
    /// The platform's code, where it was the platform that refused.
    pub(crate) code: Option<Code>,
    /// The program's exit status.
    pub(crate) status: u8,
}

/// The exit status of a command that failed.
const FAILED: u8 = 1;
/// The exit status of a command that was asked wrongly.
const USAGE: u8 = 2;

impl CliError {
    /// Something failed.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: None,
            status: FAILED,
        }
    }

    /// The command was asked wrongly.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            status: USAGE,
            ..Self::new(message)
        }
    }

    /// Everything was said already; only the exit status is left.
    pub(crate) fn silent(status: u8) -> Self {
        Self {
            status,
            ..Self::new("")
        }
    }

    /// Something failed because of something: the causes follow on the same line.
    pub(crate) fn caused(what: impl fmt::Display, cause: &dyn std::error::Error) -> Self {
        Self::new(format!("{what}: {}", chain(cause)))
    }

    /// The same, with what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

/// An error and its causes on one line. A cause that the line tells already is not told again.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        let mut message = match &problem.field {
            Some(field) if !problem.detail.contains(field.as_str()) => {
                format!("{field}: {}", problem.detail)
            }
            _ => problem.detail,
        };
        if problem.code == Code::Internal
            && let Some(id) = &problem.request_id
        {
            message.push_str(&format!(" (request {id})"));
        }
        let hint = problem.hint.or_else(|| match problem.code {
            Code::Unauthenticated => Some("log in with `coracle login URL --user NAME`".to_owned()),
            Code::Forbidden => Some("`coracle whoami` shows what you may do".to_owned()),
            _ => None,
        });
        Self {
            message,
            hint,
            code: Some(problem.code),
            status: FAILED,
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Problem(problem) | ClientError::Unauthenticated(problem) => {
                Self::from(*problem)
            }
            error => Self {
                hint: error.hint(),
                ..Self::new(error.explain())
            },
        }
    }
}

impl From<InvalidName> for CliError {
    fn from(error: InvalidName) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<InvalidQuantity> for CliError {
    fn from(error: InvalidQuantity) -> Self {
        Self::usage(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_field_once() {
        let problem = Problem::new(Code::InvalidField, "must be 1 to 100").field("processes.web");
        assert_eq!(
            CliError::from(problem).message,
            "processes.web: must be 1 to 100"
        );
        let problem = Problem::new(Code::InvalidField, "host must be lower case").field("host");
        assert_eq!(CliError::from(problem).message, "host must be lower case");
    }

    #[test]
    fn causes_are_told_once() {
        let io = std::io::Error::other("no room");
        assert_eq!(
            CliError::caused("cannot write", &io).message,
            "cannot write: no room"
        );
    }
}
