//! `coracle down`: everything stops, data stays.

use crate::context::Context;
use crate::data_dir::{Part, Stopped};
use crate::error::Result;
use crate::settings::DataDirArg;

use super::up::{GATEWAY_STOP, SERVE_STOP};

/// Stop the platform; data stays
#[derive(Debug, clap::Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    place: DataDirArg,
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
    if any {
        context
            .printer
            .note("the platform is stopped; its data stays")?;
        context.printer.note(
            "containers of applications go on by themselves, but nothing reaches them until `coracle up`",
        )
    } else {
        let folder = data.path().display();
        context
            .printer
            .note(&format!("no platform runs in {folder}"))
    }
}
