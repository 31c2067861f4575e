//! The only place that prints.
//!
//! Theory of operation: results go to standard output, so that they can be piped; progress, notes and errors go to
//! standard error. What comes from outside (logs, reasons, names) is made harmless before it reaches a terminal: it could
//! move the cursor or type keys for the reader. Colours are for terminals only, and for nobody who sets `NO_COLOR`.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use coracle_model::object::List;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::env_vars;
use crate::error::{CliError, Result};
use crate::table::{Table, Tone};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: the API's own objects
    Json,
}

/// Is there a terminal, and may it get colours?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    /// A file or a pipe.
    Plain,
    /// A terminal without colours.
    Monochrome,
    /// A terminal with colours.
    Colour,
}

impl Channel {
    fn of(terminal: bool) -> Self {
        match (terminal, env_vars::read(env_vars::NO_COLOR)) {
            (false, _) => Self::Plain,
            (true, Some(_)) => Self::Monochrome,
            (true, None) => Self::Colour,
        }
    }

    fn paint(self, tone: Tone, text: &str) -> String {
        match (self, tone.code()) {
            (Self::Colour, Some(code)) => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// Prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    format: Format,
    out: Channel,
    err: Channel,
}

impl Printer {
    /// For the streams as they are.
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            out: Channel::of(io::stdout().is_terminal()),
            err: Channel::of(io::stderr().is_terminal()),
        }
    }

    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    /// A line of the result.
    pub(crate) fn line(&self, text: &str) -> Result {
        let text = match self.out {
            Channel::Plain => text.to_owned(),
            Channel::Monochrome | Channel::Colour => harmless(text, self.out == Channel::Colour),
        };
        self.out(format!("{text}\n").as_bytes())
    }

    /// A line of a log: where it came from, and its text.
    pub(crate) fn log_line(&self, from: &str, text: &str) -> Result {
        match self.out {
            Channel::Plain => self.out(format!("{from} | {text}\n").as_bytes()),
            Channel::Monochrome | Channel::Colour => {
                let from = self.out.paint(Tone::of_name(from), from);
                let text = harmless(text, self.out == Channel::Colour);
                self.out(format!("{from} | {text}\n").as_bytes())
            }
        }
    }

    /// Bytes of the result, as they are.
    pub(crate) fn out(&self, bytes: &[u8]) -> Result {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(written)
    }

    /// Bytes for standard error, as they are.
    pub(crate) fn err(&self, bytes: &[u8]) -> Result {
        let mut err = io::stderr().lock();
        err.write_all(bytes)
            .and_then(|()| err.flush())
            .map_err(written)
    }

    /// An object as JSON.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| CliError::caused("the answer cannot be written", &error))?;
        self.out(format!("{text}\n").as_bytes())
    }

    /// One object as one line of JSON.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result {
        let text = serde_json::to_string(value)
            .map_err(|error| CliError::caused("the answer cannot be written", &error))?;
        self.out(format!("{text}\n").as_bytes())
    }

    /// A list: as JSON, or as the table that `table` makes.
    pub(crate) fn list<T: Serialize>(
        &self,
        items: Vec<T>,
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result {
        match self.format {
            Format::Json => self.json(&List { items, next: None }),
            Format::Table => self.table(&table(&items)),
        }
    }

    /// One object: as JSON, or as the table that `table` makes.
    pub(crate) fn object<T: Serialize>(
        &self,
        object: &T,
        table: impl FnOnce(&T) -> Table,
    ) -> Result {
        match self.format {
            Format::Json => self.json(object),
            Format::Table => self.table(&table(object)),
        }
    }

    /// A table; one without rows says so on standard error.
    pub(crate) fn table(&self, table: &Table) -> Result {
        if let Some(empty) = table.empty() {
            return self.note(empty);
        }
        let text = table.render(|tone, text| self.out.paint(tone, text));
        self.out(text.as_bytes())
    }

    /// Something that the reader should know and that is no result.
    pub(crate) fn note(&self, text: &str) -> Result {
        let text = harmless(text, false);
        self.err(format!("{text}\n").as_bytes())
    }

    /// What was done, where there is nothing to show: silent for programs.
    pub(crate) fn done(&self, text: &str) -> Result {
        match self.format {
            Format::Table => self.note(text),
            Format::Json => Ok(()),
        }
    }

    /// Why the command failed. There is nobody to tell when this cannot be written.
    pub(crate) fn error(&self, error: &CliError) {
        if error.message.is_empty() {
            return;
        }
        let mut text = format!(
            "{} {}\n",
            self.err.paint(Tone::Bad, "error:"),
            harmless_lines(&error.message)
        );
        if let Some(hint) = &error.hint {
            let hint = harmless_lines(hint);
            text.push_str(&format!("{} {hint}\n", self.err.paint(Tone::Busy, "hint:")));
        }
        drop(self.err(text.as_bytes()));
    }

    /// Begins to tell of something that takes a while.
    pub(crate) fn progress(&self, what: &str) -> Progress {
        let shown = self.err != Channel::Plain;
        let bar = ProgressBar::with_draw_target(
            None,
            if shown {
                ProgressDrawTarget::stderr()
            } else {
                ProgressDrawTarget::hidden()
            },
        );
        let colour = self.err == Channel::Colour;
        let progress = Progress {
            bar,
            printer: *self,
            lines: if shown { Lines::Redrawn } else { Lines::Plain },
            last: String::new(),
        };
        if shown {
            progress.bar.set_style(style(if colour {
                "{spinner:.cyan} {msg}"
            } else {
                "{spinner} {msg}"
            }));
            progress.bar.enable_steady_tick(TICK);
        }
        let mut progress = progress;
        progress.say(what);
        progress
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; a faulty one shows the default.
    ProgressStyle::with_template(template).unwrap_or_else(|_fault| ProgressStyle::default_spinner())
}

/// How progress is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// In one place on a terminal.
    Redrawn,
    /// Line after line.
    Plain,
}

/// Something that takes a while. On a terminal one line that changes, elsewhere a line for each change.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    printer: Printer,
    lines: Lines,
    last: String,
}

impl Progress {
    /// Says where it stands.
    pub(crate) fn say(&mut self, text: &str) {
        if text == self.last {
            return;
        }
        text.clone_into(&mut self.last);
        match self.lines {
            Lines::Redrawn => self.bar.set_message(harmless(text, false)),
            // Progress that nobody can read is no reason to stop.
            Lines::Plain => drop(self.printer.note(text)),
        }
    }

    /// Something of lasting interest.
    pub(crate) fn keep(&self, text: &str) {
        match self.lines {
            Lines::Redrawn => self.bar.println(harmless(text, false)),
            Lines::Plain => drop(self.printer.note(text)),
        }
    }

    /// Something of passing interest: only where a line costs nothing.
    pub(crate) fn detail(&mut self, text: &str) {
        match self.lines {
            Lines::Redrawn => {
                let short: String = text.chars().take(100).collect();
                self.bar.set_message(harmless(&short, false));
            }
            Lines::Plain => drop(self.printer.note(&format!("  {text}"))),
        }
    }

    /// Are lines that were told gone again?
    pub(crate) fn is_redrawn(&self) -> bool {
        self.lines == Lines::Redrawn
    }

    /// A bar of bytes, for other threads too.
    pub(crate) fn bytes(&self, total: u64) -> ProgressBar {
        if self.lines == Lines::Redrawn {
            self.bar.disable_steady_tick();
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(style("{msg} [{bar:30}] {bytes}/{total_bytes}").progress_chars("=> "));
            bar.set_message(self.last.clone());
            self.bar.set_message("");
            return bar;
        }
        ProgressBar::hidden()
    }

    /// Back to the spinner after a bar.
    pub(crate) fn resume(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        if self.lines == Lines::Redrawn {
            self.bar.enable_steady_tick(TICK);
        }
    }

    /// It is over.
    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Whoever reads our output may stop reading; that ends us, and is nothing to complain about.
fn written(error: io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return CliError::silent(1);
    }
    CliError::caused("the output cannot be written", &error)
}

/// `text` without control characters but, where they are wanted, those that only set colours.
pub(crate) fn harmless(text: &str, colours: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\x1b'
            && let Some(length) = colour_length(rest)
        {
            if colours {
                clean.push_str(&rest[..length]);
            }
            rest = &rest[length..];
            continue;
        }
        match c {
            '\t' => clean.push(c),
            c if c.is_control() || is_direction(c) => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    if colours && clean.contains('\x1b') {
        clean.push_str("\x1b[0m");
    }
    clean
}

/// Characters that change the direction of text can make it read as what it is not.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn harmless_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| harmless(line, false)).collect();
    lines.join("\n")
}

/// The length of the colour sequence (`ESC [ digits and ; m`) that `text` begins with.
fn colour_length(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\x1b[")?;
    let length = rest
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b';')
        .count();
    (rest.as_bytes().get(length) == Some(&b'm')).then_some(length + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(harmless("a\tb", false), "a\tb");
        assert_eq!(harmless("\x1b[2J\x07x", true), "\\u{1b}[2J\\u{7}x");
        assert_eq!(harmless("\x1b[31mred\x1b[0m", false), "red");
        assert_eq!(harmless("\x1b[31mred", true), "\x1b[31mred\x1b[0m");
        assert_eq!(harmless("\x1b]0;title\x07", true), "\\u{1b}]0;title\\u{7}");
        assert_eq!(harmless("a\u{202e}b é", false), "a\\u{202e}b é");
    }
}
