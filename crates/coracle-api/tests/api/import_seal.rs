//! What the passphrase of an export vouches for: all of it.

use coracle_control::archive::seal::Seal;
use coracle_model::env::Secret;
use coracle_model::name::EnvName;
use coracle_model::user::{ProjectScope, Role};
use serde_json::Value;

use crate::archive::{
    Entries, PASSPHRASE, archive, entries, export, import, packed, report, sealed_with, shop,
};
use crate::import::with;
use crate::support::{As, Platform, app, files, project};

/// What an import must leave as it is.
async fn untouched(platform: &Platform) -> (u64, Vec<String>) {
    let revision = platform.control.objects.store().revision().await.unwrap();
    (revision, files(&platform.data.join("registry/blobs")))
}

/// The last file, which vouches for the others, of one archive behind the others of another.
fn vouched_by(mut entries: Entries, vouching: &Entries) -> Entries {
    let signature = vouching.last().unwrap().clone();
    assert_eq!(signature.0, "manifest.hmac");
    entries.retain(|(path, _)| *path != signature.0);
    entries.push(signature);
    entries
}

async fn refused(root: &As, what: &str, says: &str, archive: &[u8]) {
    for query in ["?check=true", "?on_conflict=replace"] {
        let answer = import(root, query, Some(PASSPHRASE), archive).await;
        let text = answer.text();
        assert_eq!(answer.status, 422, "{what}: {text}");
        assert!(text.contains(says), "{what}, not {says:?}: {text}");
    }
}

#[tokio::test]
async fn who_does_not_know_the_passphrase_can_change_nothing() {
    let (there, admin) = shop().await;
    there.user("vera", Role::Viewer, ProjectScope::All).await;
    let exported = export(&admin, "?users=true", Some(PASSPHRASE)).await;
    let good = entries(&exported.body);
    let here = Platform::new().await;
    let root = here.admin().await;
    root.get("session").await.ok(200);
    let before = untouched(&here).await;
    let changed = "the export was changed after it was made";
    // Everything that no key seals, with a manifest that is right but for the passphrase.
    let platform = there.address.to_string();
    for (what, file, from, to) in [
        ("an image", "apps/shop", "/shop/hello@", "/shop/hallo@"),
        ("a variable", "apps/shop", "blue", "rosy"),
        ("pods", "apps/shop", "{\"web\":3}", "{\"web\":4}"),
        ("a command", "apps/shop", "[\"serve\"]", "[\"steal\"]"),
        ("a role", "users", "viewer", "admin"),
        (
            "a project",
            "projects",
            "\"description\":\"\"",
            "\"description\":\"x\"",
        ),
        (
            "the registry",
            "coracle-export",
            platform.as_str(),
            "evil.example.com",
        ),
        ("an app's name", "apps/default", "idle", "idol"),
    ] {
        let entries = with(&good, file, from, to);
        let forged = vouched_by(self::entries(&packed(entries, None)), &good);
        refused(&root, what, changed, &archive(&forged)).await;
    }
    let mut less = good.clone();
    less.retain(|(path, _)| path != "apps/default/idle.json");
    let less = vouched_by(entries(&packed(less, None)), &good);
    refused(&root, "an app less", changed, &archive(&less)).await;
    let mut more = good.clone();
    let another = with(&good, "apps/default", "idle", "more");
    more.insert(
        3,
        ("apps/default/more.json".to_owned(), another[3].1.clone()),
    );
    let more = vouched_by(entries(&packed(more, None)), &good);
    refused(&root, "an app more", changed, &archive(&more)).await;

    // What vouches for it is taken away, or made with another passphrase.
    let mut without = good.clone();
    without.pop();
    let says = "its manifest.hmac is missing";
    refused(&root, "nothing that vouches", says, &archive(&without)).await;
    let (own, parameters) = Seal::create(&Secret::new("a passphrase of mine"))
        .await
        .unwrap();
    let forged = packed(good.clone(), Some(&own));
    refused(&root, "another key", changed, &forged).await;
    let mut header: Value = serde_json::from_slice(&good[0].1).unwrap();
    header["seal"] = serde_json::to_value(&parameters).unwrap();
    let mut resealed = good.clone();
    resealed[0].1 = header.to_string().into_bytes();
    let forged = packed(resealed, Some(&own));
    refused(
        &root,
        "another passphrase",
        "is not the passphrase",
        &forged,
    )
    .await;
    header.as_object_mut().unwrap().remove("seal");
    let mut unsealed = good.clone();
    unsealed[0].1 = header.to_string().into_bytes();
    let nobody = "nobody vouches for what is in it";
    refused(&root, "no seal", nobody, &packed(unsealed.clone(), None)).await;
    let half = vouched_by(entries(&packed(unsealed, None)), &good);
    let half = import(&root, "", None, &archive(&half)).await;
    half.problem(422, "invalid_source");

    // Any byte of the file, as it is sent.
    for at in (0..exported.body.len()).step_by(exported.body.len() / 64) {
        let mut flipped = exported.body.to_vec();
        flipped[at] ^= 1;
        let answer = import(&root, "", Some(PASSPHRASE), &flipped).await;
        assert!(
            [413, 422].contains(&answer.status),
            "byte {at}: {}",
            answer.text()
        );
    }
    // Any byte of any file in it.
    for (n, (path, content)) in good.iter().enumerate() {
        for at in [0, content.len() / 3, content.len() / 2, content.len() - 1] {
            let mut flipped = good.clone();
            flipped[n].1[at] ^= 1;
            let answer = import(&root, "", Some(PASSPHRASE), &archive(&flipped)).await;
            assert_eq!(answer.status, 422, "byte {at} of {path}: {}", answer.text());
        }
    }
    assert_eq!(untouched(&here).await, before);
    let whole = import(&root, "", Some(PASSPHRASE), &exported.body).await;
    assert_eq!(report(&whole).0["vouched_by"], "passphrase");
}

#[tokio::test]
async fn a_sealed_value_is_held_to_the_rules_of_every_other() {
    let (_there, admin) = shop().await;
    let exported = export(&admin, "?projects=shop", Some(PASSPHRASE)).await;
    let good = entries(&exported.body);
    let seal = sealed_with(&good).await;
    let here = Platform::new().await;
    let root = here.admin().await;
    root.get("session").await.ok(200);
    let before = untouched(&here).await;
    let key = EnvName::new("KEY").unwrap();
    for (value, says) in [
        ("hunter2\0".to_owned(), "zero byte"),
        ("hunter2".repeat(10_000), "at most 65536 bytes"),
    ] {
        let secret = Secret::new(value);
        let sealed = seal
            .secrets
            .seal_env(&project("shop"), &app("hello"), &key, &secret)
            .unwrap();
        let mut entries = good.clone();
        let i = entries
            .iter()
            .position(|(path, _)| path.starts_with("apps/"))
            .unwrap();
        let mut record: Value = serde_json::from_slice(&entries[i].1).unwrap();
        record["env"]["KEY"] = serde_json::to_value(sealed).unwrap();
        entries[i].1 = record.to_string().into_bytes();
        let answer = import(&root, "", Some(PASSPHRASE), &packed(entries, Some(&seal))).await;
        let problem = answer.problem(422, "invalid_source");
        let text = problem.to_string();
        assert!(text.contains(says) && text.contains("KEY"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(untouched(&here).await, before);
}
