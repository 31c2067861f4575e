//! The gateway in the foreground.
//!
//! Theory of operation: users' port is shared among processes (`SO_REUSEPORT`), so that a new gateway can take over from
//! an old one without a gap. That would also let the gateways of two platforms share it unseen, each getting some of
//! the other's requests: so the port is first taken for a moment without sharing, unless a handover was asked for.
//!
//! On one machine everything is found in the data directory. Apart from it, as in a cluster's pod, the control planes,
//! the token and the name are given, and the data directory is an empty folder for the last route table.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use coracle_gateway::{ControlEndpoint, GatewayConfig, Limits, TokenSource};
use coracle_model::env::Secret;
use coracle_task::CancellationToken;

use crate::data_dir::{DataDir, Part};
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::runtime;
use crate::serve::cannot_listen;
use crate::settings::{DataDirArg, PlatformArgs, PlatformSettings};

/// How long requests under way have to end, in seconds.
const DRAIN_SECONDS: u64 = 30;
/// Longest waits that may be asked for, in seconds: no service manager waits longer.
const MOST_SECONDS: u64 = 3600;

/// Run the gateway in the foreground, for service managers
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    place: DataDirArg,
    /// Address of applications [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS", env = env_vars::HTTP, hide_env_values = true)]
    http: Option<SocketAddr>,
    /// The control planes: the addresses of these names are tried in turn until one sends routes [default: http://
    /// and the address of its --listen]
    #[arg(long, value_name = "URL,…", value_delimiter = ',', env = env_vars::CONTROL, hide_env_values = true)]
    control: Vec<String>,
    /// The control plane's address on this machine, where --control is not given [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDRESS", env = env_vars::LISTEN, hide_env_values = true)]
    listen: Option<SocketAddr>,
    /// The file with the token for the control plane; CORACLE_GATEWAY_TOKEN has the token itself [default: the one
    /// in the data directory]
    #[arg(long, value_name = "FILE", env = env_vars::GATEWAY_TOKEN_FILE, hide_env_values = true)]
    token_file: Option<PathBuf>,
    /// The name under which this gateway reports, such as its pod's [default: made of its process id]
    #[arg(long, value_name = "NAME", env = env_vars::GATEWAY_ID, hide_env_values = true)]
    id: Option<String>,
    /// Address of /healthz and /readyz, for probes [default: none]
    #[arg(long, value_name = "ADDRESS", env = env_vars::HEALTH, hide_env_values = true)]
    health: Option<SocketAddr>,
    /// When asked to end: how long to go on taking connections, unready, until load balancers have noticed
    #[arg(long, value_name = "SECONDS", env = env_vars::NOTICE_SECONDS, hide_env_values = true, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MOST_SECONDS))]
    notice: u64,
    /// When asked to end: how long requests under way have then to end
    #[arg(long, value_name = "SECONDS", env = env_vars::DRAIN_SECONDS, hide_env_values = true, default_value_t = DRAIN_SECONDS, value_parser = clap::value_parser!(u64).range(..=MOST_SECONDS))]
    drain: u64,
    /// Take over from the gateway that runs
    #[arg(long, hide = true)]
    replace: bool,
}

/// Serves until the process is asked to end, then drains.
pub(crate) fn run(args: GatewayArgs) -> Result {
    runtime::log()?;
    let data = args.place.resolve()?;
    let flags = PlatformArgs {
        http: args.http,
        listen: args.listen,
        ..PlatformArgs::default()
    };
    let settings = PlatformSettings::choose(&flags, PlatformSettings::read(&data.settings())?)?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = runtime::new(workers)?;
    let ended = runtime.block_on(serve(&data, &settings, args));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(data: &DataDir, settings: &PlatformSettings, args: GatewayArgs) -> Result {
    let end = runtime::asked_to_end()?;
    data.prepare_folders()?;
    let token = match (args.token_file, env_vars::read(env_vars::GATEWAY_TOKEN)) {
        (Some(file), _) => TokenSource::File(file),
        (None, Some(token)) => TokenSource::Value(Secret::new(token)),
        (None, None) => {
            data.ensure_gateway_token()?;
            TokenSource::File(data.gateway_token())
        }
    };
    let mut lock = None;
    if !args.replace {
        lock = Some(data.claim(Part::Gateway).await?);
        drop(
            std::net::TcpListener::bind(settings.http)
                .map_err(|error| cannot_listen("--http", settings.http, &error))?,
        );
    }
    let config = GatewayConfig {
        http: settings.http,
        health: args.health,
        state_dir: data.path().join("gateway"),
        control: ControlEndpoint {
            urls: if args.control.is_empty() {
                vec![settings.url()]
            } else {
                args.control
            },
            token,
        },
        id: args
            .id
            .unwrap_or_else(|| format!("gateway-{}", std::process::id())),
        notice: Duration::from_secs(args.notice),
        drain: Duration::from_secs(args.drain),
        trusted_proxies: Vec::new(),
        limits: Limits::default(),
    };
    let shutdown = CancellationToken::new();
    let mut taken = None;
    let stop = shutdown.clone();
    let ended = {
        let gateway = coracle_gateway::run(config, shutdown.clone(), |address| {
            tracing::info!(%address, "ready");
            if lock.is_none() {
                taken = Some(data.take_over(Part::Gateway));
            }
        });
        tokio::pin!(gateway);
        tokio::select! {
            ended = &mut gateway => ended,
            () = end => {
                tracing::info!("asked to end");
                stop.cancel();
                gateway.await
            }
        }
    };
    // Held until here: whoever looks finds this process as long as it serves.
    drop(lock);
    taken.transpose()?;
    ended.map_err(|error| CliError::caused("the gateway ended", &error))
}
