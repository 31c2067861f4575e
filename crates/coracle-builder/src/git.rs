//! A commit of a Git repository as an archive.
//!
//! Theory of operation: `git` itself fetches, into a bare repository in a private folder, one commit deep; `git archive`
//! then writes the commit's files, which are never checked out. The address, the reference, the repository and everything
//! that its server says come from strangers. So:
//!
//! - addresses and references are parsed types (`coracle_model::source`), behind `--` all the same; only HTTP is spoken;
//! - the server's name is resolved here, its addresses are judged ([`address`], [`machine`]), and the connection is pinned to them;
//!   redirects are not followed, nor alternates, which would lead elsewhere;
//! - no configuration but what is set here is read ([`process`]), nobody is prompted, no hook, helper or filter runs,
//!   submodules are not fetched, and attributes in the repository change nothing: files come out as they were committed;
//! - time, bytes on the disk, memory and bytes of the archive are bounded, and a fetch that is given up is killed with all
//!   of its processes;
//! - credentials are in the environment of the processes, which other users cannot read, and in nothing else.
//!
//! What git says on its standard error is turned into our own words ([`error`]); a server's text is only ever shown
//! escaped and short.

pub mod address;
pub mod error;
mod machine;
mod process;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use coracle_model::env::Secret;
use coracle_model::source::{Commit, GitHost, GitOrigin, GitServer, GitUrl};
use tokio_util::io::SyncIoBridge;

pub use address::Reach;
pub use error::GitError;
use machine::Machine;
use process::{Git, Ran};

use crate::limits::{Limit, Limits};

/// The reference that is fetched, in our own repository.
const FETCHED: &str = "refs/coracle/source";
/// In our own repository these come before what the fetched files say of themselves.
const ATTRIBUTES: &str =
    "* -export-ignore -export-subst -text -eol -ident -filter -working-tree-encoding\n";
/// The first version that can be told where a name is (`http.curloptResolve`).
const LEAST_VERSION: (u32, u32) = (2, 37);
/// Characters of a commit's author and of its subject.
const MOST_TEXT: usize = 200;
/// Addresses that a connection is pinned to.
const MOST_ADDRESSES: usize = 8;
/// Fast, as for uploads.
const ZSTD_LEVEL: i32 = 1;

/// Who asks the repository's server.
#[derive(Clone, Debug)]
pub struct GitCredentials {
    /// Whatever the server wants beside a token; may be empty.
    pub username: String,
    /// A password or token.
    pub password: Secret,
}

/// What to fetch, and how much of it.
#[derive(Clone, Debug)]
pub struct GitRequest {
    /// What.
    pub origin: GitOrigin,
    /// As whom.
    pub credentials: Option<GitCredentials>,
    /// A folder of its own, which exists.
    pub dir: PathBuf,
    /// The archive to be written.
    pub archive: PathBuf,
    /// Bounds of the archive; the pack that comes may have as many bytes as an upload.
    pub limits: Limits,
    /// The most time for all of it.
    pub time: Duration,
    /// Which addresses are asked.
    pub reach: Reach,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The commit.
    pub commit: Commit,
    /// Bytes of the archive.
    pub bytes: u64,
}

/// Fetches a commit and writes its files as a compressed tar. Dropping the future kills what runs.
///
/// # Errors
/// [`GitError`], in words for whoever asked. What was written stays for the caller to remove.
pub async fn fetch(request: GitRequest) -> Result<Fetched, GitError> {
    let time = request.time;
    match tokio::time::timeout(time, within_time(request)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(GitError::TooSlow(time)),
    }
}

async fn within_time(request: GitRequest) -> Result<Fetched, GitError> {
    let repository = request.dir.join("repository");
    let git = Git::new(&request.dir, &repository, request.limits);
    check_version(&git).await?;
    prepare(&git, &repository).await?;
    fetch_any(&git, &request).await?;
    let commit = commit(&git).await?;
    let tree = tree(&git, &request.origin, &commit).await?;
    let bytes = archive(&git, &tree, &request).await?;
    Ok(Fetched { commit, bytes })
}

/// Fetches from the address, or where its server redirects from one of its other spellings.
async fn fetch_any(git: &Git, request: &GitRequest) -> Result<(), GitError> {
    let mut redirected = None;
    for url in request.origin.url.spellings() {
        match (fetch_from(git, request, &url).await, redirected.take()) {
            (Ok(()), _) => return Ok(()),
            // Perhaps only to another spelling of itself.
            (Err(error @ GitError::Redirects), _) => redirected = Some(error),
            // Nothing is at this spelling: the redirect is what there is to tell.
            (
                Err(
                    GitError::NoServer
                    | GitError::Unreachable
                    | GitError::NoRepository
                    | GitError::Untrusted,
                ),
                Some(before),
            ) => return Err(before),
            (Err(error), _) => return Err(error),
        }
    }
    redirected.map_or(Ok(()), Err)
}

async fn check_version(git: &Git) -> Result<(), GitError> {
    let version = git.run(&["version"]).await?.done()?;
    let numbers = version.rsplit(' ').find_map(|word| {
        let mut parts = word.trim().split('.');
        let major: u32 = parts.next()?.parse().ok()?;
        Some((major, parts.next()?.parse().ok()?))
    });
    match numbers.or_else(|| words_version(&version)) {
        Some(found) if found >= LEAST_VERSION => Ok(()),
        _ => Err(GitError::OldGit),
    }
}

/// `git version 2.39.5 (Apple Git-154)`.
fn words_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split_whitespace().nth(2)?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

async fn prepare(git: &Git, repository: &Path) -> Result<(), GitError> {
    let path = repository.to_string_lossy();
    git.run(&["init", "--quiet", "--bare", "--template=", "--", &path])
        .await?
        .done()?;
    let info = repository.join("info");
    tokio::fs::create_dir_all(&info)
        .await
        .map_err(GitError::Io)?;
    tokio::fs::write(info.join("attributes"), ATTRIBUTES)
        .await
        .map_err(GitError::Io)
}

async fn fetch_from(git: &Git, request: &GitRequest, url: &GitUrl) -> Result<(), GitError> {
    let server = url.server().ok_or(GitError::NoServer)?;
    let mut settings = Vec::new();
    if let Some(pinned) = resolve(&server, request.reach).await? {
        settings.push(("http.curloptResolve", Secret::new(pinned)));
    }
    if let Some(credentials) = &request.credentials {
        let pair = format!("{}:{}", credentials.username, credentials.password.expose());
        let header = format!("Authorization: Basic {}", STANDARD.encode(pair));
        settings.push(("http.extraHeader", Secret::new(header)));
    }
    let reference = request
        .origin
        .reference
        .as_ref()
        .map_or("HEAD", |r| r.as_str());
    let refspec = format!("+{reference}:{FETCHED}");
    let fetch = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--no-recurse-submodules",
        "--no-write-fetch-head",
        "--",
        url.as_str(),
        &refspec,
    ];
    match git.run_with(&fetch, &settings).await? {
        Ran::Done(_) => Ok(()),
        Ran::Failed(told) => Err(error::of_fetch(&told, url, request)),
    }
}

/// Resolves a server's name, judges its addresses, and tells how the connection is pinned to them.
async fn resolve(server: &GitServer, reach: Reach) -> Result<Option<String>, GitError> {
    let machine = match reach {
        Reach::Others => Some(Machine::now().await),
        Reach::Everything => None,
    };
    let refused = |address: IpAddr| {
        let machine = || machine.as_ref()?.refuses(address);
        address::refused(address, reach).or_else(machine)
    };
    let name = match &server.host {
        GitHost::Address(address) => {
            return match refused(*address) {
                Some(why) => Err(GitError::OutOfReach(why)),
                None => Ok(None),
            };
        }
        GitHost::Name(name) => name,
    };
    let found = tokio::net::lookup_host((name.as_str(), server.port))
        .await
        .map_err(|_unknown| GitError::NoServer)?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES);
    if addresses.is_empty() {
        return Err(GitError::NoServer);
    }
    // One that may not be asked makes the name suspicious as a whole.
    if let Some(why) = addresses.iter().find_map(|one| refused(*one)) {
        return Err(GitError::OutOfReach(why));
    }
    let shown: Vec<String> = addresses
        .iter()
        .map(|address| match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        })
        .collect();
    Ok(Some(format!("{name}:{}:{}", server.port, shown.join(","))))
}

async fn commit(git: &Git) -> Result<Commit, GitError> {
    let format = "--format=%H%x00%an%x00%at%x00%s";
    let told = git
        .run(&["log", "-1", "--no-show-signature", format, FETCHED, "--"])
        .await?
        .done()?;
    let mut parts = told.trim_end_matches('\n').split('\0');
    let id = parts.next().unwrap_or_default();
    let is_id = matches!(id.len(), 40 | 64) && id.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_id {
        return Err(GitError::NoCommit);
    }
    let author = plain(parts.next().unwrap_or_default());
    let seconds = parts.next().and_then(|text| text.parse().ok());
    Ok(Commit {
        id: id.to_owned(),
        author,
        date: seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        subject: plain(parts.next().unwrap_or_default()),
    })
}

/// Text of strangers: short, and without what would change how the text around it is shown.
fn plain(text: &str) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .take(MOST_TEXT)
        .map(|c| if hostile(c) { '\u{fffd}' } else { c })
        .collect()
}

/// The tree that is the source.
async fn tree(git: &Git, origin: &GitOrigin, commit: &Commit) -> Result<String, GitError> {
    let Some(path) = &origin.path else {
        // A tree and not the commit: nothing is put in the place of `$Format:…$`.
        return Ok(format!("{}^{{tree}}", commit.id));
    };
    let tree = format!("{}:{path}", commit.id);
    match git.run(&["cat-file", "-t", &tree]).await? {
        Ran::Done(kind) if kind.trim() == "tree" => Ok(tree),
        _ => Err(GitError::NoPath(path.to_string())),
    }
}

async fn archive(git: &Git, tree: &str, request: &GitRequest) -> Result<u64, GitError> {
    let mut running = git.start(&["archive", "--format=tar", tree], &[])?;
    let output = running.take_output().ok_or(GitError::NoCommit)?;
    let reader = SyncIoBridge::new(output);
    let (path, most) = (request.archive.clone(), request.limits.bytes_expanded);
    let write = tokio::task::spawn_blocking(move || compress(reader, &path, most));
    // Together: what git has to say would otherwise fill its pipe.
    let (written, ended) = tokio::join!(write, running.end());
    let bytes = written.map_err(|panic| GitError::Io(io::Error::other(panic)))??;
    match ended? {
        Ran::Done(_) if bytes > request.limits.bytes_compressed => Err(GitError::TooLarge(
            Limit::Compressed(request.limits.bytes_compressed),
        )),
        Ran::Done(_) => Ok(bytes),
        Ran::Failed(told) => Err(GitError::failed(&told)),
    }
}

fn compress(reader: impl io::Read, path: &Path, most: u64) -> Result<u64, GitError> {
    let file = std::fs::File::create(path).map_err(GitError::Io)?;
    let mut encoder = zstd::stream::write::Encoder::new(file, ZSTD_LEVEL).map_err(GitError::Io)?;
    let copied = io::copy(&mut reader.take(most.saturating_add(1)), &mut encoder);
    if copied.map_err(GitError::writing)? > most {
        return Err(GitError::TooLarge(Limit::Expanded(most)));
    }
    let mut file = encoder.finish().map_err(GitError::writing)?;
    file.flush().map_err(GitError::writing)?;
    file.sync_all().map_err(GitError::writing)?;
    Ok(file.metadata().map_err(GitError::Io)?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_told() {
        assert_eq!(words_version("git version 2.39.5"), Some((2, 39)));
        assert_eq!(
            words_version("git version 2.39.5 (Apple Git-154)"),
            Some((2, 39))
        );
        assert_eq!(words_version("git"), None);
    }

    #[test]
    fn what_strangers_wrote_is_one_short_line() {
        assert_eq!(
            plain("Mend \u{1b}[31mit\n\u{202e}x"),
            "Mend \u{fffd}[31mit\u{fffd}\u{fffd}x"
        );
        assert_eq!(plain(&"x".repeat(1000)).len(), MOST_TEXT);
    }
}
