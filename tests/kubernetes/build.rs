//! Folders that become images on the cluster: by a Job without root and without a daemon, whatever happens to it.
//!
//! Theory of operation: the control plane listens on this machine's loopback address, so a relay at the node's address
//! stands for the Service that pods reach it by. Dockerfiles begin with the test image by its plain name, which
//! is looked for in the platform's own registry, as on a cluster that reaches no other. The image of the platform itself
//! (`CORACLE_TEST_SOURCE_IMAGE`) and the one that builds are in the nodes already.

use std::net::{IpAddr, SocketAddr};

use coracle_e2e::{Cluster, Kubectl, LONG, Part, Source, TEST_IMAGE, VERY_LONG, until, until_ok};
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Builds with Buildah from Debian packages (`scripts/build-image`).
pub(crate) const BUILD_IMAGE: &str = "coracle-build-buildah:1";

/// A platform that builds on the cluster.
struct Building {
    cluster: Cluster,
    namespace: String,
    /// It ends with this.
    _relay: JoinSet<()>,
}

impl std::ops::Deref for Building {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

/// The image that fetches sources.
pub(crate) fn source_image() -> String {
    let image = std::env::var("CORACLE_TEST_SOURCE_IMAGE");
    image.unwrap_or_else(|_| "coracle:suite".to_owned())
}

impl Building {
    async fn start(more: &[&str]) -> Self {
        Self::start_with(BUILD_IMAGE, more).await
    }

    async fn start_with(image: &str, more: &[&str]) -> Self {
        let listener = at_node().await;
        let relay = listener.local_addr().unwrap().to_string();
        let source_image = source_image();
        let (namespace, base) = (
            format!("builds-{:08x}", fastrand::u32(..)),
            format!("b{:08x}", fastrand::u32(..)),
        );
        let control = format!("http://{relay}");
        let tool = match more.contains(&"--build-tool") {
            true => &[][..],
            false => &["--build-tool", "buildah"],
        };
        let flags = [
            "--build-image",
            image,
            "--build-source-image",
            &source_image,
            "--build-control",
            &control,
            "--build-registry",
            &relay,
            "--build-namespace",
            &namespace,
            "--build-base-images",
            &base,
        ];
        let cluster = Cluster::start_with(&[&flags, tool, more].concat()).await;
        let relay = carry(listener, vec![cluster.listen()]);
        cluster.make_project(&base).await;
        let source = Source::empty();
        source.write("Dockerfile", &format!("FROM {TEST_IMAGE}\n"));
        drop(cluster.push_for(&base, &source, "library/coracle-test", "1"));
        Self {
            cluster,
            namespace,
            _relay: relay,
        }
    }

    /// A source whose build runs this, and whose page says `text`.
    fn source(text: &str, run: &str) -> Source {
        let source = Source::page(text);
        source.write(
            "Dockerfile",
            &format!("FROM {TEST_IMAGE}\nRUN {run}\nCOPY index.html /www/index.html\n"),
        );
        source
    }

    async fn send(&self, source: &Source) {
        let line = ["deploy", source.arg(), "--app", "shop", "--no-wait"];
        self.run(&line).await.ok();
    }

    async fn build(&self, number: u32) -> Value {
        let path = self.at(&format!("/apps/shop/builds/b{number}"));
        self.api().await.get(&path).await.ok()
    }

    async fn phase(&self, number: u32) -> String {
        let build = self.build(number).await;
        build["status"]["phase"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    async fn is(&self, number: u32, phase: &str) -> Value {
        let what = format!("build {number} to be {phase}");
        until_ok(&what, VERY_LONG, || async {
            let build = self.build(number).await;
            if build["status"]["phase"] == phase {
                Ok(build)
            } else {
                Err(build["status"].to_string())
            }
        })
        .await
        .0
    }

    /// The pod in which the build's commands run just now.
    async fn runs(&self) -> Value {
        let running = |pod: &Value| {
            let all = pod["status"]["initContainerStatuses"].as_array();
            all.is_some_and(|all| {
                all.iter()
                    .any(|c| c["name"] == "build" && !c["state"]["running"].is_null())
            })
        };
        until_ok("a build's commands to run", VERY_LONG, || async {
            let pods = self.inside("pods");
            pods.into_iter()
                .find(running)
                .ok_or_else(|| "no pod builds".to_owned())
        })
        .await
        .0
    }

    fn inside(&self, kinds: &str) -> Vec<Value> {
        let own = ["-n", &self.namespace, "-l", "coracle.io/build"];
        self.kubectl().get(&[&[kinds], own.as_slice()].concat())
    }

    async fn nothing_left(&self) {
        until_ok("the builds' objects to go", VERY_LONG, || async {
            let left = self.inside("jobs,pods,secrets");
            let names = left.iter().map(|object| {
                let name = &object["metadata"]["name"];
                format!("{} {name}", object["kind"])
            });
            let names: Vec<String> = names.collect();
            if names.is_empty() {
                Ok(())
            } else {
                Err(names.join(", "))
            }
        })
        .await;
    }
}

/// Carries what comes to the control planes in turn, to the next one that takes it.
pub(crate) fn carry(listener: TcpListener, to: Vec<SocketAddr>) -> JoinSet<()> {
    let mut relay = JoinSet::new();
    relay.spawn(async move {
        let mut carried = JoinSet::new();
        let mut turn = 0;
        while let Ok((mut from, _)) = listener.accept().await {
            turn += 1;
            let (before, after) = to.split_at(turn % to.len());
            let order = [after, before].concat();
            carried.spawn(async move {
                for target in order {
                    if let Ok(mut to) = TcpStream::connect(target).await {
                        drop(copy_bidirectional(&mut from, &mut to).await);
                        return;
                    }
                }
            });
        }
    });
    relay
}

/// A port at an address of this machine under which the cluster knows it as a node.
pub(crate) async fn at_node() -> TcpListener {
    let path = "jsonpath={.items[*].status.addresses[?(@.type==\"InternalIP\")].address}";
    let found = Kubectl::given().run(&["get", "nodes", "-o", path]);
    for address in found
        .split_whitespace()
        .filter_map(|a| a.parse::<IpAddr>().ok())
    {
        if let Ok(listener) = TcpListener::bind(SocketAddr::new(address, 0)).await {
            return listener;
        }
    }
    panic!("this machine is no node of the cluster");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_becomes_a_url_by_a_job() {
    let building = Building::start(&[]).await;
    let host = building.host("shop");
    let source = Building::source("first", "echo made by $(id -u) && test -e /www");
    let line = ["deploy", source.arg(), "--app", "shop"];
    let deployed = building.run(&line).await;
    deployed.ok();
    eprintln!(
        "first deploy with the build on the cluster: {} ms",
        deployed.took.as_millis()
    );
    assert!(
        deployed.stderr.contains("made by 0"),
        "the build's log is shown: {deployed}"
    );
    assert_eq!(building.get(&host, "/").await.body.trim(), "first");
    let build = building.build(1).await;
    let image = build["status"]["image"].as_str().unwrap();
    let begin = format!("{}/{}/shop@sha256:", building.listen(), building.project());
    assert!(image.starts_with(&begin), "{image}");
    building.nothing_left().await;

    source.write("index.html", "second\n");
    let deployed = building.run(&line).await;
    deployed.ok();
    eprintln!("second deploy: {} ms", deployed.took.as_millis());
    assert_eq!(building.get(&host, "/").await.body.trim(), "second");
    building.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_fails_says_why_and_leaves_what_serves() {
    let building = Building::start(&[]).await;
    let host = building.host("shop");
    let good = Building::source("good", "true");
    building
        .run(&["deploy", good.arg(), "--app", "shop"])
        .await
        .ok();

    let bad = Building::source("bad", "echo out of luck && exit 9");
    let failed = building.run(&["deploy", bad.arg(), "--app", "shop"]).await;
    failed.refused_with(1, &["out of luck", "exit 9"]);
    let build = building.is(2, "failed").await;
    let reason = build["status"]["reason"].as_str().unwrap();
    assert!(reason.contains("exit status 9"), "{reason}");

    bad.write("Dockerfile", "FROM nowhere.invalid/a:1\n");
    let failed = building.run(&["deploy", bad.arg(), "--app", "shop"]).await;
    failed.refused_with(1, &["nowhere.invalid"]);

    bad.write("Dockerfile", &format!("FROM {TEST_IMAGE}\nRUNN true\n"));
    let failed = building.run(&["deploy", bad.arg(), "--app", "shop"]).await;
    failed.refused_with(1, &["RUNN"]);

    // A build's pass opens no other app's images.
    let other = format!("FROM {}/elsewhere/app:1\n", building.listen());
    bad.write("Dockerfile", &other);
    let failed = building.run(&["deploy", bad.arg(), "--app", "shop"]).await;
    failed.refused_with(1, &["elsewhere/app"]);

    assert_eq!(building.get(&host, "/").await.body.trim(), "good");
    building.nothing_left().await;
}

/// What cannot even begin: BuildKit's program is not in the image.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_tool_that_cannot_begin_is_said() {
    let building = Building::start(&["--build-tool", "buildkit"]).await;
    let source = Building::source("never", "true");
    let failed = building
        .run(&["deploy", source.arg(), "--app", "shop"])
        .await;
    failed.refused_with(1, &["buildctl-daemonless.sh"]);
    building.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_build_ends_in_the_cluster_too() {
    let building = Building::start(&[]).await;
    building
        .send(&Building::source("never", "echo begun; sleep 600"))
        .await;
    building.runs().await;
    let path = building.at("/apps/shop/builds/b1/cancel");
    building.api().await.post(&path, &Value::Null).await.ok();
    building.is(1, "cancelled").await;
    building.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_is_held_to_its_memory_time_and_disk() {
    let limits = [
        "--build-memory",
        "200Mi",
        "--build-time",
        "40s",
        "--build-storage",
        "150Mi",
    ];
    let building = Building::start(&limits).await;
    let greedy = Building::source("greedy", "tail /dev/zero");
    let failed = building
        .run(&["deploy", greedy.arg(), "--app", "shop"])
        .await;
    failed.refused_with(1, &["200Mi", "memory"]);

    let slow = Building::source("slow", "sleep 600");
    let failed = building.run(&["deploy", slow.arg(), "--app", "shop"]).await;
    failed.refused_with(1, &["time is over"]);

    let large = Building::source(
        "large",
        "dd if=/dev/zero of=/large bs=1M count=400 && sleep 600",
    );
    let failed = building
        .run(&["deploy", large.arg(), "--app", "shop"])
        .await;
    // Kubelets measure disk now and then: the time may be over first.
    let said = failed.refused(1);
    assert!(
        said.contains("of disk") || said.contains("time is over"),
        "{failed}"
    );
    building.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_goes_on_when_the_control_plane_was_killed() {
    let building = Building::start(&[]).await;
    let host = building.host("shop");
    building
        .send(&Building::source(
            "survived",
            "for n in 1 2 3 4 5 6 7 8 9; do echo step $n; sleep 1; done",
        ))
        .await;
    let before = building.runs().await;
    building.kill9(Part::Serve).await;
    building.up().await;
    let build = building.is(1, "succeeded").await;
    assert_eq!(build["status"]["release"], 1, "{build}");
    building.serves(&host, "/", 200, "survived").await;
    let log = building.run(&["builds", "log", "shop", "b1"]).await;
    let log = log.stdout + &log.stderr;
    for n in 1..=9 {
        let times = log.matches(&format!("step {n}")).count();
        assert!(times >= 1, "step {n} is missing: {log}");
    }
    eprintln!("the pod was {}", before["metadata"]["name"]);

    // Killed while a build is asked to end, and while nobody asks for it any more.
    building.send(&Building::source("never", "sleep 600")).await;
    building.runs().await;
    let path = building.at("/apps/shop/builds/b2/cancel");
    building.api().await.post(&path, &Value::Null).await.ok();
    building.kill9(Part::Serve).await;
    building.up().await;
    building.is(2, "cancelled").await;
    building.nothing_left().await;
}

/// BuildKit is in no package here: `CORACLE_TEST_BUILDKIT_IMAGE` names an image of it that the nodes have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buildkit_makes_a_folder_a_url_too() {
    let Ok(image) = std::env::var("CORACLE_TEST_BUILDKIT_IMAGE") else {
        eprintln!("skipped: CORACLE_TEST_BUILDKIT_IMAGE is not set");
        return;
    };
    let building = Building::start_with(&image, &["--build-tool", "buildkit"]).await;
    let host = building.host("shop");
    let source = Building::source("kit", "echo made by $(id -u) && test -e /www");
    let line = ["deploy", source.arg(), "--app", "shop"];
    let deployed = building.run(&line).await;
    deployed.ok();
    assert!(deployed.stderr.contains("made by 0"), "{deployed}");
    assert_eq!(building.get(&host, "/").await.body.trim(), "kit");

    let bad = Building::source("bad", "echo out of luck && exit 9");
    let failed = building.run(&["deploy", bad.arg(), "--app", "shop"]).await;
    failed.refused_with(1, &["out of luck"]);
    // A build's pass opens no other app's images.
    let other = format!("FROM {}/elsewhere/app:1\n", building.listen());
    bad.write("Dockerfile", &other);
    let failed = building.run(&["deploy", bad.arg(), "--app", "shop"]).await;
    failed.refused_with(1, &["elsewhere/app"]);
    building.nothing_left().await;
}

/// How a pod is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// It is gone at once, as when its node is taken out of the cluster.
    Struck,
    /// It is told to end, and has its grace.
    Deleted,
    /// Its node is drained.
    Drained,
}

/// A node that takes pods again, whatever came of the test.
struct Uncordoned(String);

impl Drop for Uncordoned {
    fn drop(&mut self) {
        if let Err(error) = Kubectl::given().try_run(&["uncordon", &self.0]) {
            eprintln!("node {} stays cordoned: {error}", self.0);
        }
    }
}

impl Building {
    /// Takes a pod away. What keeps its node cordoned goes with what is returned.
    fn lose(&self, pod: &Value, how: Loss) -> Option<Uncordoned> {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let node = pod["spec"]["nodeName"].as_str().unwrap();
        let delete = ["delete", "pod", "-n", &self.namespace, name];
        let kubectl = self.kubectl();
        drop(match how {
            Loss::Struck => kubectl.run(&[&delete[..], &["--force", "--grace-period=0"]].concat()),
            Loss::Deleted => kubectl.run(&delete),
            Loss::Drained => {
                let cordoned = Uncordoned(node.to_owned());
                let own = format!("--pod-selector=coracle.io/platform={}", self.id());
                let how = ["--force", "--ignore-daemonsets", "--delete-emptydir-data"];
                drop(kubectl.run(&[&["drain", node, &own][..], &how].concat()));
                return Some(cordoned);
            }
        });
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pod_that_builds_is_lost_and_another_does_it() {
    let building = Building::start(&[]).await;
    for (number, how) in [(1, Loss::Struck), (2, Loss::Deleted), (3, Loss::Drained)] {
        let text = format!("{how:?}");
        building.send(&Building::source(&text, "sleep 8")).await;
        let pod = building.runs().await;
        let cordoned = tokio::task::block_in_place(|| building.lose(&pod, how));
        let build = building.is(number, "succeeded").await;
        assert_eq!(build["status"]["release"], number, "{build}");
        drop(cordoned);
        building
            .serves(&building.host("shop"), "/", 200, &text)
            .await;
        let name = format!("b{number}");
        let log = building.run(&["builds", "log", "shop", &name]).await;
        let log = log.stdout + &log.stderr;
        assert_eq!(log.matches("the build's pod was lost").count(), 1, "{log}");
        building.nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_source_takes_the_place_of_one_that_waits() {
    let building = Building::start(&[]).await;
    let host = building.host("shop");
    building.send(&Building::source("one", "sleep 8")).await;
    building.runs().await;
    building.send(&Building::source("two", "true")).await;
    building.send(&Building::source("three", "true")).await;
    let second = building.is(2, "cancelled").await;
    assert_eq!(second["status"]["reason"], "replaced by b3", "{second}");
    building.is(1, "succeeded").await;
    building.is(3, "succeeded").await;
    building.serves(&host, "/", 200, "three").await;
    building.nothing_left().await;
    until("nothing to be queued", LONG, || async {
        building.phase(3).await == "succeeded"
    })
    .await;
}
