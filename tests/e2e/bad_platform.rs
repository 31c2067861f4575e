//! Where a platform cannot be started: it says why, and disturbs nobody.

use std::os::unix::fs::PermissionsExt as _;

use coracle_e2e::{Held, Options, Part, Platform, TEST_IMAGE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_that_others_use() {
    let held = Held::new();
    let port = held.address().port().to_string();
    for (flag, options) in [
        (
            "--listen",
            Options {
                listen: held.address(),
                ..Options::default()
            },
        ),
        (
            "--http",
            Options {
                http: held.address(),
                ..Options::default()
            },
        ),
    ] {
        let platform = Platform::prepare(options);
        let refused = platform.try_up().await;
        refused.refused_with(1, &[&port, flag]);
        assert!(
            !platform.lives(Part::Serve) && !platform.lives(Part::Gateway),
            "{flag}: something was left running"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_control_plane_for_a_data_directory() {
    let platform = Platform::start().await;
    let pid = platform.pid(Part::Serve).unwrap().to_string();
    platform
        .second_control_plane()
        .await
        .refused_with(1, &["another control plane", &pid]);
    platform
        .coracle(&["deploy", "--image", TEST_IMAGE, "--app", "shop"])
        .await
        .ok();
    assert_eq!(platform.get("shop.localhost", "/").await.status, 200);

    // Another data directory on the same ports is another platform: it is refused, and this one goes on.
    let other = tempfile::tempdir().unwrap();
    let refused = platform.try_up_elsewhere(other.path()).await;
    refused.refused_with(1, &[&platform.listen().port().to_string()]);
    assert_eq!(platform.get("shop.localhost", "/").await.status, 200);
    assert_eq!(platform.pid(Part::Serve).unwrap().to_string(), pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_directories_that_cannot_be_used() {
    let platform = Platform::prepare(Options::default());
    let home = tempfile::tempdir().unwrap();
    // What not even root may write to, and what is no folder.
    let file = home.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for bad in [
        std::path::Path::new("/proc/coracle"),
        &file,
        &file.join("below"),
    ] {
        let refused = platform.try_up_elsewhere(bad).await;
        refused.refused_with(1, &[bad.to_str().unwrap(), "--data-dir"]);
    }
    let locked = home.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(locked.join("probe"), "x").is_ok() {
        eprintln!("skipped in part: root may write everywhere");
        return;
    }
    platform
        .try_up_elsewhere(&locked)
        .await
        .refused_with(1, &[locked.to_str().unwrap(), "--data-dir"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_platform_at_all() {
    let platform = Platform::prepare(Options::default());
    let refused = platform.coracle(&["apps"]).await;
    refused.refused_with(1, &["hint"]);
    for usage in [
        vec!["no-such-verb"],
        vec!["scale"],
        vec!["apps", "--output", "yaml"],
        vec!["deploy", "--no-such-flag"],
    ] {
        let refused = platform.coracle(&usage).await;
        assert_eq!(refused.code, Some(2), "{refused}");
    }
    let help = platform.coracle(&["--help"]).await;
    for verb in ["up", "down", "deploy", "apps", "logs", "rollback"] {
        assert!(help.ok().contains(verb), "{help}");
    }
}
