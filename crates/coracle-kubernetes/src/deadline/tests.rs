//! An API server that goes silent, at every point where it can.

use std::sync::Arc;
use std::time::Duration;

use coracle_engine::conformance::until;
use coracle_engine::{Engine, EngineError};
use coracle_model::pod::PodPhase;
use coracle_task::Supervisor;
use http::Request;
use serde_json::json;

use super::Answer;
use crate::KubernetesEngine;
use crate::config::{KubernetesConfig, Patience};
use crate::simulated::workload::web;
use crate::simulated::{ApiServer, Fault, Release, config_for};

/// Longer than any bound under test, and than what kube adds to a watch's.
const LONG: Duration = Duration::from_secs(60);

const SHORT: Patience = Patience {
    answer: Duration::from_millis(400),
    watch: Duration::from_secs(1),
};

async fn engine(config: KubernetesConfig) -> Arc<KubernetesEngine> {
    KubernetesEngine::connect(config).await.unwrap()
}

fn is_silence(error: &EngineError) -> bool {
    let words = crate::client::chain(error);
    matches!(error, EngineError::Unavailable(_)) && words.contains("within")
}

/// Waits until the server has an object.
async fn there(server: &ApiServer, path: &str) {
    let look = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while server.object(path).is_none() {
            look.tick().await;
        }
    };
    let asked = || server.asked().join("\n");
    tokio::time::timeout(LONG, look)
        .await
        .unwrap_or_else(|_| panic!("{path} is not made:\n{}", asked()));
}

#[test]
fn what_a_request_waits_for_is_read_off_it() {
    let answer = |uri: &str| Answer::to(&Request::get(uri).body(()).unwrap());
    assert_eq!(answer("/api/v1/pods?limit=500"), Answer::Whole);
    assert_eq!(answer("/api/v1/pods?watch=true&limit=5"), Answer::Stream);
    assert_eq!(
        answer("/api/v1/pods?labelSelector=watch%3Dtrue"),
        Answer::Whole
    );
    let log = "/api/v1/namespaces/a/pods/b/log";
    assert_eq!(answer(&format!("{log}?container=main")), Answer::Log);
    assert_eq!(
        answer(&format!("{log}?follow=true&timestamps=true")),
        Answer::Whenever
    );
    assert_eq!(answer(&format!("{log}?follow=false")), Answer::Log);
    let exec = Request::get("/api/v1/namespaces/a/pods/b/exec?command=x");
    let exec = exec.header("upgrade", "websocket").body(()).unwrap();
    assert_eq!(Answer::to(&exec), Answer::Stream);
}

/// It accepts connections, and no more: it never reads, or reads and never writes.
#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_away() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let supervisor = Supervisor::new("test");
    let folder = tempfile::tempdir().unwrap();
    let address = listener.local_addr().unwrap();
    let config = config_for(folder.path(), address, &supervisor, SHORT);
    let engine = engine(config).await;
    let error = tokio::time::timeout(LONG, engine.nodes()).await.unwrap();
    assert!(is_silence(error.as_ref().unwrap_err()), "{error:?}");
    supervisor.token().cancel();
}

#[tokio::test]
async fn an_answer_that_is_never_whole_is_given_up() {
    let server = ApiServer::start(Release::Current).await;
    server.fault("GET /api/v1/nodes", Fault::Half);
    let engine = engine(server.config(SHORT)).await;
    let error = tokio::time::timeout(LONG, engine.nodes()).await.unwrap();
    assert!(is_silence(error.as_ref().unwrap_err()), "{error:?}");
}

/// What a busy server or the load balancer before it says is told, and not waited for.
#[tokio::test]
async fn a_server_without_time_is_told_to_be_so() {
    let server = ApiServer::start(Release::Current).await;
    server.fault("GET /api/v1/nodes", Fault::Status(503));
    let engine = engine(server.config(Patience::default())).await;
    let error = engine.nodes().await.unwrap_err();
    let words = crate::client::chain(&error);
    assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
    assert!(words.contains("it is refused"), "{words}");
}

/// One workload's requests are never answered: the others' turns come, and its own once the server speaks again.
#[tokio::test]
async fn a_request_without_an_answer_gives_its_turn_back() {
    let server = ApiServer::start(Release::Current).await;
    let config = KubernetesConfig {
        concurrency: 1,
        ..server.config(SHORT)
    };
    let engine = engine(config).await;
    server.fault("deployments/stuck-g1", Fault::Silence);
    engine.apply(web("stuck", 1)).await.unwrap();
    let told = until(&*engine, "the trouble is told", LONG, |seen| {
        let pods = seen.of(&web("stuck", 1).id);
        pods.first().map(|pod| (*pod).clone())
    })
    .await;
    assert_eq!(told.status.phase, PodPhase::Pending, "{told:?}");
    engine.apply(web("other", 1)).await.unwrap();
    let at = "/apis/apps/v1/namespaces/coracle-default/deployments";
    there(&server, &format!("{at}/other-g1")).await;
    server.mend();
    there(&server, &format!("{at}/stuck-g1")).await;
}

/// A watch whose other end has died tells nothing and does not end: what it missed is read anew.
#[tokio::test]
async fn a_watch_that_has_died_is_begun_anew() {
    let server = ApiServer::start(Release::Current).await;
    server.fault("pods?&watch=true", Fault::Mute);
    let engine = engine(server.config(SHORT)).await;
    engine.apply(web("web", 1)).await.unwrap();
    there(
        &server,
        "/apis/apps/v1/namespaces/coracle-default/deployments/web-g1",
    )
    .await;
    let watched = |server: &ApiServer| {
        let asked = server.asked();
        asked
            .iter()
            .filter(|line| line.contains("v1/pods?") && line.contains("watch=true"))
            .count()
    };
    let before = watched(&server);
    let again = async {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        while watched(&server) < before + 2 {
            look.tick().await;
        }
    };
    assert!(
        tokio::time::timeout(LONG, again).await.is_ok(),
        "{:?}",
        server.asked()
    );
    let lines = server.asked();
    let watch = lines
        .iter()
        .find(|line| line.contains("watch=true"))
        .unwrap();
    assert!(watch.contains("timeoutSeconds=1"), "{watch}");
    let set = server.object("/apis/apps/v1/namespaces/coracle-default/deployments/web-g1");
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "spec": { "containers": [] } });
    pod["metadata"] = set.unwrap()["spec"]["template"]["metadata"].clone();
    // While nothing is told of it.
    server.put("/api/v1/namespaces/coracle-default/pods/web-g1-x", pod);
    server.mend();
    until(&*engine, "the pod is told", LONG, |seen| {
        let pods = seen.of(&web("web", 1).id);
        pods.iter()
            .any(|pod| pod.id.name.as_str() == "web-g1-x")
            .then_some(())
    })
    .await;
}
