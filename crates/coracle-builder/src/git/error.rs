//! Why nothing was fetched, in the words of the person who asked.

use std::io;
use std::time::Duration;

use coracle_model::name::shown;
use coracle_model::quantity::Span;
use coracle_model::source::GitUrl;

use super::GitRequest;
use crate::limits::Limit;

/// Why nothing was fetched. Nothing here repeats credentials; what a server said is escaped and short.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// There is no program.
    #[error(
        "this platform cannot fetch from Git: `git` is not installed where its control plane runs"
    )]
    NoGit,
    /// It is too old to be used safely.
    #[error(
        "this platform cannot fetch from Git: `git` is older than 2.37 where its control plane runs"
    )]
    OldGit,
    /// The name is not known.
    #[error("there is no server of this name")]
    NoServer,
    /// The address is not one that is asked.
    #[error(
        "the server's address is {0}, from where nothing is fetched; whoever runs this platform may allow it with --git-reach everything"
    )]
    OutOfReach(&'static str),
    /// Nobody answers.
    #[error("the server does not answer")]
    Unreachable,
    /// Its certificate is not trusted.
    #[error("the server's certificate is not trusted by this platform")]
    Untrusted,
    /// It sends elsewhere.
    #[error("the server redirects to another address: give that one")]
    Redirects,
    /// It wants credentials, or others.
    #[error(
        "the server wants a user name and a password or token that may read this repository; it may also be that there is no such repository"
    )]
    Refused,
    /// There is no repository.
    #[error("there is no Git repository at this address")]
    NoRepository,
    /// It cannot be fetched in part.
    #[error(
        "the server is none that Git can be fetched from (it speaks only the old, so-called dumb protocol)"
    )]
    Dumb,
    /// There is no such branch or tag.
    #[error("there is no branch, tag or commit {} in the repository; a commit is named by its whole id", shown(.0))]
    NoReference(String),
    /// There is nothing in it.
    #[error("the repository is empty")]
    NoCommit,
    /// There is no such folder.
    #[error("there is no folder {} in this commit", shown(.0))]
    NoPath(String),
    /// It has more than is allowed.
    #[error("the repository is too large: {0}")]
    TooLarge(Limit),
    /// It took too long.
    #[error("fetching took longer than {}", Span(*.0))]
    TooSlow(Duration),
    /// There is no room on the platform's disk.
    #[error("there is no room on the disk")]
    DiskFull,
    /// Git said something else.
    #[error("git failed: {0}")]
    Failed(String),
    /// The platform's own disk or processes failed.
    #[error("the platform could not run git")]
    Io(#[source] io::Error),
}

impl GitError {
    pub(super) fn failed(told: &str) -> Self {
        let mut lines = told.lines().map(str::trim).filter(|line| !line.is_empty());
        let fatal = lines.clone().find_map(|line| line.strip_prefix("fatal: "));
        Self::Failed(shown(
            fatal.or(lines.next_back()).unwrap_or("it did not say why"),
        ))
    }

    pub(super) fn writing(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

/// What git's words (in the locale C) mean for whoever asked.
pub(super) fn of_fetch(told: &str, url: &GitUrl, request: &GitRequest) -> GitError {
    // Lines of the server begin with `remote:` and mean nothing here.
    let own: String = told
        .lines()
        .filter(|line| !line.starts_with("remote:"))
        .collect::<Vec<_>>()
        .join("\n")
        // Whatever words the address is made of, it says nothing.
        .replace(url.as_str().trim_end_matches('/'), "");
    let says = |words: &[&str]| words.iter().any(|word| own.contains(word));
    if says(&["returned error: 30"]) {
        return GitError::Redirects;
    }
    if says(&[
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "returned error: 401",
        "returned error: 403",
        "terminal prompts disabled",
        "unable to get password from user",
    ]) {
        return GitError::Refused;
    }
    if says(&[
        "couldn't find remote ref HEAD",
        "Couldn't find remote ref HEAD",
    ]) {
        return GitError::NoCommit;
    }
    if says(&[
        "couldn't find remote ref",
        "Couldn't find remote ref",
        "not our ref",
        "unadvertised object",
        "no such remote ref",
    ]) {
        let reference = request.origin.reference.as_ref();
        return GitError::NoReference(reference.map(ToString::to_string).unwrap_or_default());
    }
    if says(&[
        "dumb http transport",
        "unable to open loose object",
        "Unable to find ",
    ]) {
        return GitError::Dumb;
    }
    if says(&[
        "not found",
        "not valid: is this a git repository",
        "returned error: 404",
        "returned error: 410",
    ]) {
        return GitError::NoRepository;
    }
    if says(&["certificate", "SSL", "TLS", "gnutls"]) {
        return GitError::Untrusted;
    }
    if says(&["Could not resolve host"]) {
        return GitError::NoServer;
    }
    if says(&[
        "Failed to connect",
        "Couldn't connect",
        "Connection refused",
        "timed out",
        "Operation too slow",
        "Empty reply",
        "Recv failure",
        "Network is unreachable",
        "No route to host",
    ]) {
        return GitError::Unreachable;
    }
    if says(&["No space left on device", "Disk quota exceeded"]) {
        return GitError::DiskFull;
    }
    if says(&["File size limit exceeded", "File too large"]) {
        return GitError::TooLarge(Limit::Compressed(request.limits.bytes_compressed));
    }
    GitError::failed(&own)
}
