//! `coracle scale`: how many pods an app's processes have.

use std::collections::BTreeMap;

use coracle_client::Client;
use coracle_model::app::{App, ScaleChange};
use coracle_model::name::{AppName, ProcessName};
use coracle_model::release::ProcessSpec;
use futures::StreamExt as _;

use crate::context::{Context, of_app};
use crate::error::{CliError, Result};
use crate::output::{Format, Progress};
use crate::table::Table;

use super::rollout::goes_on;

/// Change how many pods an app's processes have, or show it
#[derive(Debug, clap::Args)]
pub(crate) struct ScaleArgs {
    /// The app
    app: AppName,
    /// Processes and their pods, such as web=3; without any the present scale is shown
    #[arg(value_name = "PROCESS=PODS", value_parser = assignment)]
    processes: Vec<(ProcessName, u32)>,
    /// Return without waiting until the pods are ready
    #[arg(long)]
    no_wait: bool,
}

fn assignment(text: &str) -> std::result::Result<(ProcessName, u32), String> {
    let most = ProcessSpec::MOST_REPLICAS;
    let rule = || format!("use PROCESS=PODS with 0 to {most} pods, such as web=3");
    let (name, count) = text.split_once('=').ok_or_else(rule)?;
    let name = ProcessName::new(name).map_err(|error| error.to_string())?;
    match count.parse() {
        Ok(count) if count <= most => Ok((name, count)),
        _ => Err(rule()),
    }
}

pub(crate) async fn run(args: ScaleArgs, context: &Context) -> Result {
    let client = context.client()?;
    let (app, project) = (&args.app, &context.project);
    if args.processes.is_empty() {
        let scale = of_app!(context, &client, app, client.scale(project, app).await);
        return context.printer.object(&scale, table);
    }
    let change = ScaleChange {
        processes: args.processes.into_iter().collect(),
    };
    let asked = client.change_scale(project, app, &change, None).await;
    let mut scaled = of_app!(context, &client, app, asked);
    // Without a release there is nothing to wait for.
    if !args.no_wait && scaled.status.release.is_some() {
        let mut progress = context.printer.progress(&format!("scaling {app}"));
        let waited = tokio::select! {
            waited = wait(context, &client, app, &change.processes, &mut progress) => waited,
            _ = tokio::signal::ctrl_c() => Err(goes_on(app, "the scaling", "coracle ps")),
        };
        progress.end();
        scaled = waited?;
    }
    if context.printer.format() == Format::Json {
        return context.printer.json(&scaled);
    }
    let told: Vec<String> = change
        .processes
        .iter()
        .map(|(name, n)| format!("{name}={n}"))
        .collect();
    context
        .printer
        .done(&format!("{app} is scaled to {}", told.join(" ")))
}

/// Until each process has as many ready pods as it was asked to have.
async fn wait(
    context: &Context,
    client: &Client,
    app: &AppName,
    wanted: &BTreeMap<ProcessName, u32>,
    progress: &mut Progress,
) -> Result<App> {
    let mut told = client.follow_app(&context.project, app);
    while let Some(found) = told.next().await {
        let found = found?;
        let (text, reached) = standing(&found, wanted);
        progress.say(&text);
        if reached {
            return Ok(found);
        }
    }
    Err(
        CliError::new("the connection to the platform was lost; the scaling goes on")
            .hint(format!("follow it with `coracle ps {app}`")),
    )
}

fn standing(app: &App, wanted: &BTreeMap<ProcessName, u32>) -> (String, bool) {
    let mut told = Vec::new();
    let mut reached = true;
    for (name, count) in wanted {
        let process = app.status.processes.get(name).cloned().unwrap_or_default();
        reached &= process.replicas == *count && process.ready == *count;
        told.push(format!("{name}: {} of {count} pods ready", process.ready));
    }
    (told.join(", "), reached)
}

fn table(scale: &ScaleChange) -> Table {
    let mut table = Table::new(&["PROCESS", "PODS"], "this app has no processes yet");
    for (name, count) in &scale.processes {
        table.row(vec![name.into(), count.into()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_names_a_process_and_a_number() {
        let (name, count) = assignment("web=3").unwrap();
        assert_eq!((name.as_str(), count), ("web", 3));
        for wrong in ["web", "web=", "web=-1", "web=101", "web=3.5"] {
            assert_eq!(
                assignment(wrong).unwrap_err(),
                "use PROCESS=PODS with 0 to 100 pods, such as web=3",
                "{wrong}"
            );
        }
        assert!(
            assignment("We b=1")
                .unwrap_err()
                .starts_with("process name")
        );
    }
}
