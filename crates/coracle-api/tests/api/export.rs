//! From one platform to another: what leaves, and that it arrives.

use coracle_model::user::{ProjectScope, Role};
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::archive::{PASSPHRASE, archive, entries, export, import, report, secret, shop};
use crate::support::{Answer, Platform, app, files, project};

#[tokio::test]
async fn what_one_platform_has_arrives_at_another() {
    let (there, admin) = shop().await;
    there.user("vera", Role::Viewer, ProjectScope::All).await;
    let exported = export(&admin, "?users=true", Some(PASSPHRASE)).await;
    assert_eq!(exported.status, 200, "{}", exported.text());
    assert_eq!(exported.header("content-type"), "application/zstd");
    let found = entries(&exported.body);
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths[..5],
        [
            "coracle-export.json",
            "projects.json",
            "users.json",
            "apps/default/idle.json",
            "apps/shop/hello.json"
        ]
    );
    assert_eq!(paths[paths.len() - 2..], ["manifest.json", "manifest.hmac"]);
    assert_eq!(
        paths
            .iter()
            .filter(|path| path.starts_with("blobs/sha256/"))
            .count(),
        1
    );
    let whole = String::from_utf8_lossy(&zstd::decode_all(&*exported.body).unwrap()).into_owned();
    for hidden in [
        "hunter2",
        PASSPHRASE,
        "argon2id$",
        "a line of a log",
        "no password",
    ] {
        assert!(!whole.contains(hidden), "{hidden}");
    }

    let here = Platform::new().await;
    let root = here.admin().await;
    // The first use of a token is noted; a look changes nothing.
    root.get("session").await.ok(200);
    let revision = here.control.objects.store().revision().await.unwrap();
    let looked = import(&root, "?check=true", Some(PASSPHRASE), &exported.body).await;
    let (looked, items) = report(&looked);
    let expected = [
        "Project default: unchanged",
        "Project shop: created",
        "User root: unchanged",
        "User vera: created",
        "App idle: created",
        "App hello: created",
    ];
    assert_eq!(items, expected);
    assert_eq!(
        (&looked["check"], &looked["blobs"], &looked["vouched_by"]),
        (&json!(true), &json!(1), &json!("passphrase"))
    );
    assert_eq!(
        here.control.objects.store().revision().await.unwrap(),
        revision
    );

    let answer = import(&root, "", Some(PASSPHRASE), &exported.body).await;
    assert!(answer.text().contains("\"images\""), "{}", answer.text());
    let (told, items) = report(&answer);
    assert_eq!(items, expected);
    assert!(
        told["notes"]
            .to_string()
            .contains("volume data arrives empty"),
        "{told}"
    );
    let path = "projects/shop/apps/hello";
    let arrived = root.get(path).await.ok(200);
    assert_eq!(arrived["spec"]["scale"], json!({"web": 3}));
    assert_eq!(arrived["spec"]["domains"], json!(["shop.example.com"]));
    assert_eq!(arrived["status"]["url"], "http://hello-shop.localhost:8080");
    assert_eq!(arrived["status"]["last_release"], 2);
    let releases = root.get(&format!("{path}/releases")).await.ok(200);
    let releases = releases["items"].as_array().unwrap();
    let brief: Vec<_> = releases
        .iter()
        .map(|release| {
            (
                release["metadata"]["name"].clone(),
                release["status"]["phase"].clone(),
            )
        })
        .collect();
    assert_eq!(
        brief,
        [
            (json!("v1"), json!("superseded")),
            (json!("v2"), json!("pending"))
        ]
    );
    // Its image is in the registry here, and that is what it asks for.
    let image = releases[1]["spec"]["image"].as_str().unwrap();
    let (host, rest) = image.split_once('/').unwrap();
    assert_eq!(host, here.address.to_string());
    let manifest = format!("/v2/{}", rest.replace('@', "/manifests/"));
    assert_eq!(root.get(&manifest).await.status, 200);
    assert_eq!(
        releases[1]["spec"]["config"]["env"],
        json!({"FROM": "the manifest"})
    );
    assert_eq!(secret(&here).await, "hunter2");
    let env = root.get(&format!("{path}/env")).await.ok(200);
    assert_eq!(env["vars"]["COLOUR"]["value"], "blue");
    assert_eq!(env["vars"]["KEY"], json!({"secret": true}));
    // Nothing opens for a user who arrived.
    root.get("users/vera").await.ok(200);
    here.nobody()
        .post("session", &json!({"user": "vera", "password": "none"}))
        .await
        .problem(401, "unauthenticated");

    // Again: nothing is left to do; and after a part was lost, only that.
    let again = import(&root, "", Some(PASSPHRASE), &exported.body).await;
    let (again, items) = report(&again);
    assert!(
        items.iter().all(|item| item.ends_with(": unchanged")),
        "{items:?}"
    );
    assert_eq!(again["blobs"], 0);
    for key in [
        coracle_control::keys::app(&project("default"), &app("idle")),
        coracle_control::keys::domain(&"idle.localhost".parse().unwrap()),
    ] {
        here.control.objects.delete(&key).await.unwrap();
    }
    let rest = import(&root, "", Some(PASSPHRASE), &exported.body).await;
    let (_, items) = report(&rest);
    let made: Vec<_> = items
        .iter()
        .filter(|item| item.ends_with("created"))
        .collect();
    assert_eq!(made, ["App idle: created"]);
    // And back: what arrived leaves as well.
    let back = export(&root, "?projects=shop", Some("another passphrase")).await;
    let third = Platform::new().await;
    third.admin().await.make_project("shop").await;
    let there = third
        .token("root", "more", Role::Admin, ProjectScope::All, None)
        .await;
    let (_, items) = report(&import(&there, "", Some("another passphrase"), &back.body).await);
    assert_eq!(items, ["Project shop: unchanged", "App hello: created"]);
    let left = files(&here.data);
    assert!(left.iter().all(|name| !name.contains("tmp")), "{left:?}");
}

#[tokio::test]
async fn secrets_need_their_passphrase() {
    let (there, admin) = shop().await;
    export(&admin, "", None)
        .await
        .about(422, "invalid_field", "passphrase");
    export(&admin, "", Some("short"))
        .await
        .about(422, "invalid_field", "passphrase");
    let odd = admin
        .request(Method::GET, "export")
        .header("coracle-passphrase", "no base64!");
    Answer::of(odd)
        .await
        .about(422, "invalid_field", "passphrase");
    export(&admin, "?projects=never", Some(PASSPHRASE))
        .await
        .problem(404, "not_found");
    export(&admin, "?projects=A", Some(PASSPHRASE))
        .await
        .about(422, "invalid_field", "projects");
    // Without secrets it takes none, and says what that means.
    let plain = export(&admin, "?projects=default", None).await;
    assert_eq!(plain.status, 200);
    let looked = import(&admin, "?check=true", None, &plain.body).await;
    assert_eq!(report(&looked).0["vouched_by"], "nobody");
    // Whoever gives one relies on it.
    let told = import(&admin, "", Some(PASSPHRASE), &plain.body).await;
    let told = told.about(422, "invalid_field", "passphrase");
    assert!(told["detail"].as_str().unwrap().contains("nobody vouches"));
    // And with one it is vouched for as well.
    let plain = export(&admin, "?projects=default", Some(PASSPHRASE)).await;
    let looked = import(&admin, "?check=true", Some(PASSPHRASE), &plain.body).await;
    assert_eq!(report(&looked).0["vouched_by"], "passphrase");
    let exported = export(&admin, "", Some(PASSPHRASE)).await;
    let before = there.control.objects.store().revision().await.unwrap();
    for wrong in [None, Some("battery staple"), Some("")] {
        import(&admin, "", wrong, &exported.body)
            .await
            .about(422, "invalid_field", "passphrase");
    }
    assert_eq!(
        there.control.objects.store().revision().await.unwrap(),
        before
    );
    let vera = there.user("vera", Role::Developer, ProjectScope::All).await;
    export(&vera, "", Some(PASSPHRASE))
        .await
        .problem(403, "forbidden");
}

/// An export as version 1 of the format has it, with secret `KEY` and this file's passphrase. It is never changed.
fn version_1() -> Vec<u8> {
    let config = b"{}".to_vec();
    let blob = format!("blobs/sha256/{}", hex::encode(Sha256::digest(&config)));
    let record = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    archive(&vec![
        record(
            "coracle-export.json",
            include_str!("export-v1/coracle-export.json"),
        ),
        record("projects.json", include_str!("export-v1/projects.json")),
        record("users.json", include_str!("export-v1/users.json")),
        record("apps/shop/hello.json", include_str!("export-v1/hello.json")),
        (blob, config),
        record("manifest.json", include_str!("export-v1/manifest.json")),
        record("manifest.hmac", include_str!("export-v1/manifest.hmac")),
    ])
}

#[tokio::test]
async fn an_export_of_the_first_version_is_read_by_every_later_one() {
    let here = Platform::new().await;
    let root = here.admin().await;
    let (_, items) = report(&import(&root, "", Some(PASSPHRASE), &version_1()).await);
    let expected = [
        "Project shop: created",
        "User admin: created",
        "App hello: created",
    ];
    assert_eq!(items, expected);
    assert_eq!(secret(&here).await, "hunter2");
    let releases = "projects/shop/apps/hello/releases";
    let releases = root.get(releases).await.ok(200);
    let live = &releases["items"][2];
    assert_eq!(live["metadata"]["name"], "v3");
    let config = &live["spec"]["config"];
    assert_eq!(config["env"], json!({"FROM": "the manifest"}));
    assert_eq!(config["processes"]["web"]["health"]["path"], "/healthz");
    let volume = json!([{"name": "data", "path": "/data", "size": "64Mi"}]);
    assert_eq!(config["volumes"], volume);
}
