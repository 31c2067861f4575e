//! The gateway in the foreground.
//!
//! Theory of operation: users' port is shared among processes (`SO_REUSEPORT`), so that a new gateway can take over from
//! an old one without a gap. That would also let the gateways of two platforms share it unseen, each getting some of
//! the other's requests: so the port is first taken for a moment without sharing, unless a handover was asked for.

use std::net::SocketAddr;
use std::time::Duration;

use coracle_gateway::{ControlEndpoint, GatewayConfig, Limits};
use coracle_task::CancellationToken;

use crate::data_dir::{DataDir, Part};
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::runtime;
use crate::serve::cannot_listen;
use crate::settings::{DataDirArg, PlatformArgs, PlatformSettings};

/// How long requests under way have to end.
const DRAIN: Duration = Duration::from_secs(30);

/// Run the gateway in the foreground, for service managers
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    place: DataDirArg,
    /// Address of applications [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS", env = env_vars::HTTP, hide_env_values = true)]
    http: Option<SocketAddr>,
    /// The control plane [default: http:// and the address of its --listen]
    #[arg(long, value_name = "URL")]
    control: Option<String>,
    /// The control plane's address on this machine, where --control is not given [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDRESS", env = env_vars::LISTEN, hide_env_values = true)]
    listen: Option<SocketAddr>,
    /// The name under which this gateway reports [default: made of its process id]
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
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
    data.prepare()?;
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
        state_dir: data.path().join("gateway"),
        control: ControlEndpoint {
            url: args.control.unwrap_or_else(|| settings.url()),
            token_file: data.gateway_token(),
        },
        id: args
            .id
            .unwrap_or_else(|| format!("gateway-{}", std::process::id())),
        drain: DRAIN,
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
