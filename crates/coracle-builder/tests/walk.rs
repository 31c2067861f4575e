//! Archives that are read and not unpacked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write as _;

use coracle_builder::{Limits, SourceError, walk};

fn tar(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_link_name("target").unwrap();
        }
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Paths and contents, each of `most` bytes at most.
fn read(archive: &[u8], limits: &Limits, most: u64) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
    let mut seen = Vec::new();
    walk(archive, limits, |file| {
        let path = file.path.to_owned();
        seen.push((path, file.whole(most)?));
        Ok::<_, SourceError>(())
    })?;
    Ok(seen)
}

const FILE: tar::EntryType = tar::EntryType::Regular;

#[test]
fn files_come_in_their_order_whatever_is_read_of_them() {
    let plain = tar(&[
        ("b/", tar::EntryType::Directory, b""),
        ("b/./two", FILE, b"two"),
        ("a", FILE, &[7; 200_000]),
        ("empty", FILE, b""),
    ]);
    for archive in [plain.clone(), zstd(&plain)] {
        let seen = read(&archive, &Limits::default(), 1 << 20).unwrap();
        let brief: Vec<_> = seen
            .iter()
            .map(|(path, content)| (path.as_str(), content.len()))
            .collect();
        assert_eq!(brief, [("b/two", 3), ("a", 200_000), ("empty", 0)]);
        let mut paths = Vec::new();
        walk(archive.as_slice(), &Limits::default(), |file| {
            paths.push(file.path.to_owned());
            Ok::<_, SourceError>(())
        })
        .unwrap();
        assert_eq!(paths, ["b/two", "a", "empty"]);
    }
}

#[test]
fn what_is_no_plain_file_within_the_bounds_is_refused() {
    let limits = Limits::default();
    for (what, archive) in [
        ("a link", tar(&[("a", tar::EntryType::Symlink, b"")])),
        ("a hard link", tar(&[("a", tar::EntryType::Link, b"")])),
        ("a device", tar(&[("a", tar::EntryType::Block, b"")])),
        ("a way out", tar(&[("../a", FILE, b"x")])),
        ("an absolute way", tar(&[("/a", FILE, b"x")])),
        ("nothing", Vec::new()),
        ("nonsense", b"nonsense".repeat(100)),
        ("too much for one", tar(&[("a", FILE, &[0; 2048])])),
        ("a bomb", zstd(&tar(&[("a", FILE, &vec![0; 40 << 20])]))),
    ] {
        assert!(read(&archive, &limits, 1024).is_err(), "{what}");
    }
    let many = tar(&[("a", FILE, b""), ("b", FILE, b""), ("c", FILE, b"")]);
    let of = |entries| Limits { entries, ..limits };
    assert!(read(&many, &of(2), 1024).is_err());
    assert_eq!(read(&many, &of(3), 1024).unwrap().len(), 3);
    // What is not read by the visitor is counted all the same.
    let bomb = zstd(&tar(&[("a", FILE, &vec![0; 40 << 20])]));
    let skipped = walk(bomb.as_slice(), &limits, |_| Ok::<_, SourceError>(()));
    assert!(matches!(skipped, Err(SourceError::TooLarge(_))));
}

#[test]
fn an_archive_that_was_cut_anywhere_is_not_whole() {
    let plain = tar(&[("a", FILE, b"some content"), ("b", FILE, &[9; 5000])]);
    let whole = zstd(&plain);
    for end in 0..whole.len() {
        let cut = read(&whole[..end], &Limits::default(), 1 << 20);
        assert!(cut.is_err(), "cut at {end} of {}", whole.len());
    }
    assert_eq!(read(&whole, &Limits::default(), 1 << 20).unwrap().len(), 2);
}
