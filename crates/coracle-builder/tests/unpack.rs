//! Archives from anybody: what is refused, why, and that nothing of it stays.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use coracle_builder::limits::{Limit, Limits};
use coracle_builder::{Refusal, SourceError, Unpacked, unpack};
use tar::EntryType;
use tokio::io::{AsyncRead, ReadBuf};

/// An archive made header by header: the library that writes honest ones refuses to write these.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn add(mut self, kind: EntryType, path: &[u8], link: &[u8], content: &[u8]) -> Self {
        self.header(kind, path, link, content.len() as u64);
        self.0.extend_from_slice(content);
        self.pad();
        self
    }

    fn header(&mut self, kind: EntryType, path: &[u8], link: &[u8], size: u64) {
        let mut header = tar::Header::new_gnu();
        let bytes = header.as_gnu_mut().unwrap();
        bytes.name[..path.len()].copy_from_slice(path);
        bytes.linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(0o6755);
        header.set_uid(12345);
        header.set_mtime(1);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.add(EntryType::Regular, path.as_bytes(), b"", content.as_bytes())
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, path.as_bytes(), target.as_bytes(), b"")
    }

    fn hard(self, path: &str, target: &str) -> Self {
        self.add(EntryType::Link, path.as_bytes(), target.as_bytes(), b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

struct Place {
    _dir: tempfile::TempDir,
    outside: PathBuf,
    target: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "whole").unwrap();
    Place {
        outside,
        target: dir.path().join("target"),
        _dir: dir,
    }
}

async fn unpacked(archive: Vec<u8>, limits: Limits) -> (Place, Result<Unpacked, SourceError>) {
    let place = place();
    let outcome = unpack(io::Cursor::new(archive), &place.target, limits).await;
    (place, outcome)
}

/// Unpacks something that must be refused, and checks that nothing is left and nothing outside was touched.
async fn refused(archive: Vec<u8>) -> SourceError {
    refused_by(archive, Limits::default()).await
}

async fn refused_by(archive: Vec<u8>, limits: Limits) -> SourceError {
    let (place, outcome) = unpacked(archive, limits).await;
    let error = outcome.unwrap_err();
    assert!(!place.target.exists(), "the folder must be gone: {error}");
    let left: Vec<_> = fs::read_dir(&place.outside).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read(place.outside.join("victim")).unwrap(), b"whole");
    let told = error.to_problem();
    assert!(told.status < 500, "{told:?}");
    assert!(!told.detail.contains(['\0', '\u{1b}']), "{told:?}");
    error
}

fn why(error: SourceError) -> Refusal {
    match error {
        SourceError::Refused { why, .. } => why,
        other => panic!("not refused for an entry: {other:?}"),
    }
}

#[tokio::test]
async fn every_compression_is_read() {
    let tar = Raw::default()
        .add(EntryType::Directory, b"d/", b"", b"")
        .file("d/a", "hello")
        .file("./x//y/z", "deep")
        .link("d/b", "../x/y/z")
        .hard("hard", "d/a")
        .end();
    for archive in [tar.clone(), gzip(&tar), zstd(&tar)] {
        let size = archive.len() as u64;
        let (place, outcome) = unpacked(archive, Limits::default()).await;
        assert_eq!(
            outcome.unwrap(),
            Unpacked {
                entries: 5,
                files: 4,
                bytes: 9,
                compressed: size
            }
        );
        assert_eq!(fs::read(place.target.join("d/a")).unwrap(), b"hello");
        assert_eq!(fs::read(place.target.join("d/b")).unwrap(), b"deep");
        assert_eq!(fs::read(place.target.join("hard")).unwrap(), b"hello");
        let file = fs::metadata(place.target.join("d/a")).unwrap();
        assert_eq!(file.permissions().mode() & 0o7777, 0o755, "no setuid bit");
        assert_eq!(file.uid(), rustix::process::getuid().as_raw());
        assert!(file.mtime() > 1_000_000, "times are not taken over");
        let dir = fs::metadata(&place.target).unwrap();
        assert_eq!(dir.permissions().mode() & 0o777, 0o700);
    }
}

#[tokio::test]
async fn entries_that_leave_the_folder_are_refused() {
    let out = |raw: Raw| refused(raw.end());
    assert_eq!(
        why(out(Raw::default().file("../victim", "x")).await),
        Refusal::Leaves
    );
    assert_eq!(
        why(out(Raw::default().file("a/../../outside/victim", "x")).await),
        Refusal::Leaves
    );
    assert_eq!(
        why(out(Raw::default().file("/tmp/x", "x")).await),
        Refusal::Absolute
    );
    assert_eq!(
        why(out(Raw::default().add(EntryType::Directory, b"a/..", b"", b"")).await),
        Refusal::Leaves
    );
    assert!(matches!(
        why(out(Raw::default().link("a", "/etc/passwd")).await),
        Refusal::LinkLeaves(_)
    ));
    assert!(matches!(
        why(out(Raw::default().link("a", "../outside")).await),
        Refusal::LinkLeaves(_)
    ));
    assert!(matches!(
        why(out(Raw::default().link("a/b", "../..")).await),
        Refusal::LinkLeaves(_)
    ));
    assert!(matches!(
        why(out(Raw::default().link("a", "a")).await),
        Refusal::LinkLeaves(_)
    ));
    let chain = Raw::default()
        .link("d/up", "..")
        .link("e", "d/up/../outside");
    assert!(matches!(why(out(chain).await), Refusal::LinkLeaves(_)));
    let late =
        Raw::default()
            .link("a", "b/../../outside")
            .add(EntryType::Directory, b"b", b"", b"");
    assert!(matches!(why(out(late).await), Refusal::LinkLeaves(_)));
    assert!(matches!(
        why(out(Raw::default().hard("a", "outside/victim")).await),
        Refusal::HardLink(_)
    ));
    assert_eq!(
        why(out(Raw::default().hard("a", "../outside/victim")).await),
        Refusal::Leaves
    );
    assert_eq!(
        why(out(Raw::default().hard("a", "/etc/passwd")).await),
        Refusal::Absolute
    );
}

#[tokio::test]
async fn names_that_come_twice_open_no_way() {
    let out = |raw: Raw| refused(raw.end());
    let through = Raw::default().link("l", "../outside").file("l/victim", "x");
    assert!(matches!(why(out(through).await), Refusal::Through(_)));
    let inside = Raw::default()
        .file("d/f", "x")
        .link("l", "d")
        .file("l/f", "y");
    assert!(matches!(why(out(inside).await), Refusal::Through(_)));
    let onto = Raw::default().link("l", "../outside/victim").file("l", "x");
    assert_eq!(why(out(onto).await), Refusal::Twice);
    let after = Raw::default()
        .file("l", "x")
        .link("l", "../outside/victim")
        .file("l", "y");
    assert_eq!(why(out(after).await), Refusal::Twice);
    let folder = Raw::default()
        .file("d/f", "x")
        .link("d", "../outside")
        .file("d/victim", "y");
    assert_eq!(why(out(folder).await), Refusal::Twice);
    let file_as_folder = Raw::default().file("f", "x").file("f/g", "y");
    assert!(matches!(
        why(out(file_as_folder).await),
        Refusal::Through(_)
    ));
    let hard_to_link = Raw::default()
        .link("l", "../outside/victim")
        .hard("h", "l")
        .file("h", "y");
    assert!(matches!(why(out(hard_to_link).await), Refusal::HardLink(_)));

    // A file twice is what `tar --append` makes: the later one counts, and is not written through a second name.
    let (place, outcome) = unpacked(
        Raw::default()
            .file("f", "old")
            .hard("h", "f")
            .file("f", "new")
            .end(),
        Limits::default(),
    )
    .await;
    outcome.unwrap();
    assert_eq!(fs::read(place.target.join("f")).unwrap(), b"new");
    assert_eq!(fs::read(place.target.join("h")).unwrap(), b"old");
}

#[tokio::test]
async fn special_files_and_names_are_refused() {
    let one = |kind, path: &'static [u8]| refused(Raw::default().add(kind, path, b"", b"").end());
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        assert_eq!(why(one(kind, b"a").await), Refusal::Device);
    }
    assert_eq!(why(one(EntryType::GNUSparse, b"a").await), Refusal::Sparse);
    assert_eq!(why(one(EntryType::new(b'V'), b"a").await), Refusal::Unknown);
    assert_eq!(
        why(one(EntryType::Regular, b"a\xff").await),
        Refusal::NotUtf8
    );
    assert_eq!(
        why(one(EntryType::Regular, b"a\nb").await),
        Refusal::Control
    );
    assert_eq!(
        why(one(EntryType::Regular, b"a\x1b[31m").await),
        Refusal::Control
    );
    assert_eq!(why(one(EntryType::Regular, b".").await), Refusal::Name);
    assert_eq!(why(one(EntryType::Symlink, b"a").await), Refusal::Name);
    let long = vec![b'n'; 300];
    let raw = Raw::default()
        .add(EntryType::GNULongName, b"././@LongLink", b"", &long)
        .file("short", "x");
    assert_eq!(why(refused(raw.end()).await), Refusal::Name);
    let pax = Raw::default()
        .add(EntryType::XHeader, b"pax", b"", b"19 path=../../evil\n")
        .file("short", "x");
    assert_eq!(why(refused(pax.end()).await), Refusal::Leaves);
    let sparse = Raw::default()
        .add(EntryType::XHeader, b"pax", b"", b"22 GNU.sparse.major=1\n")
        .file("short", "x");
    assert_eq!(why(refused(sparse.end()).await), Refusal::Sparse);
}

#[tokio::test]
async fn long_names_are_read_and_bounded() {
    let deep = "d/".repeat(150) + "file";
    let archive = Raw::default()
        .add(
            EntryType::XGlobalHeader,
            b"pax_global_header",
            b"",
            b"30 comment=0123456789012345678\n",
        )
        .add(
            EntryType::GNULongName,
            b"././@LongLink",
            b"",
            deep.as_bytes(),
        )
        .file("short", "content")
        .end();
    let (place, outcome) = unpacked(archive, Limits::default()).await;
    outcome.unwrap();
    assert_eq!(fs::read(place.target.join(&deep)).unwrap(), b"content");

    let huge = "x".repeat(100_000);
    let archive = Raw::default()
        .add(
            EntryType::GNULongName,
            b"././@LongLink",
            b"",
            huge.as_bytes(),
        )
        .file("short", "content")
        .end();
    assert!(matches!(
        refused(archive).await,
        SourceError::TooLarge(Limit::Header(_))
    ));
    let mut claims = Raw::default();
    claims.header(EntryType::XHeader, b"pax", b"", 1 << 40);
    assert!(matches!(
        refused(claims.end()).await,
        SourceError::TooLarge(Limit::Header(_))
    ));
    let longer = "d/".repeat(600) + "file";
    let archive = Raw::default()
        .add(
            EntryType::GNULongName,
            b"././@LongLink",
            b"",
            longer.as_bytes(),
        )
        .file("short", "content")
        .end();
    assert!(matches!(
        refused(archive).await,
        SourceError::TooLarge(Limit::PathLength(1024))
    ));
    let disagree = Raw::default()
        .add(EntryType::XHeader, b"pax", b"", b"12 size=512\n")
        .file("short", "x");
    assert!(matches!(
        refused(disagree.end()).await,
        SourceError::Damaged(_)
    ));
}

#[tokio::test]
async fn more_than_the_limits_is_refused_by_name() {
    let limits = Limits::default();
    // A bomb: 80 MiB of zeros in a few KiB.
    let mut bomb = Raw::default();
    bomb.header(EntryType::Regular, b"zeros", b"", 80 << 20);
    bomb.0.resize(bomb.0.len() + (80 << 20), 0);
    let bomb = bomb.end();
    for archive in [gzip(&bomb), zstd(&bomb)] {
        let error = refused_by(archive.clone(), limits).await;
        assert!(
            matches!(error, SourceError::TooLarge(Limit::Ratio(200))),
            "{error}"
        );
        let small = Limits {
            bytes_expanded: 1 << 20,
            ..limits
        };
        let error = refused_by(archive, small).await;
        assert!(
            matches!(error, SourceError::TooLarge(Limit::Expanded(_))),
            "{error}"
        );
        assert_eq!(error.to_problem().status, 413);
        assert_eq!(
            error.to_string(),
            "the source is too large: more than 1Mi unpacked"
        );
    }
    // Trailing data counts too.
    let mut trailing = Raw::default().file("a", "x").end();
    trailing.resize(2 << 20, 0);
    let small = Limits {
        bytes_expanded: 1 << 20,
        ..limits
    };
    let error = refused_by(gzip(&trailing), small).await;
    assert!(
        matches!(error, SourceError::TooLarge(Limit::Expanded(_))),
        "{error}"
    );
    let small = Limits {
        bytes_compressed: 100,
        ..limits
    };
    let error = refused_by(trailing, small).await;
    assert!(
        matches!(error, SourceError::TooLarge(Limit::Compressed(100))),
        "{error}"
    );

    let many = (0..11)
        .fold(Raw::default(), |raw, i| raw.file(&format!("f{i}"), ""))
        .end();
    let few = Limits {
        entries: 10,
        ..limits
    };
    let error = refused_by(many, few).await;
    assert!(
        matches!(error, SourceError::TooLarge(Limit::Entries(10))),
        "{error}"
    );
    // Folders that only paths imply count.
    let implied = Raw::default().file(&("d/".repeat(20) + "f"), "").end();
    let error = refused_by(implied, few).await;
    assert!(
        matches!(error, SourceError::TooLarge(Limit::Entries(10))),
        "{error}"
    );
    // So do headers that describe no file.
    let headers = (0..50).fold(Raw::default(), |raw, _| {
        raw.add(EntryType::XGlobalHeader, b"g", b"", b"")
    });
    let error = refused_by(headers.end(), few).await;
    assert!(
        matches!(error, SourceError::TooLarge(Limit::Entries(10))),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_archive_is_told_apart_from_a_damaged_one() {
    for none in [&b"hello"[..], b"PK\x03\x04", &[7; 4096], b"<html>"] {
        assert!(matches!(
            refused(none.to_vec()).await,
            SourceError::NotAnArchive
        ));
    }
    for empty in [Vec::new(), vec![0; 1024], gzip(&[0; 1024]), gzip(b"")] {
        let error = refused(empty).await;
        assert!(matches!(error, SourceError::Empty), "{error:?}");
        assert!(error.to_problem().hint.is_some());
    }
    let folders = Raw::default()
        .add(EntryType::Directory, b"d/e/", b"", b"")
        .end();
    assert!(matches!(refused(folders).await, SourceError::Empty));

    let whole = Raw::default().file("a", &"x".repeat(10_000)).end();
    let mut wrong = whole.clone();
    wrong[0] ^= 1;
    assert!(matches!(refused(wrong).await, SourceError::Damaged(_)));
    assert!(matches!(
        refused(whole[..5000].to_vec()).await,
        SourceError::Damaged(_)
    ));
    for packed in [gzip(&whole), zstd(&whole)] {
        for cut in [packed.len() / 2, packed.len() - 1] {
            let error = refused(packed[..cut].to_vec()).await;
            assert!(matches!(error, SourceError::Damaged(_)), "{error:?}");
        }
        let mut changed = packed.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 0x55;
        assert!(matches!(refused(changed).await, SourceError::Damaged(_)));
    }
}

/// Gives some bytes, then fails as a broken connection does, or never goes on.
struct Broken {
    bytes: Vec<u8>,
    at: usize,
    hangs: bool,
}

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.bytes[self.at..];
        let n = left.len().min(buf.remaining());
        if n == 0 && self.hangs {
            return Poll::Pending;
        }
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        buf.put_slice(&left[..n]);
        self.at += n;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_broken_connection_is_not_a_damaged_archive() {
    let archive = gzip(&Raw::default().file("a", &"x".repeat(10_000)).end());
    let place = place();
    let reader = Broken {
        at: 0,
        bytes: archive[..archive.len() - 9].to_vec(),
        hangs: false,
    };
    let error = unpack(reader, &place.target, Limits::default())
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::Interrupted(_)), "{error:?}");
    assert!(!place.target.exists());
}

#[tokio::test]
async fn whoever_stops_waiting_leaves_nothing() {
    let archive = gzip(&Raw::default().file("a", &"x".repeat(10_000)).end());
    let place = place();
    let reader = Broken {
        at: 0,
        bytes: archive[..archive.len() - 9].to_vec(),
        hangs: true,
    };
    let work = unpack(reader, &place.target, Limits::default());
    let made = async {
        while !place.target.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = work => panic!("it must wait for the rest: {outcome:?}"),
        () = made => {}
    }
    let gone = async {
        while place.target.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_folder_that_has_something_is_left_alone() {
    let place = place();
    let archive = Raw::default().file("a", "x").end();
    let error = unpack(io::Cursor::new(archive), &place.outside, Limits::default())
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::Io(_)));
    assert_eq!(fs::read(place.outside.join("victim")).unwrap(), b"whole");
}

/// A small tmpfs in a mount namespace of its own needs root; elsewhere `/dev/full` stands for it.
#[tokio::test]
async fn a_full_disk_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(dir.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        let error = io::Error::from_raw_os_error(28);
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        return;
    }
    let content: String = (0..100_000).map(|i| format!("{i}\n")).collect();
    let archive = Raw::default().file("big", &content).end();
    let target = dir.path().join("target");
    let outcome = unpack(io::Cursor::new(gzip(&archive)), &target, Limits::default()).await;
    let gone = !target.exists();
    let unmounted = std::process::Command::new("umount")
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(unmounted.success());
    let error = outcome.unwrap_err();
    assert!(matches!(error, SourceError::DiskFull), "{error:?}");
    assert_eq!(error.to_problem().status, 507);
    assert!(gone);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    /// Whatever the bytes: no panic, nothing outside touched, and nothing left after a refusal.
    #[test]
    fn no_mangled_archive_gets_out(
        changes in proptest::collection::vec((0..6000usize, 0..=255u8), 0..40),
        seal in proptest::bool::ANY,
    ) {
        let mut archive = Raw::default()
            .add(EntryType::XHeader, b"pax", b"", b"11 path=a/b\n")
            .file("x", "hello")
            .link("d/l", "../a/b")
            .hard("h", "a/b")
            .add(EntryType::GNULongName, b"l", b"", b"some/longer/name")
            .file("y", "z")
            .end();
        for (at, byte) in changes {
            let at = at % archive.len();
            archive[at] = byte;
        }
        if seal {
            // With checksums right again the changes get further.
            for block in archive.chunks_mut(512).filter(|b| b.len() == 512 && b.iter().any(|x| *x != 0)) {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (place, outcome) = runtime.block_on(unpacked(archive, Limits::default()));
        proptest::prop_assert_eq!(outcome.is_ok(), place.target.exists());
        proptest::prop_assert_eq!(fs::read_dir(&place.outside).unwrap().count(), 1);
    }
}
