//! What an import does about what is there already, what is not honest, and what cuts it off.

use coracle_control::archive::seal::Seal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::archive::{
    Entries, PASSPHRASE, archive, entries, export, import, packed, report, sealed_with, secret,
    shop,
};
use crate::support::{As, Options, Platform, WriteBudget, files};

#[tokio::test]
async fn what_is_here_already_is_left_alone_unless_it_is_wished() {
    let (_there, admin) = shop().await;
    let exported = export(&admin, "?projects=shop", Some(PASSPHRASE)).await;
    let here = Platform::new().await;
    let root = here.admin().await;
    root.make_project("shop").await;
    root.make_app("shop", "hello").await;
    let releases = "projects/shop/apps/hello/releases";
    root.post(releases, &json!({"image": "own:1"}))
        .await
        .ok(202);
    let refused = import(&root, "", Some(PASSPHRASE), &exported.body).await;
    let problem = refused.problem(409, "conflict");
    assert!(
        problem["detail"].as_str().unwrap().contains("shop/hello"),
        "{problem}"
    );
    assert!(problem["hint"].as_str().unwrap().contains("--on-conflict"));
    let looked = import(&root, "?check=true", Some(PASSPHRASE), &exported.body).await;
    assert_eq!(report(&looked).1[1], "App hello: conflict");
    let skipped = import(&root, "?on_conflict=skip", Some(PASSPHRASE), &exported.body).await;
    let (skipped, items) = report(&skipped);
    assert_eq!(
        (items[1].as_str(), &skipped["blobs"]),
        ("App hello: skipped", &json!(0))
    );
    assert_eq!(
        root.get(releases).await.ok(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let replaced = import(
        &root,
        "?on_conflict=replace",
        Some(PASSPHRASE),
        &exported.body,
    )
    .await;
    assert_eq!(report(&replaced).1[1], "App hello: replaced");
    let all = root.get(releases).await.ok(200);
    let all = all["items"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    assert!(
        all[1]["spec"]["image"]
            .as_str()
            .unwrap()
            .contains("/shop/hello@sha256:")
    );
    assert_eq!(secret(&here).await, "hunter2");
    // Once is enough.
    let again = import(
        &root,
        "?on_conflict=replace",
        Some(PASSPHRASE),
        &exported.body,
    )
    .await;
    assert_eq!(report(&again).1[1], "App hello: unchanged");
    // A host name is never taken from anybody.
    let other = Platform::new().await;
    let root = other.admin().await;
    root.make_app("default", "first").await;
    root.post(
        "projects/default/apps/first/domains",
        &json!({"host": "shop.example.com"}),
    )
    .await
    .ok(201);
    for query in ["", "?on_conflict=replace"] {
        let refused = import(&root, query, Some(PASSPHRASE), &exported.body).await;
        let problem = refused.problem(409, "conflict");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("belongs to app default/first")
        );
    }
    root.get("projects/shop").await.problem(404, "not_found");
    import(&root, "?on_conflict=never", None, &exported.body)
        .await
        .about(422, "invalid_field", "on_conflict");
}

/// What somebody may have done to an archive, and what the answer says of it.
struct Spoilt {
    what: &'static str,
    says: &'static str,
    archive: Vec<u8>,
}

fn at(entries: &Entries, begin: &str) -> usize {
    let mut all = entries.iter();
    all.position(|(path, _)| path.starts_with(begin)).unwrap()
}

/// The files with one text for another in that file.
pub(crate) fn with(good: &Entries, path: &str, from: &str, to: &str) -> Entries {
    let mut entries = good.clone();
    let i = at(&entries, path);
    let text = String::from_utf8(entries[i].1.clone()).unwrap();
    assert!(text.contains(from), "{path} {from}: {text}");
    entries[i].1 = text.replace(from, to).into_bytes();
    entries
}

/// Cut, changed or something else altogether: as whatever carries files may do.
fn damaged(whole: &[u8], good: &Entries, seal: &Seal) -> Vec<Spoilt> {
    let mut all = Vec::new();
    let mut add = |what, says, archive| {
        all.push(Spoilt {
            what,
            says,
            archive,
        });
    };
    for part in [1, 10, 50, 99] {
        let end = whole.len() * part / 100;
        add("cut", "damaged or was cut off", whole[..end].to_vec());
    }
    let short = whole[..whole.len() - 1].to_vec();
    add("without its last byte", "damaged or was cut off", short);
    add("empty", "empty", Vec::new());
    add("no archive", "no export", b"nonsense".repeat(100));
    let mut flipped = whole.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    add("flipped", "damaged", flipped);
    let mut entries = good.clone();
    entries.truncate(entries.len() - 2);
    add("without manifest", "cut off", archive(&entries));
    let mut entries = good.clone();
    entries.remove(1);
    add(
        "a file less than listed",
        "projects.json\\\" is missing",
        archive(&entries),
    );
    let changed = with(good, "apps/shop", "blue", "rosy");
    add(
        "a record changed",
        "hello.json\\\" is not as the manifest",
        archive(&changed),
    );
    let mut entries = good.clone();
    let i = at(&entries, "blobs");
    entries[i].1 = b"[]".to_vec();
    add(
        "a blob that is another",
        "not what its name says",
        packed(entries, Some(seal)),
    );
    all
}

/// Made by somebody who knows the format and the passphrase, and means no good.
fn hostile(good: &Entries, seal: &Seal) -> Vec<Spoilt> {
    let mut all = Vec::new();
    let mut add = |what, says, archive| {
        all.push(Spoilt {
            what,
            says,
            archive,
        });
    };
    let memory = "\"memory\":65536";
    for (what, says, path, from, to) in [
        (
            "another format",
            "no export",
            "coracle-export",
            "coracle-export\"",
            "other\"",
        ),
        (
            "a newer version",
            "version 2",
            "coracle-export",
            "\"version\":1",
            "\"version\":2",
        ),
        (
            "no version",
            "version 0",
            "coracle-export",
            "\"version\":1",
            "\"version\":0",
        ),
        (
            "a greedy seal",
            "seal",
            "coracle-export",
            memory,
            "\"memory\":4294967295",
        ),
        (
            "an app of another name",
            "app shop/other: release v1: it is one of app hello",
            "apps/shop",
            "\"name\":\"hello\"",
            "\"name\":\"other\"",
        ),
        (
            "a name that leads elsewhere",
            "hello.json",
            "apps/shop",
            "\"app\":\"hello\"",
            "\"app\":\"../x\"",
        ),
        (
            "no such project",
            "its project is not",
            "projects",
            "\"shop\"",
            "\"shap\"",
        ),
        (
            "no such live release",
            "live release v9",
            "apps/shop",
            "\"live\":2",
            "\"live\":9",
        ),
        (
            "a release of another app",
            "app other",
            "apps/shop",
            "\"app\":\"hello\"",
            "\"app\":\"other\"",
        ),
        (
            "a release beyond the last",
            "v1 to v1",
            "apps/shop",
            "\"last_release\":2",
            "\"last_release\":1",
        ),
        (
            "counted to the end",
            "counted to 1000000000 at most",
            "apps/shop",
            "\"last_release\":2",
            "\"last_release\":4294967295",
        ),
        (
            "a blob of another size",
            "a blob of its image is not",
            "apps/shop",
            "\"size\":2",
            "\"size\":3",
        ),
        (
            "an image of another project",
            "not one of project shop",
            "apps/shop",
            "\"shop/hello\"",
            "\"bank/hello\"",
        ),
        (
            "a manifest that is another",
            "content of a manifest",
            "apps/shop",
            "\\\"layers\\\":[]",
            "\\\"layers\\\":7",
        ),
        (
            "a secret of another name",
            "does not open",
            "apps/shop",
            "\"KEY\"",
            "\"KEX\"",
        ),
        (
            "too many pods",
            "replicas",
            "apps/shop",
            "\"replicas\":1",
            "\"replicas\":100000",
        ),
        (
            "scaled too far",
            "pods",
            "apps/shop",
            "{\"web\":3}",
            "{\"web\":100000}",
        ),
        (
            "no field",
            "hello.json",
            "apps/shop",
            "\"last_build\"",
            "\"last_bild\"",
        ),
        (
            "a host name of two",
            "twice",
            "apps/shop",
            "[\"shop.example.com\"]",
            "[\"a.example.com\",\"a.example.com\"]",
        ),
    ] {
        add(what, says, packed(with(good, path, from, to), Some(seal)));
    }
    let inserted = |at: usize, path: &str, content: &[u8]| {
        let mut entries = good.clone();
        entries.insert(at, (path.to_owned(), content.to_vec()));
        packed(entries, Some(seal))
    };
    let mut entries = good.clone();
    entries.swap(0, 1);
    add(
        "a header that is not first",
        "no export",
        packed(entries, Some(seal)),
    );
    let twice = good[at(good, "projects")].1.clone();
    add(
        "a file twice",
        "twice",
        inserted(1, "projects.json", &twice),
    );
    add(
        "a file of nobody",
        "not part of an export",
        inserted(2, "evil.sh", b"x"),
    );
    let hello = good[at(good, "apps/shop")].1.clone();
    add(
        "an app in the file of another",
        "is of another app",
        inserted(4, "apps/shop/other.json", &hello),
    );
    add("a way out", "leaves", inserted(2, "../evil", b"x"));
    add(
        "a way out of the blobs",
        "leaves",
        inserted(2, "blobs/../../evil", b"x"),
    );
    add(
        "an absolute way",
        "absolute",
        inserted(2, "/etc/evil", b"x"),
    );
    let last = good.len() - 1;
    let nobody = format!("blobs/sha256/{}", hex::encode(Sha256::digest(b"x")));
    add(
        "a blob of nobody",
        "no image has",
        inserted(last, &nobody, b"x"),
    );
    add(
        "a blob of no digest",
        "not named by a digest",
        inserted(last, "blobs/sha256/00", b"x"),
    );
    add("a blob after the manifest", "after the manifest", {
        let mut entries = good.clone();
        entries.push((nobody.clone(), b"x".to_vec()));
        archive(&entries)
    });
    let mut entries = good.clone();
    let i = at(&entries, "projects");
    entries[i].1 = vec![b' '; 20 << 20];
    add(
        "a record that is huge",
        "a record of the export",
        packed(entries, Some(seal)),
    );
    add(
        "a bomb",
        "too large",
        inserted(2, &nobody, &vec![0; 64 << 20]),
    );
    let mut link = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_cksum();
    link.append_link(&mut header, "coracle-export.json", "/etc/passwd")
        .unwrap();
    let link = zstd::encode_all(&*link.into_inner().unwrap(), 1).unwrap();
    add("a link", "coracle-export.json", link);
    all
}

#[tokio::test]
async fn an_archive_that_is_not_whole_or_not_honest_changes_nothing() {
    let (there, admin) = shop().await;
    let exported = export(&admin, "", Some(PASSPHRASE)).await;
    let good = entries(&exported.body);
    let before = there.control.objects.store().revision().await.unwrap();
    let blobs = files(&there.data.join("registry/blobs"));
    let mut faults = Vec::new();
    let seal = sealed_with(&good).await;
    for spoilt in damaged(&exported.body, &good, &seal)
        .into_iter()
        .chain(hostile(&good, &seal))
    {
        let query = "?on_conflict=replace";
        let answer = import(&admin, query, Some(PASSPHRASE), &spoilt.archive).await;
        let text = answer.text();
        let refused = [413, 422].contains(&answer.status)
            && text.contains(spoilt.says)
            && text.len() < 600
            && !text.contains("hunter2");
        if !refused {
            faults.push(format!("{}, not {:?}: {text}", spoilt.what, spoilt.says));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let after = there.control.objects.store().revision().await.unwrap();
    assert_eq!(after, before);
    assert_eq!(files(&there.data.join("registry/blobs")), blobs);
    // What was not touched is taken, also packed by somebody else.
    let whole = import(&admin, "", Some(PASSPHRASE), &packed(good, Some(&seal))).await;
    assert_eq!(whole.status, 200, "{}", whole.text());
}

/// All that an import makes, and nothing that differs from one to the next.
async fn state(root: &As) -> Value {
    let path = "projects/shop/apps/hello";
    let app = root.get(path).await.ok(200);
    let releases = root.get(&format!("{path}/releases")).await.ok(200);
    let releases: Vec<_> = releases["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|release| {
            json!([
                release["metadata"]["name"],
                release["status"]["phase"],
                release["spec"]["config"]
            ])
        })
        .collect();
    let domains = root.get(&format!("{path}/domains")).await.ok(200);
    let hosts: Vec<_> = domains["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|domain| domain["metadata"]["name"].clone())
        .collect();
    json!([
        app["spec"],
        releases,
        hosts,
        root.get(&format!("{path}/env")).await.ok(200)
    ])
}

#[tokio::test]
async fn an_import_that_is_cut_off_at_any_write_is_ended_by_the_next() {
    let (_there, admin) = shop().await;
    let exported = export(&admin, "?users=true", Some(PASSPHRASE)).await;
    let whole = Platform::new().await;
    let root = whole.admin().await;
    report(&import(&root, "", Some(PASSPHRASE), &exported.body).await);
    let expected = state(&root).await;
    let mut cut_off = 0;
    for writes in 0.. {
        let budget = WriteBudget::default();
        let here = Platform::with(Options {
            writes: Some(budget.clone()),
            ..Options::default()
        })
        .await;
        let root = here.admin().await;
        root.get("session").await.ok(200);
        budget.set(writes);
        let cut = import(&root, "", Some(PASSPHRASE), &exported.body).await;
        let spent = budget.is_spent();
        budget.lift();
        let ended = cut.text().lines().last().unwrap().contains("\"report\"");
        cut_off += usize::from(!ended);
        let (_, items) = report(&import(&root, "", Some(PASSPHRASE), &exported.body).await);
        let bad = |item: &&String| item.ends_with("conflict") || item.ends_with("skipped");
        assert_eq!(items.iter().find(bad), None, "after {writes} writes");
        assert_eq!(state(&root).await, expected, "after {writes} writes");
        assert_eq!(secret(&here).await, "hunter2");
        let (_, items) = report(&import(&root, "", Some(PASSPHRASE), &exported.body).await);
        let changed = items.iter().find(|item| !item.ends_with(": unchanged"));
        assert_eq!(changed, None, "after {writes} writes");
        if !spent {
            break;
        }
    }
    assert!(cut_off >= 3, "only {cut_off} imports were cut off");
}
