//! What one project built stays its own, on a machine where the builds of all projects use one Docker.

use std::time::SystemTime;

use coracle_e2e::{Docker, Platform, Source};

/// The time, as Docker takes it.
fn seconds() -> String {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    since.as_secs().to_string()
}

/// The log of a build, as it lies in the data directory.
fn log(platform: &Platform, project: &str, app: &str, build: u32) -> String {
    let path = format!("builds/{project}/{app}/{build}.log");
    std::fs::read_to_string(platform.data().join(path)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_builds_with_an_image_of_another_project() {
    let platform = Platform::start().await;
    let docker = Docker::default();
    platform
        .coracle(&["projects", "create", "other"])
        .await
        .ok();
    let source = Source::page("private");
    let dockerfile = format!(
        "FROM coracle-test:1\nRUN echo {} > /tag && sleep 1\nCOPY index.html /www/\n",
        platform.id()
    );
    source.write("Dockerfile", &dockerfile);
    let deploy = ["deploy", source.arg(), "--app", "shop"];

    // Docker gives a build what it has under a name, without asking who wants it: so it has none at any moment.
    let named = format!("{}/default/shop:b1", platform.listen());
    let deploying = platform.coracle(&deploy);
    tokio::pin!(deploying);
    let began = seconds();
    let mut looks = 0;
    let deployed = loop {
        tokio::select! {
            deployed = &mut deploying => break deployed,
            () = tokio::task::yield_now() => {
                let found = docker.try_run(&["image", "inspect", "--format", "{{.Id}}", &named]);
                assert!(found.is_err(), "{found:?}");
                looks += 1;
            }
        }
    };
    deployed.ok();
    assert!(looks > 10, "{looks}");
    eprintln!("first deploy: {} ms", deployed.took.as_millis());

    let own = docker.run(&[
        "images",
        "-q",
        "--no-trunc",
        &format!("{}/default/shop", platform.listen()),
    ]);
    let id = own.lines().next().unwrap();
    let short = &id["sha256:".len()..][..12];
    for dockerfile in [
        format!("FROM {named}\nRUN cat /www/index.html\n"),
        format!("FROM coracle-test:1\nCOPY --from={named} /www/index.html /www/\n"),
        format!(
            "FROM {named} AS its\nFROM coracle-test:1\nRUN --mount=from=its,target=/its cat /its/www/index.html\n"
        ),
        format!("FROM {short}\n"),
        format!("FROM {id}\n"),
    ] {
        let thief = Source::empty();
        thief.write("Dockerfile", &dockerfile);
        let deploy = [
            "deploy",
            thief.arg(),
            "--app",
            "thief",
            "--project",
            "other",
        ];
        let refused = platform.coracle(&deploy).await;
        if dockerfile.contains(&named) {
            refused.refused_with(1, &["403 Forbidden"]);
        }
        refused.refused(1);
        assert!(!refused.to_string().contains("private"), "{refused}");
    }
    for image in [named.as_str(), short, &id[..20]] {
        let deploy = [
            "deploy",
            "--image",
            image,
            "--app",
            "thief",
            "--project",
            "other",
        ];
        platform.coracle(&deploy).await.refused(1);
    }

    // Its owner has the cache, and the image by its name, from the registry.
    source.write("index.html", "second\n");
    let again = platform.coracle(&deploy).await;
    again.ok();
    eprintln!("second deploy: {} ms", again.took.as_millis());
    let log = log(&platform, "default", "shop", 2);
    assert!(log.contains("cached"), "{log}");
    // And its pods did without a pull.
    let now = seconds();
    let pulls = docker.run(&[
        "events",
        "--since",
        &began,
        "--until",
        &now,
        "--filter",
        "event=pull",
        "--format",
        "{{.Actor.ID}}",
    ]);
    assert!(!pulls.contains("default/shop"), "{pulls}");
    let built_on = Source::empty();
    built_on.write("Dockerfile", &format!("FROM {named}\n"));
    let deploy = ["deploy", built_on.arg(), "--app", "based"];
    platform.coracle(&deploy).await.ok();
    let page = platform.get("based.localhost", "/").await;
    assert_eq!(page.body.trim(), "private");
    let tags = platform.coracle(&["images", "default/shop"]).await;
    for tag in ["b1", "b2"] {
        let line = format!("default/shop:{tag}");
        assert!(
            tags.ok()
                .lines()
                .any(|l| l.contains(&line) && !l.contains(&format!("{line}-"))),
            "{tags}"
        );
    }
}
