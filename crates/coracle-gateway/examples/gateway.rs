//! A gateway by itself, for benchmarks: `gateway LISTEN STATE_DIR [WORKERS]`.
//!
//! It serves the table in `STATE_DIR/routes.json`; there is no control plane, as in an outage.

use std::path::PathBuf;
use std::time::Duration;

use coracle_gateway::{
    CancellationToken, ControlEndpoint, GatewayConfig, Limits, TokenSource, run,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let listen = args
        .next()
        .ok_or("usage: gateway LISTEN STATE_DIR [WORKERS]")?;
    let state_dir = PathBuf::from(
        args.next()
            .ok_or("usage: gateway LISTEN STATE_DIR [WORKERS]")?,
    );
    let workers = args.next().map_or(Ok(1), |w| w.parse())?;
    let config = GatewayConfig {
        http: listen.parse()?,
        health: None,
        control: ControlEndpoint {
            urls: vec!["http://127.0.0.1:1".into()],
            token: TokenSource::File(state_dir.join("token")),
        },
        state_dir,
        id: "bench".into(),
        notice: Duration::ZERO,
        drain: Duration::from_secs(5),
        trusted_proxies: Vec::new(),
        limits: Limits::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(4)
        .enable_all()
        .build()?;
    let shutdown = CancellationToken::new();
    runtime.block_on(async {
        let stop = shutdown.clone();
        let (ended, ()) = tokio::join!(run(config, shutdown, |_addr| {}), async {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
            }
        });
        ended
    })?;
    Ok(())
}
