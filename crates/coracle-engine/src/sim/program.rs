//! What a simulated command does: a list of steps in virtual time.
//!
//! Theory of operation: tests of controllers say what an image does ([`Behaviour`]); the conformance suite
//! gives real command lines, and a small shell (`super::shell`) turns those into the same steps, so that
//! one suite runs here and on real containers without a translation between them.

use std::time::Duration;

use crate::stream::Channel;

/// What an image's command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Listens on its port after a while and answers for ever.
    Serves {
        /// From its start until it listens.
        ready_after: Duration,
    },
    /// Runs for ever and listens on nothing.
    NeverReady,
    /// Listens at once, and ends badly after a while, at every start.
    Crashes {
        /// From its start to its end.
        after: Duration,
        /// Its exit status.
        code: i64,
    },
    /// Writes some lines and ends.
    Exits {
        /// Its exit status.
        code: i64,
        /// From its start to its end.
        after: Duration,
        /// Lines on standard output, at its start.
        output: Vec<String>,
    },
    /// Uses up its memory and is killed for it.
    OutOfMemory {
        /// From its start to its end.
        after: Duration,
    },
    /// Whatever these steps say.
    Steps(Vec<Step>),
}

impl Behaviour {
    /// Serves as soon as it runs.
    #[must_use]
    pub const fn serves() -> Self {
        Self::Serves {
            ready_after: Duration::ZERO,
        }
    }

    /// Writes these lines and ends with this status at once.
    #[must_use]
    pub fn exits(code: i64, output: &[&str]) -> Self {
        Self::Exits {
            code,
            after: Duration::ZERO,
            output: output.iter().map(|&line| line.to_owned()).collect(),
        }
    }

    pub(super) fn program(&self) -> Vec<Line> {
        let steps = match self {
            Self::Serves { ready_after } => vec![
                Step::Sleep(*ready_after),
                Step::Listen(None),
                Step::Print(Channel::Stdout, "listening".into()),
                Step::Hang,
            ],
            Self::NeverReady => vec![Step::Hang],
            Self::Crashes { after, code } => vec![
                Step::Listen(None),
                Step::Sleep(*after),
                Step::Print(Channel::Stderr, format!("crashing with {code}")),
                Step::Exit(*code),
            ],
            Self::Exits {
                code,
                after,
                output,
            } => output
                .iter()
                .map(|line| Step::Print(Channel::Stdout, line.clone()))
                .chain([Step::Sleep(*after), Step::Exit(*code)])
                .collect(),
            Self::OutOfMemory { after } => vec![Step::Sleep(*after), Step::EatMemory],
            Self::Steps(steps) => steps.clone(),
        };
        steps.into_iter().map(Line::always).collect()
    }
}

/// One thing that a simulated command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a line.
    Print(Channel, String),
    /// Waits.
    Sleep(Duration),
    /// Serves on this port, or on the one the workload names.
    Listen(Option<u16>),
    /// Sends back what comes on this port, or on the one the workload names.
    Echo(Option<u16>),
    /// From now on SIGTERM is ignored.
    IgnoreTerm,
    /// Copies its input to its output until the input's end.
    CopyInput,
    /// Writes a file's content.
    Show(String),
    /// Writes to a file.
    Write {
        /// The file.
        path: String,
        /// What is written, with the line's end.
        text: String,
        /// Is what was there kept?
        keep: Keep,
    },
    /// Deletes a file.
    Delete(String),
    /// Succeeds if the file is there.
    Exists(String),
    /// Fetches an `http://` URL of another pod of the project and writes what came.
    Fetch(String),
    /// Succeeds on a terminal.
    IsTerminal,
    /// Writes the terminal's rows and columns.
    TerminalSize,
    /// Succeeds or fails with this status.
    Status(i64),
    /// Uses up its memory.
    EatMemory,
    /// Runs for ever.
    Hang,
    /// Ends.
    Exit(i64),
}

/// What answers on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// The web server.
    Web,
    /// Sends back what comes.
    Echo,
}

/// What becomes of a file's content when it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is kept, and the new follows.
    Old,
    /// It is replaced.
    Nothing,
}

/// When a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// The step before succeeded (`&&`).
    Success,
    /// The step before failed (`||`).
    Failure,
}

/// A step with its condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) when: When,
    pub(super) step: Step,
}

impl Line {
    pub(super) const fn always(step: Step) -> Self {
        Self {
            when: When::Always,
            step,
        }
    }
}
