//! Archives of exports as tests make, read and spoil them, and a platform that has something to export.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use coracle_control::archive::Header;
use coracle_control::archive::seal::Seal;
use coracle_model::env::Secret;
use coracle_model::release::{PinnedImage, ReleaseNumber, ReleasePhase, ReleaseSpec};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::registry::push;
use crate::support::{Answer, As, Platform, app, project};

pub(crate) const PASSPHRASE: &str = "correct horse battery";

pub(crate) type Entries = Vec<(String, Vec<u8>)>;

pub(crate) fn header(passphrase: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(passphrase)
}

pub(crate) async fn export(caller: &As, query: &str, passphrase: Option<&str>) -> Answer {
    let request = caller.request(Method::GET, &format!("export{query}"));
    let request = match passphrase {
        Some(text) => request.header("coracle-passphrase", header(text)),
        None => request,
    };
    Answer::of(request).await
}

pub(crate) async fn import(
    caller: &As,
    query: &str,
    passphrase: Option<&str>,
    archive: &[u8],
) -> Answer {
    let request = caller.request(Method::POST, &format!("import{query}"));
    let request = match passphrase {
        Some(text) => request.header("coracle-passphrase", header(text)),
        None => request,
    };
    Answer::of(request.body(archive.to_vec())).await
}

/// The report at the end of an import, with `KIND NAME: OUTCOME` of each thing.
pub(crate) fn report(answer: &Answer) -> (Value, Vec<String>) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let report = last["report"].clone();
    assert!(report.is_object(), "{text}");
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let items = report["items"].as_array().unwrap();
    let items = items
        .iter()
        .map(|item| {
            format!(
                "{} {}: {}",
                word(&item["kind"]),
                word(&item["name"]),
                word(&item["outcome"])
            )
        })
        .collect();
    (report, items)
}

pub(crate) fn entries(archive: &[u8]) -> Entries {
    let plain = zstd::decode_all(archive).unwrap();
    let mut archive = tar::Archive::new(plain.as_slice());
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, content)
        })
        .collect()
}

/// An archive of these files, as they are.
pub(crate) fn archive(entries: &Entries) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_ustar();
        // By hand: the library would refuse what is hostile.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        builder.append(&header, content.as_slice()).unwrap();
    }
    let plain = builder.into_inner().unwrap();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&plain).unwrap();
    encoder.finish().unwrap()
}

/// The seal of an archive that was made with [`PASSPHRASE`].
pub(crate) async fn sealed_with(entries: &Entries) -> Seal {
    let header = Header::parse(&entries[0].1).unwrap();
    let passphrase = Secret::new(PASSPHRASE);
    Seal::open(&passphrase, &header.seal.unwrap())
        .await
        .unwrap()
}

/// The same with a manifest that is right, and vouched for by `seal`, if there is one.
pub(crate) fn packed(mut entries: Entries, seal: Option<&Seal>) -> Vec<u8> {
    entries.retain(|(path, _)| !path.starts_with("manifest."));
    let files: Vec<_> = entries
        .iter()
        .map(|(path, content)| {
            let sha256 = hex::encode(Sha256::digest(content));
            json!({"path": path, "size": content.len(), "sha256": sha256})
        })
        .collect();
    let index = json!({ "files": files }).to_string().into_bytes();
    let signature = seal.map(|seal| seal.sign(&index).into_bytes());
    entries.push(("manifest.json".to_owned(), index));
    entries.extend(signature.map(|signature| ("manifest.hmac".to_owned(), signature)));
    archive(&entries)
}

async fn settle(platform: &Platform, number: u32, phase: ReleasePhase, image: &str) {
    let number = ReleaseNumber(number);
    let key = coracle_control::keys::release(&project("shop"), &app("hello"), number);
    platform
        .control
        .objects
        .modify::<ReleaseSpec>(&key, "release", |release| {
            release.status.phase = phase;
            release.status.image = Some(PinnedImage {
                reference: image.parse().unwrap(),
                ports: vec![8080],
            });
            release.status.log = vec!["a line of a log".to_owned()];
            Ok(())
        })
        .await
        .unwrap();
    if phase == ReleasePhase::Live {
        let key = coracle_control::keys::app(&project("shop"), &app("hello"));
        platform
            .control
            .objects
            .modify::<coracle_model::app::AppSpec>(&key, "hello", |app| {
                app.status.release = Some(number);
                Ok(())
            })
            .await
            .unwrap();
    }
}

/// A platform with an app in project `shop` that has a history, an image in the registry, a secret, a domain and a volume.
pub(crate) async fn shop() -> (Platform, As) {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    admin.make_app("shop", "hello").await;
    admin.make_app("default", "idle").await;
    push(&admin, "shop/hello", "b1").await;
    let tagged = admin
        .request(Method::HEAD, "/v2/shop/hello/manifests/b1")
        .header("accept", "application/vnd.oci.image.manifest.v1+json");
    let digest = Answer::of(tagged)
        .await
        .header("docker-content-digest")
        .to_owned();
    let image = format!("{}/shop/hello@{digest}", platform.address);
    let path = "projects/shop/apps/hello";
    let config = json!({
        "processes": {"web": {"command": ["serve"], "port": 8080}},
        "env": {"FROM": "the manifest"},
        "volumes": [{"name": "data", "path": "/data"}],
    });
    let releases = format!("{path}/releases");
    let new = json!({"image": format!("{}/shop/hello:b1", platform.address), "config": config});
    admin.post(&releases, &new).await.ok(202);
    settle(&platform, 1, ReleasePhase::Superseded, &image).await;
    let env = json!({"set": {"COLOUR": "blue"}, "secret": {"KEY": "hunter2"}});
    admin.patch(&format!("{path}/env"), &env).await.ok(200);
    settle(&platform, 2, ReleasePhase::Live, &image).await;
    admin
        .put(&format!("{path}/scale"), &json!({"processes": {"web": 3}}))
        .await
        .ok(200);
    admin
        .post(
            &format!("{path}/domains"),
            &json!({"host": "shop.example.com"}),
        )
        .await
        .ok(201);
    (platform, admin)
}

pub(crate) async fn secret(platform: &Platform) -> String {
    let (project, app) = (project("shop"), app("hello"));
    let object = platform.control.app(&project, &app).await.unwrap();
    let name = "KEY".parse().unwrap();
    let value = &object.spec.env[&name];
    assert!(matches!(value, coracle_model::env::EnvValue::Sealed(_)));
    let opened = platform
        .control
        .vault
        .open_env(&project, &app, &name, value);
    opened.unwrap().expose().to_owned()
}
