//! `coracle down`: everything stops, data stays.
//!
//! Theory of operation: the processes of this data directory end first, then the pods of applications. Those of a cluster
//! are stopped by a platform that has it for itself; where several control planes share a store, another may serve them, and
//! they run on. A control plane that is a pod itself is not ended from within: Kubernetes would start it again.

use coracle_control::settings::{PLATFORM_ID_FILE, platform_id};
use coracle_docker::DockerConfig;
use coracle_task::Supervisor;

use crate::context::Context;
use crate::data_dir::{DataDir, Part, Stopped};
use crate::engine::{KubernetesSettings, kubernetes};
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::settings::{DataDirArg, EngineKind, PlatformSettings, StoreKind};

use super::up::{GATEWAY_STOP, SERVE_STOP};

/// Stop the platform; data stays
#[derive(Debug, clap::Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    place: DataDirArg,
    /// Leave the pods of applications running; nothing reaches them until `coracle up`
    #[arg(long)]
    keep_apps: bool,
}

/// Stops what runs. The control plane comes first, so that it does not replace what ends after it.
pub(crate) async fn run(args: DownArgs, context: &Context) -> Result {
    let data = args.place.resolve()?;
    let settings = PlatformSettings::read(&data.settings())?;
    if settings.is_none() {
        refuse_in_pod(&data)?;
    }
    let settings = settings.unwrap_or_default();
    let mut any = false;
    for (part, patience) in [(Part::Serve, SERVE_STOP), (Part::Gateway, GATEWAY_STOP)] {
        let Some(process) = data.running(part)? else {
            continue;
        };
        any = true;
        let noun = part.noun();
        let progress = context.printer.progress(&format!("stopping the {noun}"));
        let stopped = process.stop(patience).await?;
        progress.end();
        if stopped == Stopped::Killed {
            let seconds = patience.as_secs();
            context.printer.note(&format!(
                "the {noun} did not end within {seconds} s and was killed"
            ))?;
        }
    }
    let shared = settings.store == StoreKind::Etcd && settings.engine == EngineKind::Kubernetes;
    let stopped = if args.keep_apps || shared {
        0
    } else {
        stop_apps(&data, &settings, context).await?
    };
    if shared && !args.keep_apps {
        context.printer.note(
            "applications run on in the cluster, where other control planes on this etcd may serve them: `coracle scale` stops one, before `down`",
        )?;
    }
    if !any && stopped == 0 {
        let folder = data.path().display();
        return context
            .printer
            .note(&format!("no platform runs in {folder}"));
    }
    context
        .printer
        .note("the platform is stopped; its data stays")
}

/// A control plane that the Helm chart runs is no affair of this command.
fn refuse_in_pod(data: &DataDir) -> Result {
    let settings = KubernetesSettings {
        namespace: env_vars::read(env_vars::NAMESPACE),
        ..KubernetesSettings::default()
    };
    match (settings.in_pod(), settings.namespace) {
        (true, Some(namespace)) if data.running(Part::Serve)?.is_some() => Err(CliError::new(
            "this control plane is a pod, which Kubernetes would start again",
        )
        .hint(format!(
            "`kubectl -n {namespace} scale deployment --all --replicas=0` stops the platform and leaves applications running; `helm uninstall` removes it"
        ))),
        _ => Ok(()),
    }
}

/// Stops the pods of applications; the next `up` starts them again.
async fn stop_apps(
    data: &DataDir,
    settings: &PlatformSettings,
    context: &Context,
) -> Result<usize> {
    // Without an id nothing was ever started from this folder.
    if !data.path().join(PLATFORM_ID_FILE).exists() {
        return Ok(0);
    }
    let id = platform_id(data.path())
        .map_err(|error| CliError::caused("the platform's id cannot be read", &error))?;
    let progress = context.printer.progress("stopping the applications");
    let supervisor = Supervisor::new("down");
    let stopped = match settings.engine {
        EngineKind::Docker => {
            let config = DockerConfig::new(id, supervisor);
            coracle_docker::stop_pods(config).await.map_err(|error| {
                CliError::caused("containers of applications could not be stopped", &error).hint(
                    "`coracle doctor` checks Docker; `coracle down --keep-apps` leaves them alone",
                )
            })
        }
        EngineKind::Kubernetes => {
            let config = kubernetes(settings, &id, &supervisor);
            coracle_kubernetes::stop_pods(&config).await.map_err(|error| {
                CliError::caused("pods of applications could not be stopped", &error).hint(
                    "`coracle doctor` checks the cluster; `coracle down --keep-apps` leaves them alone",
                )
            })
        }
    };
    progress.end();
    stopped
}
