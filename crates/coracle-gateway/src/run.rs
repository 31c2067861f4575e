//! Putting a gateway together, and taking it apart in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coracle_task::{CancellationToken, Drain, Supervisor};
use tokio::sync::Notify;

use crate::config::GatewayConfig;
use crate::control::{Control, feed, report};
use crate::error::GatewayError;
use crate::gateway::Gateway;
use crate::signals::Signals;
use crate::table::Routes;
use crate::{connection, disk, files, health, listen, sweep};

/// How long the last report and the feed's end may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs a gateway until `shutdown`, then drains it. Calls `ready` with the address it listens on as soon as
/// requests are taken.
///
/// The table of the last run serves until the control plane sends one. Runs on the caller's runtime; one worker
/// thread per core that it may use is right.
///
/// # Errors
/// [`GatewayError`] when it cannot start: address in use by another program, state folder not writable, or a
/// configuration that makes no sense.
pub async fn run(
    config: GatewayConfig,
    shutdown: CancellationToken,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), GatewayError> {
    let tasks = Supervisor::new("gateway");
    // Apart from the tasks that use them: the last report needs one after those were told to end.
    let control_connections = Supervisor::new("gateway control connections");
    let control = Control::new(&config.control, &config.id, control_connections.clone())?;
    std::fs::create_dir_all(&config.state_dir).map_err(|source| GatewayError::StateDir {
        path: config.state_dir.clone(),
        source,
    })?;
    files::make_room(config.limits.connections);
    let signals = Arc::new(Signals::default());
    let routes = Routes::new(Arc::clone(&signals));
    let table_file = disk::path(&config.state_dir);
    match disk::load(&table_file) {
        Ok(Some(table)) => {
            tracing::info!(
                generation = table.generation,
                hosts = table.routes.len(),
                "last route table read"
            );
            routes.apply(table);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            file = %table_file.display(),
            "the last route table is ignored"
        ),
    }
    let listen_error = |source| GatewayError::Listen {
        addr: config.http,
        source,
    };
    let listener = listen::bind(config.http).map_err(listen_error)?;
    let local = listener.local_addr().map_err(listen_error)?;
    let gateway = Arc::new(Gateway::new(
        routes,
        Arc::clone(&signals),
        config.limits,
        config.trusted_proxies,
    ));
    if let Some(addr) = config.health {
        let probes = health::bind(addr)
            .await
            .map_err(|source| GatewayError::Health { addr, source })?;
        let shared = Arc::clone(&gateway);
        // Not one of the background tasks: it tells until the very end that this gateway is not ready.
        control_connections.spawn("probes", health::answer(shared, probes));
    }
    start_background(&tasks, &gateway, control, &signals, table_file);
    ready(local);
    connection::accept(
        &gateway,
        listener,
        &leave(&gateway, shutdown, config.notice),
    )
    .await;

    gateway.close();
    // Reports go on meanwhile: the control plane waits for this gateway's last requests, too.
    if let Drain::Aborted(left) = gateway.connections.shutdown(config.drain).await {
        tracing::warn!(left, "connections were cut at the drain deadline");
    }
    if let Drain::Aborted(left) = tasks.shutdown(LAST_WORDS).await {
        tracing::debug!(left, "background tasks were cut");
    }
    if let Drain::Aborted(left) = control_connections.shutdown(LAST_WORDS).await {
        tracing::debug!(left, "control connections were cut");
    }
    Ok(())
}

/// From `shutdown` on the gateway says that it is not ready and asks its clients to connect anew; what is returned is
/// cancelled after `notice`, when it stops to take connections.
fn leave(
    gateway: &Arc<Gateway>,
    shutdown: CancellationToken,
    notice: Duration,
) -> CancellationToken {
    if notice.is_zero() {
        return shutdown;
    }
    let stop = CancellationToken::new();
    let (shared, left) = (Arc::clone(gateway), stop.clone());
    gateway.connections.spawn("notice of the end", async move {
        shutdown.cancelled().await;
        shared.close();
        tokio::time::sleep(notice).await;
        left.cancel();
    });
    stop
}

fn start_background(
    tasks: &Supervisor,
    gateway: &Arc<Gateway>,
    control: Control,
    signals: &Arc<Signals>,
    table_file: std::path::PathBuf,
) {
    let control = Arc::new(control);
    let save = Arc::new(Notify::new());
    {
        let (gateway, control, signals, save) = (
            Arc::clone(gateway),
            Arc::clone(&control),
            Arc::clone(signals),
            Arc::clone(&save),
        );
        tasks.spawn("route feed", async move {
            feed::follow(&gateway, &control, &signals, &save).await;
        });
    }
    {
        let (gateway, signals, end) = (Arc::clone(gateway), Arc::clone(signals), tasks.token());
        tasks.spawn_graceful("reports", async move {
            report::keep_reporting(&gateway, &control, &signals, end).await;
        });
    }
    {
        let gateway = Arc::clone(gateway);
        tasks.spawn("table file", async move {
            disk::keep(&gateway, table_file, &save).await
        });
    }
    let gateway = Arc::clone(gateway);
    tasks.spawn(
        "pool sweep",
        async move { sweep::keep_sweeping(&gateway).await },
    );
}
