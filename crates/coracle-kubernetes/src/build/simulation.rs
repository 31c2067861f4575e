//! Builds on a simulated API server, where the test is the cluster: Jobs get pods, pods run and are lost.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use coracle_engine::build::{BuildEvent, BuildLimits, BuildRequest, BuiltImage};
use coracle_engine::{ContextDesk, Engine as _, EngineError};
use coracle_model::name::ImageRef;
use coracle_task::CancellationToken;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ASKED;
use super::config::{BuildConfig, BuildTool};
use crate::KubernetesEngine;
use crate::config::Patience;
use crate::simulated::log::{Followed, Log};
use crate::simulated::{ApiServer, Fault, Release};

const JOBS: &str = "/apis/batch/v1/namespaces/builds-coracle/jobs";
const JOB: &str = "/apis/batch/v1/namespaces/builds-coracle/jobs/build-abc";
const SECRET: &str = "/api/v1/namespaces/builds-coracle/secrets/build-abc";
const LONG: Duration = Duration::from_secs(120);

/// A platform that builds, and its cluster.
struct Ground {
    server: ApiServer,
    engine: Mutex<Arc<KubernetesEngine>>,
    desk: ContextDesk,
    push: ImageRef,
    registry: Arc<Answers>,
}

/// What the registry answers when it is asked for a manifest, and how often it was.
struct Answers {
    status: AtomicU16,
    asked: AtomicU32,
}

impl Answers {
    fn set(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
    }
}

type Building = JoinHandle<(Result<BuiltImage, EngineError>, Vec<String>)>;

impl Ground {
    async fn new() -> Self {
        let server = ApiServer::start(Release::Old).await;
        let answers = Arc::new(Answers {
            status: AtomicU16::new(StatusCode::NOT_FOUND.as_u16()),
            asked: AtomicU32::new(0),
        });
        let registry = registry(&server, &answers).await;
        let desk = ContextDesk::default();
        let engine = engine(&server, &desk).await;
        let push = ImageRef::new(format!("{registry}/shop/web:b1")).unwrap();
        Self {
            server,
            engine: Mutex::new(engine),
            desk,
            push,
            registry: answers,
        }
    }

    fn request(&self) -> BuildRequest {
        BuildRequest {
            id: "abc".to_owned(),
            context: "/nowhere".into(),
            dockerfile: "Dockerfile".into(),
            push: self.push.clone(),
            credentials: None,
            cache: "shop".to_owned(),
            arguments: Vec::new(),
            limits: BuildLimits {
                time: Duration::from_secs(600),
                memory_bytes: 1 << 30,
            },
            cancel: CancellationToken::new(),
        }
    }

    /// Asks for the build; its result comes with all that was told.
    fn build(&self) -> Building {
        self.build_as(self.request())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test looks at what it spawned itself"
    )]
    fn build_as(&self, request: BuildRequest) -> Building {
        let engine = Arc::clone(&self.engine.lock().unwrap());
        tokio::spawn(async move {
            let (progress, mut events) = mpsc::channel(16);
            let told = async {
                let mut told = Vec::new();
                while let Some(event) = events.recv().await {
                    if let BuildEvent::Output { text, .. } = event {
                        told.push(text);
                    }
                }
                told
            };
            tokio::join!(engine.build(request, progress), told)
        })
    }

    /// The Job, once it is there, and is another than `before`.
    async fn job(&self, before: &Value) -> Value {
        let there = || {
            let job = self.server.object(JOB)?;
            (job["metadata"]["uid"] != before["metadata"]["uid"]).then_some(job)
        };
        until("the job", there).await
    }

    /// The Job makes a pod.
    fn pod(&self, job: &Value, name: &str) -> Pod<'_> {
        let pod = Pod {
            server: &self.server,
            registry: &self.registry,
            path: format!("/api/v1/namespaces/builds-coracle/pods/{name}"),
        };
        pod.put(json!({ "metadata": {
            "labels": { "coracle.io/build": "abc", "coracle.io/platform": "p1" },
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": "build-abc", "uid": job["metadata"]["uid"],
            }],
        }, "status": { "phase": "Pending" } }));
        pod
    }

    fn requests(&self, what: &str) -> usize {
        let asked = self.server.asked();
        asked.iter().filter(|line| line.starts_with(what)).count()
    }

    fn asked_for(&self, path: &str) -> usize {
        let asked = self.server.asked();
        asked.iter().filter(|line| line.contains(path)).count()
    }
}

async fn engine(server: &ApiServer, desk: &ContextDesk) -> Arc<KubernetesEngine> {
    let patience = Patience {
        answer: Duration::from_millis(300),
        ..Patience::default()
    };
    let mut config = server.config(patience);
    config.build = Some(BuildConfig::new(
        BuildTool::Buildkit,
        "coracle:1",
        "http://control:7070",
        "registry:5000",
        desk.clone(),
    ));
    KubernetesEngine::connect(config).await.unwrap()
}

/// One that has every image or none.
async fn registry(server: &ApiServer, answers: &Arc<Answers>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let digest = format!("sha256:{}", "a".repeat(64));
    let answers = Arc::clone(answers);
    let answer = move |uri: axum::http::Uri| {
        let digest = digest.clone();
        let status = answers.status.load(Ordering::Relaxed);
        answers.asked.fetch_add(1, Ordering::Relaxed);
        async move {
            let status = StatusCode::from_u16(status).unwrap();
            if status != StatusCode::OK {
                return status.into_response();
            }
            let body = match uri.path().contains("/manifests/") {
                true => json!({
                    "schemaVersion": 2,
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": { "digest": digest, "size": 2 }, "layers": [],
                }),
                false => json!({ "config": { "ExposedPorts": { "8080/tcp": {} } } }),
            };
            let media = "application/vnd.oci.image.manifest.v1+json".to_owned();
            let headers = [("docker-content-digest", digest), ("content-type", media)];
            (headers, body.to_string()).into_response()
        }
    };
    let router = axum::Router::new().fallback(answer);
    server.supervisor.spawn("registry", async move {
        axum::serve(listener, router).await.unwrap();
    });
    address
}

struct Pod<'a> {
    server: &'a ApiServer,
    registry: &'a Answers,
    path: String,
}

impl Pod<'_> {
    fn put(&self, change: Value) {
        self.server.put(&self.path, change);
    }

    fn containers(&self, source: Value, build: Value) {
        let of = |name: &str, state: Value| json!({ "name": name, "state": state, "ready": false, "restartCount": 0, "image": "", "imageID": "" });
        self.put(json!({ "status": {
            "initContainerStatuses": [of("source", source)],
            "containerStatuses": [of("build", build)],
        }}));
    }

    fn runs(&self) {
        self.containers(ended(0), json!({ "running": {} }));
    }

    fn ends(&self, status: i32) {
        if status == 0 {
            self.registry.set(StatusCode::OK);
        }
        self.containers(ended(0), ended(status));
    }

    fn says(&self, lines: &[&str], followed: Followed) {
        let none = Log {
            lines: Vec::new(),
            followed: Followed::Open,
        };
        let log = Log {
            lines: lines.iter().map(ToString::to_string).collect(),
            followed,
        };
        self.server.log(&self.path, "source", none);
        self.server.log(&self.path, "build", log);
    }

    /// As a drain takes it away.
    fn is_deleted(&self) {
        self.put(json!({ "metadata": {
            "deletionTimestamp": "2026-01-01T00:00:02Z", "deletionGracePeriodSeconds": 2 } }));
        self.ends(143);
        self.server.delete(&self.path);
    }
}

fn ended(status: i32) -> Value {
    json!({ "terminated": { "exitCode": status, "finishedAt": "2026-01-01T00:00:01Z" } })
}

async fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let looks = async {
        let mut pauses = tokio::time::interval(Duration::from_millis(10));
        loop {
            pauses.tick().await;
            if let Some(found) = look() {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(LONG, looks).await;
    found.unwrap_or_else(|_| panic!("{what} does not come"))
}

async fn result(building: Building) -> (Result<BuiltImage, EngineError>, Vec<String>) {
    let ended = tokio::time::timeout(LONG, building).await;
    ended.expect("the build ends").unwrap()
}

const LINES: [&str; 8] = [
    "#1 a",
    "#2 b",
    "#3 c",
    "#4 d",
    "#5 e",
    "line six",
    "line seven",
    "line eight",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_its_job_and_its_secret() {
    let ground = Ground::new().await;
    let building = ground.build();
    let job = ground.job(&Value::Null).await;
    let pod = ground.pod(&job, "one");
    pod.says(&LINES, Followed::Open);
    pod.runs();
    let secret = until("the secret's owner", || {
        let secret = ground.server.object(SECRET)?;
        (!secret["metadata"]["ownerReferences"].is_null()).then_some(secret)
    });
    let owner = &secret.await["metadata"]["ownerReferences"][0]["uid"];
    assert_eq!(*owner, job["metadata"]["uid"]);
    pod.ends(0);
    let (built, told) = result(building).await;
    let built = built.unwrap();
    assert!(built.reference.as_str().contains("@sha256:aaaa"));
    assert_eq!(built.ports, [8080]);
    assert_eq!(told, ["line six", "line seven", "line eight"]);
    assert_eq!(ground.server.object(JOB), None);
    assert_eq!(ground.server.object(SECRET), None);
    assert_eq!(ground.requests("DELETE /apis/batch"), 1);
}

/// A control plane takes over while the API server is away for a moment: the build goes on, with the same Job.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_moment_does_not_end_a_build_that_goes_well() {
    let ground = Ground::new().await;
    let first = ground.build();
    let job = ground.job(&Value::Null).await;
    let pod = ground.pod(&job, "one");
    pod.says(&LINES, Followed::Open);
    pod.runs();
    until("the log", || {
        (ground.asked_for("container=build") > 0).then_some(())
    })
    .await;
    first.abort();
    drop(first.await);
    let ticket = ground.server.object(SECRET).unwrap()["data"]["ticket"].clone();

    for (path, fault) in [
        ("jobs/build-abc", Fault::Silence),
        ("secrets/build-abc", Fault::Half),
        ("namespaces/builds-coracle", Fault::Silence),
    ] {
        let next = engine(&ground.server, &ground.desk).await;
        *ground.engine.lock().unwrap() = next;
        let asked = ground.asked_for(path);
        ground.server.fault(path, fault);
        let second = ground.build();
        until("two tries", || {
            (ground.asked_for(path) > asked + 1).then_some(())
        })
        .await;
        ground.server.mend();
        let logs = ground.asked_for("container=build");
        until("the log again", || {
            (ground.asked_for("container=build") > logs).then_some(())
        })
        .await;
        second.abort();
        drop(second.await);
    }
    let last = ground.build();
    pod.ends(0);
    let (built, told) = result(last).await;
    built.unwrap();
    assert_eq!(told, ["line six", "line seven", "line eight"]);
    assert_eq!(ground.requests(&format!("POST {JOBS}")), 1);
    assert!(ticket.is_string());
    assert_eq!(ground.requests("DELETE /apis/batch"), 1);
}

/// A control plane that was killed between the end of the Job and the word of it in the store.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_not_built_again() {
    let ground = Ground::new().await;
    ground.registry.set(StatusCode::OK);
    let (built, _) = result(ground.build()).await;
    let built = built.unwrap();
    assert!(built.reference.as_str().contains("@sha256:aaaa"));
    assert_eq!(built.ports, [8080]);
    assert_eq!(ground.requests(&format!("POST {JOBS}")), 0);
}

/// The registry asks the store who may read it, and that may be away longer than for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_well_ends_no_build() {
    let ground = Ground::new().await;
    let building = ground.build();
    let job = ground.job(&Value::Null).await;
    ground.registry.set(StatusCode::SERVICE_UNAVAILABLE);
    let pod = ground.pod(&job, "one");
    pod.says(&LINES, Followed::Open);
    pod.containers(ended(0), ended(0));
    let asked = || ground.registry.asked.load(Ordering::Relaxed);
    let before = asked();
    until("more than a moment", || {
        (asked() > before + ASKED + 1).then_some(())
    })
    .await;
    ground.registry.set(StatusCode::OK);
    let (built, _) = result(building).await;
    built.unwrap();
}

/// An upgrade while a build runs: releases before named what a build pushes otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_pushes_under_another_name_is_replaced() {
    let ground = Ground::new().await;
    let before = ground.build();
    let job = ground.job(&Value::Null).await;
    before.abort();
    drop(before.await);
    let push = ImageRef::new(format!("{}-00ff", ground.push)).unwrap();
    let building = ground.build_as(BuildRequest {
        push: push.clone(),
        ..ground.request()
    });
    let second = ground.job(&job).await;
    let image = &second["metadata"]["annotations"]["coracle.io/image"];
    assert_eq!(image, push.as_str());
    let pod = ground.pod(&second, "two");
    pod.says(&LINES, Followed::Open);
    pod.ends(0);
    let (built, _) = result(building).await;
    built.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_on_its_way_out_is_waited_for() {
    const NAMESPACE: &str = "/api/v1/namespaces/builds-coracle";
    let ground = Ground::new().await;
    let going = json!({ "metadata": {
        "labels": { "coracle.io/platform": "p1" }, "deletionTimestamp": "2026-01-01T00:00:02Z" } });
    ground.server.put(NAMESPACE, going);
    let building = ground.build();
    let looks = || ground.requests(&format!("GET {NAMESPACE}"));
    until("two looks", || (looks() > 1).then_some(())).await;
    assert_eq!(ground.requests("POST"), 0);
    ground.server.delete(NAMESPACE);
    let job = ground.job(&Value::Null).await;
    building.abort();
    drop(building.await);

    // It goes after it was looked at: what is to be made in it is refused.
    ground.server.delete(NAMESPACE);
    let posts = || ground.requests("POST /api/v1/namespaces/builds-coracle/secrets");
    let before = posts();
    ground.server.fault("secrets?", Fault::Ending);
    let building = ground.build();
    until("two tries", || (posts() > before + 1).then_some(())).await;
    ground.server.mend();
    ground.job(&job).await;
    assert!(ground.server.object(NAMESPACE).is_some());
    building.abort();
    drop(building.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_somebody_else_is_left_alone() {
    let ground = Ground::new().await;
    let theirs = json!({ "metadata": { "labels": { "coracle.io/platform": "another" } } });
    ground.server.put(JOB, theirs.clone());
    let (built, _) = result(ground.build()).await;
    let error = built.unwrap_err();
    assert!(matches!(error, EngineError::Foreign(_)), "{error}");
    assert!(ground.server.object(JOB).is_some());
    // Nor is a Secret, even one beside no Job.
    ground.server.delete(JOB);
    ground.server.put(SECRET, theirs);
    let (built, _) = result(ground.build()).await;
    let error = built.unwrap_err();
    assert!(matches!(error, EngineError::Foreign(_)), "{error}");
    assert!(ground.server.object(SECRET).is_some());
    assert_eq!(ground.requests("DELETE"), 0);
}

/// The log's connection dies and never says so; or breaks again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_dies_holds_no_build_and_loses_no_line() {
    for followed in [Followed::Dies(6), Followed::Breaks(6), Followed::Dies(0)] {
        let ground = Ground::new().await;
        let building = ground.build();
        let job = ground.job(&Value::Null).await;
        let pod = ground.pod(&job, "one");
        pod.says(&LINES, followed);
        pod.runs();
        until("the log", || {
            (ground.asked_for("container=build") > 0).then_some(())
        })
        .await;
        pod.ends(0);
        let (built, told) = result(building).await;
        built.unwrap();
        assert_eq!(
            told,
            ["line six", "line seven", "line eight"],
            "{followed:?}"
        );
    }
}

/// As Kubernetes 1.20 does it: a pod that was deleted with grace counts as failed, and its Job makes no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_taken_away_is_replaced_by_another_job() {
    let ground = Ground::new().await;
    let building = ground.build();
    let job = ground.job(&Value::Null).await;
    let ticket = ground.server.object(SECRET).unwrap()["data"]["ticket"].clone();
    let pod = ground.pod(&job, "one");
    pod.says(&LINES, Followed::Open);
    pod.runs();
    until("the log", || {
        (ground.asked_for("container=build") > 0).then_some(())
    })
    .await;
    pod.is_deleted();
    ground.server.put(JOB, job_failed("BackoffLimitExceeded"));
    let second = ground.job(&job).await;
    assert_ne!(
        ground.server.object(SECRET).unwrap()["data"]["ticket"],
        ticket
    );
    let pod = ground.pod(&second, "two");
    pod.says(&LINES, Followed::Open);
    pod.ends(0);
    let (built, told) = result(building).await;
    built.unwrap();
    let last = &told[told.len() - 3..];
    assert_eq!(last, ["line six", "line seven", "line eight"]);
    let notes = told
        .iter()
        .filter(|line| line.contains("the build's pod was lost"));
    assert_eq!(notes.count(), 1, "{told:?}");
    assert_eq!(ground.server.object(JOB), None);
}

/// The node is lost, and so the Job waits for it: another Job does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_makes_no_other_pod_is_replaced() {
    let ground = Ground::new().await;
    let building = ground.build();
    let job = ground.job(&Value::Null).await;
    let pod = ground.pod(&job, "one");
    pod.says(&LINES, Followed::Open);
    pod.runs();
    until("the log", || {
        (ground.asked_for("container=build") > 0).then_some(())
    })
    .await;
    pod.is_deleted();
    let second = ground.job(&job).await;
    let pod = ground.pod(&second, "two");
    pod.says(&LINES, Followed::Open);
    pod.ends(0);
    let (built, told) = result(building).await;
    built.unwrap();
    assert_eq!(told[told.len() - 1], "line eight");
}

/// Where the Job makes another pod itself, that is followed; but only so often.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_lost_again_and_again_is_given_up() {
    let ground = Ground::new().await;
    let building = ground.build();
    let job = ground.job(&Value::Null).await;
    for number in 0..4 {
        let pod = ground.pod(&job, &format!("pod{number}"));
        pod.says(&[], Followed::Open);
        pod.runs();
        let path = format!("pods/pod{number}/log?&container=build");
        until("the log", || (ground.asked_for(&path) > 0).then_some(())).await;
        pod.is_deleted();
    }
    let fifth = ground.pod(&job, "pod4");
    fifth.runs();
    let (built, told) = result(building).await;
    let error = built.unwrap_err().to_string();
    assert!(error.contains("was lost 4 times"), "{error}");
    let notes = told
        .iter()
        .filter(|line| line.contains("the build's pod was lost"));
    assert_eq!(notes.count(), 3, "{told:?}");
    assert_eq!(ground.requests(&format!("POST {JOBS}")), 1);
    assert_eq!(ground.server.object(JOB), None);
}

/// The Job's command fails: the build says so, and no other Job is made.
async fn fails_once(ground: &Ground, building: Building, job: &Value) {
    let pod = ground.pod(job, "one");
    pod.says(&["out of luck"], Followed::Open);
    pod.ends(1);
    ground.server.put(JOB, job_failed("BackoffLimitExceeded"));
    let (built, _) = result(building).await;
    match built {
        Err(EngineError::BuildFailed(why)) => assert_eq!(why, "out of luck"),
        other => panic!("{other:?}"),
    }
    assert_eq!(ground.requests(&format!("POST {JOBS}")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_is_not_begun_again() {
    let ground = Ground::new().await;
    let building = ground.build();
    let job = ground.job(&Value::Null).await;
    fails_once(&ground, building, &job).await;
}

/// The watch on the Job tells of its end, and that on its pods not even that there is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_before_its_pod_is_told_of_is_not_made_again() {
    let ground = Ground::new().await;
    ground
        .server
        .fault("builds-coracle/pods?&watch=true", Fault::Mute);
    let building = ground.build();
    let job = ground.job(&Value::Null).await;
    until("the watch on pods", || {
        (ground.asked_for("builds-coracle/pods?&watch=true") > 0).then_some(())
    })
    .await;
    fails_once(&ground, building, &job).await;
}

/// Cancelled while the API server has not answered yet whether there is a Job: what comes of the request goes too.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_may_come_late_is_looked_for_once_more() {
    let ground = Ground::new().await;
    let request = ground.request();
    let cancel = request.cancel.clone();
    ground.server.fault("jobs?", Fault::Silence);
    let building = ground.build_as(request);
    until("the request", || {
        (ground.requests(&format!("POST {JOBS}")) > 0).then_some(())
    })
    .await;
    cancel.cancel();
    let (built, _) = result(building).await;
    assert!(
        matches!(built, Err(EngineError::BuildEnded(_))),
        "{built:?}"
    );
    ground.server.mend();
    let labels = json!({ "coracle.io/platform": "p1", "coracle.io/build": "abc" });
    ground
        .server
        .put(JOB, json!({ "metadata": { "labels": labels } }));
    until("its end", || {
        ground.server.object(JOB).is_none().then_some(())
    })
    .await;
}

fn job_failed(reason: &str) -> Value {
    json!({ "status": { "conditions": [
        { "type": "Failed", "status": "True", "reason": reason, "message": "m" } ] } })
}
