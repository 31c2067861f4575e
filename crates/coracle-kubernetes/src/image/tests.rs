//! Registries that say no, and registries that lead astray.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use coracle_engine::Engine as _;
use coracle_engine::EngineError;
use coracle_model::name::ImageRef;
use coracle_task::Supervisor;
use serde_json::json;

use super::scheme;
use crate::KubernetesEngine;
use crate::config::{KubernetesConfig, Patience, RegistryNames};
use crate::simulated::{ApiServer, Release};

/// A server on loopback that answers everything in one way, and counts.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    supervisor: Supervisor,
}

impl Server {
    async fn new(answer: impl Fn(&Uri) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let router = axum::Router::new().fallback(move |uri: Uri| {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = answer(&uri);
            async move { answer }
        });
        let supervisor = Supervisor::new("server");
        supervisor.spawn("server", async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            address,
            asked,
            supervisor,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.supervisor.token().cancel();
    }
}

/// An engine on a cluster whose only node has `image`.
async fn engine(image: &str, own: Option<RegistryNames>) -> (ApiServer, Arc<KubernetesEngine>) {
    let server = ApiServer::start(Release::Current).await;
    let node = json!({ "status": { "images": [{ "names": [image], "sizeBytes": 7 }] } });
    server.put("/api/v1/nodes/n1", node);
    let config = KubernetesConfig {
        registry: own,
        ..server.config(Patience::default())
    };
    let engine = KubernetesEngine::connect(config).await.unwrap();
    (server, engine)
}

async fn resolve(image: &str, own: Option<RegistryNames>) -> Result<String, String> {
    let (_server, engine) = engine(image, own).await;
    match engine
        .resolve_image(&ImageRef::new(image).unwrap(), None)
        .await
    {
        Ok(info) => Ok(info.pinned.to_string()),
        Err(EngineError::ImageUnavailable { reason, .. }) => Err(reason),
        Err(other) => panic!("{other:?}"),
    }
}

/// The same of an image that no node has.
async fn trouble(image: &str) -> EngineError {
    let (_server, engine) = engine("another:1", None).await;
    let image = ImageRef::new(image).unwrap();
    engine.resolve_image(&image, None).await.unwrap_err()
}

/// What passes is told to pass, so that a deploy waits for it; what will never be there is not waited for.
#[tokio::test]
async fn a_registry_that_is_away_for_a_moment_is_no_refusal() {
    for status in [429, 500, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        let registry = Server::new(move |_| status.into_response()).await;
        let error = trouble(&format!("{}/team/app:1", registry.address)).await;
        assert!(error.is_passing(), "{error:?}");
        let words = error.to_string();
        assert!(
            words.contains(status.as_str()) && words.contains("no node"),
            "{words}"
        );
    }
    for away in ["127.0.0.1:1/team/app:1", "registry.invalid/team/app:1"] {
        let error = trouble(away).await;
        assert!(
            matches!(error, EngineError::RegistryUnavailable { .. }),
            "{error:?}"
        );
    }
    for never in ["localhost/by-hand:1", "169.254.169.254/team/app:1"] {
        let error = trouble(never).await;
        assert!(!error.is_passing(), "{error:?}");
    }
}

fn challenge(realm: &str) -> Response {
    let value = format!("Bearer realm=\"{realm}\",service=\"s\"");
    (
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, value)],
    )
        .into_response()
}

#[test]
fn only_loopback_is_asked_in_the_clear() {
    assert_eq!(scheme("127.0.0.1:7070"), "http");
    assert_eq!(scheme("localhost:7070"), "http");
    assert_eq!(scheme("ghcr.io"), "https");
    assert_eq!(scheme("10.0.0.1:5000"), "https");
}

/// An image that may not be read is not run because a node has it.
#[tokio::test]
async fn a_refusal_is_a_refusal_whatever_nodes_have() {
    for status in [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
    ] {
        let registry = Server::new(move |_| status.into_response()).await;
        let image = format!("{}/team/app:1", registry.address);
        let refused = resolve(&image, None).await.unwrap_err();
        assert!(!refused.contains("no node"), "{status}: {refused}");
        assert_eq!(registry.asked(), 1);
    }
}

/// A registry that cannot be asked says nothing; the platform's own is always to be asked.
#[tokio::test]
async fn what_a_node_has_counts_where_its_registry_is_away() {
    let away = Server::new(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    let image = format!("{}/team/app:1", away.address);
    assert_eq!(resolve(&image, None).await, Ok(image.clone()));
    let own = RegistryNames {
        own: "127.0.0.1:1".to_owned(),
        nodes: away.address.to_string(),
    };
    let (_server, engine) = engine(&image, Some(own)).await;
    let own = engine
        .resolve_image(&ImageRef::new(&image).unwrap(), None)
        .await;
    assert!(
        matches!(own, Err(EngineError::RegistryUnavailable { .. })),
        "{own:?}"
    );
    let by_hand = "localhost/by-hand:1";
    assert_eq!(resolve(by_hand, None).await, Ok(by_hand.to_owned()));
}

/// Neither the realm of a challenge nor a redirect leads to where the registry is not itself.
#[tokio::test]
async fn a_registry_leads_nobody_to_other_servers() {
    let victim = Server::new(|_| axum::Json(json!({ "token": "t" })).into_response()).await;
    let there = format!("http://{}/token", victim.address);
    for target in [
        there.as_str(),
        "https://169.254.169.254/latest/meta-data/",
        "http://10.96.0.1/",
        "file:///etc/passwd",
    ] {
        let realm = target.to_owned();
        let by_realm = Server::new(move |_| challenge(&realm)).await;
        let refused = resolve(&format!("{}/a:1", by_realm.address), None).await;
        let refused = refused.unwrap_err();
        assert!(refused.contains("is not asked"), "{target}: {refused}");
        let location = target.to_owned();
        let by_redirect = Server::new(move |_| {
            (StatusCode::FOUND, [(header::LOCATION, location.clone())]).into_response()
        })
        .await;
        resolve(&format!("{}/a:1", by_redirect.address), None)
            .await
            .unwrap_err();
    }
    assert_eq!(victim.asked(), 0);
}

#[tokio::test]
async fn a_registry_is_not_followed_for_ever() {
    let again = |uri: &Uri| {
        (
            StatusCode::FOUND,
            [(header::LOCATION, uri.path().to_owned())],
        )
            .into_response()
    };
    let registry = Server::new(again).await;
    resolve(&format!("{}/a:1", registry.address), None)
        .await
        .unwrap_err();
    assert!(registry.asked() < 10, "{}", registry.asked());
}

/// What it says is bounded, and what it names is checked.
#[tokio::test]
async fn what_a_hostile_registry_says_is_bounded() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let say = move |body: serde_json::Value| {
        let own = digest.clone();
        move |_: &Uri| {
            (
                [("docker-content-digest", own.clone())],
                axum::Json(body.clone()),
            )
                .into_response()
        }
    };
    let ask = async |server: Server| {
        resolve(&format!("{}/a:1", server.address), None)
            .await
            .unwrap_err()
    };
    let elsewhere = say(json!({ "config": { "digest": "../../../../admin" } }));
    assert!(
        ask(Server::new(elsewhere).await)
            .await
            .contains("no digest")
    );
    let good = format!("sha256:{}", "b".repeat(64));
    let layer = json!({ "digest": good, "size": u64::MAX });
    let huge = json!({ "config": { "digest": good }, "layers": [layer, layer] });
    let server = Server::new(say(huge)).await;
    let pinned = resolve(&format!("{}/a:1", server.address), None)
        .await
        .unwrap();
    assert!(pinned.ends_with(&"a".repeat(64)), "{pinned}");
    let endless = Server::new(|_| {
        let piece = || {
            Some((
                Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 16])),
                (),
            ))
        };
        let body = futures::stream::unfold((), move |()| std::future::ready(piece()));
        let own = format!("sha256:{}", "a".repeat(64));
        ([("docker-content-digest", own)], Body::from_stream(body)).into_response()
    })
    .await;
    assert!(ask(endless).await.contains("too long"));
}
