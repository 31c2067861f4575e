//! The most that a source may have.

use std::fmt;

use coracle_model::quantity::ByteSize;

/// The most that a source may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the archive as it is sent.
    pub bytes_compressed: u64,
    /// Bytes of the archive once decompressed.
    pub bytes_expanded: u64,
    /// Files, folders and links together.
    pub entries: u64,
    /// Bytes of one entry's path.
    pub path_len: usize,
    /// Decompressed bytes for each compressed one, once [`Limits::RATIO_FROM`] bytes are decompressed.
    pub ratio: u64,
}

impl Limits {
    /// Below so many decompressed bytes no ratio is wrong: a small source may well be one repeated line.
    pub const RATIO_FROM: u64 = 32 << 20;
}

impl Default for Limits {
    /// What fits a source, also one with its dependencies in it, and no data set.
    fn default() -> Self {
        Self {
            bytes_compressed: 512 << 20,
            bytes_expanded: 1 << 30,
            entries: 100_000,
            path_len: 1024,
            ratio: 200,
        }
    }
}

/// Which limit was passed, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of the archive as it is sent.
    Compressed(u64),
    /// Bytes of the archive once decompressed.
    Expanded(u64),
    /// Files, folders and links.
    Entries(u64),
    /// Bytes of one path.
    PathLength(usize),
    /// Decompressed bytes for each compressed one.
    Ratio(u64),
    /// Bytes of one header of the archive.
    Header(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed(most) => write!(f, "more than {} compressed", ByteSize(*most)),
            Self::Expanded(most) => write!(f, "more than {} unpacked", ByteSize(*most)),
            Self::Entries(most) => write!(f, "more than {most} files and folders"),
            Self::PathLength(most) => write!(f, "a path of more than {most} bytes"),
            Self::Ratio(most) => write!(f, "it unpacks to more than {most} times its size"),
            Self::Header(most) => write!(f, "a header of more than {}", ByteSize(*most)),
        }
    }
}
