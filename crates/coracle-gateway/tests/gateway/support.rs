//! A gateway with pods, a control plane and clients around it.
//!
//! Everything is in this process, on real sockets. Nothing sleeps: tests wait for conditions.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coracle_gateway::{ControlEndpoint, GatewayConfig, GatewayError, Limits, TokenSource};
use coracle_model::name::{AppName, Hostname, ProjectName};
use coracle_model::route::{GatewayReport, Route, RouteTable, Target};
use coracle_task::{CancellationToken, Supervisor};
use futures::channel::mpsc;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::client::{Answer, Client};

pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// Bound of every wait.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Fails the test when `future` takes too long.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(SOON, future).await {
        Ok(output) => output,
        Err(_elapsed) => panic!("waited too long for: {what}"),
    }
}

pub(crate) fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A table that sends each host to pods.
pub(crate) fn table(generation: u64, routes: &[(&str, &[SocketAddr])]) -> RouteTable {
    let routes = routes.iter().map(|(host, pods)| {
        (
            *host,
            Target::Pods {
                pods: pods.to_vec(),
            },
        )
    });
    table_of(generation, routes)
}

pub(crate) fn table_of<'a>(
    generation: u64,
    routes: impl IntoIterator<Item = (&'a str, Target)>,
) -> RouteTable {
    let routes = routes
        .into_iter()
        .map(|(host, target)| {
            let app = AppName::new(host.split('.').next().unwrap()).unwrap();
            let project = ProjectName::default_project();
            (
                Hostname::new(host).unwrap(),
                Route {
                    project,
                    app,
                    target,
                },
            )
        })
        .collect();
    RouteTable { generation, routes }
}

/// A server that counts connections, ends on demand and answers as `handler` says.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    tasks: Supervisor,
}

impl Server {
    pub(crate) async fn start<H, F>(handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), handler).await
    }

    pub(crate) async fn start_at<H, F>(addr: SocketAddr, handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let tasks = Supervisor::new("test server");
        let connections = Arc::new(AtomicUsize::new(0));
        let (group, count) = (tasks.clone(), Arc::clone(&connections));
        tasks.spawn("accept", async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                let handler = handler.clone();
                group.spawn("connection", async move {
                    let service = service_fn(move |request| {
                        let answer = handler(request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let served = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                    drop(served);
                });
            }
        });
        Self {
            addr,
            connections,
            tasks,
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Closes the listener and all connections at once, as a killed process does.
    pub(crate) async fn kill(&self) {
        self.tasks.shutdown(SOON).await;
    }
}

/// A pod that answers every request with its name.
pub(crate) async fn named_pod(name: &'static str) -> Server {
    Server::start(move |_request| async move { Response::new(whole(name)) }).await
}

/// An address on which nobody listens, and nobody will for as long as the socket is held.
pub(crate) fn refusing() -> (std::net::TcpListener, SocketAddr) {
    // Bound, not listening: connecting is refused, and no other test can take the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = socket.local_addr().unwrap();
    let held: std::net::TcpListener = held_fd(&socket).into();
    (held, addr)
}

fn held_fd(socket: &tokio::net::TcpSocket) -> std::os::fd::OwnedFd {
    use std::os::fd::AsFd as _;
    socket.as_fd().try_clone_to_owned().unwrap()
}

/// A control plane that does not lead: it refuses, and counts how often.
pub(crate) async fn follower() -> Server {
    Server::start(|_request| async {
        let mut answer = Response::new(whole("another leads"));
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        answer
    })
    .await
}

/// A control plane of two paths.
pub(crate) struct ControlPlane {
    pub(crate) server: Server,
    tables: watch::Sender<Option<RouteTable>>,
    pub(crate) reports: watch::Receiver<Vec<GatewayReport>>,
    /// Connections that asked for tables.
    pub(crate) feeds: Arc<AtomicUsize>,
}

pub(crate) const TOKEN: &str = "secret-of-the-gateway";

impl ControlPlane {
    pub(crate) async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn start_at(addr: SocketAddr) -> Self {
        let (tables, source) = watch::channel(None::<RouteTable>);
        let (reported, reports) = watch::channel(Vec::new());
        let reported = Arc::new(reported);
        let feeds = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&feeds);
        let server = Server::start_at(addr, move |request| {
            control_answer(
                request,
                source.clone(),
                Arc::clone(&reported),
                Arc::clone(&count),
            )
        })
        .await;
        Self {
            server,
            tables,
            reports,
            feeds,
        }
    }

    pub(crate) fn publish(&self, table: RouteTable) {
        self.tables.send_replace(Some(table));
    }

    /// Waits for a report that fits, and returns the newest that does.
    pub(crate) async fn report(
        &self,
        what: &str,
        fits: impl Fn(&GatewayReport) -> bool,
    ) -> GatewayReport {
        let mut reports = self.reports.clone();
        let all = soon(what, reports.wait_for(|all| all.iter().any(&fits)))
            .await
            .unwrap();
        all.iter().rev().find(|r| fits(r)).unwrap().clone()
    }

    /// Publishes a table and waits until the gateway acknowledged it.
    pub(crate) async fn switch(&self, table: RouteTable) -> GatewayReport {
        let generation = table.generation;
        self.publish(table);
        self.report("the table's acknowledgement", |r| {
            r.generation == generation
        })
        .await
    }
}

async fn control_answer(
    request: Request<Incoming>,
    mut source: watch::Receiver<Option<RouteTable>>,
    reported: Arc<watch::Sender<Vec<GatewayReport>>>,
    feeds: Arc<AtomicUsize>,
) -> Response<Body> {
    let expected = format!("Bearer {TOKEN}");
    if request
        .headers()
        .get("authorization")
        .is_none_or(|v| v.as_bytes() != expected.as_bytes())
    {
        let mut answer = Response::new(whole(""));
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
        return answer;
    }
    if request.method() == Method::POST {
        assert_eq!(request.uri(), "/internal/v1/gateways/gw-1");
        let text = request.into_body().collect().await.unwrap().to_bytes();
        let report = serde_json::from_slice(&text).unwrap();
        reported.send_modify(|all| all.push(report));
        return Response::new(whole("{}"));
    }
    assert_eq!(request.uri().path(), "/internal/v1/routes");
    assert_eq!(request.uri().query(), Some("gateway=gw-1"));
    feeds.fetch_add(1, Ordering::SeqCst);
    source.mark_changed();
    let lines = futures::stream::unfold(source, |mut source| async move {
        source.changed().await.ok()?;
        let line = match &*source.borrow_and_update() {
            Some(table) => serde_json::to_string(table).unwrap() + "\n",
            None => "\n".to_owned(),
        };
        Some((Ok(Frame::data(Bytes::from(line))), source))
    });
    Response::new(StreamBody::new(lines).boxed())
}

/// A running gateway.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) shutdown: CancellationToken,
    ended: oneshot::Receiver<Result<(), GatewayError>>,
}

pub(crate) fn config(control: SocketAddr, folder: &std::path::Path) -> GatewayConfig {
    let token_file = folder.join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    GatewayConfig {
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        state_dir: folder.to_owned(),
        control: ControlEndpoint {
            urls: vec![format!("http://{control}")],
            token: TokenSource::File(token_file),
        },
        id: "gw-1".into(),
        health: None,
        notice: Duration::ZERO,
        drain: SOON,
        trusted_proxies: Vec::new(),
        limits: Limits {
            linger: Duration::from_millis(50),
            ..Limits::default()
        },
    }
}

impl Running {
    pub(crate) async fn start(control: SocketAddr) -> Self {
        Self::start_with(control, |_config| {}).await
    }

    pub(crate) async fn start_with(
        control: SocketAddr,
        change: impl FnOnce(&mut GatewayConfig),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(control, folder.path());
        change(&mut config);
        Self::start_in(folder, config).await
    }

    pub(crate) async fn start_in(folder: tempfile::TempDir, config: GatewayConfig) -> Self {
        let shutdown = CancellationToken::new();
        let (ready, listening) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let stop = shutdown.clone();
        Supervisor::new("test").spawn("gateway", async move {
            let result = coracle_gateway::run(config, stop, |addr| ready.send(addr).unwrap()).await;
            drop(end.send(result));
        });
        let addr = soon("the gateway", listening).await.unwrap();
        Self {
            addr,
            folder,
            shutdown,
            ended,
        }
    }

    /// Shuts the gateway down and waits for its end.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.shutdown.cancel();
        soon("the gateway's end", self.ended)
            .await
            .unwrap()
            .unwrap();
        self.folder
    }

    pub(crate) async fn get(&self, host: &str, path: &str) -> Answer {
        self.client().await.get(host, path).await
    }

    pub(crate) async fn client(&self) -> Client {
        Client::to(self.addr).await
    }
}

/// A gateway in front of `pods` under host `app.example`, with its control plane.
pub(crate) async fn gateway_for(pods: &[SocketAddr]) -> (Running, ControlPlane) {
    let control = ControlPlane::start().await;
    let gateway = Running::start(control.server.addr).await;
    control.switch(table(1, &[("app.example", pods)])).await;
    (gateway, control)
}

/// A body that a test feeds frame by frame.
pub(crate) fn fed() -> (mpsc::Sender<Result<Frame<Bytes>, hyper::Error>>, Body) {
    let (feed, frames) = mpsc::channel(1);
    (feed, StreamBody::new(frames).boxed())
}

pub(crate) fn frame(text: impl Into<Bytes>) -> Result<Frame<Bytes>, hyper::Error> {
    Ok(Frame::data(text.into()))
}
