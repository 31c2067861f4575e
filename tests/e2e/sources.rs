//! Sources that the platform fetches itself: a repository, and each template.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coracle_e2e::{EtcdServer, Fleet, LONG, Options, Platform, TEST_IMAGE, until, until_ok};
use serde_json::{Value, json};

use crate::git_server::{GitServer, Manners, Repository};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_becomes_a_url_and_names_its_commit() {
    let served = tempfile::tempdir().unwrap();
    let repository = Repository::new(served.path(), "shop");
    let dockerfile = format!("FROM {TEST_IMAGE}\nCOPY index.html /www/index.html\n");
    repository.write("web/Dockerfile", dockerfile.as_bytes());
    repository.write("web/index.html", b"first\n");
    let first = repository.commit("Open the shop");
    repository.git(&["tag", "v1"]);
    repository.write("web/index.html", b"second\n");
    repository.commit("Second");
    // base64 of `ann:hunter2-secret`.
    let server = GitServer::start(
        served.path(),
        Manners {
            basic: Some("YW5uOmh1bnRlcjItc2VjcmV0".into()),
            ..Manners::default()
        },
    );
    let platform = Platform::prepare(Options {
        arguments: vec!["--git-reach".into(), "everything".into()],
        ..Options::default()
    });
    platform.up().await;
    let url = server.url("shop.git");

    let place = format!("{url}#v1:web");
    assert_eq!(server.seen(), Vec::<String>::new());
    let refused = platform.coracle(&["deploy", "--git", &place]).await;
    refused.refused_with(1, &["user name and a password"]);
    let api = platform.api().await;
    let git = json!({"url": url, "ref": "v1", "path": "web", "username": "ann", "password": "hunter2-secret"});
    let source = api
        .post("/projects/default/sources", &json!({"git": git}))
        .await
        .ok();
    let id = source["metadata"]["name"].as_str().unwrap().to_owned();
    let path = format!("/projects/default/sources/{id}");
    let ready = ready(&platform, &path).await;
    assert_eq!(ready["status"]["commit"]["id"], first);
    assert_eq!(ready["status"]["detected"]["app"], "web");

    let deployed = platform
        .coracle_in(
            &["deploy", "--git", &place, "--app", "shop"],
            &[
                ("CORACLE_GIT_USER", "ann"),
                ("CORACLE_GIT_PASSWORD", "hunter2-secret"),
            ],
        )
        .await;
    assert_eq!(deployed.last_line(), platform.url("shop"), "{deployed}");
    assert!(deployed.stderr.contains("Open the shop"), "{deployed}");
    platform.serves("shop.localhost", "/", 200, "first").await;
    let build = api.get("/projects/default/apps/shop/builds/b1").await.ok();
    let of = &build["spec"]["source"];
    assert_eq!((&of["type"], &of["ref"]), (&json!("git"), &json!("v1")));
    assert_eq!(of["commit"]["id"], first);
    assert_eq!(of["url"], url);
    assert!(
        !std::fs::read_to_string(platform.data().join("log/serve.log"))
            .unwrap()
            .contains("hunter2")
    );
}

async fn ready(platform: &Platform, path: &str) -> Value {
    let api = platform.api().await;
    let fetched = until_ok("the source to be fetched", LONG, || async {
        let source = api.get(path).await.ok();
        match source["status"]["phase"].as_str() {
            Some("ready") => Ok(source),
            _ => Err(source.to_string()),
        }
    });
    fetched.await.0
}

/// Asked of one control plane, fetched by the leader, by the next leader when that is killed in the middle, and built by
/// asking yet another: files are in what all of them share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_goes_on_with_the_next_leader() {
    let Some(etcd) = EtcdServer::start(&[]).await else {
        return;
    };
    let served = tempfile::tempdir().unwrap();
    let repository = Repository::new(served.path(), "shop");
    let dockerfile = format!("FROM {TEST_IMAGE}\n");
    repository.write("Dockerfile", dockerfile.as_bytes());
    let commit = repository.commit("Open the shop");
    let manners = Manners {
        silent: Arc::new(true.into()),
        ..Manners::default()
    };
    let silent = Arc::clone(&manners.silent);
    let server = GitServer::start(served.path(), manners);
    let flags = ["--git-reach".to_owned(), "everything".to_owned()];
    let mut fleet = Fleet::start_on(etcd, 3, 5, &flags).await;
    let (leader, elected, _) = fleet.leads_after(0).await;
    let follower = (leader + 1) % 3;
    let api = fleet.members[follower].api().await;
    let body = json!({"git": {"url": server.url("shop.git")}});
    let source = api.post("/projects/default/sources", &body).await.ok();
    let id = source["metadata"]["name"].as_str().unwrap().to_owned();
    until("the leader to ask the server", LONG, || async {
        !server.seen().is_empty()
    })
    .await;
    fleet.kill(leader).await;
    silent.store(false, Ordering::SeqCst);
    let (next, _, _) = fleet.leads_after(elected).await;
    assert_ne!(next, leader);
    let path = format!("/projects/default/sources/{id}");
    let fetched = ready(&fleet.members[follower], &path).await;
    assert_eq!(fetched["status"]["commit"]["id"], commit);
    let other = (0..3).find(|n| *n != leader && *n != next).unwrap();
    let api = fleet.members[other].api().await;
    let builds = "/projects/default/apps/shop/builds";
    let body = json!({"source": id});
    let make = format!("{builds}?create=true");
    api.post(&make, &body).await.ok();
    until_ok("the build to succeed", LONG, || async {
        let build = api.get(&format!("{builds}/b1")).await.ok();
        match build["status"]["phase"].as_str() {
            Some("succeeded") => Ok(()),
            _ => Err(build.to_string()),
        }
    })
    .await;
}

/// From Debian's packages: minutes, where nothing of them is in Docker's cache.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_template_becomes_an_app_that_works() {
    let platform = Platform::start().await;
    // Unless the operator says otherwise, nothing is fetched from the machine itself.
    let own = format!("http://{}/shop.git", platform.listen());
    let refused = platform.coracle(&["deploy", "--git", &own]).await;
    refused.refused_with(1, &["the platform's own machine"]);
    let templates = platform
        .coracle(&["templates", "--output", "json"])
        .await
        .json();
    for template in templates["items"].as_array().unwrap() {
        let name = template["name"].as_str().unwrap();
        let deployed = platform.coracle(&["deploy", "--template", name]).await;
        deployed.ok();
        if template["category"] == "web" {
            assert_eq!(deployed.last_line(), platform.url(name), "{deployed}");
            let page = platform.get(&format!("{name}.localhost"), "/").await;
            assert_eq!(page.status, 200, "{name}: {page:?}");
        }
        eprintln!("{name}: {} ms", deployed.took.as_millis());
    }
    let asked = [
        (
            "redis",
            "redis-cli -a \"$(cat /data/password)\" --no-auth-warning ping",
            "PONG",
        ),
        (
            "postgres",
            "PGPASSWORD=$(cat /data/password) psql -h 127.0.0.1 -U postgres -Atc 'select 6 * 7'",
            "42",
        ),
    ];
    let pods = platform.coracle(&["pods", "--output", "json"]).await.json();
    for (app, command, answer) in asked {
        let of_app = |pod: &&Value| pod["spec"]["app"] == app;
        let pod = pods["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(of_app)
            .unwrap();
        let pod = pod["metadata"]["name"].as_str().unwrap();
        let told = platform
            .coracle(&["exec", pod, "--", "sh", "-c", command])
            .await;
        assert!(told.ok().contains(answer), "{app}: {told}");
    }
}
