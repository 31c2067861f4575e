//! Faults of a manifest as people read them: where, what, and what is allowed.

use std::fmt;
use std::ops::Range;

use crate::name::shown;
use crate::problem::{Code, Problem};

use super::Manifest;

/// Which of a source's two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ManifestFile {
    /// `coracle.toml`.
    Toml,
    /// `Procfile`.
    Procfile,
}

impl fmt::Display for ManifestFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Toml => Manifest::FILE,
            Self::Procfile => Manifest::PROCFILE,
        })
    }
}

/// One thing that is wrong, shown as `coracle.toml:3:1: process.web.port: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: ManifestFile,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key's path, such as `process.web.port`; empty where the fault belongs to no key.
    pub key: String,
    /// What is wrong and what is allowed, in one line.
    pub message: String,
    /// What to do about it, where that can be told.
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Why a source's manifest was refused: everything that is wrong with it, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    faults: Vec<Fault>,
    left_out: usize,
}

impl ManifestError {
    /// So many faults are told; nobody reads more, and hostile input must not make a long answer.
    pub const MOST_FAULTS: usize = 25;

    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| (fault.file, fault.line, fault.column));
        let left_out = faults.len().saturating_sub(Self::MOST_FAULTS);
        faults.truncate(Self::MOST_FAULTS);
        Self { faults, left_out }
    }

    /// What is wrong, in the order of the text: never empty.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The same as a problem for whoever sent the source.
    #[must_use]
    pub fn to_problem(&self) -> Problem {
        let problem = Problem::new(Code::InvalidManifest, self.to_string());
        match self.faults.first() {
            Some(fault) if !fault.key.is_empty() => problem.field(fault.key.clone()),
            _ => problem,
        }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        if self.left_out > 0 {
            write!(f, "\n… and {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestError {}

/// Collects the faults of one file and knows where its lines begin.
pub(super) struct Faults<'a> {
    file: ManifestFile,
    text: &'a str,
    into: &'a mut Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub(super) const fn new(file: ManifestFile, text: &'a str, into: &'a mut Vec<Fault>) -> Self {
        Self { file, text, into }
    }

    /// Adds a fault at the beginning of `at` (bytes of the text).
    pub(super) fn add(
        &mut self,
        at: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        // Beyond what is told, only the number matters: positions cost a walk through the text.
        let (line, column) = if self.into.len() < 4 * ManifestError::MOST_FAULTS {
            position(self.text, at.start)
        } else {
            (usize::MAX, 0)
        };
        self.into.push(Fault {
            file: self.file,
            line,
            column,
            key: key.to_owned(),
            message: message.into(),
            hint,
        });
    }
}

/// Line and column (in characters), both from 1, of a byte offset. An offset beyond the end, or inside a
/// character, counts as the place just before it.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    (line, before[start..].chars().count() + 1)
}

/// `key` as it stands in a TOML path: quoted when it is not a bare key.
pub(super) fn key_shown(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.len() <= 48 && key.bytes().all(bare) {
        key.to_owned()
    } else {
        shown(key)
    }
}

/// Is `short` the letters of `name`, beginning with the first, with some left out (`cmd`, `mem`)?
fn is_abbreviation(short: &str, name: &str) -> bool {
    let mut rest = name.chars();
    short.len() >= 2
        && short.chars().next() == name.chars().next()
        && short.chars().all(|c| rest.any(|n| n == c))
}

/// The one of `allowed` that was probably meant by `given`.
pub(super) fn nearest<'n>(given: &str, allowed: &[&'n str]) -> Option<&'n str> {
    /// Longer words than any key are no typing errors, and would cost quadratic time.
    const LONGEST: usize = 40;
    if given.len() > LONGEST {
        return None;
    }
    allowed
        .iter()
        .map(|name| {
            let lower = given.to_lowercase();
            let similar = strsim::jaro_winkler(&lower, name);
            let score = if is_abbreviation(&lower, name) {
                similar.max(0.9)
            } else {
                similar
            };
            (score, *name)
        })
        .filter(|(score, _)| *score >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let text = "a\nbüc = 1\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (2, 1));
        assert_eq!(position(text, 6), (2, 4));
        assert_eq!(position(text, 4), (2, 2), "inside a character");
        assert_eq!(position(text, 999), (3, 1));
    }

    #[test]
    fn the_nearest_name_is_one_that_could_be_meant() {
        let keys = ["command", "port", "replicas", "memory"];
        assert_eq!(nearest("prot", &keys), Some("port"));
        assert_eq!(nearest("Port", &keys), Some("port"));
        assert_eq!(nearest("cmd", &keys), Some("command"));
        assert_eq!(nearest("mem", &keys), Some("memory"));
        assert_eq!(nearest("zzz", &keys), None);
        assert_eq!(nearest(&"p".repeat(100_000), &keys), None);
    }
}
