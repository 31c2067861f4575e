//! An unpacked source without what its `.dockerignore` names.
//!
//! A source that this crate packed has been pruned already, but an archive can come from anywhere, and what is
//! ignored must not reach the build: it could be a secret, or make the build's cache useless.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::error::SourceError;
use crate::limits::Limits;
use crate::plan::BuildPlan;
use crate::scan::{self, PackError};

/// Removes from the plan's context what its `.dockerignore` leaves out, and `.git`. Answers how many files and links
/// were removed. Blocks on the disk.
///
/// # Errors
/// [`SourceError::BadFile`] for a `.dockerignore` that cannot be read.
pub fn prune(plan: &BuildPlan) -> Result<u64, SourceError> {
    let dockerfile = plan.dockerfile.to_string_lossy();
    let kept = scan::context(&plan.context, &dockerfile, &Limits::default()).map_err(explain)?;
    let kept: HashSet<String> = kept.entries.into_iter().map(|entry| entry.path).collect();
    remove_others(&plan.context, "", &kept).map_err(SourceError::writing)
}

fn explain(error: PackError) -> SourceError {
    match error {
        PackError::Source(error) => error,
        PackError::TooLarge { limit, .. } => SourceError::TooLarge(limit),
        PackError::Empty(_) => SourceError::Empty,
        PackError::Ignore(error) => SourceError::BadFile {
            file: crate::dockerignore::Ignore::FILE.to_owned(),
            reason: error.to_string(),
        },
        PackError::Unreadable { source, .. } | PackError::NoFolder(_, source) => {
            SourceError::Io(source)
        }
        error => SourceError::Io(io::Error::other(error)),
    }
}

fn remove_others(dir: &Path, path: &str, kept: &HashSet<String>) -> io::Result<u64> {
    let mut removed = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let here = scan::join(path, &name.to_string_lossy());
        if entry.file_type()?.is_dir() {
            removed += remove_others(&entry.path(), &here, kept)?;
            if kept.contains(&here) {
                continue;
            }
            match fs::remove_dir(entry.path()) {
                // An exception kept something below it.
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                    return Err(error);
                }
                _ => {}
            }
        } else if !kept.contains(&here) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}
