//! Two control planes on one etcd, and the one that leads killed while a build runs on the cluster.

use coracle_e2e::{EtcdServer, Fleet, Kubectl, Source, TEST_IMAGE, VERY_LONG, until_ok};
use serde_json::Value;

use crate::build::{BUILD_IMAGE, at_node, carry, source_image};

/// Of the leader, in seconds.
const LEASE: u64 = 5;

/// What a platform made goes with this.
struct Sweep(String);

impl Drop for Sweep {
    fn drop(&mut self) {
        let label = format!("coracle.io/platform={}", self.0);
        let line = ["delete", "namespaces", "--wait=false", "-l", &label];
        if let Err(error) = Kubectl::given().try_run(&line) {
            eprintln!("left behind in the cluster: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_goes_on_when_another_control_plane_leads() {
    let Some(etcd) = EtcdServer::start(&[]).await else {
        return;
    };
    let listener = at_node().await;
    let relay = listener.local_addr().unwrap().to_string();
    let namespace = format!("builds-{:08x}", fastrand::u32(..));
    let project = format!("e{:08x}", fastrand::u32(..));
    let flags = [
        "--engine",
        "kubernetes",
        "--build-tool",
        "buildah",
        "--build-image",
        BUILD_IMAGE,
        "--build-source-image",
        &source_image(),
        "--build-control",
        &format!("http://{relay}"),
        "--build-registry",
        &relay,
        "--build-namespace",
        &namespace,
    ]
    .map(str::to_owned);
    let mut fleet = Fleet::start_on(etcd, 2, LEASE, &flags).await;
    let _sweep = Sweep(fleet.members[0].id());
    let _relay = carry(listener, fleet.members.iter().map(|m| m.listen()).collect());
    let (leader, elected, _) = fleet.leads_after(0).await;
    // Whatever is asked, is asked of the one that stays.
    let other = 1 - leader;
    let member = &fleet.members[other];
    member.log_in().await;
    let wish = serde_json::json!({"metadata": {"name": project}, "spec": {}});
    member.api().await.post("/projects", &wish).await.ok();
    let own = member.listen().to_string();
    push(member, &format!("{own}/{project}/base:1")).await;

    let source = Source::page("survived");
    let lines: String = (1..=20)
        .map(|n| format!("echo step $(({n}*1)) of 20; sleep 1; "))
        .collect();
    source.write(
        "Dockerfile",
        &format!(
            "FROM {relay}/{project}/base:1\nRUN {lines} true\nCOPY index.html /www/index.html\n"
        ),
    );
    let line = [
        "--project",
        &project,
        "deploy",
        source.arg(),
        "--app",
        "shop",
        "--no-wait",
    ];
    member.coracle(&line).await.ok();
    let of_builds = ["pods", "-n", &namespace, "-l", "coracle.io/build"];
    let kubectl = Kubectl::given();
    let runs = || async {
        let pods = kubectl.get(&of_builds);
        let running = |pod: &Value| {
            let all = pod["status"]["initContainerStatuses"].as_array();
            all.into_iter()
                .flatten()
                .any(|c| c["name"] == "build" && !c["state"]["running"].is_null())
        };
        let uid = |pod: Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
        pods.into_iter()
            .find(running)
            .map(uid)
            .ok_or_else(|| "no pod builds".to_owned())
    };
    let (before, _) = until_ok("the build to run", VERY_LONG, runs).await;
    fleet.kill(leader).await;
    let (_, _, took) = fleet.leads_after(elected).await;
    eprintln!("another leads after {} ms", took.as_millis());
    let during = kubectl.get(&of_builds);
    let same = during
        .iter()
        .any(|pod| pod["metadata"]["uid"] == before.as_str());
    assert!(same, "the pod goes on");

    let member = &fleet.members[other];
    let at = format!("/projects/{project}/apps/shop/builds/b1");
    let (build, _) = until_ok("the build to succeed", VERY_LONG, || async {
        let build: Value = member.api().await.get(&at).await.ok();
        match build["status"]["phase"].as_str() {
            Some("succeeded") => Ok(build),
            _ => Err(build["status"].to_string()),
        }
    })
    .await;
    assert_eq!(build["status"]["release"], 1, "{build}");
    let log = member
        .coracle(&["--project", &project, "builds", "log", "shop", "b1"])
        .await;
    let log = log.stdout + &log.stderr;
    for n in 1..=20 {
        let line = format!("step {n} of 20");
        assert_eq!(log.matches(&line).count(), 1, "{line}: {log}");
    }
    assert!(!log.contains("was lost"), "{log}");
    let tags = member.coracle(&["--project", &project, "images"]).await;
    let shop = tags.stdout.lines().filter(|line| line.contains("/shop"));
    assert_eq!(shop.count(), 1, "{tags}");
}

/// Pushes the test image under this name.
async fn push(member: &coracle_e2e::Platform, image: &str) {
    let made = member.coracle(&["tokens", "create", "push"]).await;
    let token = made.ok().split_whitespace().last().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().to_str().unwrap();
    let host = image.split('/').next().unwrap();
    tokio::task::block_in_place(|| {
        let docker = member.docker();
        drop(docker.run(&[
            "--config", config, "login", host, "-u", "admin", "-p", &token,
        ]));
        drop(docker.run(&["tag", TEST_IMAGE, image]));
        drop(docker.run(&["--config", config, "push", "--quiet", image]));
        drop(docker.run(&["rmi", image]));
    });
}
