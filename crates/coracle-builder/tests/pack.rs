//! A folder, packed and unpacked, is the same folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use coracle_builder::limits::{Limit, Limits};
use coracle_builder::pack::{PackProgress, pack_into};
use coracle_builder::scan::SkipReason;
use coracle_builder::{PackError, pack, plan, prune, scan, unpack};
use futures::TryStreamExt as _;
use proptest::prelude::*;
use tokio_util::io::StreamReader;

/// What a path is, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(Vec<u8>, bool),
    Link(String),
}

fn write(root: &Path, tree: &BTreeMap<String, Node>) {
    for (path, node) in tree {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match node {
            Node::Folder => fs::create_dir_all(&path).unwrap(),
            Node::Link(target) => symlink(target, &path).unwrap(),
            Node::File(content, executable) => {
                fs::write(&path, content).unwrap();
                let mode = if *executable { 0o755 } else { 0o640 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    }
}

fn read(root: &Path) -> BTreeMap<String, Node> {
    fn walk(dir: &Path, prefix: &str, into: &mut BTreeMap<String, Node>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            let node = if metadata.is_dir() {
                walk(&entry.path(), &format!("{path}/"), into);
                Node::Folder
            } else if metadata.is_symlink() {
                Node::Link(
                    fs::read_link(entry.path())
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                )
            } else {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                Node::File(fs::read(entry.path()).unwrap(), executable)
            };
            into.insert(path, node);
        }
    }
    let mut tree = BTreeMap::new();
    walk(root, "", &mut tree);
    tree
}

fn paths(root: &Path) -> Vec<String> {
    let is_content = |(_, node): &(String, Node)| *node != Node::Folder;
    read(root)
        .into_iter()
        .filter(is_content)
        .map(|(path, _)| path)
        .collect()
}

fn source(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tree = files
        .iter()
        .map(|(path, content)| {
            (
                (*path).to_owned(),
                Node::File(content.as_bytes().to_vec(), false),
            )
        })
        .collect();
    write(dir.path(), &tree);
    dir
}

async fn there_and_back(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    let stream = pack(scan(from, &Limits::default()).unwrap(), |_| {});
    unpack(StreamReader::new(stream), to.path(), Limits::default())
        .await
        .unwrap();
    to
}

fn archive(from: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack_into(&scan(from, &Limits::default()).unwrap(), &mut bytes, |_| {}).unwrap();
    bytes
}

#[tokio::test]
async fn ignored_files_stay_behind_and_needed_ones_come() {
    let dir = source(&[
        (".dockerignore", "*\n!src\nsrc/*.log\n"),
        ("Procfile", "web: x"),
        ("coracle.toml", "[build]\ndockerfile = \"docker/File\""),
        ("docker/File", "FROM x"),
        ("docker/other", ""),
        ("src/a.py", ""),
        ("src/a.log", ""),
        ("secret", ""),
        (".git/config", ""),
        ("src/.git", "gitdir: elsewhere"),
    ]);
    let back = there_and_back(dir.path()).await;
    let sent = [
        ".dockerignore",
        "Procfile",
        "coracle.toml",
        "docker/File",
        "src/a.py",
    ];
    assert_eq!(paths(back.path()), sent);

    // A more specific ignore file comes first, as in Docker.
    fs::write(
        dir.path().join("docker/File.dockerignore"),
        "secret\n**/*.log",
    )
    .unwrap();
    let back = there_and_back(dir.path()).await;
    let sent = [
        ".dockerignore",
        "Procfile",
        "coracle.toml",
        "docker/File",
        "docker/File.dockerignore",
        "docker/other",
        "src/a.py",
    ];
    assert_eq!(paths(back.path()), sent);
}

#[tokio::test]
async fn an_archive_from_elsewhere_is_pruned() {
    let dir = source(&[
        (".dockerignore", "secret\nnode_modules\n!node_modules/keep"),
        ("Dockerfile", "FROM x"),
        ("secret", "key"),
        ("node_modules/a/b", ""),
        ("node_modules/keep", ""),
        (".git/HEAD", ""),
        ("app.py", ""),
    ]);
    fs::create_dir(dir.path().join("empty")).unwrap();
    let plan = plan(dir.path()).unwrap();
    assert_eq!(prune(&plan).unwrap(), 3);
    assert_eq!(
        paths(dir.path()),
        [".dockerignore", "Dockerfile", "app.py", "node_modules/keep"]
    );
    assert!(dir.path().join("empty").is_dir());
    assert!(!dir.path().join(".git").exists());
    assert!(!dir.path().join("node_modules/a").exists());
    assert_eq!(prune(&plan).unwrap(), 0, "done once is done");
}

#[test]
fn the_same_content_makes_the_same_bytes() {
    let files = [("b/c", "1"), ("a", "2"), ("Dockerfile", "FROM x")];
    let one = source(&files);
    let mut turned = files;
    turned.reverse();
    let other = source(&turned);
    let old = fs::File::open(other.path().join("a")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::set_permissions(other.path().join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(archive(one.path()), archive(other.path()));
    fs::write(other.path().join("a"), "3").unwrap();
    assert_ne!(archive(one.path()), archive(other.path()));
}

#[tokio::test]
async fn what_cannot_be_sent_is_skipped_and_told() {
    let dir = source(&[("Dockerfile", "FROM x"), ("d/x", "")]);
    let fifo = dir.path().join("pipe");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
    )
    .unwrap();
    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    symlink("/usr/bin/python3", dir.path().join("venv-python")).unwrap();
    symlink("d/x", dir.path().join("inside")).unwrap();
    let found = scan(dir.path(), &Limits::default()).unwrap();
    let mut skipped: Vec<_> = found
        .skipped
        .iter()
        .map(|s| (s.path.as_str(), s.why))
        .collect();
    skipped.sort_unstable_by_key(|(path, _)| *path);
    assert_eq!(
        skipped,
        [
            ("pipe", SkipReason::Special),
            ("socket", SkipReason::Special),
            ("venv-python", SkipReason::LinkLeaves)
        ]
    );
    drop(socket);
    let back = there_and_back(dir.path()).await;
    assert_eq!(paths(back.path()), ["Dockerfile", "d/x", "inside"]);
}

#[test]
fn what_would_be_refused_is_told_before_it_is_sent() {
    let limits = Limits::default();
    let empty = source(&[]);
    assert!(matches!(
        scan(empty.path(), &limits),
        Err(PackError::Empty(_))
    ));
    let ignored = source(&[("a", "")]);
    fs::create_dir(ignored.path().join("d")).unwrap();
    fs::rename(ignored.path().join("a"), ignored.path().join("d/.git")).unwrap();
    assert!(matches!(
        scan(ignored.path(), &limits),
        Err(PackError::Empty(_))
    ));
    assert!(matches!(
        scan(&empty.path().join("none"), &limits),
        Err(PackError::NoFolder(..))
    ));

    let wrong = source(&[("coracle.toml", "prot = 1")]);
    let told = scan(wrong.path(), &limits).unwrap_err().to_string();
    assert!(told.starts_with("coracle.toml:1:1: prot"), "{told}");
    let wrong = source(&[(".dockerignore", "a\n[")]);
    let told = scan(wrong.path(), &limits).unwrap_err().to_string();
    assert!(told.starts_with(".dockerignore:2:"), "{told}");

    // A sparse file of 2 GB: nothing of it is read.
    let big = source(&[("Dockerfile", "FROM x"), ("data/model.bin", "")]);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(big.path().join("data/model.bin"))
        .unwrap();
    file.set_len(2_000_000_000).unwrap();
    let error = scan(big.path(), &limits).unwrap_err();
    assert!(
        matches!(&error, PackError::TooLarge { limit: Limit::Expanded(_), largest, .. } if largest == "data")
    );
    assert_eq!(
        error.to_string(),
        "the source is too large: more than 1Gi unpacked; the largest part is \"data\" with 1908Mi; leave out what the build does not need with .dockerignore"
    );
    fs::write(big.path().join(".dockerignore"), "data").unwrap();
    assert_eq!(scan(big.path(), &limits).unwrap().files, 2);

    let few = Limits {
        entries: 2,
        ..limits
    };
    let many = source(&[("a", ""), ("b", ""), ("c", "")]);
    assert!(matches!(
        scan(many.path(), &few),
        Err(PackError::TooLarge {
            limit: Limit::Entries(2),
            ..
        })
    ));
    let odd = source(&[("a\nb", ""), ("x", "")]);
    assert!(matches!(
        scan(odd.path(), &limits),
        Err(PackError::BadName(_))
    ));
}

#[test]
fn files_that_change_meanwhile_are_named() {
    let dir = source(&[("Dockerfile", "FROM x"), ("log", "12345")]);
    let found = scan(dir.path(), &Limits::default()).unwrap();
    fs::write(dir.path().join("log"), "1234567").unwrap();
    pack_into(&found, std::io::sink(), |_| {}).unwrap();
    fs::write(dir.path().join("log"), "123").unwrap();
    let error = pack_into(&found, std::io::sink(), |_| {}).unwrap_err();
    assert!(
        matches!(&error, PackError::Changed(path) if path == "log"),
        "{error}"
    );
    fs::remove_file(dir.path().join("log")).unwrap();
    symlink("Dockerfile", dir.path().join("log")).unwrap();
    let error = pack_into(&found, std::io::sink(), |_| {}).unwrap_err();
    assert!(
        matches!(&error, PackError::Unreadable { path, .. } if path == "log"),
        "{error}"
    );
}

#[tokio::test]
async fn progress_ends_at_what_the_scan_said() {
    let dir = source(&[("Dockerfile", "FROM x"), ("big", &"x".repeat(300_000))]);
    let found = scan(dir.path(), &Limits::default()).unwrap();
    let (files, bytes) = (found.files, found.bytes);
    let told = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&told);
    let stream = pack(found, move |progress| into.lock().unwrap().push(progress));
    let pieces: Vec<_> = stream.try_collect().await.unwrap();
    assert!(!pieces.is_empty());
    let told = told.lock().unwrap();
    assert!(told.is_sorted_by_key(|p| p.bytes));
    assert_eq!(told.last(), Some(&PackProgress { files, bytes }));
}

#[tokio::test]
async fn a_failure_ends_the_stream_with_its_reason() {
    let dir = source(&[("Dockerfile", "FROM x"), ("a", "x")]);
    let found = scan(dir.path(), &Limits::default()).unwrap();
    fs::remove_file(dir.path().join("a")).unwrap();
    let error = pack(found, |_| {})
        .try_collect::<Vec<_>>()
        .await
        .unwrap_err();
    let cause = error.get_ref().unwrap().downcast_ref::<PackError>();
    assert!(matches!(cause, Some(PackError::Unreadable { path, .. }) if path == "a"));
}

fn tree() -> impl Strategy<Value = BTreeMap<String, Node>> {
    let name = "[a-z é._-]{1,6}".prop_filter("a name", |n| n != "." && n != ".." && n != ".git");
    let path = prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"));
    let node = prop_oneof![
        4 => (prop::collection::vec(any::<u8>(), 0..200), any::<bool>()).prop_map(|(c, x)| Node::File(c, x)),
        1 => Just(Node::Folder),
        1 => "[a-z]{1,4}(/[a-z]{1,3})?".prop_map(Node::Link),
    ];
    prop::collection::vec((path, node), 1..20).prop_map(|list| {
        let mut tree = BTreeMap::from([(
            "Dockerfile".to_owned(),
            Node::File(b"FROM x".to_vec(), false),
        )]);
        for (path, node) in list {
            let below = |a: &str, b: &str| b.strip_prefix(a).is_some_and(|r| r.starts_with('/'));
            let clashes = tree.iter().any(|(other, n)| {
                *other == path || below(&path, other) || (*n != Node::Folder && below(other, &path))
            });
            // Every name that a path goes through is a folder of its own in what is read back.
            let folders: Vec<String> = path
                .match_indices('/')
                .map(|(i, _)| path[..i].to_owned())
                .collect();
            if !clashes
                && folders
                    .iter()
                    .all(|f| tree.get(f).is_none_or(|n| *n == Node::Folder))
            {
                tree.extend(folders.into_iter().map(|f| (f, Node::Folder)));
                tree.insert(path, node);
            }
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_tree_survives_the_way(tree in tree()) {
        let from = tempfile::tempdir().unwrap();
        write(from.path(), &tree);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = scan(from.path(), &Limits::default()).unwrap();
        let expected: BTreeMap<_, _> = tree
            .into_iter()
            .filter(|(path, _)| !found.skipped.iter().any(|s| s.path == *path))
            .collect();
        let back = runtime.block_on(there_and_back(from.path()));
        prop_assert_eq!(read(back.path()), expected);
    }
}
