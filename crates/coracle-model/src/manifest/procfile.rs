//! `Procfile`: one `name: command` per line; `release:` runs once before traffic moves.

use std::collections::BTreeMap;

use crate::name::ProcessName;
use crate::release::CommandLine;

use super::fault::{Fault, Faults, ManifestFile, key_shown};
use super::{Manifest, rules};

/// The line that is no process but the release command.
pub(super) const RELEASE: &str = "release";

/// What a `Procfile` lists.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) processes: BTreeMap<ProcessName, CommandLine>,
    pub(super) release: Option<CommandLine>,
}

pub(super) fn read(text: &str, into: &mut Vec<Fault>) -> Listed {
    let mut faults = Faults::new(ManifestFile::Procfile, text, into);
    let mut listed = Listed::default();
    if text.len() > Manifest::MOST_BYTES {
        let message = format!(
            "the file is too long: use up to {} bytes",
            Manifest::MOST_BYTES
        );
        faults.add(&(0..0), "", message, None);
        return listed;
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let at = start..start + line.len();
        start = at.end;
        let line = line.trim_start_matches('\u{feff}').trim();
        if !line.is_empty() && !line.starts_with('#') {
            read_line(line, &at, &mut listed, &mut faults);
        }
    }
    if listed.processes.len() > rules::MOST_PROCESSES {
        let message = format!("too many processes: use up to {}", rules::MOST_PROCESSES);
        faults.add(&(0..0), "", message, None);
    }
    listed
}

fn read_line(
    line: &str,
    at: &std::ops::Range<usize>,
    listed: &mut Listed,
    faults: &mut Faults<'_>,
) {
    let Some((name, command)) = line.split_once(':') else {
        let message =
            "this line names no process: use `name: command`, such as `web: python3 app.py`";
        return faults.add(at, "", message, None);
    };
    let name = name.trim_end();
    let key = key_shown(name);
    let command = CommandLine::Shell(command.trim().to_owned());
    if let Err(message) = rules::command(&command) {
        return faults.add(at, &key, message, None);
    }
    let before = if name == RELEASE {
        listed.release.replace(command)
    } else {
        match ProcessName::new(name) {
            Ok(name) => listed.processes.insert(name, command),
            Err(error) => {
                return faults.add(
                    at,
                    &key,
                    format!("this is no process name: {}", error.rule),
                    None,
                );
            }
        }
    };
    if before.is_some() {
        faults.add(
            at,
            &key,
            "this process is listed twice: keep one of the lines",
            None,
        );
    }
}
