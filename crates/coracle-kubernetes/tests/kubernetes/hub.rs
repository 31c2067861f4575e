//! A registry in the test's own process that every node of the cluster reaches at a port of its own loopback address: as
//! a Service of type NodePort, which container runtimes ask in plain HTTP.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use coracle_engine::ContextDesk;
use coracle_model::name::ImageRef;
use coracle_registry::{Action, Authorizer, Credentials, Denied, Limits, Registry, RepositoryName};
use coracle_task::Supervisor;
use serde_json::json;

use crate::ground::{IMAGE, Platform};

/// For a node to know of a new NodePort.
const RULES: Duration = Duration::from_secs(60);

struct Anyone;

#[async_trait]
impl Authorizer for Anyone {
    async fn authorize(
        &self,
        _credentials: Option<Credentials>,
        _repository: Option<&RepositoryName>,
        _action: Action<'_>,
    ) -> Result<(), Denied> {
        Ok(())
    }
}

/// A registry that the nodes reach.
pub(crate) struct Hub {
    /// As nodes reach it.
    pub(crate) host: String,
    /// As pods reach it.
    pub(crate) address: std::net::SocketAddr,
    namespace: String,
    platform: Arc<Platform>,
    supervisor: Supervisor,
    _folder: tempfile::TempDir,
}

impl Hub {
    pub(crate) async fn new(platform: &Arc<Platform>, desk: &ContextDesk) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path(), Arc::new(Anyone), Limits::default()).unwrap();
        let listener = listener(platform).await;
        let address = listener.local_addr().unwrap();
        let supervisor = Supervisor::new("hub");
        let desk = desk.clone();
        let source = get(async move |headers: HeaderMap| source(&desk, &headers));
        let router = registry
            .router()
            .merge(axum::Router::new().route("/internal/v1/build-source", source));
        supervisor.spawn("hub", async move {
            axum::serve(listener, router).await.unwrap();
        });
        let namespace = format!("hub-{}", platform.id);
        platform.kubectl(&["create", "namespace", &namespace]);
        let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": "hub", "namespace": namespace },
                "spec": { "type": "NodePort", "ports": [{ "port": address.port() }] },
            },
            {
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": { "name": "hub", "namespace": namespace },
                "subsets": [{
                    "addresses": [{ "ip": address.ip().to_string() }],
                    "ports": [{ "port": address.port() }],
                }],
            },
        ]});
        platform.apply(&objects.to_string());
        let path = "jsonpath={.spec.ports[0].nodePort}";
        let port = platform.kubectl(&["get", "service", "hub", "-n", &namespace, "-o", path]);
        Self {
            host: format!("127.0.0.1:{port}"),
            address,
            namespace,
            platform: Arc::clone(platform),
            supervisor,
            _folder: folder,
        }
    }

    /// The test image, pushed there.
    pub(crate) async fn image(&self) -> ImageRef {
        let image = format!("{}/test/image:1", self.host);
        // The nodes' rules are written a moment after the Service.
        let answers = async {
            let mut pauses = tokio::time::interval(Duration::from_millis(50));
            while tokio::net::TcpStream::connect(&self.host).await.is_err() {
                pauses.tick().await;
            }
        };
        tokio::time::timeout(RULES, answers)
            .await
            .expect("the node's rules for the hub come");
        let (tag, push) = (["tag", IMAGE, &image], ["push", &image]);
        let run = |arguments: &[&str]| Command::new("docker").args(arguments).output().unwrap();
        assert!(run(&tag).status.success());
        let pushed = tokio::task::block_in_place(|| run(&push));
        assert!(
            pushed.status.success(),
            "{}",
            String::from_utf8_lossy(&pushed.stderr)
        );
        run(&["rmi", &image]);
        ImageRef::new(image).unwrap()
    }
}

/// The source of a build, as the platform's API hands it out.
fn source(desk: &ContextDesk, headers: &HeaderMap) -> Result<Vec<u8>, StatusCode> {
    let ticket = headers.get("authorization").and_then(|v| v.to_str().ok());
    let ticket = ticket.and_then(|value| value.strip_prefix("Bearer "));
    let taking = ticket.and_then(|ticket| desk.take(ticket));
    let taking = taking.ok_or(StatusCode::UNAUTHORIZED)?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--directory"]);
    let made = tar.arg(taking.source()).arg(".").output().unwrap();
    assert!(made.status.success());
    Ok(made.stdout)
}

/// On an address of this machine under which it is known to the cluster as a node.
async fn listener(platform: &Platform) -> tokio::net::TcpListener {
    let path = "jsonpath={.items[*].status.addresses[?(@.type==\"InternalIP\")].address}";
    for address in platform
        .kubectl(&["get", "nodes", "-o", path])
        .split_whitespace()
    {
        if let Ok(listener) = tokio::net::TcpListener::bind((address, 0)).await {
            return listener;
        }
    }
    panic!("this machine is no node of the cluster");
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.supervisor.token().cancel();
        drop(
            self.platform
                .run(&["delete", "namespace", &self.namespace, "--wait=false"]),
        );
    }
}
