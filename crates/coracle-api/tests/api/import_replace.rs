//! An app that is here already becomes what an export has, in one step; and what of an export cannot be here.

use coracle_control::archive::{AppRecord, Archive, Header};
use coracle_control::journal::Actor;
use coracle_model::release::ReleaseSpec;
use serde_json::{Value, json};

use crate::archive::{PASSPHRASE, entries, export, import, packed, report, sealed_with, shop};
use crate::support::{As, Options, Platform, WriteBudget, app, project};

const APP: &str = "projects/shop/apps/hello";

/// The app, as little of it as tells one version from the other.
async fn version(root: &As) -> Value {
    let object = root.get(APP).await.ok(200);
    let releases = root.get(&format!("{APP}/releases")).await.ok(200);
    let domains = root.get(&format!("{APP}/domains")).await.ok(200);
    json!([
        object["spec"]["scale"],
        object["status"]["last_release"],
        root.get(&format!("{APP}/env")).await.ok(200)["vars"],
        releases["items"].as_array().unwrap().len(),
        domains["items"].as_array().unwrap().len()
    ])
}

/// An app of the same name that is another.
async fn another(root: &As) {
    root.make_project("shop").await;
    root.make_app("shop", "hello").await;
    let releases = format!("{APP}/releases");
    root.post(&releases, &json!({"image": "own:1"}))
        .await
        .ok(202);
}

#[tokio::test]
async fn a_replacement_that_is_cut_off_at_any_write_was_made_whole_or_not_at_all() {
    let (_there, admin) = shop().await;
    let exported = export(&admin, "?projects=shop", Some(PASSPHRASE)).await;
    let query = "?on_conflict=replace";
    let mut seen = Vec::new();
    for writes in 0.. {
        let budget = WriteBudget::default();
        let here = Platform::with(Options {
            writes: Some(budget.clone()),
            ..Options::default()
        })
        .await;
        let root = here.admin().await;
        another(&root).await;
        let old = version(&root).await;
        budget.set(writes);
        import(&root, query, Some(PASSPHRASE), &exported.body).await;
        let spent = budget.is_spent();
        budget.lift();
        let cut = version(&root).await;
        report(&import(&root, query, Some(PASSPHRASE), &exported.body).await);
        let new = version(&root).await;
        assert_eq!(
            new[1], 2,
            "after {writes} writes: one release more, and not two"
        );
        assert!(cut == old || cut == new, "after {writes} writes: {cut}");
        seen.push(cut == new);
        if !spent {
            break;
        }
    }
    assert!(seen.contains(&false) && seen.contains(&true), "{seen:?}");
}

#[tokio::test]
async fn control_planes_that_import_the_same_at_once_deploy_it_once() {
    let (_there, admin) = shop().await;
    let exported = export(&admin, "?projects=shop", Some(PASSPHRASE)).await;
    let files = entries(&exported.body);
    let record = |path: &str| {
        &files
            .iter()
            .find(|(name, _)| name.starts_with(path))
            .unwrap()
            .1
    };
    let record: AppRecord = serde_json::from_slice(record("apps/shop")).unwrap();
    let archive = Archive {
        header: Header::parse(&files[0].1).unwrap(),
        seal: Some(sealed_with(&files).await),
        projects: Vec::new(),
        users: Vec::new(),
        apps: Vec::new(),
    };
    let here = Platform::new().await;
    let root = here.admin().await;
    another(&root).await;
    let actor = Actor::Platform("test");
    // Each knows of nobody else: what one process may do is bounded elsewhere.
    let control = &here.control;
    let replace = || control.replace_app(&archive, &record, &actor);
    for round in 0..8 {
        let change = json!({"set": {"ROUND": round.to_string()}});
        root.patch(&format!("{APP}/env"), &change).await.ok(200);
        let before = root.get(APP).await.ok(200)["status"]["last_release"].clone();
        let (one, two, three) = tokio::join!(replace(), replace(), replace());
        for done in [one, two, three] {
            done.unwrap();
        }
        let after = root.get(APP).await.ok(200)["status"]["last_release"].clone();
        let more = after.as_u64().unwrap() - before.as_u64().unwrap();
        assert_eq!(more, 1, "round {round}");
    }
    // The same where it was not there yet.
    let other = Platform::new().await;
    other.admin().await.make_project("shop").await;
    let control = &other.control;
    let create = || control.import_app(&archive, &record, &actor);
    let (one, two) = tokio::join!(create(), create());
    one.unwrap();
    two.unwrap();
}

/// The export of `shop` with something else in its app's record.
async fn changed(body: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut files = entries(body);
    let seal = sealed_with(&files).await;
    let i = files
        .iter()
        .position(|(path, _)| path.starts_with("apps/shop"))
        .unwrap();
    let mut record: Value = serde_json::from_slice(&files[i].1).unwrap();
    change(&mut record);
    files[i].1 = record.to_string().into_bytes();
    packed(files, Some(&seal))
}

#[tokio::test]
async fn an_image_that_only_one_engine_knows_is_not_deployed_elsewhere() {
    let (_there, admin) = shop().await;
    let id = format!("sha256:{}", "a".repeat(64));
    let told = admin
        .post(&format!("{APP}/releases"), &json!({"image": id}))
        .await;
    let told = told.about(422, "invalid_field", "image");
    assert!(
        told["detail"].as_str().unwrap().contains("engine"),
        "{told}"
    );

    let exported = export(&admin, "?projects=shop", Some(PASSPHRASE)).await;
    let unnamed = changed(&exported.body, |record| {
        for release in record["releases"].as_array_mut().unwrap() {
            release["spec"]["image"] = json!(id);
            release["status"]["image"]["reference"] = json!(id);
        }
    })
    .await;
    let here = Platform::new().await;
    let root = here.admin().await;
    for query in ["", "?on_conflict=replace"] {
        let refused = import(&root, query, Some(PASSPHRASE), &unnamed).await;
        let told = refused.problem(409, "conflict").to_string();
        for part in ["shop/hello", "release v2", &id, "export again", "skip"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    root.get("projects/shop").await.problem(404, "not_found");
    let skipped = import(&root, "?on_conflict=skip", Some(PASSPHRASE), &unnamed).await;
    assert_eq!(
        report(&skipped).1,
        ["Project shop: created", "App hello: skipped"]
    );
}

#[tokio::test]
async fn releases_with_images_of_other_projects_stay_behind() {
    let (there, admin) = shop().await;
    let foreign = format!("{}/bank/vault:1", there.address);
    // As an older platform took them: there is no way to make one any more.
    let key = |number| {
        let number = coracle_model::release::ReleaseNumber(number);
        coracle_control::keys::release(&project("shop"), &app("hello"), number)
    };
    let objects = &there.control.objects;
    let named = async |number: u32| {
        let name = |release: &mut coracle_model::release::Release| {
            release.spec.image = foreign.parse().unwrap();
            release.status.image = None;
            Ok(())
        };
        objects
            .modify::<ReleaseSpec>(&key(number), "release", name)
            .await
    };
    named(1).await.unwrap();
    let exported = export(&admin, "?projects=shop", Some(PASSPHRASE)).await;
    let here = Platform::new().await;
    let root = here.admin().await;
    let (told, items) = report(&import(&root, "", Some(PASSPHRASE), &exported.body).await);
    assert_eq!(items, ["Project shop: created", "App hello: created"]);
    let notes = told["notes"].to_string();
    assert!(notes.contains("shop/hello: v1 not imported"), "{notes}");
    let releases = root.get(&format!("{APP}/releases")).await.ok(200);
    let names: Vec<_> = releases["items"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0]["metadata"]["name"], "v2");
    let again = import(&root, "", Some(PASSPHRASE), &exported.body).await;
    assert_eq!(report(&again).1[1], "App hello: unchanged");

    named(2).await.unwrap();
    let exported = export(&admin, "?projects=shop", Some(PASSPHRASE)).await;
    let other = Platform::new().await;
    let root = other.admin().await;
    let refused = import(&root, "", Some(PASSPHRASE), &exported.body).await;
    let told = refused.problem(409, "conflict").to_string();
    for part in [
        "release v2",
        "not one of project shop",
        "export again",
        "skip",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
