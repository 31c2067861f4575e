//! What a build of the dashboard has made: each file once, with the compressed ones beside it.

use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

/// A file of the dashboard.
#[derive(Debug)]
pub(crate) struct Found {
    /// Under which it is asked for, such as `/assets/index-1a2b.js`.
    pub(crate) path: String,
    /// Changes with what is in it.
    pub(crate) etag: String,
    pub(crate) plain: PathBuf,
    pub(crate) gzip: Option<PathBuf>,
    pub(crate) brotli: Option<PathBuf>,
}

/// The files under `dist`, by path; none while it has no `index.html`. Hidden files, source maps and links are left out.
pub(crate) fn scan(dist: &Path) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    if dist.join("index.html").is_file() {
        walk(dist, "", &mut all)?;
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

fn walk(folder: &Path, under: &str, all: &mut Vec<Found>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = format!("{under}/{name}");
        let file = entry.path();
        let kind = entry.file_type()?;
        let left_out = [".br", ".gz", ".map"].iter().any(|end| name.ends_with(end));
        if name.starts_with('.') || left_out {
            continue;
        } else if kind.is_dir() {
            walk(&file, &path, all)?;
        } else if kind.is_file() {
            all.push(Found {
                etag: etag(&std::fs::read(&file)?),
                gzip: beside(&file, "gz"),
                brotli: beside(&file, "br"),
                plain: file,
                path,
            });
        }
    }
    Ok(())
}

fn beside(file: &Path, suffix: &str) -> Option<PathBuf> {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    let path = PathBuf::from(name);
    path.is_file().then_some(path)
}

/// It need not keep anybody out: the files are our own.
fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}
