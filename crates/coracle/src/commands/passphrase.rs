//! The passphrase of an export, which seals its secrets and vouches for all of it: from a file, standard input, the environment
//! or the terminal, and never an argument, which everybody on the machine may read.

use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use coracle_model::env::Secret;

use super::session::{ask_hidden, ask_password};
use crate::context::Context;
use crate::env_vars;
use crate::error::{CliError, Result};

/// The longest passphrase file, in bytes.
const FILE_BYTES: u64 = 4096;

/// Where the passphrase comes from.
#[derive(Debug, clap::Args)]
pub(crate) struct PassphraseArgs {
    /// The file with the passphrase, `-` is standard input [default: CORACLE_PASSPHRASE, else it is asked for]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// Does it come from standard input?
    pub(crate) fn is_input(&self) -> bool {
        self.passphrase_file.as_deref() == Some(Path::new("-"))
    }

    /// The passphrase that was given, if one was.
    pub(crate) fn given(&self) -> Result<Option<Secret>> {
        let Some(path) = &self.passphrase_file else {
            return Ok(env_vars::read(env_vars::PASSPHRASE).map(Secret::new));
        };
        let shown = path.display();
        let unreadable = |error| CliError::caused(format!("{shown} cannot be read"), &error);
        let mut text = String::new();
        let file: Box<dyn Read> = match self.is_input() {
            true => Box::new(std::io::stdin().lock()),
            false => Box::new(File::open(path).map_err(unreadable)?),
        };
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

/// Asks on the terminal for the one that an export was made with. A slip is told when it does not open it.
pub(crate) fn ask(context: &Context) -> Result<Secret> {
    ask_password(context, "Passphrase of the export: ")
}

/// Asks on the terminal for one that an export is to be made with, twice: a slip would be noticed when it is too late.
pub(crate) fn ask_new(context: &Context) -> Result<Secret> {
    let passphrase = ask_password(context, "Passphrase for the export: ")?;
    once_more(context, passphrase)
}

/// The same where it may have none.
pub(crate) fn ask_new_or_none(context: &Context) -> Result<Option<Secret>> {
    let question = "Passphrase for the export (empty: none, and nobody vouches for the file): ";
    let passphrase = ask_hidden(context, question)?;
    match passphrase.expose() {
        "" => Ok(None),
        _ => once_more(context, passphrase).map(Some),
    }
}

fn once_more(context: &Context, passphrase: Secret) -> Result<Secret> {
    if ask_password(context, "Once more: ")? != passphrase {
        return Err(CliError::usage("these are two different passphrases"));
    }
    Ok(passphrase)
}
