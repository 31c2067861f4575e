//! The daemon goes away and comes back: a socket between it and the engine is cut, for the daemon is others' too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_docker::{DockerConfig, DockerEngine};
use coracle_engine::{Engine as _, EngineError};
use coracle_model::pod::PodPhase;
use coracle_task::Supervisor;
use tokio::net::{UnixListener, UnixStream};

use crate::ground::{LONG, Platform, Seen, docker, replicas, web};

/// A socket that leads to the daemon until it is cut.
struct Line {
    path: PathBuf,
    supervisor: Supervisor,
}

impl Line {
    fn open(path: &Path) -> Self {
        let supervisor = Supervisor::new("line");
        let listener = UnixListener::bind(path).unwrap();
        let owner = supervisor.clone();
        supervisor.spawn("line", async move {
            while let Ok((mut here, _)) = listener.accept().await {
                owner.spawn("connection", async move {
                    let mut there = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
        Self {
            path: path.to_owned(),
            supervisor,
        }
    }

    async fn cut(self) {
        std::fs::remove_file(&self.path).unwrap();
        self.supervisor.shutdown(std::time::Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_may_be_away_at_any_time() {
    let platform = Arc::new(Platform::new());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let supervisor = Supervisor::new("test");
    let config = DockerConfig {
        socket: Some(socket.clone()),
        ..platform.config(&supervisor)
    };
    let engine = DockerEngine::connect(config).await.unwrap();
    let ping = engine.ping().await;
    assert!(matches!(ping, Err(EngineError::Unavailable(_))), "{ping:?}");
    // A wish is taken all the same, and fulfilled when the daemon is there at last.
    engine.apply(web("web", replicas(1))).await.unwrap();
    let mut seen = Seen::new(engine.watch());
    let line = Line::open(&socket);
    let ready = |s: &Seen| {
        let pods = s.of("web");
        pods.len() == 1 && pods[0].status.phase == PodPhase::Ready
    };
    seen.until("it is synced and ready", |s| s.synced && ready(s))
        .await;
    engine.ping().await.unwrap();
    let before = seen.of("web").remove(0);

    line.cut().await;
    seen.until("the node is not ready", |s| {
        s.nodes
            .values()
            .all(|n| !n.status.ready && n.status.reason.is_some())
    })
    .await;
    assert!(
        ready(&seen),
        "a pod is not worse because nobody can ask for it"
    );
    let lost = engine.nodes().await;
    assert!(matches!(lost, Err(EngineError::Unavailable(_))), "{lost:?}");
    // What happens meanwhile is found out afterwards.
    docker(&["rm", "-f", &platform.container_of(&before.id)]);
    let _line = Line::open(&socket);
    seen.until("another is ready", |s| {
        ready(s) && s.of("web")[0].id != before.id && s.nodes.values().all(|n| n.status.ready)
    })
    .await;
    engine
        .remove(&crate::ground::workload_id("web"))
        .await
        .unwrap();
    seen.until("it is gone", |s| s.of("web").is_empty()).await;
    let ended = supervisor.shutdown(LONG).await;
    assert_eq!(ended, coracle_task::Drain::Clean);
}
