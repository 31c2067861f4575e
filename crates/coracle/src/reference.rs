//! The reference of the command line (`docs/cli.md`), made of its help.
//!
//! `UPDATE=1 cargo test -p coracle reference` writes it anew.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;

/// So many columns, whatever terminal the test runs in.
const COLUMNS: usize = 100;

fn reference() -> String {
    let mut command = Cli::command().term_width(COLUMNS);
    command.build();
    let mut text = String::from(
        "# Command line\n\n\
         Made of the program's own help; a test keeps it so. Results go to standard output, progress and errors to standard\n\
         error. Exit status: 0 done, 1 failed, 2 usage; `exec` and `run` pass on the command's own.\n",
    );
    section(&mut command, &mut text);
    text
}

fn section(command: &mut Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or("coracle").to_owned();
    let help = command.render_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    write!(
        text,
        "\n## `{name}`\n\n```text\n{}\n```\n",
        help.join("\n").trim_end()
    )
    .unwrap();
    for inner in command.get_subcommands_mut() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            section(inner, text);
        }
    }
}

#[test]
fn the_reference_is_what_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let now = reference();
    if crate::env_vars::read("UPDATE").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == now,
        "docs/cli.md is stale: run `UPDATE=1 cargo test -p coracle reference` and commit it"
    );
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}
