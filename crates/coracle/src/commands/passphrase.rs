//! The passphrase of the secrets in an export: from a file, the environment or the terminal, and never an argument, which
//! everybody on the machine may read.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use coracle_model::env::Secret;

use super::session::ask_password;
use crate::context::Context;
use crate::env_vars;
use crate::error::{CliError, Result};

/// The longest passphrase file, in bytes.
const FILE_BYTES: u64 = 4096;

/// Where the passphrase comes from.
#[derive(Debug, clap::Args)]
pub(crate) struct PassphraseArgs {
    /// The file with the passphrase of the secrets [default: CORACLE_PASSPHRASE, else it is asked for]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// How often it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A slip is told when it does not open anything.
    Once,
    /// A slip would be noticed when it is too late.
    Twice,
}

impl PassphraseArgs {
    /// The passphrase that was given, if one was.
    pub(crate) fn given(&self) -> Result<Option<Secret>> {
        let Some(path) = &self.passphrase_file else {
            return Ok(env_vars::read(env_vars::PASSPHRASE).map(Secret::new));
        };
        let shown = path.display();
        let unreadable = |error| CliError::caused(format!("{shown} cannot be read"), &error);
        let mut text = String::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        if text.len() as u64 > FILE_BYTES {
            return Err(CliError::usage(format!(
                "{shown} is no passphrase: it has more than {FILE_BYTES} bytes"
            )));
        }
        Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
    }
}

/// Can it be asked for?
pub(crate) fn can_ask() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks for it on the terminal.
pub(crate) fn ask(context: &Context, asked: Asked) -> Result<Secret> {
    let passphrase = ask_password(context, "Passphrase of the secrets: ")?;
    if asked == Asked::Twice && ask_password(context, "Once more: ")? != passphrase {
        return Err(CliError::usage("these are two different passphrases"));
    }
    Ok(passphrase)
}
