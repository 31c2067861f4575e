//! Builds and images, on the real daemon and a registry of our own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::ground::{Ground, project, quiet, replicas, web};
use async_trait::async_trait;
use coracle_engine::build::{
    BuildEvent, BuildLimits, BuildRequest, BuiltImage, PullCredentials, RegistryCredentials,
    StepState,
};
use coracle_engine::{Engine as _, EngineError};
use coracle_model::env::Secret;
use coracle_model::name::ImageRef;
use coracle_registry::{Action, Authorizer, Credentials, Denied, Limits, Registry, RepositoryName};
use coracle_task::{CancellationToken, Supervisor};
use std::sync::Arc;

pub(crate) const TOKEN: &str = "right";

struct OneToken;

#[async_trait]
impl Authorizer for OneToken {
    async fn authorize(
        &self,
        credentials: Option<Credentials>,
        _repository: Option<&RepositoryName>,
        _action: Action<'_>,
    ) -> Result<(), Denied> {
        match credentials {
            Some(credentials) if credentials.token() == TOKEN => Ok(()),
            _ => Err(Denied::Unauthenticated),
        }
    }
}

/// A registry on a port of its own that wants a token.
pub(crate) struct Hub {
    host: String,
    _folder: tempfile::TempDir,
    supervisor: Supervisor,
}

impl Hub {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry =
            Registry::open(folder.path(), Arc::new(OneToken), Limits::default()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let supervisor = Supervisor::new("hub");
        let router = registry.router();
        supervisor.spawn("hub", async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            host,
            _folder: folder,
            supervisor,
        }
    }

    pub(crate) fn image(&self, path: &str) -> ImageRef {
        ImageRef::new(format!("{}/{path}", self.host)).unwrap()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.supervisor.token().cancel();
    }
}

pub(crate) fn credentials(token: &str) -> RegistryCredentials {
    RegistryCredentials {
        user: "coracle".to_owned(),
        password: Secret::new(token),
    }
}

pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

pub(crate) fn request(id: &str, folder: &tempfile::TempDir, push: ImageRef) -> BuildRequest {
    BuildRequest {
        id: id.to_owned(),
        context: folder.path().to_owned(),
        dockerfile: PathBuf::from("Dockerfile"),
        push,
        credentials: Some(credentials(TOKEN)),
        cache: "tests".to_owned(),
        arguments: Vec::new(),
        limits: BuildLimits {
            time: Duration::from_secs(120),
            memory_bytes: 64 << 20,
        },
        cancel: CancellationToken::new(),
    }
}

pub(crate) async fn build(
    ground: &Ground,
    request: BuildRequest,
) -> (Result<BuiltImage, EngineError>, Vec<BuildEvent>) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(8);
    let events = async {
        let mut events = Vec::new();
        while let Some(event) = receiver.recv().await {
            events.push(event);
        }
        events
    };
    tokio::join!(ground.engine.build(request, sender), events)
}

/// Gives the tests' project what the hub is opened with.
pub(crate) async fn give(ground: &Ground, hub: &Hub, token: &str) {
    let pull = PullCredentials {
        host: hub.host.clone(),
        credentials: credentials(token),
        others: Vec::new(),
    };
    let engine = &ground.engine;
    engine
        .set_pull_credentials(&project(), &pull)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_becomes_an_image_that_runs() {
    let hub = Hub::new().await;
    let mut ground = Ground::new().await;
    let source = folder(&[
        (
            "Dockerfile",
            "FROM coracle-test:1\nARG WHO\nCOPY index.html time /www/\nRUN echo hello $WHO; printf end\nEXPOSE 8080/tcp 53/udp\n",
        ),
        // Of its own, or BuildKit knows it from an earlier run of this test.
        ("index.html", ground.platform.id.as_str()),
        ("time", &format!("{:?}", std::time::SystemTime::now())),
    ]);
    let mut asked = request("b1", &source, hub.image("default/shop:1"));
    asked.arguments = vec![("WHO".to_owned(), "you & <me>".to_owned())];
    let (result, events) = build(&ground, asked).await;
    let built = result.unwrap();
    assert!(
        built
            .reference
            .as_str()
            .starts_with(&format!("{}/default/shop@sha256:", hub.host))
    );
    assert_eq!(built.ports, [8080]);
    let output: Vec<&str> = events
        .iter()
        .filter_map(|e| match e {
            BuildEvent::Output { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert!(
        output.contains(&"hello you & <me>") && output.contains(&"end"),
        "{output:?}"
    );
    assert!(events.iter().any(|e| matches!(e, BuildEvent::Step { name, state: StepState::Done { .. }, .. } if name.contains("RUN echo"))));
    assert!(events.iter().any(|e| matches!(e, BuildEvent::Push { .. })));

    // The same source again is all cached, and what was pushed is here without a pull.
    let began = Instant::now();
    let mut again = request("b2", &source, hub.image("default/shop:2"));
    again.arguments = vec![("WHO".to_owned(), "you & <me>".to_owned())];
    let (result, events) = build(&ground, again).await;
    result.unwrap();
    eprintln!("an unchanged build took {:?}", began.elapsed());
    assert!(events.iter().any(|e| matches!(e, BuildEvent::Step { name, state: StepState::Cached, .. } if name.contains("RUN echo"))));
    let info = ground
        .engine
        .resolve_image(&built.reference, None)
        .await
        .unwrap();
    assert_eq!(info.pinned, built.reference);

    // And when it is not here any more, it is pulled, with what the project was given.
    give(&ground, &hub, TOKEN).await;
    quiet(&["rmi", "-f", hub.image("default/shop:1").as_str()]);
    quiet(&["rmi", "-f", hub.image("default/shop:2").as_str()]);
    quiet(&["rmi", "-f", built.reference.as_str()]);
    let mut workload = web("shop", replicas(1));
    workload.template.image = built.reference.clone();
    ground.apply(workload).await;
    ground.ready("shop", 1).await;
    quiet(&["rmi", "-f", built.reference.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_of_commands_are_shared_by_one_name_only() {
    let hub = Hub::new().await;
    let ground = Ground::new().await;
    let id = &ground.platform.id;
    let sees = async |cache: &str, number: u32| {
        let text = format!(
            "FROM coracle-test:1\nRUN --mount=type=cache,id={id},target=/cache echo {number}; ls /cache; touch /cache/of-{cache}\n"
        );
        let source = folder(&[("Dockerfile", &text)]);
        let name = format!("cache{number}");
        let push = hub.image(&format!("default/cache:{number}"));
        let mut asked = request(&name, &source, push);
        asked.cache = format!("{id}{cache}");
        let (result, events) = build(&ground, asked).await;
        result.unwrap();
        let seen = |event: &BuildEvent| match event {
            BuildEvent::Output { text, .. } => text.strip_prefix("of-").map(str::to_owned),
            _ => None,
        };
        events.iter().filter_map(seen).collect::<Vec<_>>()
    };
    assert_eq!(sees("one", 1).await, [""; 0]);
    assert_eq!(sees("two", 2).await, [""; 0]);
    assert_eq!(sees("one", 3).await, ["one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_says_why() {
    let hub = Hub::new().await;
    let ground = Ground::new().await;
    let push = hub.image("default/bad:1");
    let fails = async |id: &str, files: &[(&str, &str)]| {
        let source = folder(files);
        let (result, _) = build(&ground, request(id, &source, push.clone())).await;
        match result {
            Err(EngineError::BuildFailed(message)) => message,
            other => panic!("{id}: {other:?}"),
        }
    };
    let message = fails(
        "syntax",
        &[("Dockerfile", "FROM coracle-test:1\nBOGUS it\n")],
    )
    .await;
    assert!(
        message.contains("line 2") && message.contains("2 | BOGUS it"),
        "{message}"
    );
    let message = fails(
        "run",
        &[(
            "Dockerfile",
            "FROM coracle-test:1\nRUN echo out of luck && exit 9\n",
        )],
    )
    .await;
    assert!(
        message.contains("exit 9") && message.contains("\nout of luck"),
        "{message}"
    );
    let message = fails(
        "copy",
        &[("Dockerfile", "FROM scratch\nCOPY no-such-file /\n")],
    )
    .await;
    assert!(message.contains("no-such-file"), "{message}");
    let message = fails("none", &[("readme", "x")]).await;
    assert!(message.contains("Dockerfile"), "{message}");
    let message = fails("from", &[("Dockerfile", "FROM 127.0.0.1:1/no/such:1\n")]).await;
    assert!(message.contains("no/such"), "{message}");
    let hungry = "FROM coracle-test:1\nRUN sleep 0.3; tail /dev/zero\n";
    let message = fails("hungry", &[("Dockerfile", hungry)]).await;
    assert!(message.contains("64Mi of memory"), "{message}");

    // A registry that does not take it.
    let source = folder(&[("Dockerfile", "FROM coracle-test:1\n")]);
    let mut wrong = request("wrong", &source, push.clone());
    wrong.credentials = Some(credentials("wrong"));
    let (result, _) = build(&ground, wrong).await;
    let message = result.unwrap_err().to_string();
    assert!(message.contains("did not take it"), "{message}");
    quiet(&["rmi", "-f", push.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_can_be_cancelled_and_has_its_time() {
    let hub = Hub::new().await;
    let ground = Ground::new().await;
    // A line of its own, so that its process can be told from all others.
    let marker = format!("10{}", std::process::id());
    let text = format!("FROM coracle-test:1\nRUN echo begin; sleep {marker}\n");
    let source = folder(&[("Dockerfile", &text)]);
    let runs = || {
        let found = std::process::Command::new("pgrep")
            .args(["-f", &format!("^sleep {marker}")])
            .output()
            .unwrap();
        found.status.success()
    };
    let asked = request("slow", &source, hub.image("default/slow:1"));
    let cancel = asked.cancel.clone();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(8);
    let reading = async {
        while let Some(event) = receiver.recv().await {
            if matches!(&event, BuildEvent::Output { text, .. } if text == "begin") {
                // The shell says so just before it starts it.
                let started = async {
                    while !runs() {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::time::timeout(crate::ground::LONG, started)
                    .await
                    .expect("the command runs");
                cancel.cancel();
            }
        }
    };
    let (result, ()) = tokio::join!(ground.engine.build(asked, sender), reading);
    assert!(
        matches!(result, Err(EngineError::BuildEnded(_))),
        "{result:?}"
    );
    let ended = async {
        while runs() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::ground::LONG, ended)
        .await
        .expect("the command ends with the build");

    let mut short = request("short", &source, hub.image("default/slow:2"));
    short.limits.time = Duration::from_secs(2);
    let (result, _) = build(&ground, short).await;
    assert!(
        matches!(result, Err(EngineError::BuildEnded("its time is over"))),
        "{result:?}"
    );
}
