//! A platform in a temporary folder, and a small client that checks of every answer what holds for all of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_api::{
    ApiState, Authentication, BuildTags, ConnectionLimits, PlatformCredential, RegistryAccess,
    StatusSource,
};
use coracle_control::Control;
use coracle_control::journal::Actor;
use coracle_control::settings::{Limits, Settings};
use coracle_control::user::Credential;
use coracle_control::vault::Vault;
use coracle_engine::ContextDesk;
use coracle_engine::build::RegistryCredentials;
use coracle_engine::sim::{Latencies, Latency, SimConfig, SimControl, SimImage, SimWorld};
use coracle_model::env::Secret;
use coracle_model::name::{AppName, Hostname, PodName, ProjectName, TokenName, UserName};
use coracle_model::pod::PodPhase;
use coracle_model::token::{TokenPurpose, TokenSpec};
use coracle_model::user::{ProjectScope, Role, UserSpec};
use coracle_model::workload::{
    Owner, PodId, PodTemplate, Resources, Workload, WorkloadId, WorkloadKind,
};
use coracle_registry::Registry;
use coracle_store::Store;
use coracle_store::embedded::{Embedded, EmbeddedConfig};
use coracle_task::Supervisor;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::write_budget::Bounded;
pub(crate) use crate::write_budget::WriteBudget;

/// The longest that anything in a test is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The image that pods of tests run.
pub(crate) const IMAGE: &str = "busybox:1";

/// The gateways' token of tests.
pub(crate) const GATEWAY_TOKEN: &str = "gateway-token-of-the-tests";

/// Waits for `future`, but not for ever.
#[track_caller]
pub(crate) fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let what = what.to_owned();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_elapsed) => panic!("waited {PATIENCE:?} in vain for {what}"),
        }
    }
}

/// What a test wants to be different from the ordinary.
pub(crate) struct Options {
    pub(crate) limits: Limits,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) statuses: Arc<dyn StatusSource>,
    pub(crate) connections: ConnectionLimits,
    pub(crate) connect: coracle_api::ConnectLimits,
    pub(crate) nodes: u8,
    pub(crate) dashboard: coracle_api::Dashboard,
    /// How much may be written, where a test bounds it.
    pub(crate) writes: Option<WriteBudget>,
    /// Where images stand in for public ones.
    pub(crate) base_images: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            data_dir: None,
            statuses: Arc::new(Idle),
            connections: ConnectionLimits::default(),
            connect: coracle_api::ConnectLimits::default(),
            nodes: 1,
            dashboard: coracle_api::Dashboard::embedded(),
            writes: None,
            base_images: None,
        }
    }
}

struct Idle;

impl StatusSource for Idle {
    fn controllers(&self) -> Value {
        json!({})
    }
}

/// The platform.
pub(crate) struct Platform {
    pub(crate) control: Control,
    pub(crate) sim: SimControl,
    pub(crate) supervisor: Supervisor,
    pub(crate) address: std::net::SocketAddr,
    /// Where the registry alone is served.
    pub(crate) registry_address: std::net::SocketAddr,
    pub(crate) credential: PlatformCredential,
    pub(crate) registry: Registry,
    pub(crate) data: PathBuf,
    /// Where sources are laid out for builds.
    pub(crate) desk: ContextDesk,
    http: reqwest::Client,
    _world: SimWorld,
    _dir: TempDir,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.supervisor.token().cancel();
        if std::thread::panicking() {
            return;
        }
        let left = files(&self.data.join("uploads"))
            .into_iter()
            .filter(|name| name.contains(".part"))
            .collect::<Vec<_>>();
        assert!(left.is_empty(), "unfinished uploads are left: {left:?}");
    }
}

/// Names of the files in a folder, which may be missing.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir)
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default()
}

pub(crate) fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

pub(crate) fn app(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

pub(crate) fn pod_id(in_project: &str, name: &str) -> PodId {
    PodId {
        project: project(in_project),
        name: PodName::new(name).unwrap(),
    }
}

pub(crate) fn only(names: &[&str]) -> ProjectScope {
    ProjectScope::Only(names.iter().map(|name| project(name)).collect())
}

impl Platform {
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = options.data_dir.unwrap_or_else(|| dir.path().to_owned());
        // The store has a folder of its own, so that a test can fill the disk of everything else.
        let store = Embedded::open(&dir.path().join("store"), EmbeddedConfig::default()).unwrap();
        let store: Arc<dyn Store> = match options.writes {
            Some(budget) => Arc::new(Bounded::new(store, budget)),
            None => Arc::new(store),
        };
        let supervisor = Supervisor::new("test");
        let world = SimWorld::new(SimConfig {
            latencies: fast(),
            ..SimConfig::with_nodes(options.nodes)
        });
        let sim = world.control();
        sim.define(SimImage::busybox(IMAGE));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let credential = PlatformCredential::generate().unwrap();
        let settings = Settings {
            data_dir: data.clone(),
            shared_dir: data.clone(),
            domain: Hostname::new("localhost").unwrap(),
            http_port: 8080,
            registry_host: address.to_string(),
            registry_names: vec!["127.0.0.1:30070".to_owned()],
            base_images: options.base_images,
            registry_credentials: RegistryCredentials {
                user: PlatformCredential::USER.to_owned(),
                password: credential.secret().clone(),
            },
            limits: options.limits,
        };
        let vault = Vault::open(&dir.path().join("keys/secret.key")).unwrap();
        let control = Control::open(
            store,
            Arc::new(world.engine()),
            vault,
            settings,
            &supervisor,
        )
        .await
        .unwrap();
        soon("the engine's first watch", control.observed.synced()).await;
        let access = RegistryAccess::new(Authentication::new(control.clone()), credential.clone());
        let registry = Registry::open(
            &dir.path().join("registry"),
            Arc::new(access),
            coracle_registry::Limits::default(),
        )
        .unwrap();
        let control = control.with_image_tags(Arc::new(BuildTags(registry.clone())));
        let state = ApiState::new(
            control.clone(),
            registry.clone(),
            Secret::new(GATEWAY_TOKEN),
            options.statuses,
            supervisor.clone(),
        );
        let desk = ContextDesk::default();
        let state = state
            .with_desk(desk.clone())
            .with_dashboard(options.dashboard)
            .with_connect_limits(options.connect);
        let alone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry_address = alone.local_addr().unwrap();
        let registry_state = state.clone();
        supervisor.spawn("registry alone", async move {
            coracle_api::serve_registry(alone, registry_state)
                .await
                .unwrap();
        });
        supervisor.spawn("api", async move {
            coracle_api::serve_within(listener, state, options.connections)
                .await
                .unwrap();
        });
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self {
            registry,
            control,
            sim,
            supervisor,
            address,
            registry_address,
            credential,
            data,
            desk,
            http,
            _world: world,
            _dir: dir,
        }
    }

    /// Makes a user who has no password that works, and answers as them with a token.
    pub(crate) async fn user(&self, name: &str, role: Role, projects: ProjectScope) -> As {
        let hash = "no password".to_owned();
        let user = UserName::new(name).unwrap();
        self.control
            .create_user(
                &user,
                UserSpec { role, projects },
                &Credential { hash },
                &Actor::Platform("test"),
            )
            .await
            .unwrap();
        self.token(name, "test", role, ProjectScope::All, None)
            .await
    }

    /// An administrator.
    pub(crate) async fn admin(&self) -> As {
        self.user("root", Role::Admin, ProjectScope::All).await
    }

    /// A token of a user who exists.
    pub(crate) async fn token(
        &self,
        user: &str,
        name: &str,
        role: Role,
        projects: ProjectScope,
        expires: Option<chrono::DateTime<chrono::Utc>>,
    ) -> As {
        let spec = TokenSpec {
            user: UserName::new(user).unwrap(),
            role,
            projects,
            expires,
            purpose: TokenPurpose::Api,
        };
        let (_, secret) = self
            .control
            .create_token(
                &TokenName::new(name).unwrap(),
                spec,
                &Actor::Platform("test"),
            )
            .await
            .unwrap();
        self.bearing(secret.expose())
    }

    /// Somebody who presents this.
    pub(crate) fn bearing(&self, secret: &str) -> As {
        As {
            authorization: Some(format!("Bearer {secret}")),
            ..self.nobody()
        }
    }

    /// The same at the address of the registry alone.
    pub(crate) fn at_the_registry(&self, caller: &As) -> As {
        As {
            http: self.http.clone(),
            base: format!("http://{}", self.registry_address),
            authorization: caller.authorization.clone(),
        }
    }

    /// Somebody who presents nothing.
    pub(crate) fn nobody(&self) -> As {
        As {
            http: self.http.clone(),
            base: format!("http://{}", self.address),
            authorization: None,
        }
    }

    /// Sends bytes as they are, for what no HTTP library sends, and answers with status and body.
    pub(crate) async fn raw(&self, request: &[u8]) -> (u16, String) {
        let mut socket = tokio::net::TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        soon("an answer", socket.read_to_end(&mut bytes))
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no answer: {text:?}"));
        (status, text)
    }

    /// A GET of a path that is sent as it is.
    pub(crate) async fn raw_get(&self, caller: &As, path: &str) -> (u16, String) {
        let authorization = caller.authorization.clone().unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n",
            self.address
        );
        self.raw(request.as_bytes()).await
    }

    /// Has the engine run a pod of an app, as a controller would, and waits until it is ready.
    pub(crate) async fn run_pod(&self, in_project: &str, owner: Option<&str>, name: &str) -> PodId {
        self.run_command(in_project, owner, name, &["serve"]).await
    }

    /// The same, with a command of its own that listens on port 8080.
    pub(crate) async fn run_command(
        &self,
        in_project: &str,
        owner: Option<&str>,
        name: &str,
        command: &[&str],
    ) -> PodId {
        let mut workload = self.workload(in_project, name);
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        workload.template.command = Some(coracle_model::release::CommandLine::Exec(command));
        workload.owner = Owner {
            app: owner.map(app),
            process: owner.map(|_| "web".parse().unwrap()),
            release: None,
        };
        self.control.engine.apply(workload).await.unwrap();
        let id = pod_id(in_project, name);
        self.pod_is(&id, PodPhase::Ready).await;
        id
    }

    /// A single pod that listens on port 8080.
    pub(crate) fn workload(&self, in_project: &str, name: &str) -> Workload {
        let serve = coracle_model::release::CommandLine::Exec(vec!["serve".to_owned()]);
        Workload {
            id: WorkloadId {
                project: project(in_project),
                name: PodName::new(name).unwrap(),
            },
            generation: 1,
            kind: WorkloadKind::Single,
            owner: Owner::default(),
            template: PodTemplate {
                image: IMAGE.parse().unwrap(),
                command: Some(serve),
                env: Vec::new(),
                port: Some(8080),
                names: Vec::new(),
                resources: Resources::default(),
                health: None,
                volumes: Vec::new(),
                stop_grace: Duration::from_secs(1),
                drain: Duration::from_secs(1),
            },
        }
    }

    /// Waits until a pod is seen in a phase.
    pub(crate) async fn pod_is(&self, id: &PodId, phase: PodPhase) {
        let mut changes = self.control.observed.subscribe();
        let seen = async {
            loop {
                changes.mark_unchanged();
                let seen = self.control.observed.pod(id);
                if seen.is_some_and(|pod| pod.status.phase == phase) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        soon(&format!("{id} to be {phase:?}"), seen).await;
    }
}

fn fast() -> Latencies {
    let now = Latency::ms(0);
    Latencies {
        call: now,
        pull: now,
        create: now,
        start: now,
        probe: now,
        stop: now,
        build_step: now,
    }
}

/// Somebody who asks.
#[derive(Clone)]
pub(crate) struct As {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) authorization: Option<String>,
}

/// An answer that came whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Bytes,
    asked: String,
}

impl As {
    /// A request to `path`, under `/api/v1` unless it begins with a slash.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with('/') {
            format!("{}{path}", self.base)
        } else {
            format!("{}/api/v1/{path}", self.base)
        };
        let request = self.http.request(method, url);
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    /// An answer that goes on: its head must be 200.
    pub(crate) async fn stream(&self, path: &str) -> Stream {
        Stream::of(self.request(Method::GET, path)).await
    }

    /// Makes an app.
    pub(crate) async fn make_app(&self, in_project: &str, name: &str) -> Value {
        self.post(
            &format!("projects/{in_project}/apps"),
            &json!({"metadata": {"name": name}, "spec": {}}),
        )
        .await
        .ok(201)
    }

    /// Makes a project.
    pub(crate) async fn make_project(&self, name: &str) -> Value {
        self.post("projects", &json!({"metadata": {"name": name}, "spec": {}}))
            .await
            .ok(201)
    }
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.unwrap();
        let asked = format!("{} {}", request.method(), request.url());
        let response = client.execute(request).await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap(),
            asked,
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.asked, self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// The body of an answer of this status.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text());
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The problem that was answered: everything that holds for all problems is checked here.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let (asked, text) = (&self.asked, self.text());
        assert_eq!(self.status, status, "{asked}: {text}");
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{asked}: {text}"
        );
        let problem = self.json();
        assert_eq!(problem["code"], code, "{asked}: {text}");
        assert_eq!(problem["status"], status, "{asked}: {text}");
        assert_eq!(problem["type"], format!("urn:coracle:problem:{code}"));
        let id = problem["request_id"].as_str().unwrap_or_default();
        assert!(!id.is_empty(), "{asked}: {text}");
        assert_eq!(self.header("x-request-id"), id, "{asked}");
        for member in ["title", "detail"] {
            let words = problem[member].as_str().unwrap_or_default();
            assert!(!words.is_empty(), "{asked}: {text}");
            assert!(words.len() < 1000, "{asked}: {text}");
            assert!(!words.contains(char::is_control), "{asked}: {words:?}");
        }
        problem
    }

    /// The problem that was answered, about this field.
    #[track_caller]
    pub(crate) fn about(&self, status: u16, code: &str, field: &str) -> Value {
        let problem = self.problem(status, code);
        assert_eq!(problem["field"], field, "{}: {problem}", self.asked);
        problem
    }
}

/// An answer that comes in pieces.
pub(crate) struct Stream {
    response: reqwest::Response,
    gathered: Vec<u8>,
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) id: Option<u64>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Stream {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.timeout(PATIENCE * 3).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        Self {
            response,
            gathered: Vec::new(),
        }
    }

    /// The next line without its end; `None` at the end of the answer.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.gathered.iter().position(|b| *b == b'\n') {
                let rest = self.gathered.split_off(at + 1);
                let mut line = std::mem::replace(&mut self.gathered, rest);
                line.pop();
                return Some(String::from_utf8(line).unwrap());
            }
            match soon("more of a stream", self.response.chunk()).await {
                Ok(Some(chunk)) => self.gathered.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The next line as JSON.
    pub(crate) async fn json(&mut self) -> Option<Value> {
        Some(serde_json::from_str(&self.line().await?).unwrap())
    }

    /// The next server-sent event; `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<Sent> {
        let mut sent = Sent {
            id: None,
            event: "message".to_owned(),
            data: Value::Null,
        };
        loop {
            let line = self.line().await?;
            match line.split_once(':') {
                None if sent.data.is_null() => {}
                None => return Some(sent),
                Some(("id", id)) => sent.id = Some(id.trim().parse().unwrap()),
                Some(("event", event)) => sent.event = event.trim().to_owned(),
                Some(("data", data)) => sent.data = serde_json::from_str(data).unwrap(),
                Some(_) => {}
            }
        }
    }

    /// The events up to and with the first `synced`.
    pub(crate) async fn until_synced(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        loop {
            let sent = self.event().await.expect("the stream goes on");
            let done = sent.event == "synced";
            all.push(sent);
            if done {
                return all;
            }
        }
    }
}

/// `Kind project/name` of each event, with what happened: how a test reads a stream.
pub(crate) fn told(events: &[Sent]) -> Vec<String> {
    events
        .iter()
        .map(|sent| {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            match sent.event.as_str() {
                "synced" | "reset" => sent.event.clone(),
                what => format!(
                    "{what} {} {}/{}",
                    text(&sent.data["kind"]),
                    text(&sent.data["metadata"]["project"]),
                    text(&sent.data["metadata"]["name"]),
                ),
            }
        })
        .collect()
}
