//! With the controllers: what people ask for comes true.

use coracle_control::controllers::{Controllers, Options};
use coracle_engine::sim::{Behaviour, image};
use serde_json::{Value, json};

use crate::support::{As, IMAGE, Platform, Stream, soon};

fn start(platform: &Platform) -> Controllers {
    let options = Options {
        drain: std::time::Duration::from_millis(50),
        ..Options::default()
    };
    Controllers::start(platform.control.clone(), options, &platform.supervisor)
}

/// The next event of this kind and name that is as wanted.
async fn until(
    stream: &mut Stream,
    kind: &str,
    name: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let found = async {
        loop {
            let sent = stream.event().await.expect("the stream goes on");
            let of = &sent.data["metadata"]["name"];
            if sent.data["kind"] == kind && (name == "*" || of == name) && wanted(&sent.data) {
                return sent.data;
            }
        }
    };
    soon(&format!("{kind} {name} to be as wanted"), found).await
}

async fn deploy(caller: &As, image: &str) -> Value {
    let config = json!({"processes": {"web": {"command": ["serve"], "port": 8080, "replicas": 2}}});
    caller
        .post(
            "projects/default/apps/hello/releases?create=true",
            &json!({"image": image, "config": config}),
        )
        .await
        .ok(202)
}

#[tokio::test]
async fn an_image_becomes_a_running_app_and_everybody_is_told() {
    let platform = Platform::new().await;
    let _controllers = start(&platform);
    let admin = platform.admin().await;
    let mut events = admin.stream("events?project=default").await;
    events.until_synced().await;
    let release = deploy(&admin, IMAGE).await;
    assert_eq!(release["status"]["phase"], "pending");
    until(&mut events, "Release", "v1", |release| {
        release["status"]["phase"] == "live"
    })
    .await;
    let app = until(&mut events, "App", "hello", |app| {
        app["status"]["phase"] == "running"
    })
    .await;
    assert_eq!(app["status"]["release"], 1);
    assert_eq!(app["status"]["url"], "http://hello.localhost:8080");
    let pods = admin.get("projects/default/pods").await.ok(200);
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 2);
    assert!(
        pods.iter()
            .all(|pod| pod["status"]["phase"] == "ready" && pod["spec"]["release"] == 1)
    );
    let logs = admin.get("projects/default/apps/hello/logs").await.text();
    assert_eq!(logs.matches("listening").count(), 2, "{logs}");

    admin
        .put(
            "projects/default/apps/hello/scale",
            &json!({"processes": {"web": 1}}),
        )
        .await
        .ok(200);
    until(&mut events, "App", "hello", |app| {
        app["status"]["processes"]["web"] == json!({"replicas": 1, "ready": 1})
    })
    .await;
}

#[tokio::test]
async fn a_release_that_crashes_leaves_the_old_one_serving() {
    let platform = Platform::new().await;
    let _controllers = start(&platform);
    platform
        .sim
        .define(image("broken:1").behaviour(Behaviour::exits(3, &["no database"])));
    let admin = platform.admin().await;
    let mut events = admin
        .stream("events?project=default&kinds=Release,App")
        .await;
    events.until_synced().await;
    deploy(&admin, IMAGE).await;
    until(&mut events, "Release", "v1", |release| {
        release["status"]["phase"] == "live"
    })
    .await;
    let config = json!({"processes": {"web": {"health": {"grace": "1s"}}}});
    admin
        .post(
            "projects/default/apps/hello/releases",
            &json!({"image": "broken:1", "config": config}),
        )
        .await
        .ok(202);
    let failed = until(&mut events, "Release", "v2", |release| {
        release["status"]["phase"] == "failed"
    })
    .await;
    assert!(failed["status"]["reason"].is_string(), "{failed}");
    let app = admin.get("projects/default/apps/hello").await.ok(200);
    assert_eq!(app["status"]["release"], 1);
}

#[tokio::test]
async fn a_one_off_command_runs_when_somebody_attaches() {
    let platform = Platform::new().await;
    let _controllers = start(&platform);
    let admin = platform.admin().await;
    let path = "projects/default/apps/hello/run";
    admin.make_app("default", "hello").await;
    let problem = admin
        .post(path, &json!({"command": ["id"]}))
        .await
        .problem(409, "conflict");
    assert_eq!(problem["hint"], "deploy it first");
    let mut events = admin.stream("events?project=default").await;
    events.until_synced().await;
    admin
        .patch(
            "projects/default/apps/hello/env",
            &json!({"set": {"GREETING": "hello you"}}),
        )
        .await
        .ok(200);
    deploy(&admin, IMAGE).await;
    until(&mut events, "Release", "v1", |release| {
        release["status"]["phase"] == "live"
    })
    .await;
    admin
        .post(path, &json!({"command": []}))
        .await
        .about(422, "invalid_field", "command");
    let pod = admin
        .post(path, &json!({"command": ["printenv", "GREETING"]}))
        .await
        .ok(201);
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    let attach = format!("projects/default/pods/{name}/attach");
    let (out, exit) = crate::console::whole(&admin, &attach).await;
    assert_eq!((out.as_str(), exit), ("hello you\n", json!({"code": 0})));
    // Its pod is gone by itself afterwards.
    let gone = async {
        while events.event().await.unwrap().event != "deleted" {}
        while admin
            .get(&format!("projects/default/pods/{name}"))
            .await
            .status
            != 404
        {
            events.event().await.unwrap();
        }
    };
    soon("the command's pod to be gone", gone).await;
}

#[tokio::test]
async fn an_app_that_is_deleted_is_gone_with_all_that_it_had() {
    let platform = Platform::new().await;
    let _controllers = start(&platform);
    let admin = platform.admin().await;
    let mut events = admin.stream("events").await;
    events.until_synced().await;
    deploy(&admin, IMAGE).await;
    until(&mut events, "App", "hello", |app| {
        app["status"]["phase"] == "running"
    })
    .await;
    admin.delete("projects/default/apps/hello").await.ok(202);
    let gone = async {
        loop {
            let sent = events.event().await.unwrap();
            if sent.event == "deleted" && sent.data["kind"] == "App" {
                let metadata = &sent.data["metadata"];
                assert_eq!(
                    (&metadata["name"], &metadata["project"]),
                    (&json!("hello"), &json!("default"))
                );
                assert_eq!(metadata["uid"].as_str().unwrap().len(), 32);
                return;
            }
        }
    };
    soon("the app to be gone", gone).await;
    admin
        .get("projects/default/apps/hello")
        .await
        .problem(404, "not_found");
    assert_eq!(
        admin.get("projects/default/pods").await.ok(200)["items"],
        json!([])
    );
    // And its name is free.
    admin.make_app("default", "hello").await;
}

#[tokio::test]
async fn a_bare_pod_runs_and_goes() {
    let platform = Platform::new().await;
    let _controllers = start(&platform);
    let admin = platform.admin().await;
    let mut events = admin.stream("events?kinds=Pod").await;
    events.until_synced().await;
    let new = json!({"metadata": {"name": "box"}, "spec": {"image": IMAGE, "command": ["serve"], "port": 8080, "env": {"A": "1"}}});
    admin.post("projects/default/pods", &new).await.ok(201);
    let ready = until(&mut events, "Pod", "box", |pod| {
        pod["status"]["phase"] == "ready"
    })
    .await;
    // It is told as it is read: with what was asked for.
    assert_eq!(
        ready["spec"],
        new["spec"]
            .as_object()
            .map(|spec| {
                let mut spec = spec.clone();
                spec.insert("restart".to_owned(), json!("always"));
                Value::Object(spec)
            })
            .unwrap()
    );
    assert_eq!(
        ready["metadata"]["uid"],
        admin.get("projects/default/pods/box").await.ok(200)["metadata"]["uid"]
    );
    admin.delete("projects/default/pods/box").await;
    let gone = async { while events.event().await.unwrap().event != "deleted" {} };
    soon("the pod to be told gone", gone).await;
    assert_eq!(
        admin.get("projects/default/pods").await.ok(200)["items"],
        json!([])
    );
}
