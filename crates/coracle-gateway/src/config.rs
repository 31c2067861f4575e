//! What a gateway is started with, and every bound it keeps.
//!
//! Theory of operation: bounds are data, not literals in the code that keeps them, so that a reviewer sees in
//! one place how much a hostile client or a sick pod can take, and a test can make them small.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use coracle_model::env::Secret;

/// How to start a gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where users' HTTP requests come in. Port 0 takes a free one.
    pub http: SocketAddr,
    /// Where `/healthz` and `/readyz` are answered, for whoever watches this process; nowhere by default.
    pub health: Option<SocketAddr>,
    /// Folder of the gateway's own, for the last route table. Made if missing.
    pub state_dir: PathBuf,
    /// Where route tables come from.
    pub control: ControlEndpoint,
    /// Name under which this gateway reports. Two gateways that run at once need two names.
    pub id: String,
    /// How long a shutdown goes on taking connections while it is no longer ready, so that load balancers in front
    /// learn of it before the address is given up. Zero where there is none.
    pub notice: Duration,
    /// How long a shutdown waits for requests in flight.
    pub drain: Duration,
    /// Proxies in front of this gateway whose `X-Forwarded-*` headers are believed. Everybody else's are replaced.
    pub trusted_proxies: Vec<IpAddr>,
    /// Bounds.
    pub limits: Limits,
}

/// Where the control plane is, and how to speak to it.
#[derive(Clone, Debug)]
pub struct ControlEndpoint {
    /// Base URLs, such as `http://127.0.0.1:7070`. Every address that their names have is tried in turn until one
    /// answers well: a control plane that does not lead refuses, and then another is asked.
    pub urls: Vec<String>,
    /// What to present there.
    pub token: TokenSource,
}

/// Where the bearer token for the control plane comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// A file that holds it; read again at every connect, so that it can be changed.
    File(PathBuf),
    /// Itself, as given by an environment variable.
    Value(Secret),
}

/// Bounds of a gateway.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections from clients. Beyond it new ones wait in the kernel's queue.
    pub connections: usize,
    /// Bytes of one message's head (request line and headers); more is answered with 431.
    pub head_bytes: usize,
    /// Headers of one message; more is answered with 431.
    pub headers: usize,
    /// Buffer for each direction of one connection, in bytes. At least [`Limits::MIN_BUFFER`].
    pub buffer_bytes: usize,
    /// Time a client has to send a whole head, counted from the end of the request before: so it is the idle
    /// time of a kept-alive connection too.
    pub head_timeout: Duration,
    /// Longest pause within a request's body while the pod waits for it.
    pub body_pause: Duration,
    /// Time to connect to a pod.
    pub connect_timeout: Duration,
    /// How long an unused connection to a pod is kept.
    pub pool_idle: Duration,
    /// Unused connections kept for one pod.
    pub pool_per_pod: usize,
    /// Pods tried for one request.
    pub attempts: usize,
    /// At shutdown: how long kept-alive connections are given to bring their next request, which is answered with
    /// `Connection: close`, before they are closed idle.
    pub linger: Duration,
}

impl Limits {
    /// Smallest connection buffer that the HTTP codec takes.
    pub const MIN_BUFFER: usize = 8 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head_bytes: 32 * 1024,
            headers: 100,
            buffer_bytes: 64 * 1024,
            head_timeout: Duration::from_secs(30),
            body_pause: Duration::from_secs(120),
            // A pod whose queue of connections is full drops the first packet. Linux sends it again after 1 s and after
            // 3 s: the last one must have the time to be answered.
            connect_timeout: Duration::from_millis(3500),
            pool_idle: Duration::from_secs(30),
            pool_per_pod: 128,
            attempts: 4,
            linger: Duration::from_secs(1),
        }
    }
}
