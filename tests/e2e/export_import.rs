//! From one platform to another and back, and what a kill in the middle leaves.

use coracle_e2e::{LONG, Part, Platform, Source, TEST_IMAGE, until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Files for exports and passphrases.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for (name, text) in [
            ("passphrase", "correct horse battery\n"),
            ("wrong", "battery staple\n"),
        ] {
            std::fs::write(files.0.path().join(name), text).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Exports into a new file.
    async fn export(&self, platform: &Platform, name: &str) -> String {
        let (file, passphrase) = (self.path(name), self.path("passphrase"));
        let export = ["export", &file, "--passphrase-file", &passphrase];
        platform.coracle(&export).await.ok();
        file
    }
}

/// The app as people see it: what does not differ between two platforms that have the same.
async fn shape(platform: &Platform, app: &str) -> Value {
    let api = platform.api().await;
    let path = format!("/projects/default/apps/{app}");
    let object = api.get(&path).await.ok();
    let releases = api.list(&format!("{path}/releases")).await.unwrap();
    let releases: Vec<_> = releases
        .iter()
        .map(|release| {
            json!([
                release["metadata"]["name"],
                release["status"]["phase"],
                release["spec"]["origin"],
                release["spec"]["config"]
            ])
        })
        .collect();
    let env = api.get(&format!("{path}/env")).await.ok();
    json!([object["spec"], releases, env])
}

/// Bytes of all files in a folder.
fn bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes(&entry.path()),
            Ok(meta) => meta.len(),
            // Gone meanwhile.
            Err(_) => 0,
        })
        .sum()
}

async fn runs(platform: &Platform, app: &str) {
    let path = format!("/projects/default/apps/{app}");
    until("an app to run where it arrived", LONG, async || {
        let app = platform.api().await.get(&path).await.ok();
        app["status"]["phase"] == json!("running")
    })
    .await;
}

/// A platform with an app of a folder (two builds, variables, a secret, a volume) and one of an image.
async fn shop() -> Platform {
    let platform = Platform::start().await;
    let source = Source::page("first");
    source.write(
        "coracle.toml",
        "app = \"shop\"\n[[volume]]\nname = \"data\"\npath = \"/data\"\nsize = \"64Mi\"\n",
    );
    let deploy = ["deploy", source.arg()];
    platform.coracle(&deploy).await.ok();
    source.write("index.html", "second\n");
    platform.coracle(&deploy).await.ok();
    for set in [
        &["env", "shop", "set", "COLOUR=blue"][..],
        &["env", "shop", "set", "KEY=hunter2", "--secret"],
        // The image of a build, by another app: its content is in the registry.
        &[
            "deploy",
            "--image",
            &format!("{}/default/shop:b1", platform.listen()),
            "--app",
            "blog",
        ],
        // An image that was never in the registry.
        &["deploy", "--image", TEST_IMAGE, "--app", "plain"],
        &["env", "plain", "set", "MOOD=calm"],
    ] {
        platform.coracle(set).await.ok();
    }
    platform
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_moves_to_another_and_back() {
    let (files, there) = (Files::new(), shop().await);
    let unsealed = there.coracle(&["export", &files.path("unsealed")]).await;
    unsealed.refused_with(1, &["passphrase", "--passphrase-file"]);
    assert!(!std::path::Path::new(&files.path("unsealed")).exists());
    let file = files.export(&there, "there.tar.zst").await;

    let here = Platform::start().await;
    let nothing = here.coracle(&["apps", "--output", "json"]).await.json();
    for wrong in [
        &[
            "import",
            file.as_str(),
            "--passphrase-file",
            &files.path("wrong"),
        ][..],
        &["import", file.as_str()],
    ] {
        let refused = here.coracle(wrong).await;
        refused.refused_with(refused.code.unwrap(), &["passphrase"]);
    }
    let passphrase = files.path("passphrase");
    let import = ["import", file.as_str(), "--passphrase-file", &passphrase];
    let check = [&import[..], &["--dry-run"]].concat();
    assert!(here.coracle(&check).await.ok().contains("created"));
    // For scripts: either comes from standard input, and not both.
    let archive = std::fs::read(&file).unwrap();
    let piped = ["import", "-", "--check", "--passphrase-file", &passphrase];
    let piped = here.coracle_with(&piped, &archive).await;
    assert!(piped.ok().contains("created"), "{piped}");
    let told = ["import", &file, "--check", "--passphrase-file", "-"];
    let told = here.coracle_with(&told, b"correct horse battery\n").await;
    assert!(told.ok().contains("created"), "{told}");
    let both = ["import", "-", "--passphrase-file", "-"];
    let both = here.coracle_with(&both, &archive).await;
    both.refused_with(both.code.unwrap(), &["standard input"]);
    // Without secrets it needs no passphrase, and says what that means.
    let open = files.path("open");
    let exported = here.coracle(&["export", &open]).await;
    exported.ok();
    let check = here.coracle(&["import", &open, "--check"]).await;
    check.ok();
    for said in [&exported, &check] {
        assert!(said.stderr.contains("nobody vouches"), "{said}");
    }
    let relied = ["import", &open, "--passphrase-file", &passphrase];
    let relied = here.coracle(&relied).await;
    relied.refused_with(relied.code.unwrap(), &["nobody vouches"]);
    assert_eq!(
        here.coracle(&["apps", "--output", "json"]).await.json(),
        nothing
    );

    let imported = here.coracle(&import).await;
    imported.ok();
    for note in ["volume data arrives empty", "must be reachable from here"] {
        assert!(imported.stderr.contains(note), "{note}: {imported}");
    }
    for app in ["shop", "blog", "plain"] {
        runs(&here, app).await;
        assert_eq!(shape(&here, app).await, shape(&there, app).await);
    }
    here.serves("shop.localhost", "/", 200, "second").await;
    here.serves("blog.localhost", "/", 200, "first").await;
    here.serves("plain.localhost", "/cgi-bin/env", 200, "MOOD=calm")
        .await;
    // The secret is the same to the app, and no more readable for people than it was.
    let told = here
        .coracle(&[
            "run",
            "shop",
            "--",
            "sh",
            "-c",
            "echo $KEY $COLOUR; ls -d /data",
        ])
        .await;
    assert_eq!(told.ok().trim(), "hunter2 blue\n/data", "{told}");
    let env = here.coracle(&["env", "shop"]).await;
    assert!(!env.ok().contains("hunter2"), "{env}");

    let before = (shape(&here, "shop").await, shape(&here, "plain").await);
    let again = here.coracle(&import).await;
    assert!(!again.ok().contains("created"), "{again}");
    assert_eq!(again.stdout.matches("unchanged").count(), 4, "{again}");
    assert_eq!(
        (shape(&here, "shop").await, shape(&here, "plain").await),
        before
    );

    // Its history came along.
    here.coracle(&["rollback", "shop", "v1"]).await.ok();
    here.serves("shop.localhost", "/", 200, "first").await;
    here.coracle(&["rollback", "plain", "v1"]).await.ok();

    let back = files.export(&here, "back.tar.zst").await;
    let import = ["import", back.as_str(), "--passphrase-file", &passphrase];
    there
        .coracle(&import)
        .await
        .refused_with(1, &["shop", "--on-conflict"]);
    there.serves("shop.localhost", "/", 200, "second").await;
    let replace = [&import[..], &["--on-conflict", "replace"]].concat();
    let replaced = there.coracle(&replace).await;
    assert_eq!(replaced.ok().matches("replaced").count(), 2, "{replaced}");
    there.serves("shop.localhost", "/", 200, "first").await;
    runs(&there, "plain").await;
    // And to one that knows nothing of it.
    let third = Platform::start().await;
    third.coracle(&import).await.ok();
    third.serves("shop.localhost", "/", 200, "first").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_is_ended_by_the_next() {
    let there = Platform::start().await;
    let source = Source::page("from there");
    // Something to carry, so that there is a middle.
    source.noise("noise", 48 << 20);
    source.write(
        "Dockerfile",
        &format!("FROM {TEST_IMAGE}\nCOPY index.html /www/\nCOPY noise /\n"),
    );
    for app in ["shop", "blog"] {
        let deploy = ["deploy", source.arg(), "--app", app];
        there.coracle(&deploy).await.ok();
        source.write("index.html", "from there, too\n");
    }
    let files = Files::new();
    let file = files.export(&there, "killed.tar.zst").await;
    let passphrase = files.path("passphrase");
    let import = ["import", file.as_str(), "--passphrase-file", &passphrase];

    let here = Platform::start().await;
    let registry = here.data().join("registry");
    let importing = here.coracle(&import);
    let killing = async {
        until("images to arrive", LONG, async || {
            bytes(&registry) > 1 << 20
        })
        .await;
        here.kill9(Part::Serve).await;
    };
    let (cut, ()) = tokio::join!(importing, killing);
    // A fast machine may have ended before the kill: then there is nothing left for the next to do.
    if cut.code != Some(0) {
        cut.refused_with(1, &["import"]);
    }
    let left = std::fs::read_dir(here.data()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains("tmp")),
        "{left:?}"
    );
    here.up().await;
    let done = here.coracle(&import).await;
    done.ok();
    eprintln!("import after a kill: {} ms", done.took.as_millis());
    for (app, text) in [("shop", "from there"), ("blog", "from there, too")] {
        runs(&here, app).await;
        here.serves(&format!("{app}.localhost"), "/", 200, text)
            .await;
    }
    let again = here.coracle(&import).await;
    assert_eq!(again.ok().matches("unchanged").count(), 3, "{again}");
    // And it served on there all the while.
    there.serves("shop.localhost", "/", 200, "from there").await;
}
