//! The folder that a source is unpacked into.
//!
//! Theory of operation: every path is walked from the folder's own descriptor, one name at a time, and no
//! link is ever followed, so no name that an archive brings can lead outside, whatever the archive put there
//! before. What was made is remembered: a name can be used again only as a folder, or as a file that takes
//! the earlier file's place. Folders are never replaced, which is why descriptors of them can be kept.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, mkdirat, openat, symlinkat, unlinkat};
use rustix::io::Errno;

use crate::error::{Refusal, SourceError};
use crate::limits::Limit;
use crate::links::{self, Links};

/// A folder that is being filled.
pub(crate) struct Folder {
    root: OwnedFd,
    /// The folder of the last entry: most entries have the same one as the entry before.
    last: Option<(String, OwnedFd)>,
    made: HashMap<String, Made>,
    links: Links,
    most: u64,
}

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    File,
    Folder,
    Link,
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Folder {
    /// Opens an existing, empty folder for up to `most` entries.
    pub(crate) fn open(path: &Path, most: u64) -> Result<Self, SourceError> {
        let root = openat(CWD, path, FOLDER, Mode::empty()).map_err(writing)?;
        Ok(Self {
            root,
            last: None,
            made: HashMap::new(),
            links: Links::new(),
            most,
        })
    }

    /// So many files and links are in it.
    pub(crate) fn contents(&self) -> usize {
        let folders = self.made.values().filter(|m| **m == Made::Folder).count();
        self.made.len() - folders
    }

    pub(crate) fn folder(&mut self, path: &str) -> Result<(), SourceError> {
        self.enter(path).map(drop)
    }

    /// A new, empty file.
    pub(crate) fn file(&mut self, path: &str, mode: u32) -> Result<File, SourceError> {
        let replaced = match self.made.get(path) {
            None => false,
            Some(Made::File) => true,
            Some(_) => return Err(SourceError::refused(path, Refusal::Twice)),
        };
        self.note(path, Made::File)?;
        let (parent, name) = self.parent(path)?;
        if replaced {
            // Never written through: the name may be a second one of another file.
            unlinkat(parent, name, AtFlags::empty()).map_err(writing)?;
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode((mode & 0o777) | 0o600);
        let file = openat(parent, name, flags, mode).map_err(writing)?;
        // The process's umask is not the archive's.
        rustix::fs::fchmod(&file, mode).map_err(writing)?;
        Ok(File::from(file))
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> Result<(), SourceError> {
        if self.made.contains_key(path) {
            return Err(SourceError::refused(path, Refusal::Twice));
        }
        if target.starts_with('/') {
            return Err(SourceError::refused(
                path,
                Refusal::LinkLeaves(target.into()),
            ));
        }
        self.note(path, Made::Link)?;
        let (parent, name) = self.parent(path)?;
        symlinkat(target, parent, name).map_err(writing)?;
        self.links.insert(path.to_owned(), target.to_owned());
        Ok(())
    }

    pub(crate) fn hard_link(&mut self, path: &str, target: &str) -> Result<(), SourceError> {
        if self.made.contains_key(path) {
            return Err(SourceError::refused(path, Refusal::Twice));
        }
        if self.made.get(target) != Some(&Made::File) {
            return Err(SourceError::refused(path, Refusal::HardLink(target.into())));
        }
        self.note(path, Made::File)?;
        let root = self.root.try_clone().map_err(SourceError::writing)?;
        let (parent, name) = self.parent(path)?;
        // `target` was made by this very path, through folders only.
        linkat(root, target, parent, name, AtFlags::empty()).map_err(writing)
    }

    /// Refuses a folder with links that lead out of it. Called when all links are known.
    pub(crate) fn check_links(&self) -> Result<(), SourceError> {
        for (path, target) in &self.links {
            if links::leaves(&self.links, path) {
                return Err(SourceError::refused(
                    path.clone(),
                    Refusal::LinkLeaves(target.clone()),
                ));
            }
        }
        Ok(())
    }

    /// Remembers a name; folders that only the paths of others imply count too, or one entry could make
    /// hundreds.
    fn note(&mut self, path: &str, made: Made) -> Result<(), SourceError> {
        self.made.insert(path.to_owned(), made);
        if self.made.len() as u64 > self.most {
            return Err(SourceError::TooLarge(Limit::Entries(self.most)));
        }
        Ok(())
    }

    /// The folder that `path` lies in, and its last name.
    fn parent<'p>(&mut self, path: &'p str) -> Result<(BorrowedFd<'_>, &'p str), SourceError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.enter(parent)?, name))
    }

    /// The folder at `path`, made where it is missing.
    fn enter(&mut self, path: &str) -> Result<BorrowedFd<'_>, SourceError> {
        if path.is_empty() {
            return Ok(self.root.as_fd());
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let fd = self.walk(path)?;
            self.last = Some((path.to_owned(), fd));
        }
        Ok(self
            .last
            .as_ref()
            .map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    fn walk(&mut self, path: &str) -> Result<OwnedFd, SourceError> {
        let mut at = self.root.try_clone().map_err(SourceError::writing)?;
        let mut end = 0;
        for name in path.split('/') {
            end += name.len();
            let here = &path[..end];
            end += 1;
            match self.made.get(here) {
                Some(Made::Folder) => {}
                Some(_) => return Err(SourceError::refused(path, Refusal::Through(here.into()))),
                None => {
                    self.note(here, Made::Folder)?;
                    mkdirat(&at, name, Mode::from_raw_mode(0o755)).map_err(writing)?;
                }
            }
            at = match openat(&at, name, FOLDER, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(SourceError::refused(path, Refusal::Through(here.into())));
                }
                Err(error) => return Err(writing(error)),
            };
        }
        Ok(at)
    }
}

fn writing(error: Errno) -> SourceError {
    SourceError::writing(io::Error::from(error))
}
