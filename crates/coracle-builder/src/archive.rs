//! Members of a tar, with names that are safe to use.
//!
//! Theory of operation: the tar library is asked for raw headers only, because it reads the long names that
//! extension headers carry into memory without a bound. Here such headers have a bound, and where two of them
//! disagree about a member's size, on which archivers differ, the archive is refused.

use std::io::{self, Read};

use tar::{Entry, EntryType, PaxExtensions};

use crate::error::{Refusal, SourceError};
use crate::limits::{Limit, Limits};
use crate::meter::Gauge;

/// The most bytes of one extension header. Names are far shorter.
const EXTENSION_BYTES: u64 = 64 * 1024;

/// Headers for each member: long name, long link and PAX, and the member's own.
const HEADERS_PER_ENTRY: u64 = 4;

/// A name on Linux has no more bytes.
const NAME_BYTES: usize = 255;

/// One member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Relative to the folder: names joined by `/`, none of them empty, `.` or `..`. Empty for the folder itself.
    pub(crate) path: String,
    pub(crate) kind: MemberKind,
}

/// What a member is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MemberKind {
    /// A file with permission bits of `0o777` at most.
    File { mode: u32, size: u64 },
    /// A folder.
    Folder,
    /// A symbolic link to this target, as it was given.
    Symlink(String),
    /// Another name for an earlier member, whose path this is.
    HardLink(String),
}

/// What extension headers say of the member after them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

/// Takes an extension header in; answers whether `entry` was one.
fn extend<R: Read>(
    extensions: &mut Extensions,
    entry: &mut Entry<'_, R>,
    gauge: &Gauge,
) -> Result<bool, SourceError> {
    let kind = entry.header().entry_type();
    if !(kind.is_gnu_longname()
        || kind.is_gnu_longlink()
        || kind.is_pax_local_extensions()
        || kind.is_pax_global_extensions())
    {
        return Ok(false);
    }
    if entry.size() > EXTENSION_BYTES {
        return Err(SourceError::TooLarge(Limit::Header(EXTENSION_BYTES)));
    }
    let size = entry.size();
    let mut content = Vec::new();
    entry
        .take(EXTENSION_BYTES)
        .read_to_end(&mut content)
        .map_err(|e| gauge.explain(&e))?;
    if content.len() as u64 != size {
        return Err(gauge.explain(&io::ErrorKind::UnexpectedEof.into()));
    }
    if kind.is_gnu_longname() {
        extensions.path = Some(until_nul(content));
    } else if kind.is_gnu_longlink() {
        extensions.link = Some(until_nul(content));
    } else if kind.is_pax_local_extensions() {
        for record in PaxExtensions::new(&content) {
            let record = record.map_err(|e| gauge.explain(&e))?;
            extensions.record(record.key_bytes(), record.value_bytes())?;
        }
    }
    // A global header is skipped: `git archive` keeps its commit there.
    Ok(true)
}

impl Extensions {
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), SourceError> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => {
                let size = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                self.size = Some(size.ok_or_else(|| {
                    SourceError::Damaged("a header has a size that is no number".into())
                })?);
            }
            key if key.starts_with(b"GNU.sparse") => self.sparse = true,
            _ => {}
        }
        Ok(())
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Shows every member of an archive to `take`, which reads as much of its content as it wants. There are no more members
/// than the limits allow, and no more headers than so many members have.
pub(crate) fn each_member<R: Read, E: From<SourceError>>(
    archive: &mut tar::Archive<R>,
    limits: &Limits,
    gauge: &Gauge,
    mut take: impl FnMut(Member, &mut Entry<'_, R>) -> Result<(), E>,
) -> Result<(), E> {
    let too_many = || SourceError::TooLarge(Limit::Entries(limits.entries));
    let mut extensions = Extensions::default();
    let (mut headers, mut members) = (0, 0);
    let entries = archive.entries().map_err(|e| gauge.explain(&e))?;
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(|e| gauge.explain(&e))?;
        headers += 1;
        if headers > limits.entries.saturating_mul(HEADERS_PER_ENTRY) {
            return Err(too_many().into());
        }
        if extend(&mut extensions, &mut entry, gauge)? {
            continue;
        }
        let member = member(&entry, std::mem::take(&mut extensions), limits)?;
        members += 1;
        if members > limits.entries {
            return Err(too_many().into());
        }
        take(member, &mut entry)?;
    }
    Ok(())
}

/// The member that `entry` is, with what the headers before it said.
fn member<R: Read>(
    entry: &Entry<'_, R>,
    extensions: Extensions,
    limits: &Limits,
) -> Result<Member, SourceError> {
    let raw = extensions
        .path
        .unwrap_or_else(|| entry.path_bytes().into_owned());
    let path = clean_path(&raw, limits)?;
    let refuse = |why| SourceError::refused(path.clone(), why);
    if extensions.sparse {
        return Err(refuse(Refusal::Sparse));
    }
    let size = entry.size();
    if extensions.size.is_some_and(|other| other != size) {
        return Err(SourceError::Damaged(
            "two headers disagree about the size of a file".into(),
        ));
    }
    let target = || {
        extensions
            .link
            .clone()
            .or_else(|| entry.link_name_bytes().map(|bytes| bytes.into_owned()))
            .unwrap_or_default()
    };
    let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
    let kind = match entry.header().entry_type() {
        // Archivers before 1988 write folders as files whose names end with a slash.
        EntryType::Regular if raw.ends_with(b"/") => MemberKind::Folder,
        EntryType::Regular | EntryType::Continuous => MemberKind::File { mode, size },
        EntryType::Directory => MemberKind::Folder,
        EntryType::Symlink => {
            let target = text(&target(), limits).map_err(&refuse)?;
            if target.is_empty() {
                return Err(refuse(Refusal::Name));
            }
            MemberKind::Symlink(target)
        }
        EntryType::Link => MemberKind::HardLink(clean_path(&target(), limits)?),
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            return Err(refuse(Refusal::Device));
        }
        EntryType::GNUSparse => return Err(refuse(Refusal::Sparse)),
        _ => return Err(refuse(Refusal::Unknown)),
    };
    if path.is_empty() && kind != MemberKind::Folder {
        return Err(refuse(Refusal::Name));
    }
    Ok(Member { path, kind })
}

/// UTF-8 without control characters and not too long.
fn text(bytes: &[u8], limits: &Limits) -> Result<String, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::NotUtf8)?;
    if text.chars().any(char::is_control) {
        return Err(Refusal::Control);
    }
    if text.len() > limits.path_len {
        return Err(Refusal::Name);
    }
    Ok(text.to_owned())
}

/// A path in the one form that is used inside.
pub(crate) fn clean_path(bytes: &[u8], limits: &Limits) -> Result<String, SourceError> {
    let refuse = |why| SourceError::refused(String::from_utf8_lossy(bytes), why);
    if bytes.len() > limits.path_len {
        return Err(SourceError::TooLarge(Limit::PathLength(limits.path_len)));
    }
    let path = text(bytes, limits).map_err(&refuse)?;
    if path.starts_with('/') {
        return Err(refuse(Refusal::Absolute));
    }
    let mut clean = String::with_capacity(path.len());
    for name in path.split('/') {
        match name {
            "" | "." => continue,
            ".." => return Err(refuse(Refusal::Leaves)),
            name if name.len() > NAME_BYTES => return Err(refuse(Refusal::Name)),
            name => {
                if !clean.is_empty() {
                    clean.push('/');
                }
                clean.push_str(name);
            }
        }
    }
    Ok(clean)
}
