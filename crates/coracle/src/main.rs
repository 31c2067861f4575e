//! The program `coracle`: the platform's processes, and the command line.
//!
//! Theory of operation: `serve` and `gateway` are the platform; they are put together here and stay in the foreground.
//! `up` and `down` start and stop them in the background. Every other verb is a client of the API and nothing more.
//!
//! | module | what is in it |
//! |---|---|
//! | [`cli`], [`commands`], [`context`] | the verbs, one file for each group |
//! | [`serve`], [`gateway`], [`runtime`] | the platform's two processes |
//! | [`engine`], `leader`, `store`, `compaction` | what they run on |
//! | [`data_dir`], [`settings`], [`operator`] | where a platform lives, how it is started, who runs it |
//! | `memory` | what the allocator keeps |
//! | [`config`], [`env_vars`] | the command line's own file; the environment |
//! | [`output`], [`table`], [`error`] | what people read |

mod build_settings;
mod cli;
mod commands;
mod compaction;
mod config;
mod context;
mod data_dir;
mod engine;
mod env_vars;
mod error;
mod gateway;
mod leader;
mod memory;
mod operator;
mod output;
#[cfg(test)]
mod reference;
mod runtime;
mod serve;
mod settings;
mod store;
mod table;
mod waiting;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::context::Context;
use crate::output::Printer;

fn main() -> ExitCode {
    memory::bound();
    let cli = Cli::parse();
    let printer = Printer::new(cli.format());
    match cli.run(Context::new(printer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.status)
        }
    }
}
