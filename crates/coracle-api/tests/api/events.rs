//! Live changes.

use coracle_model::user::{ProjectScope, Role};
use serde_json::json;

use crate::support::{As, Platform, Sent, Stream, only, soon, told};

/// What is there to be run, and what runs.
const RUNS: &str = "kinds=Project,App,Build,Release,Pod,Node";

async fn resumed(caller: &As, path: &str, last: u64) -> Stream {
    let request = caller
        .request(reqwest::Method::GET, path)
        .header("last-event-id", last.to_string());
    Stream::of(request).await
}

async fn some(stream: &mut Stream, n: usize) -> Vec<Sent> {
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(stream.event().await.expect("the stream goes on"));
    }
    all
}

#[tokio::test]
async fn first_everything_then_each_change() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    admin.make_app("shop", "till").await;
    platform.run_pod("default", None, "box").await;
    let mut stream = admin.stream(&format!("events?{RUNS}")).await;
    let first = stream.until_synced().await;
    assert_eq!(
        told(&first),
        [
            "applied App shop/till",
            "applied Project -/default",
            "applied Project -/shop",
            "applied Node -/node-a",
            "applied Pod default/box",
            "synced",
        ]
    );
    // Only the end of the listing is a place to go on from.
    assert!(first[..5].iter().all(|sent| sent.id.is_none()));
    let app = admin.get("projects/shop/apps/till").await.ok(200);
    assert_eq!(first[0].data, app);

    let made = admin
        .post("projects/shop/apps/till/releases", &json!({"image": "a:1"}))
        .await
        .ok(202);
    admin
        .post(
            "projects/default/pods",
            &json!({"metadata": {"name": "bare"}, "spec": {"image": "a:1"}}),
        )
        .await
        .ok(201);
    admin.delete("projects/shop/apps/till").await.ok(202);
    let changes = some(&mut stream, 4).await;
    assert_eq!(
        told(&changes),
        [
            "applied App shop/till",
            "applied Release shop/v1",
            "applied Pod default/bare",
            "applied App shop/till"
        ]
    );
    assert_eq!(changes[1].data, made);
    assert_eq!(changes[1].id, made["metadata"]["revision"].as_u64());
    platform
        .sim
        .vanish(&crate::support::pod_id("default", "box"));
    let mut gone = stream.event().await.unwrap();
    while gone.event != "deleted" {
        gone = stream.event().await.unwrap();
    }
    assert_eq!(
        gone.data,
        json!({"kind": "Pod", "metadata": {"name": "box", "project": "default"}})
    );
}

#[tokio::test]
async fn a_project_that_is_gone_is_told_by_the_names_that_it_was_told_by() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let mut stream = admin.stream("events?kinds=Project").await;
    stream.until_synced().await;
    admin
        .post("projects", &json!({"metadata": {"name": "garden"}}))
        .await
        .ok(201);
    let made = stream.event().await.unwrap();
    let key = coracle_control::keys::project(&crate::support::project("garden"));
    platform.control.objects.delete(&key).await.unwrap();
    let gone = stream.event().await.unwrap();
    assert_eq!(gone.event, "deleted");
    assert_eq!(gone.data["metadata"]["name"], "garden");
    assert_eq!(gone.data["metadata"]["uid"], made.data["metadata"]["uid"]);
    assert_eq!(
        gone.data["metadata"].get("project"),
        made.data["metadata"].get("project")
    );
}

#[tokio::test]
async fn who_was_cut_off_goes_on_where_they_were() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let path = "events?kinds=App,release";
    let mut stream = admin.stream(path).await;
    let synced = stream.until_synced().await.pop().unwrap().id.unwrap();
    admin.make_app("default", "a").await;
    admin
        .post("projects/default/apps/a/releases", &json!({"image": "a:1"}))
        .await
        .ok(202);
    let seen = some(&mut stream, 2).await;
    assert_eq!(
        told(&seen),
        ["applied App default/a", "applied App default/a"]
    );
    // The app and its release changed in one revision: cut off between them, one gets both.
    drop(stream);
    let mut stream = resumed(&admin, path, seen[1].id.unwrap()).await;
    assert_eq!(told(&stream.until_synced().await), ["synced"]);
    assert_eq!(
        told(&some(&mut stream, 2).await),
        ["applied App default/a", "applied Release default/v1"]
    );
    let mut stream = resumed(&admin, path, synced).await;
    stream.until_synced().await;
    assert_eq!(
        told(&some(&mut stream, 3).await),
        [
            "applied App default/a",
            "applied App default/a",
            "applied Release default/v1"
        ]
    );
    // A revision that is not known here (the data is of an older backup) or was never one.
    for last in [synced + 1_000_000, u64::MAX] {
        let mut stream = resumed(&admin, path, last).await;
        assert_eq!(
            told(&stream.until_synced().await),
            [
                "reset",
                "applied App default/a",
                "applied Release default/v1",
                "synced"
            ]
        );
    }
}

#[tokio::test]
async fn everybody_sees_what_is_theirs() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    for name in ["bank", "shop"] {
        admin.make_project(name).await;
        admin.make_app(name, "till").await;
        platform.run_pod(name, Some("till"), "box").await;
    }
    let dan = platform.user("dan", Role::Viewer, only(&["shop"])).await;
    let of_shop = [
        "applied App shop/till",
        "applied Project -/shop",
        "applied Pod shop/box",
        "synced",
    ];
    let mut stream = dan.stream(&format!("events?{RUNS}")).await;
    assert_eq!(told(&stream.until_synced().await), of_shop);
    let mut wide = admin.stream(&format!("events?project=shop&{RUNS}")).await;
    assert_eq!(told(&wide.until_synced().await), of_shop);
    admin.make_app("bank", "other").await;
    admin.make_app("shop", "other").await;
    assert_eq!(
        told(&some(&mut stream, 1).await),
        ["applied App shop/other"]
    );
    assert_eq!(told(&some(&mut wide, 1).await), ["applied App shop/other"]);

    dan.get("events?project=bank")
        .await
        .problem(404, "not_found");
    admin
        .get("events?project=never")
        .await
        .problem(404, "not_found");
    admin
        .get("events?kinds=App,Domain")
        .await
        .about(422, "invalid_field", "kinds");
    admin
        .get("events?kinds=")
        .await
        .about(422, "invalid_field", "kinds");
    admin
        .get("events?kind=App")
        .await
        .problem(422, "unknown_field");
    let mut pods = admin.stream("events?kinds=pod&project=bank").await;
    assert_eq!(
        told(&pods.until_synced().await),
        ["applied Pod bank/box", "synced"]
    );
}

#[tokio::test]
async fn what_is_gone_is_told_with_its_uid() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let made = admin.make_project("shop").await;
    let mut stream = admin.stream("events?kinds=Project").await;
    let synced = stream.until_synced().await;
    let last = synced.last().unwrap().id.unwrap();
    let gone = async |name: &str| {
        let key = coracle_control::keys::project(&crate::support::project(name));
        platform.control.objects.delete(&key).await.unwrap();
    };
    let later = admin.make_project("later").await;
    stream.event().await.unwrap();
    // Somebody who comes back knows neither, but both are there still.
    let mut back = resumed(&admin, "events?kinds=Project", last).await;
    back.until_synced().await;
    some(&mut back, 1).await;
    gone("shop").await;
    gone("later").await;
    for stream in [&mut stream, &mut back] {
        for object in [&made, &later] {
            let sent = stream.event().await.unwrap();
            assert_eq!(sent.event, "deleted");
            assert_eq!(sent.data["metadata"]["uid"], object["metadata"]["uid"]);
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_rights_it_was_opened_with() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    let all = ProjectScope::All;
    for what in ["token", "user", "role", "expiry"] {
        let name = format!("ann-{what}");
        let ann = platform.user(&name, Role::Developer, all.clone()).await;
        let expires = chrono::Utc::now() + chrono::Duration::seconds(2);
        let expires = (what == "expiry").then_some(expires);
        let token = platform
            .token(&name, "watch", Role::Viewer, all.clone(), expires)
            .await;
        let mut stream = token.stream("events").await;
        stream.until_synced().await;
        match what {
            "token" => ann.delete("tokens/watch").await.ok(204),
            "user" => admin.delete(&format!("users/{name}")).await.ok(204),
            "role" => {
                let body = json!({"spec": {"role": "viewer", "projects": {"only": []}}});
                admin.put(&format!("users/{name}"), &body).await.ok(200)
            }
            _ => json!(null),
        };
        let ended = async { while stream.event().await.is_some() {} };
        soon(
            &format!("the end of the stream after the end of the {what}"),
            ended,
        )
        .await;
    }
}

#[tokio::test]
async fn people_keys_and_what_happened_are_told_to_those_who_ask() {
    let platform = Platform::new().await;
    let admin = platform.admin().await;
    admin.make_project("shop").await;
    let dan = platform
        .user("dan", Role::Developer, only(&["default"]))
        .await;
    // Whoever names no kinds gets all.
    let everything = told(&admin.stream("events").await.until_synced().await);
    for one in [
        "applied User -/dan",
        "applied Token -/test",
        "applied Project -/shop",
    ] {
        assert!(everything.contains(&one.to_owned()), "{everything:?}");
    }
    let path = "events?kinds=user,token,event,volume";
    let mut all = admin.stream(path).await;
    let mut some_of_it = dan.stream(path).await;
    // What happened before has a route of its own; tokens are each user's own affair.
    assert_eq!(
        told(&all.until_synced().await),
        [
            "applied Token -/test",
            "applied User -/dan",
            "applied User -/root",
            "synced"
        ]
    );
    assert_eq!(
        told(&some_of_it.until_synced().await),
        ["applied Token -/test", "synced"]
    );
    dan.post("tokens", &json!({"name": "ci"})).await.ok(201);
    let actor = coracle_control::journal::Actor::Platform("test");
    for project in ["shop", "default"] {
        let project = crate::support::project(project);
        let what = (coracle_model::object::Kind::Volume, "data");
        let journal = &platform.control.journal;
        journal
            .record(&actor, "volume.deleted", Some(&project), what, "gone")
            .await;
    }
    dan.delete("tokens/ci").await.ok(204);
    let happened = |sent: &[Sent]| -> Vec<String> {
        let words = sent.iter().map(|sent| match sent.data["kind"].as_str() {
            Some("Event") => sent.data["spec"]["action"].as_str().unwrap().to_owned(),
            _ => told(std::slice::from_ref(sent)).remove(0),
        });
        words.collect()
    };
    assert_eq!(
        happened(&some(&mut all, 6).await),
        [
            "token.created",
            "applied Volume shop/data",
            "volume.deleted",
            "applied Volume default/data",
            "volume.deleted",
            "token.deleted",
        ]
    );
    assert_eq!(
        happened(&some(&mut some_of_it, 4).await),
        [
            "applied Token -/ci",
            "applied Volume default/data",
            "volume.deleted",
            "deleted Token -/ci",
        ]
    );
}
