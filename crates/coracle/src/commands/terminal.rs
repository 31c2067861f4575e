//! The terminal: questions, and raw mode for commands in pods.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;

use coracle_client::pod::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::context::Context;
use crate::error::{CliError, Result};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES: u64 = 64;

/// Asks before something that cannot be undone.
pub(crate) fn confirm(context: &Context, question: &str) -> Result {
    if !std::io::stdin().is_terminal() {
        return Err(
            CliError::usage(format!("{question} there is no terminal to ask on"))
                .hint("say yes with --yes"),
        );
    }
    context
        .printer
        .err(format!("{question} [y/N] ").as_bytes())?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .take(ANSWER_BYTES)
        .read_line(&mut answer)
        .map_err(|error| CliError::caused("the answer cannot be read", &error))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(CliError::new("nothing was done"))
    }
}

/// The size of the terminal, when both input and output are one.
pub(crate) fn size() -> Option<TerminalSize> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return None;
    }
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    Some(TerminalSize {
        columns: size.ws_col.max(1),
        rows: size.ws_row.max(1),
    })
}

/// The terminal gives every key as it is, until this is dropped.
pub(crate) struct RawMode(Termios);

impl RawMode {
    pub(crate) fn enter() -> Result<Self> {
        let input = std::io::stdin();
        let cannot = |error: rustix::io::Errno| {
            CliError::caused("the terminal cannot be used", &std::io::Error::from(error))
        };
        let before = tcgetattr(input.as_fd()).map_err(cannot)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(input.as_fd(), OptionalActions::Flush, &raw).map_err(cannot)?;
        Ok(Self(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _gone = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Drain, &self.0).is_err();
    }
}
