//! Why a source was refused, in the words of the person who sent it.

use std::io;

use coracle_model::manifest::ManifestError;
use coracle_model::name::shown;
use coracle_model::problem::{Code, Problem};

use crate::limits::Limit;

/// Why a source was not unpacked or cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It is neither tar, nor gzip, nor zstd.
    #[error("this is no archive: send a tar, compressed with gzip or zstd or not at all")]
    NotAnArchive,
    /// The archive breaks its own format, or ends too early.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// Nothing is in it.
    #[error("the source is empty: there is no file in it")]
    Empty,
    /// It has more than is allowed.
    #[error("the source is too large: {0}")]
    TooLarge(Limit),
    /// One entry is of a sort that is never unpacked.
    #[error("entry {}: {why}", shown(.entry))]
    Refused {
        /// The entry's path as it was given.
        entry: String,
        /// What is wrong with it.
        why: Refusal,
    },
    /// `coracle.toml` or `Procfile` is wrong.
    #[error("{0}")]
    Manifest(ManifestError),
    /// A file that must be text, small and in the source is not. `reason` says which of it.
    #[error("{file}: {reason}")]
    BadFile {
        /// The file, relative to the source's folder.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing says how to build it.
    #[error("there is no {}", shown(.dockerfile))]
    NoDockerfile {
        /// Where one was looked for.
        dockerfile: String,
        /// What to do about it.
        hint: String,
    },
    /// What the manifest asks for is not there in this version.
    #[error("runtimes are not supported yet: {0}")]
    NoRuntime(String),
    /// There is no room on the platform's disk.
    #[error("there is no room on the disk")]
    DiskFull,
    /// Whoever sent it stopped sending.
    #[error("the upload ended before the archive did")]
    Interrupted(#[source] io::Error),
    /// The platform's own disk failed.
    #[error("the source could not be written to disk")]
    Io(#[source] io::Error),
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its path is absolute.
    #[error("its path is absolute; paths are relative to the source's folder")]
    Absolute,
    /// Its path has `..` in it.
    #[error("its path leaves the source's folder")]
    Leaves,
    /// It lies behind a link or a file that is in the archive too.
    #[error("its path goes through {}, which is no folder", shown(.0))]
    Through(String),
    /// It is a link to a place outside.
    #[error("it is a link to {}, outside of the source's folder", shown(.0))]
    LinkLeaves(String),
    /// It is a hard link to something that is no file in the archive.
    #[error("it is a hard link to {}, which is no file that came before it", shown(.0))]
    HardLink(String),
    /// It is a device, a pipe or a socket.
    #[error("it is a device or pipe; only files, folders and links can be sent")]
    Device,
    /// It is a sparse file.
    #[error("it is a sparse file; make the archive without --sparse")]
    Sparse,
    /// It is of a kind that only some archivers know.
    #[error("it is of a kind that is not known; only files, folders and links can be sent")]
    Unknown,
    /// Its name or link is not UTF-8.
    #[error("its name is not UTF-8; rename it")]
    NotUtf8,
    /// Its name or link has control characters.
    #[error("its name has control characters; rename it")]
    Control,
    /// It has no name, or one longer than a file system takes.
    #[error("its name is empty or longer than 255 bytes")]
    Name,
    /// The name was there before as something else.
    #[error("the archive has this name twice, as different things")]
    Twice,
}

impl SourceError {
    /// The same as a problem for whoever sent the source. Causes inside the platform are left out: they are for
    /// the log.
    #[must_use]
    pub fn to_problem(&self) -> Problem {
        let detail = self.to_string();
        match self {
            Self::TooLarge(_) => Problem::new(Code::TooLarge, detail).hint(
                "leave out what the build does not need with a .dockerignore file: dependencies, data, caches",
            ),
            Self::Manifest(error) => error.to_problem(),
            Self::NoDockerfile { hint, .. } => {
                Problem::new(Code::InvalidSource, detail).hint(hint.clone())
            }
            Self::Empty => Problem::new(Code::InvalidSource, detail)
                .hint("deploy the folder that has the Dockerfile; look into its .dockerignore"),
            Self::Refused {
                why: Refusal::LinkLeaves(_),
                ..
            } => Problem::new(Code::InvalidSource, detail)
                .hint("name it in a .dockerignore file, or make it a link within the folder"),
            Self::NoRuntime(_) => Problem::new(Code::Unsupported, detail)
                .hint("add a Dockerfile and leave `runtime` out of coracle.toml"),
            Self::DiskFull => Problem::new(Code::DiskFull, detail)
                .hint("make room under the platform's data directory and deploy again"),
            Self::Interrupted(_) => Problem::new(Code::InvalidRequest, detail),
            Self::Io(_) => Problem::new(Code::Internal, detail),
            Self::NotAnArchive
            | Self::Damaged(_)
            | Self::Refused { .. }
            | Self::BadFile { .. } => Problem::new(Code::InvalidSource, detail),
        }
    }

    pub(crate) fn refused(entry: impl Into<String>, why: Refusal) -> Self {
        Self::Refused {
            entry: entry.into(),
            why,
        }
    }

    /// An error from writing on the platform's own disk.
    pub(crate) fn writing(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}
