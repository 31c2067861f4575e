//! `coracle down`: everything stops, data stays.

use coracle_control::settings::{PLATFORM_ID_FILE, platform_id};
use coracle_docker::DockerConfig;
use coracle_task::Supervisor;

use crate::context::Context;
use crate::data_dir::{DataDir, Part, Stopped};
use crate::error::{CliError, Result};
use crate::settings::DataDirArg;

use super::up::{GATEWAY_STOP, SERVE_STOP};

/// Stop the platform; data stays
#[derive(Debug, clap::Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    place: DataDirArg,
    /// Leave the containers of applications running; nothing reaches them until `coracle up`
    #[arg(long)]
    keep_apps: bool,
}

/// Stops what runs. The control plane comes first, so that it does not replace what ends after it.
pub(crate) async fn run(args: DownArgs, context: &Context) -> Result {
    let data = args.place.resolve()?;
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
    let stopped = if args.keep_apps {
        0
    } else {
        stop_apps(&data, context).await?
    };
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

/// Stops the containers of applications; the next `up` starts them again.
async fn stop_apps(data: &DataDir, context: &Context) -> Result<usize> {
    // Without an id nothing was ever started from this folder.
    if !data.path().join(PLATFORM_ID_FILE).exists() {
        return Ok(0);
    }
    let id = platform_id(data.path())
        .map_err(|error| CliError::caused("the platform's id cannot be read", &error))?;
    let progress = context.printer.progress("stopping the applications");
    let config = DockerConfig::new(id, Supervisor::new("down"));
    let stopped = coracle_docker::stop_pods(config).await.map_err(|error| {
        CliError::caused("containers of applications could not be stopped", &error)
            .hint("`coracle doctor` checks Docker; `coracle down --keep-apps` leaves them alone")
    });
    progress.end();
    stopped
}
