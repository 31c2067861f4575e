//! `coracle top`: what is used now.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use coracle_model::usage::{AppSample, NodeSample, PodSample, UsageSample};
use futures::StreamExt as _;

use crate::context::Context;
use crate::error::Result;
use crate::output::Format;
use crate::table::{Table, bytes};

/// Takes a terminal's cursor home and clears what is below.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

/// Show what apps, pods or nodes use now
///
/// It is sampled every 15 s while something runs, so a pod's processors are shown half a minute after its start.
#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// Of what: apps and pods of the project, or the machines
    #[arg(value_enum, default_value_t)]
    of: Of,
    /// Show it again at each sample
    #[arg(long, short)]
    follow: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Of {
    #[default]
    Apps,
    Pods,
    Nodes,
}

pub(crate) async fn run(args: TopArgs, context: &Context) -> Result {
    let client = context.client()?;
    let project = match args.of {
        Of::Apps | Of::Pods => Some(&context.project),
        Of::Nodes => None,
    };
    if !args.follow {
        return show(args.of, client.usage_now(project).await?, context);
    }
    let mut samples = client.usage_samples(project).await?;
    while let Some(sample) = samples.next().await {
        let sample = sample?;
        match context.printer.format() {
            Format::Json => context.printer.json_line(&sample)?,
            Format::Table => {
                if std::io::stdout().is_terminal() {
                    context.printer.out(CLEAR)?;
                }
                show(args.of, sample, context)?;
            }
        }
    }
    Ok(())
}

fn show(of: Of, sample: UsageSample, context: &Context) -> Result {
    match of {
        Of::Apps => context.printer.list(sample.apps, apps),
        Of::Pods => context.printer.list(sample.pods, pods),
        Of::Nodes => context.printer.list(sample.nodes, nodes),
    }
}

fn apps(apps: &[AppSample]) -> Table {
    let head = [
        "APP", "PODS", "CPU", "MEMORY", "REQUESTS", "ERRORS", "LATENCY", "IN", "OUT",
    ];
    let mut table = Table::new(&head, "no app runs, or none was sampled yet");
    for app in apps {
        table.row(vec![
            (&app.name).into(),
            app.pods.into(),
            number(app.cpu).into(),
            of_limit(app.memory, app.memory_limit).into(),
            with(app.requests, "/s").into(),
            with(app.errors, "/s").into(),
            with(app.latency, " ms").into(),
            speed(app.network_in).into(),
            speed(app.network_out).into(),
        ]);
    }
    table
}

fn pods(pods: &[PodSample]) -> Table {
    let head = ["POD", "APP", "CPU", "MEMORY", "IN", "OUT"];
    let mut table = Table::new(&head, "no pod runs, or none was sampled yet");
    for pod in pods {
        let app = pod.app.as_ref().map(ToString::to_string);
        table.row(vec![
            (&pod.name).into(),
            app.unwrap_or_default().into(),
            number(pod.cpu).into(),
            of_limit(pod.memory, pod.memory_limit).into(),
            speed(pod.network_in).into(),
            speed(pod.network_out).into(),
        ]);
    }
    table
}

fn nodes(nodes: &[NodeSample]) -> Table {
    let head = ["NODE", "PODS", "CPU", "MEMORY", "DISK", "IN", "OUT"];
    let mut table = Table::new(
        &head,
        "no pod runs: while nothing does, nothing is sampled; `coracle nodes` asks the machines",
    );
    for node in nodes {
        let limit = node.cpu_limit.map(|limit| format!("/{limit}"));
        table.row(vec![
            (&node.name).into(),
            node.pods.into(),
            (number(node.cpu) + &limit.unwrap_or_default()).into(),
            of_limit(node.memory, node.memory_limit).into(),
            of_limit(node.disk, node.disk_limit).into(),
            speed(node.network_in).into(),
            speed(node.network_out).into(),
        ]);
    }
    table
}

/// What is not known.
const UNKNOWN: &str = "-";

/// With as many digits as say something.
fn number(value: Option<f32>) -> String {
    match value {
        Some(value) if value >= 10.0 => format!("{value:.0}"),
        Some(value) if value >= 1.0 => format!("{value:.1}"),
        Some(value) if value >= 0.0005 => format!("{value:.3}"),
        Some(_) => "0".to_owned(),
        None => UNKNOWN.to_owned(),
    }
}

fn with(value: Option<f32>, unit: &str) -> String {
    match value {
        Some(_) => number(value) + unit,
        None => UNKNOWN.to_owned(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a speed in whole bytes: it is not negative, and a fraction of a byte is nothing"
)]
fn speed(value: Option<f32>) -> String {
    match value {
        Some(value) => bytes(value as u64) + "/s",
        None => UNKNOWN.to_owned(),
    }
}

fn of_limit(value: Option<u64>, limit: Option<u64>) -> String {
    match (value.map(bytes), limit.map(bytes)) {
        (Some(value), Some(limit)) => format!("{value} of {limit}"),
        (Some(value), None) => value,
        (None, _) => UNKNOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_say_something() {
        let shown = [None, Some(0.0001), Some(0.0123), Some(1.26), Some(123.4)].map(number);
        assert_eq!(shown, ["-", "0", "0.012", "1.3", "123"]);
        assert_eq!(with(Some(2.0), " ms"), "2.0 ms");
        assert_eq!(with(None, " ms"), "-");
        assert_eq!(speed(Some(1536.4)), "1.5 KiB/s");
        assert_eq!(
            of_limit(Some(5 << 20), Some(64 << 20)),
            "5.0 MiB of 64.0 MiB"
        );
        assert_eq!(of_limit(None, Some(1)), "-");
    }
}
