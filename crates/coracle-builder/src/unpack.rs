//! A compressed tar from anybody becomes a private folder.
//!
//! Theory of operation: the archive is never kept whole in memory or on disk. It is read as it arrives, by a
//! blocking thread, through meters that stop it at the first byte beyond a limit: compressed bytes before the
//! decompressor, expanded bytes and the ratio of both after it. What comes out is checked member by member
//! (module `archive`) and written without following anything (module `folder`). Owners, times, setuid bits and
//! extended attributes are not taken over: they belong to the machine the source came from. (The packer sends no
//! times; a file here has the time of its unpacking, so that what a web server derives from it changes with a
//! deploy.) Whatever fails, the folder is removed.

use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;
use tokio_util::sync::CancellationToken;

use crate::archive::{Member, MemberKind, each_member};
use crate::error::SourceError;
use crate::folder::Folder;
use crate::limits::{Limit, Limits};
use crate::meter::{Abandonable, Expanded, Gauge, Incoming};

/// Bytes read at once.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// A compressed stream may ask for so much memory (as a power of two) to look back in. 16 MiB are enough for
/// what `zstd -19` makes.
const ZSTD_WINDOW_LOG: u32 = 24;

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Members of the archive: files, folders and links.
    pub entries: u64,
    /// Files and links, each once.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of the archive as it came.
    pub compressed: u64,
}

/// Unpacks a tar (plain, gzip or zstd: its first bytes tell) into `dir`, which must be missing or empty. Dropping
/// the future ends the work.
///
/// # Errors
/// [`SourceError`]; `dir` is then gone.
pub async fn unpack<R>(reader: R, dir: &Path, limits: Limits) -> Result<Unpacked, SourceError>
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let gauge = Gauge::default();
    let abandoned = CancellationToken::new();
    let dir = dir.to_owned();
    let reader = SyncIoBridge::new(Abandonable::new(reader, abandoned.clone()));
    let _on_drop = abandoned.drop_guard();
    let work = move || unpack_blocking(reader, dir, &limits, &gauge);
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(SourceError::Io(io::Error::other(error))),
    }
}

fn unpack_blocking<R: Read>(
    reader: R,
    dir: PathBuf,
    limits: &Limits,
    gauge: &Gauge,
) -> Result<Unpacked, SourceError> {
    prepare(&dir)?;
    let outcome = unpack_into(reader, &dir, limits, gauge);
    if outcome.is_err()
        && let Err(error) = std::fs::remove_dir_all(&dir)
    {
        tracing::warn!(dir = %dir.display(), %error, "could not remove a refused source");
    }
    outcome
}

/// Makes `dir`, for nobody else to see. An existing one must be empty, or it would be somebody's.
fn prepare(dir: &Path) -> Result<(), SourceError> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(SourceError::writing(error)),
    }
    if std::fs::read_dir(dir)
        .map_err(SourceError::Io)?
        .next()
        .is_some()
    {
        return Err(SourceError::Io(io::ErrorKind::DirectoryNotEmpty.into()));
    }
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(dir, private).map_err(SourceError::Io)
}

fn unpack_into<R: Read>(
    reader: R,
    dir: &Path,
    limits: &Limits,
    gauge: &Gauge,
) -> Result<Unpacked, SourceError> {
    let incoming = Incoming {
        reader,
        gauge: gauge.clone(),
        most: limits.bytes_compressed,
    };
    let mut incoming = BufReader::with_capacity(CHUNK_BYTES, incoming);
    let plain = decompressed(&mut incoming, gauge)?;
    let expanded = Expanded {
        reader: plain,
        gauge: gauge.clone(),
        limits: *limits,
    };
    let mut archive = tar::Archive::new(BufReader::with_capacity(CHUNK_BYTES, expanded));
    let mut folder = Folder::open(dir, limits.entries)?;
    let mut unpacked = read_members(&mut archive, &mut folder, limits, gauge)?;
    // To the end: only there does a checksum tell that nothing was changed or cut.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|e| gauge.explain(&e))?;
    folder.check_links()?;
    if folder.contents() == 0 {
        return Err(SourceError::Empty);
    }
    unpacked.files = folder.contents() as u64;
    unpacked.compressed = gauge.compressed();
    Ok(unpacked)
}

fn read_members<R: Read>(
    archive: &mut tar::Archive<R>,
    folder: &mut Folder,
    limits: &Limits,
    gauge: &Gauge,
) -> Result<Unpacked, SourceError> {
    let mut unpacked = Unpacked::default();
    each_member(archive, limits, gauge, |member, entry| {
        let Member { path, kind } = member;
        unpacked.entries += 1;
        match kind {
            MemberKind::Folder => folder.folder(&path)?,
            MemberKind::Symlink(target) => folder.symlink(&path, &target)?,
            MemberKind::HardLink(target) => folder.hard_link(&path, &target)?,
            MemberKind::File { mode, size } => {
                if size > limits.bytes_expanded {
                    return Err(SourceError::TooLarge(Limit::Expanded(
                        limits.bytes_expanded,
                    )));
                }
                let mut file = folder.file(&path, mode)?;
                copy_exactly(entry, &mut file, size, gauge)?;
                unpacked.bytes += size;
            }
        }
        Ok(())
    })?;
    Ok(unpacked)
}

/// Copies a member's content: errors of the archive and of the disk are different people's.
fn copy_exactly(
    from: &mut impl Read,
    to: &mut impl Write,
    size: u64,
    gauge: &Gauge,
) -> Result<(), SourceError> {
    let mut buffer = [0; CHUNK_BYTES];
    let mut done = 0;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(gauge.explain(&error)),
        };
        to.write_all(&buffer[..n]).map_err(SourceError::writing)?;
        done += n as u64;
    }
    if done == size {
        return Ok(());
    }
    Err(SourceError::Damaged(
        "it ends in the middle of a file".into(),
    ))
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// The stream without its compression.
pub(crate) fn decompressed<'r, R: Read>(
    reader: &'r mut BufReader<R>,
    gauge: &Gauge,
) -> Result<Box<dyn Read + 'r>, SourceError> {
    let mut head = Vec::new();
    // The first 262 bytes tell a tar too: its magic is at 257.
    const HEAD_BYTES: u64 = 262;
    reader
        .by_ref()
        .take(HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(|e| gauge.explain(&e))?;
    let start = head.clone();
    let whole = io::Cursor::new(head).chain(reader);
    if start.is_empty() {
        return Err(SourceError::Empty);
    }
    if start.starts_with(GZIP) {
        return Ok(Box::new(flate2::read::MultiGzDecoder::new(whole)));
    }
    if start.starts_with(ZSTD) {
        let mut decoder = zstd::stream::read::Decoder::new(whole).map_err(SourceError::Io)?;
        decoder
            .window_log_max(ZSTD_WINDOW_LOG)
            .map_err(SourceError::Io)?;
        return Ok(Box::new(decoder));
    }
    // A tar without any member is all zeros.
    let is_tar = start.len() as u64 == HEAD_BYTES
        && (start.ends_with(b"ustar") || start.iter().all(|b| *b == 0));
    if is_tar {
        return Ok(Box::new(whole));
    }
    Err(SourceError::NotAnArchive)
}
