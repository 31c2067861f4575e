//! A simulated API server: objects in memory, server-side apply as a merge, watches, discovery, and faults on demand.
//!
//! Theory of operation: objects are kept by their path, all kinds alike; nothing is defaulted or checked, and no controller
//! acts on anything. A change gets the next version and is told to every watch of its collection. Faults are rules over the
//! path: what they match is not answered, answered by half, or not told.

pub(crate) mod log;
mod path;
pub(crate) mod workload;
mod world;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coracle_task::Supervisor;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::broadcast;

use crate::config::{Access, KubernetesConfig, Patience};
use crate::observe;
use crate::state::Core;
use path::{Selector, Target};
use world::World;

/// The most bytes of a request.
const MOST: usize = 1 << 20;

/// What is done to a request instead of answering it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is ever answered.
    Silence,
    /// The answer begins and never ends.
    Half,
    /// A watch begins, and tells nothing and never ends.
    Mute,
    /// It is refused with this status.
    Status(u16),
    /// As in a namespace that is on its way out.
    Ending,
}

/// The simulated server.
#[derive(Clone)]
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    world: Arc<World>,
    folder: Arc<TempDir>,
    pub(crate) supervisor: Supervisor,
}

/// Which version of Kubernetes is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// 1.20.
    Old,
    /// 1.35.
    Current,
}

impl Release {
    /// As `/apis` answers: the groups that matter here, and their versions with the preferred one first.
    fn groups(self) -> Value {
        let groups: &[(&str, &[&str])] = match self {
            Self::Old => &[
                ("apps", &["v1"]),
                ("batch", &["v1", "v1beta1"]),
                ("policy", &["v1beta1"]),
                ("discovery.k8s.io", &["v1beta1"]),
                ("networking.k8s.io", &["v1", "v1beta1"]),
                ("rbac.authorization.k8s.io", &["v1", "v1beta1"]),
                ("storage.k8s.io", &["v1", "v1beta1"]),
                ("authorization.k8s.io", &["v1", "v1beta1"]),
                ("events.k8s.io", &["v1", "v1beta1"]),
            ],
            Self::Current => &[
                ("apps", &["v1"]),
                ("batch", &["v1"]),
                ("policy", &["v1"]),
                ("discovery.k8s.io", &["v1"]),
                ("networking.k8s.io", &["v1"]),
                ("rbac.authorization.k8s.io", &["v1"]),
                ("storage.k8s.io", &["v1"]),
                ("authorization.k8s.io", &["v1"]),
                ("events.k8s.io", &["v1"]),
                ("metrics.k8s.io", &["v1beta1"]),
            ],
        };
        let group = |(name, versions): &(&str, &[&str])| {
            let version = |v: &&str| json!({ "groupVersion": format!("{name}/{v}"), "version": v });
            let versions: Vec<Value> = versions.iter().map(version).collect();
            json!({ "name": name, "versions": versions, "preferredVersion": versions[0] })
        };
        json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups.iter().map(group).collect::<Vec<_>>(),
        })
    }
}

impl ApiServer {
    pub(crate) async fn start(release: Release) -> Self {
        let (changes, _) = broadcast::channel(1024);
        let world = Arc::new(World {
            inner: Mutex::default(),
            changes,
            version: match release {
                Release::Old => "v1.20.15",
                Release::Current => "v1.35.1",
            },
            groups: release.groups(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let supervisor = Supervisor::new("simulated");
        let router = axum::Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&world));
        supervisor.spawn("simulated", async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            address,
            world,
            folder: Arc::new(tempfile::tempdir().unwrap()),
            supervisor,
        }
    }

    /// A platform on it.
    pub(crate) fn config(&self, patience: Patience) -> KubernetesConfig {
        config_for(self.folder.path(), self.address, &self.supervisor, patience)
    }

    /// The inside of an engine on it, which looks at what there is.
    pub(crate) async fn core(&self) -> Arc<Core> {
        let config = self.config(Patience::default());
        let client = crate::client::client(&config).await.unwrap();
        let core = Core::new(config, client);
        observe::spawn(&core);
        core
    }

    /// What contains `path` is answered so from now on.
    pub(crate) fn fault(&self, path: &'static str, fault: Fault) {
        self.world.with(|inner| inner.faults.push((path, fault)));
    }

    pub(crate) fn mend(&self) {
        self.world.with(|inner| inner.faults.clear());
    }

    /// What a container writes, at the path of its pod, and how a log that is followed comes.
    pub(crate) fn log(&self, path: &str, container: &str, log: log::Log) {
        let at = (format!("{path}/log"), container.to_owned());
        self.world.with(|inner| inner.logs.insert(at, log));
    }

    /// What is answered at a path that names no object, such as a kubelet's summary.
    pub(crate) fn document(&self, path: &str, document: Value) {
        self.world
            .with(|inner| inner.documents.insert(path.to_owned(), document));
    }

    /// Requests so far, as `METHOD PATH?QUERY`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.world.with(|inner| inner.asked.clone())
    }

    /// The object at a path, such as `/api/v1/namespaces/shop`.
    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        let target = Target::parse(path).unwrap();
        self.world.with(|inner| inner.objects.get(&target).cloned())
    }

    /// Makes or changes an object, as somebody else does.
    pub(crate) fn put(&self, path: &str, object: Value) {
        let target = Target::parse(path).unwrap();
        self.world.put(target, object);
    }

    /// Deletes an object and what is in it, as somebody else does.
    pub(crate) fn delete(&self, path: &str) {
        self.world.delete(&Target::parse(path).unwrap());
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.supervisor.token().cancel();
    }
}

/// A platform on the API server at an address, with its kubeconfig in a folder.
pub(crate) fn config_for(
    folder: &Path,
    address: SocketAddr,
    supervisor: &Supervisor,
    patience: Patience,
) -> KubernetesConfig {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "u", "user": { "token": "t" } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
    });
    let path = folder.join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    KubernetesConfig {
        access: Access::Kubeconfig {
            path,
            context: None,
        },
        patience,
        ..KubernetesConfig::new("p1", supervisor.clone())
    }
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": message, "code": code.as_u16(),
    });
    (code, axum::Json(body)).into_response()
}

async fn serve(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri);
    let fault = world.with(|inner| {
        inner.asked.push(line.clone());
        let found = inner.faults.iter().find(|(path, _)| line.contains(path));
        found.map(|(_, fault)| *fault)
    });
    let nothing = futures::stream::pending::<Result<Bytes, Infallible>>();
    match fault {
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Ending) => {
            let why = "unable to create new content in namespace n because it is being terminated";
            return status(StatusCode::FORBIDDEN, "Forbidden", why);
        }
        Some(Fault::Status(code)) => {
            let code = StatusCode::from_u16(code).unwrap();
            let answer = status(code, "Refused", "it is refused");
            // As load balancers do, who mean browsers.
            return ([(RETRY_AFTER, "60")], answer).into_response();
        }
        Some(Fault::Mute) => return Body::from_stream(nothing).into_response(),
        Some(Fault::Half) => {
            let half = futures::stream::iter([Ok(Bytes::from_static(b"{\"kind\":"))]);
            return Body::from_stream(half.chain(nothing)).into_response();
        }
        None => {}
    }
    match parts.uri.path() {
        "/version" => {
            let version = json!({
                "gitVersion": world.version, "major": "1", "minor": "x", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
            });
            return axum::Json(version).into_response();
        }
        "/apis" => return axum::Json(world.groups.clone()).into_response(),
        _ => {}
    }
    let query = parts.uri.query().unwrap_or_default();
    if parts.uri.path().ends_with("/log") {
        return match world.with(|inner| log::answer(&inner.logs, parts.uri.path(), query)) {
            Some(answer) => answer,
            None => status(StatusCode::NOT_FOUND, "NotFound", "no such log"),
        };
    }
    if let Some(document) = world.with(|inner| inner.documents.get(parts.uri.path()).cloned()) {
        return axum::Json(document).into_response();
    }
    let Some(target) = Target::parse(parts.uri.path()) else {
        return status(StatusCode::NOT_FOUND, "NotFound", "no such path");
    };
    let body = axum::body::to_bytes(body, MOST).await.unwrap();
    let missing = || {
        status(
            StatusCode::NOT_FOUND,
            "NotFound",
            &format!("{line}: not found"),
        )
    };
    match (&parts.method, &target.name) {
        (&Method::GET, None) if query.contains("watch=true") => {
            let since = query
                .split('&')
                .find_map(|p| p.strip_prefix("resourceVersion="));
            let since = since.and_then(|n| n.parse().ok()).unwrap_or_default();
            world.watch(target, Selector::of(query), since)
        }
        (&Method::GET, None) => {
            axum::Json(world.list(&target, &Selector::of(query))).into_response()
        }
        (&Method::GET, Some(_)) => match world.with(|inner| inner.objects.get(&target).cloned()) {
            Some(object) => axum::Json(object).into_response(),
            None => missing(),
        },
        (&Method::PATCH, Some(_)) => {
            let there = world.with(|inner| {
                let space = target
                    .in_namespace()
                    .is_none_or(|n| inner.objects.contains_key(&n));
                (space, inner.objects.contains_key(&target))
            });
            let applies = parts.headers["content-type"] == "application/apply-patch+yaml";
            match there {
                (true, true) => {}
                (true, false) if applies => {}
                _ => return missing(),
            }
            axum::Json(world.put(target, serde_json::from_slice(&body).unwrap())).into_response()
        }
        (&Method::POST, None) => {
            let mut object: Value = serde_json::from_slice(&body).unwrap();
            let Value::Object(text) = object["stringData"].take() else {
                return world.create(target, object);
            };
            for (key, value) in text {
                let bytes = value.as_str().unwrap_or_default();
                object["data"][key] = json!(BASE64_STANDARD.encode(bytes));
            }
            world.create(target, object)
        }
        (&Method::DELETE, Some(_)) if !world.is_meant(&target, &body) => status(
            StatusCode::CONFLICT,
            "Conflict",
            "the uid in the precondition is another",
        ),
        (&Method::DELETE, Some(_)) => match world.delete(&target) {
            Some(object) => axum::Json(object).into_response(),
            None => missing(),
        },
        _ => status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", &line),
    }
}
