//! What an import takes of the machine, whatever it is sent.

use std::io::Write as _;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::archive::import;
use crate::build::SmallDisk;
use crate::support::{Options, Platform};

/// The most memory that this process ever had at once, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib >> 10
}

/// Text of so many bytes that is a list of many short strings, and does not compress to nothing.
fn short_strings(bytes: usize) -> String {
    let mut text = String::from("[");
    let mut state: u32 = 1;
    while text.len() + 5 < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend(['"', char::from(b'a' + (state >> 24) as u8 % 26), '"', ',']);
    }
    text.push_str("\"a\"]");
    text
}

/// An archive without a seal that is as it should be, but for how much there is in its records: each has a list of short
/// strings where `place` is.
fn archive_of(records: usize, bytes: usize) -> Vec<u8> {
    let plain = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    let mut tar = tar::Builder::new(plain);
    let mut files = Vec::new();
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, path, content).unwrap();
        let sha256 = hex::encode(Sha256::digest(content));
        files.push(json!({"path": path, "size": content.len(), "sha256": sha256}));
    };
    let header = json!({"format": "coracle-export", "version": 1, "made": "2026-11-23T13:57:43Z",
        "platform": "0.1.0", "registry_host": "127.0.0.1:7070"});
    add("coracle-export.json", header.to_string().as_bytes());
    let projects = json!([{"name": "shop", "description": ""}]);
    add("projects.json", projects.to_string().as_bytes());
    let long = short_strings(bytes);
    for n in 0..records {
        let name = format!("app{n}");
        let release = json!({"kind": "Release", "metadata": {"name": "v1", "created": "2026-11-23T13:57:43Z"},
            "spec": {"app": name, "number": 1, "image": "shop:1", "origin": {"from": "image"}, "created_by": "x",
                "config": {"release_command": "LONG"}},
            "status": {}});
        let app = json!({"project": "shop", "name": name, "scale": {}, "domains": [], "env": {}, "live": 1,
            "last_release": 1, "last_build": 0, "releases": [release], "images": [], "volumes": []});
        let text = app.to_string().replace("\"LONG\"", &long);
        add(&format!("apps/shop/{name}.json"), text.as_bytes());
    }
    let index = json!({ "files": files }).to_string();
    let mut header = tar::Header::new_ustar();
    header.set_size(index.len() as u64);
    tar.append_data(&mut header, "manifest.json", index.as_bytes())
        .unwrap();
    let mut encoder = tar.into_inner().unwrap();
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

/// The most that one may take. What is sent is in this process two or three times. Without bounds on values, records of 60 MiB
/// took 980 MiB.
const MOST_MIB: u64 = 120;

#[tokio::test]
async fn an_archive_of_many_short_strings_takes_little_memory_before_it_is_refused() {
    let here = Platform::new().await;
    let root = here.admin().await;
    // Half of what records may have, but for what they are made of; and as many values as there may be, in apps that cannot be.
    for (records, bytes, status) in [(4, (8 << 20) - 1024, 413), (4, 990_000, 422)] {
        let archive = archive_of(records, bytes);
        let before = peak();
        let answer = import(&root, "?check=true", None, &archive).await;
        let taken = peak() - before;
        let sent = archive.len() >> 20;
        println!(
            "{records} records of {bytes} bytes, {sent} MiB sent, {before} MiB before, {taken} MiB more"
        );
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(taken < MOST_MIB, "{taken} MiB");
    }
}

#[tokio::test]
async fn an_import_ends_before_the_disk_is_full() {
    let disk = SmallDisk::new();
    let here = Platform::with(Options {
        data_dir: Some(disk.path().to_owned()),
        ..Options::default()
    })
    .await;
    let root = here.admin().await;
    let free = || {
        let stat = rustix::fs::statvfs(disk.path()).unwrap();
        stat.f_bavail * stat.f_frsize
    };
    let before = free();
    let mut noise = vec![0; 3_000_000];
    getrandom::fill(&mut noise).unwrap();
    let problem = import(&root, "", None, &noise)
        .await
        .problem(507, "disk_full");
    let detail = problem["detail"].as_str().unwrap();
    for part in [
        "room for the export",
        "free",
        "kept for the platform itself",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
    // Nothing of it is left.
    assert_eq!(free(), before);
    // With what fits it goes on to the next check.
    let fits = import(&root, "", None, &noise[..300_000]).await;
    fits.problem(422, "invalid_source");
}
