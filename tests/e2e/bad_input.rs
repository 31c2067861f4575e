//! What people get wrong: each gets a clear refusal, and nothing changes.

use std::time::Duration;

use coracle_e2e::{Options, Platform, SmallDisk, Source, TEST_IMAGE};
use serde_json::json;

const GIB: u64 = 1 << 30;

async fn nothing_was_made(platform: &Platform) {
    let apps = platform
        .api()
        .await
        .list("/projects/default/apps")
        .await
        .unwrap();
    assert!(apps.is_empty(), "{apps:?}");
    platform.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_none() {
    let platform = Platform::start().await;
    let (long, longer) = ("a".repeat(64), "a".repeat(1000));
    let names = [
        "",
        "; rm -rf /",
        "$(reboot)",
        "`id`",
        "a b",
        "a\nb",
        "a\tb",
        "../../etc",
        "a/b",
        "a.b",
        "a_b",
        "A",
        "ünï",
        "раypal",
        "a\u{200b}b",
        "a\u{202e}b",
        "\u{1b}[31m",
        "-",
        "--",
        "-a",
        "a-",
        "1a",
        "a%00b",
        "a'b",
        "a\"b",
        &long,
        &longer,
    ];
    for name in names {
        let flag = format!("--app={name}");
        let refused = platform
            .coracle(&["deploy", "--image", TEST_IMAGE, &flag])
            .await;
        refused.refused(2);
        assert!(
            !refused.stderr.contains('\u{1b}'),
            "an escape sequence got through: {refused:?}"
        );
        assert!(refused.stderr.len() < 2000, "{refused}");
    }
    let refused = platform
        .coracle(&["deploy", "--image", TEST_IMAGE, "--app=Shop"])
        .await;
    refused.refused_with(2, &["app name", "Shop", "lower-case letters", "30"]);
    for verb in [
        vec!["logs", "a b"],
        vec!["scale", "../x", "web=1"],
        vec!["exec", "a\nb", "--", "id"],
        vec!["rollback", "$x"],
    ] {
        platform.coracle(&verb).await.refused(2);
    }
    for scale in [
        "web",
        "web=",
        "web=-1",
        "web=101",
        "web=1.5",
        "=3",
        "web=99999999999999999999",
    ] {
        let refused = platform.coracle(&["scale", "shop", scale]).await;
        assert!(matches!(refused.code, Some(1 | 2)), "{refused}");
        assert!(refused.stderr.contains("error: "), "{refused}");
    }
    platform
        .coracle(&["logs", "nobody"])
        .await
        .refused_with(1, &["nobody"]);
    platform
        .coracle(&[
            "deploy",
            "--image",
            TEST_IMAGE,
            "--app",
            "a",
            "--project",
            "nowhere",
        ])
        .await
        .refused_with(1, &["nowhere"]);
    nothing_was_made(&platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_cannot_be_built() {
    let platform = Platform::start().await;
    let deploy = |source: &Source| {
        let path = source.arg().to_owned();
        let platform = &platform;
        async move { platform.coracle(&["deploy", &path, "--app", "shop"]).await }
    };

    let source = Source::empty();
    let refused = deploy(&source).await;
    assert!(matches!(refused.code, Some(1 | 2)), "{refused}");
    refused.refused_with(refused.code.unwrap(), &["empty"]);

    source.write("notes.txt", "nothing to build\n");
    deploy(&source)
        .await
        .refused_with(1, &["no \"Dockerfile\"", "hint"]);
    source.write("app.py", "print('hello')\n");
    source.write("requirements.txt", "");
    deploy(&source)
        .await
        .refused_with(1, &["Dockerfile", "python"]);

    let source = Source::page("x");
    source.write(
        "coracle.toml",
        "app = \"shop\"\n\n[process.web]\nreplica = 2\n",
    );
    let refused = deploy(&source).await;
    refused.refused_with(1, &["coracle.toml", "4", "replica", "replicas"]);
    source.write("coracle.toml", "[process.web]\nreplicas = 1000\n");
    deploy(&source)
        .await
        .refused_with(1, &["coracle.toml", "2", "replicas", "100"]);
    source.write("coracle.toml", "[process.web\n");
    deploy(&source)
        .await
        .refused_with(1, &["coracle.toml", "1"]);

    let missing = platform
        .coracle(&["deploy", "/no/such/folder", "--app", "shop"])
        .await;
    missing.refused_with(missing.code.unwrap(), &["/no/such/folder"]);
    let file = platform
        .coracle(&[
            "deploy",
            &format!("{}/Dockerfile", source.arg()),
            "--app",
            "shop",
        ])
        .await;
    file.refused_with(file.code.unwrap(), &["folder"]);

    // 2 GiB that take no room: refused before they are sent.
    let source = Source::page("x");
    source.sparse("disk.img", 2 * GIB);
    let refused = deploy(&source).await;
    refused.refused_with(1, &["large", ".dockerignore"]);
    eprintln!(
        "a file of 2 GiB was refused after {} ms",
        refused.took.as_millis()
    );
    source.write(".dockerignore", "*.img\n");
    deploy(&source).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builds_that_fail_say_where() {
    let platform = Platform::start().await;
    let deploy = |source: &Source| {
        let path = source.arg().to_owned();
        let platform = &platform;
        async move { platform.coracle(&["deploy", &path, "--app", "shop"]).await }
    };
    let source = Source::page("x");
    source.write(
        "Dockerfile",
        &format!("FROM {TEST_IMAGE}\n\nRUNN echo hello\n"),
    );
    deploy(&source).await.refused_with(1, &["RUNN", "line 3"]);
    source.write(
        "Dockerfile",
        &format!("FROM {TEST_IMAGE}\nRUN echo this went wrong >&2; exit 42\n"),
    );
    deploy(&source)
        .await
        .refused_with(1, &["this went wrong", "42"]);
    source.write(
        "Dockerfile",
        &format!("FROM {TEST_IMAGE}\nCOPY nowhere.txt /\n"),
    );
    deploy(&source).await.refused_with(1, &["nowhere.txt"]);
    source.write("Dockerfile", "");
    deploy(&source).await.refused_with(1, &["Dockerfile"]);
    source.write("Dockerfile", "FROM no-such-image.invalid/nothing:1\n");
    deploy(&source)
        .await
        .refused_with(1, &["no-such-image.invalid"]);

    let missing = platform
        .coracle(&[
            "deploy",
            "--image",
            "localhost:1/no/such:image",
            "--app",
            "other",
        ])
        .await;
    missing.refused_with(1, &["localhost:1/no/such:image"]);
    for image in ["a b", "", "../x", "a;b", "-x", "a//b", "$(id)", "a\nb"] {
        let flag = format!("--image={image}");
        let refused = platform.coracle(&["deploy", &flag, "--app", "other"]).await;
        refused.refused_with(2, &["image"]);
    }
    for image in ["UPPER/case", "a:b:c"] {
        let flag = format!("--image={image}");
        let refused = platform.coracle(&["deploy", &flag, "--app", "other"]).await;
        refused.refused_with(1, &[image]);
    }

    // The first that works is as good as if nothing had happened.
    source.write(
        "Dockerfile",
        &format!("FROM {TEST_IMAGE}\nCOPY index.html /www/\n"),
    );
    deploy(&source).await.ok();
    assert_eq!(platform.get("shop.localhost", "/").await.body.trim(), "x");
    platform.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_and_json_of_hostile_people() {
    let platform = Platform::start().await;
    let api = platform.api().await;
    let builds = "/projects/default/apps/shop/builds?create=true";

    let bomb = Source::bomb(64);
    let bytes = bomb.len();
    let before = used(platform.data());
    let began = std::time::Instant::now();
    let answer = api.upload(builds, bomb).await.unwrap();
    let reason = if answer.status == 202 {
        // Taken in as what it is, a small file; refused when it is opened.
        let number = answer.ok()["metadata"]["name"].as_str().unwrap().to_owned();
        let path = format!("/projects/default/apps/shop/builds/{number}");
        let (build, _) =
            coracle_e2e::until_ok("the bomb to be refused", coracle_e2e::LONG, || async {
                let build = api.get(&path).await.ok();
                let phase = build["status"]["phase"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if matches!(phase.as_str(), "queued" | "running") {
                    Err(phase)
                } else {
                    Ok(build)
                }
            })
            .await;
        assert_eq!(build["status"]["phase"], "failed", "{build}");
        build["status"]["reason"].as_str().unwrap().to_owned()
    } else {
        assert_eq!(answer.problem(413), "too_large");
        answer.body["detail"].as_str().unwrap().to_owned()
    };
    assert!(reason.contains("too large"), "{reason}");
    eprintln!(
        "a bomb of {bytes} bytes was refused after {} ms: {reason}",
        began.elapsed().as_millis()
    );
    assert!(
        used(platform.data()) < before + (64 << 20),
        "the bomb left its pieces"
    );

    let refused = api
        .upload(builds, b"this is no archive at all".to_vec())
        .await
        .unwrap();
    if refused.status != 202 {
        assert_eq!(refused.problem(422), "invalid_source");
    }

    let apps = "/projects/default/apps";
    let answer = api
        .post(
            apps,
            &json!({"metadata": {"name": "x"}, "spec": {"colour": "red"}}),
        )
        .await;
    assert_eq!(answer.problem(422), "unknown_field", "{answer:?}");
    assert!(answer.body.to_string().contains("colour"), "{answer:?}");
    let answer = api
        .post(apps, &json!({"metadata": {"name": "X y"}, "spec": {}}))
        .await;
    assert_eq!(answer.problem(422), "invalid_field", "{answer:?}");
    let answer = api.post(apps, &json!({"metadata": {"name": 7}})).await;
    assert!(matches!(answer.status, 400 | 422), "{answer:?}");
    let answer = api.post(apps, &json!([1, 2, 3])).await;
    assert!(matches!(answer.status, 400 | 422), "{answer:?}");
    assert!(answer.body["code"].is_string(), "{answer:?}");

    // A stale revision changes nothing. (The platform notes the app's status meanwhile, which is a revision too.)
    let body = json!({"metadata": {"name": "stale"}, "spec": {}});
    let stale = &format!("{apps}/stale");
    let made = api.post(apps, &body).await.ok();
    let change = |revision: &serde_json::Value, pods: u32| {
        let metadata = json!({"name": "stale", "revision": revision});
        json!({"metadata": metadata, "spec": {"scale": {"web": pods}}})
    };
    coracle_e2e::until_ok(
        "a change of what was just read",
        coracle_e2e::LONG,
        || async {
            let now = api.get(stale).await.ok();
            let answer = api
                .put(stale, &change(&now["metadata"]["revision"], 2))
                .await;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        },
    )
    .await;
    let answer = api
        .put(stale, &change(&made["metadata"]["revision"], 9))
        .await;
    assert_eq!(answer.problem(409), "stale_revision");
    assert_eq!(api.get(stale).await.ok()["spec"]["scale"]["web"], 2);
    let answer = api.get("/projects/default/apps/..%2f..%2fetc").await;
    assert!(matches!(answer.status, 404 | 422), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_belongs_to_one_app() {
    let platform = Platform::start().await;
    for app in ["one", "two"] {
        platform
            .coracle(&["deploy", "--image", TEST_IMAGE, "--app", app])
            .await
            .ok();
    }
    let api = platform.api().await;
    let host = json!({"host": "www.example.org"});
    api.post("/projects/default/apps/one/domains", &host)
        .await
        .ok();
    platform
        .serves("www.example.org", "/", 200, "coracle-test")
        .await;
    let answer = api.post("/projects/default/apps/two/domains", &host).await;
    assert_eq!(answer.problem(409), "domain_taken", "{answer:?}");
    // The name that another app has anyway cannot be claimed either.
    let answer = api
        .post(
            "/projects/default/apps/two/domains",
            &json!({"host": "one.localhost"}),
        )
        .await;
    assert_eq!(answer.problem(409), "domain_taken", "{answer:?}");
    for bad in [
        "",
        "a b",
        "-a.org",
        "*.org",
        "WWW.EXAMPLE.ORG:80",
        "a..b",
        &"a".repeat(300),
    ] {
        let answer = api
            .post("/projects/default/apps/two/domains", &json!({"host": bad}))
            .await;
        assert_eq!(answer.status, 422, "{bad:?}: {answer:?}");
    }
    api.delete("/projects/default/apps/one/domains/www.example.org")
        .await
        .ok();
    api.post("/projects/default/apps/two/domains", &host)
        .await
        .ok();
    platform
        .serves("www.example.org", "/", 200, "coracle-test")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_does_not_listen_on_its_port() {
    let platform = Platform::start().await;
    let source = Source::page("x");
    source.write(
        "coracle.toml",
        "[process.web]\ncommand = \"exec httpd -f -p 9999 -h /www\"\nhealth = { interval = \"500ms\", grace = \"5s\" }\n",
    );
    let refused = platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await;
    refused.refused_with(1, &["8080"]);
    eprintln!("{}", refused.stderr);
    let page = platform.get("shop.localhost", "/").await;
    assert!(matches!(page.status, 502 | 503), "{page:?}");
    assert!(page.code.is_some(), "{page:?}");
    let app = platform
        .api()
        .await
        .get("/projects/default/apps/shop")
        .await
        .ok();
    assert_eq!(app["status"]["phase"], "failed", "{app}");
    // It is not asked for ever.
    platform.settled().await;
    assert!(refused.took < Duration::from_secs(120));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_in_the_middle_of_an_upload() {
    let Some(disk) = SmallDisk::mount(40 << 20) else {
        return;
    };
    let platform = Platform::prepare(Options {
        data: Some(disk.path().join("data")),
        ..Options::default()
    });
    platform.up().await;
    let source = Source::page("small");
    platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await
        .ok();

    source.noise("big", 48 << 20);
    let refused = platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await;
    refused.refused_with(
        1,
        &[
            "no room for the upload",
            "disk",
            "kept for the platform",
            "hint",
        ],
    );
    eprintln!("{}", refused.stderr);
    assert_eq!(
        platform.get("shop.localhost", "/").await.body.trim(),
        "small"
    );
    let app = platform
        .api()
        .await
        .get("/projects/default/apps/shop")
        .await
        .ok();
    assert_eq!(app["status"]["phase"], "running", "{app}");

    // What was received of it is gone again, and there is room for something smaller.
    source.write("big", "not so big");
    source.write("index.html", "smaller\n");
    platform
        .coracle(&["deploy", source.arg(), "--app", "shop"])
        .await
        .ok();
    assert_eq!(
        platform.get("shop.localhost", "/").await.body.trim(),
        "smaller"
    );
    platform.settled().await;
}

fn used(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => used(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}
