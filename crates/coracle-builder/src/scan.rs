//! What of a folder is its source: found before anything is sent, so that the size is known and nothing that
//! would be refused is uploaded first.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use coracle_model::manifest::Manifest;
use coracle_model::name::shown;
use coracle_model::quantity::ByteSize;

use crate::dockerignore::{BadIgnore, Below, Ignore, Verdict};
use crate::error::SourceError;
use crate::limits::{Limit, Limits};
use crate::links::{self, Links};
use crate::plan::{DOCKERFILE, read_manifest, read_text};

/// Why a folder cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The folder is not there, or is none.
    #[error("{} is no folder that can be read", .0.display())]
    NoFolder(PathBuf, #[source] io::Error),
    /// There is nothing in it, or nothing is left of it.
    #[error("{} is empty: there is no file to deploy", .0.display())]
    Empty(PathBuf),
    /// A file or folder in it cannot be read.
    #[error("{} cannot be read: {source}; mend its permissions, or name it in .dockerignore", shown(.path))]
    Unreadable {
        /// Its path within the folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A name that is not UTF-8 or has control characters.
    #[error("{} is no name that can be sent: rename it, or name its folder in .dockerignore", shown(.0))]
    BadName(String),
    /// More than is allowed.
    #[error("the source is too large: {limit}; the largest part is {} with {}; leave out what the build does not need with .dockerignore", shown(.largest), whole_mib(*.bytes))]
    TooLarge {
        /// Which limit.
        limit: Limit,
        /// The entry at the top of the folder that has most.
        largest: String,
        /// How much it has.
        bytes: u64,
    },
    /// A file was changed while it was sent.
    #[error("{} was changed while it was sent: try again", shown(.0))]
    Changed(String),
    /// The `.dockerignore` is wrong.
    #[error(transparent)]
    Ignore(BadIgnore),
    /// A manifest is wrong, or no file.
    #[error(transparent)]
    Source(SourceError),
    /// Whoever took the archive stopped.
    #[error("the archive could not be sent")]
    Sink(#[source] io::Error),
}

/// A folder's source: what [`crate::pack()`] sends.
#[derive(Clone, Debug)]
pub struct Scan {
    pub(crate) root: PathBuf,
    pub(crate) entries: Vec<Entry>,
    /// How many files it has.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// What was left out although nobody asked for it.
    pub skipped: Vec<Skipped>,
}

/// Something that cannot be part of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its path within the folder.
    pub path: String,
    /// Why it was left out.
    pub why: SkipReason,
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// It is a socket, pipe or device.
    #[error("it is a socket, pipe or device")]
    Special,
    /// It is a link that leads out of the folder.
    #[error("it is a link that leads out of the folder")]
    LinkLeaves,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) kind: EntryKind,
}

#[derive(Clone, Debug)]
pub(crate) enum EntryKind {
    Folder,
    File { size: u64, mode: u32 },
    Link(String),
}

/// Finds what of the folder `dir` is its source: all but what its `.dockerignore` names and `.git`. Files that say how to
/// build and run it are part of it even so. Blocks on the disk.
///
/// # Errors
/// [`PackError`], before anything is sent.
pub fn scan(dir: &Path, limits: &Limits) -> Result<Scan, PackError> {
    let no_folder = |error| PackError::NoFolder(dir.to_owned(), error);
    let root = dir.canonicalize().map_err(no_folder)?;
    fs::read_dir(&root).map_err(no_folder)?;
    let manifest = read_manifest(&root).map_err(PackError::Source)?;
    let dockerfile = manifest.build.dockerfile.as_deref().unwrap_or(DOCKERFILE);
    context(&root, dockerfile, limits)
}

/// The same for a build's context: a folder whose Dockerfile is known, with or without a manifest.
///
/// # Errors
/// As [`scan()`].
pub fn scan_context(dir: &Path, dockerfile: &Path, limits: &Limits) -> Result<Scan, PackError> {
    let no_folder = |error| PackError::NoFolder(dir.to_owned(), error);
    let root = dir.canonicalize().map_err(no_folder)?;
    context(&root, &dockerfile.to_string_lossy(), limits)
}

/// The same for a folder without links in its path whose Dockerfile is known.
pub(crate) fn context(root: &Path, dockerfile: &str, limits: &Limits) -> Result<Scan, PackError> {
    let (ignore, ignore_file) = read_ignore(root, dockerfile)?;
    let mut walk = Walk {
        limits,
        ignore,
        always: [dockerfile, &ignore_file, Manifest::FILE, Manifest::PROCFILE]
            .map(str::to_owned)
            .into(),
        found: Scan {
            root: root.to_owned(),
            entries: Vec::new(),
            files: 0,
            bytes: 0,
            skipped: Vec::new(),
        },
        seen: 0,
        tops: Vec::new(),
        links: Links::new(),
    };
    walk.folder(root, "", &Below::default())?;
    walk.finish(root)
}

/// The rules for the source in `root`. As in Docker, `<Dockerfile>.dockerignore` comes before `.dockerignore`.
fn read_ignore(root: &Path, dockerfile: &str) -> Result<(Ignore, String), PackError> {
    for name in [
        format!("{dockerfile}{}", Ignore::FILE),
        Ignore::FILE.to_owned(),
    ] {
        let text = read_text(root, &name, Ignore::MOST_BYTES).map_err(PackError::Source)?;
        if let Some(text) = text {
            return Ok((Ignore::parse(&text).map_err(PackError::Ignore)?, name));
        }
    }
    Ok((Ignore::default(), Ignore::FILE.to_owned()))
}

struct Walk<'l> {
    limits: &'l Limits,
    ignore: Ignore,
    always: Vec<String>,
    found: Scan,
    /// Entries that were looked at, sent or not.
    seen: u64,
    /// Bytes by entry at the top.
    tops: Vec<(String, u64)>,
    links: Links,
}

impl Walk<'_> {
    fn folder(&mut self, dir: &Path, path: &str, below: &Below) -> Result<(), PackError> {
        let unreadable = |source| PackError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            names.push(entry.map_err(unreadable)?.file_name());
        }
        // Sorted, so that the same folder makes the same archive on every machine.
        names.sort_unstable();
        for name in names {
            // Git's own files are no source, be they a folder or a worktree's or submodule's file.
            if name == ".git" {
                continue;
            }
            let Some(name) = name.to_str().filter(|n| !n.chars().any(char::is_control)) else {
                let lossy = name.to_string_lossy();
                // Only where it would be sent: what is left out may be called anything.
                if self.ignore.judge(&join(path, &lossy), below).0 == Verdict::LeftOut {
                    continue;
                }
                return Err(PackError::BadName(join(path, &lossy)));
            };
            self.entry(&dir.join(name), join(path, name), below)?;
        }
        Ok(())
    }

    fn entry(&mut self, file: &Path, path: String, above: &Below) -> Result<(), PackError> {
        let (verdict, below) = self.ignore.judge(&path, above);
        let needed = self.always.contains(&path);
        let leads_to_needed = || {
            let inside =
                |name: &String| name.strip_prefix(&path).is_some_and(|r| r.starts_with('/'));
            self.always.iter().any(inside)
        };
        if verdict == Verdict::LeftOut && !needed && !leads_to_needed() {
            return Ok(());
        }
        let metadata = fs::symlink_metadata(file).map_err(|source| PackError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let kept = verdict == Verdict::Kept || needed;
        if metadata.is_dir() {
            if kept {
                self.add(path.clone(), EntryKind::Folder)?;
            }
            return self.folder(file, &path, &below);
        }
        if kept {
            self.leaf(file, path, &metadata)
        } else {
            Ok(())
        }
    }

    fn leaf(&mut self, file: &Path, path: String, metadata: &Metadata) -> Result<(), PackError> {
        if metadata.is_file() {
            let size = metadata.len();
            self.found.files += 1;
            self.found.bytes = self.found.bytes.saturating_add(size);
            let top = path.split('/').next().unwrap_or_default();
            match self.tops.last_mut() {
                Some((last, bytes)) if last == top => *bytes = bytes.saturating_add(size),
                _ => self.tops.push((top.to_owned(), size)),
            }
            let mode = metadata.permissions().mode();
            return self.add(path, EntryKind::File { size, mode });
        }
        if metadata.is_symlink() {
            let target = fs::read_link(file).map_err(|source| PackError::Unreadable {
                path: path.clone(),
                source,
            })?;
            let text = target.to_str().filter(|t| !t.chars().any(char::is_control));
            let Some(target) = text else {
                return Err(PackError::BadName(path));
            };
            self.links.insert(path.clone(), target.to_owned());
            return self.add(path, EntryKind::Link(target.to_owned()));
        }
        self.found.skipped.push(Skipped {
            path,
            why: SkipReason::Special,
        });
        Ok(())
    }

    fn add(&mut self, path: String, kind: EntryKind) -> Result<(), PackError> {
        self.seen += 1;
        if path.len() > self.limits.path_len {
            return Err(self.too_large(Limit::PathLength(self.limits.path_len)));
        }
        if self.seen > self.limits.entries {
            return Err(self.too_large(Limit::Entries(self.limits.entries)));
        }
        self.found.entries.push(Entry { path, kind });
        Ok(())
    }

    fn too_large(&self, limit: Limit) -> PackError {
        let (largest, bytes) = self
            .tops
            .iter()
            .max_by_key(|(_, bytes)| *bytes)
            .cloned()
            .unwrap_or_default();
        PackError::TooLarge {
            limit,
            largest,
            bytes,
        }
    }

    fn finish(mut self, dir: &Path) -> Result<Scan, PackError> {
        // Headers and padding count too; this bound is a little below what is refused.
        let archive = self
            .found
            .bytes
            .saturating_add(self.seen.saturating_mul(1024));
        if archive > self.limits.bytes_expanded {
            return Err(self.too_large(Limit::Expanded(self.limits.bytes_expanded)));
        }
        let links = &self.links;
        let skipped = &mut self.found.skipped;
        self.found.entries.retain(|entry| {
            let leaves =
                matches!(entry.kind, EntryKind::Link(_)) && links::leaves(links, &entry.path);
            if leaves {
                skipped.push(Skipped {
                    path: entry.path.clone(),
                    why: SkipReason::LinkLeaves,
                });
            }
            !leaves
        });
        let is_content = |entry: &Entry| !matches!(entry.kind, EntryKind::Folder);
        if !self.found.entries.iter().any(is_content) {
            return Err(PackError::Empty(dir.to_owned()));
        }
        Ok(self.found)
    }
}

/// For people: no size is exact enough to matter below a mebibyte.
const fn whole_mib(bytes: u64) -> ByteSize {
    ByteSize::mib(bytes.div_ceil(1 << 20))
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}/{name}")
    }
}
