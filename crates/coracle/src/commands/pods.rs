//! `coracle pods`: running instances, of apps or on their own.

use std::collections::BTreeMap;

use chrono::Utc;
use clap::Subcommand;
use coracle_model::env::Secret;
use coracle_model::name::{EnvName, ImageRef, PodName};
use coracle_model::pod::{Pod, PodSpec, PodStart, PodStats, Restart};
use coracle_model::quantity::{ByteSize, Cpu};
use coracle_model::release::CommandLine;

use crate::context::Context;
use crate::error::Result;
use crate::table::{Cell, Table, age, bytes, word};

use super::env::assignment;

/// List pods, or show, create, restart and delete one
#[derive(Debug, clap::Args)]
pub(crate) struct PodsArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the pods of the project
    List {
        /// Of all projects
        #[arg(long, short)]
        all: bool,
    },
    /// Show a pod
    Show {
        /// The pod
        pod: PodName,
    },
    /// Show what the engine itself says of a pod, as JSON; values of variables are hidden
    Describe {
        /// The pod
        pod: PodName,
    },
    /// Show what a pod uses now
    Stats {
        /// The pod
        pod: PodName,
    },
    /// Make a pod that belongs to no app
    Create(Box<CreateArgs>),
    /// Stop a pod and start it again
    Restart {
        /// The pod
        pod: PodName,
    },
    /// Delete a pod; an app's pod gets a new one in its place
    Delete {
        /// The pod
        pod: PodName,
    },
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// The pod
    pod: PodName,
    /// The image to run
    #[arg(long)]
    image: ImageRef,
    /// The port that it listens on
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// A variable; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    env: Vec<(EnvName, Secret)>,
    /// The most processor time, such as 0.5
    #[arg(long)]
    cpu: Option<Cpu>,
    /// The most memory, such as 256Mi
    #[arg(long)]
    memory: Option<ByteSize>,
    /// Leave it ended when its command ends
    #[arg(long)]
    once: bool,
    /// The command; the image's own when absent
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(crate) async fn run(args: PodsArgs, context: &Context) -> Result {
    let client = context.client()?;
    let project = &context.project;
    match args.action.unwrap_or(Action::List { all: false }) {
        Action::List { all: false } => context.printer.list(client.pods(project).await?, table),
        Action::List { all: true } => context.printer.list(client.all_pods().await?, all_table),
        Action::Show { pod } => {
            let pod = client.pod(project, &pod).await?;
            context.printer.object(&pod, fields)
        }
        Action::Describe { pod } => {
            let told = client.describe_pod(project, &pod).await?;
            context.printer.json(&told)
        }
        Action::Stats { pod } => {
            let stats = client.pod_stats(project, &pod).await?;
            context.printer.object(&stats, stats_fields)
        }
        Action::Create(args) => {
            let pod = client.create_pod(project, &args.pod, &spec(&args)).await?;
            context.printer.object(&pod, fields)
        }
        Action::Restart { pod } => {
            let pod = client.restart_pod(project, &pod).await?;
            context.printer.object(&pod, fields)
        }
        Action::Delete { pod } => {
            client.delete_pod(project, &pod, None).await?;
            context.printer.done(&format!("{pod} is being deleted"))
        }
    }
}

fn spec(args: &CreateArgs) -> PodSpec {
    let plain = |(name, value): &(EnvName, Secret)| (name.clone(), value.expose().to_owned());
    PodSpec {
        image: args.image.clone(),
        command: (!args.command.is_empty()).then(|| CommandLine::Exec(args.command.clone())),
        env: args.env.iter().map(plain).collect::<BTreeMap<_, _>>(),
        port: args.port,
        cpu: args.cpu,
        memory: args.memory,
        health: None,
        restart: if args.once {
            Restart::Never
        } else {
            Restart::Always
        },
        start: PodStart::AtOnce,
        app: None,
        process: None,
        release: None,
    }
}

/// The pods of one project.
pub(crate) fn table(pods: &[Pod]) -> Table {
    let mut table = Table::new(
        &[
            "NAME", "APP", "PROCESS", "RELEASE", "PHASE", "ADDRESS", "NODE", "RESTARTS", "AGE",
            "REASON",
        ],
        "there are no pods",
    );
    for pod in pods {
        table.row(row(pod));
    }
    table
}

fn all_table(pods: &[Pod]) -> Table {
    let mut table = Table::new(
        &[
            "PROJECT", "NAME", "APP", "PROCESS", "RELEASE", "PHASE", "ADDRESS", "NODE", "RESTARTS",
            "AGE", "REASON",
        ],
        "there are no pods",
    );
    for pod in pods {
        let project = pod.metadata.project.as_ref().map(ToString::to_string);
        let mut cells = vec![project.unwrap_or_default().into()];
        cells.extend(row(pod));
        table.row(cells);
    }
    table
}

fn row(pod: &Pod) -> Vec<Cell> {
    fn text(value: Option<impl ToString>) -> Cell {
        value
            .map(|value| value.to_string())
            .unwrap_or_default()
            .into()
    }
    vec![
        (&pod.metadata.name).into(),
        text(pod.spec.app.as_ref()),
        text(pod.spec.process.as_ref()),
        text(pod.spec.release),
        Cell::phase(&pod.status.phase),
        text(pod.status.address),
        text(pod.status.node.as_ref()),
        pod.status.restarts.into(),
        age(pod.metadata.created, Utc::now()).into(),
        text(pod.status.reason.as_ref()),
    ]
}

fn fields(pod: &Pod) -> Table {
    let mut table = Table::fields();
    let (spec, status) = (&pod.spec, &pod.status);
    table.field("Name", &pod.metadata.name);
    table.field("Phase", Cell::phase(&status.phase));
    table.field("Reason", status.reason.clone().unwrap_or_default());
    if let Some(app) = &spec.app {
        table.field("App", app);
    }
    if let Some(process) = &spec.process {
        table.field("Process", process);
    }
    if let Some(release) = spec.release {
        table.field("Release", release);
    }
    table.field("Image", &spec.image);
    match &spec.command {
        Some(CommandLine::Shell(line)) => table.field("Command", line),
        Some(CommandLine::Exec(words)) => table.field("Command", words.join(" ")),
        None => {}
    }
    if let Some(address) = status.address {
        table.field("Address", address);
    }
    if let Some(port) = spec.port {
        table.field("Port", port);
    }
    table.field("Node", status.node.clone().unwrap_or_default());
    table.field("Restarts", status.restarts);
    if let Some(started) = status.started {
        table.field("Started", started.format("%Y-%m-%d %H:%M:%S UTC"));
    }
    if let Some(exit) = &status.exit {
        table.field(
            "Last end",
            format!("status {} ({})", exit.code, word(&exit.cause)),
        );
    }
    table
}

fn stats_fields(stats: &PodStats) -> Table {
    let mut table = Table::fields();
    if let Some(cpu) = stats.cpu {
        table.field("Processors", format!("{cpu:.2}"));
    }
    table.field(
        "Processor time",
        format!("{} ms", stats.cpu_nanos / 1_000_000),
    );
    let memory = match stats.memory_limit_bytes {
        Some(limit) => format!("{} of {}", bytes(stats.memory_bytes), bytes(limit)),
        None => bytes(stats.memory_bytes),
    };
    table.field("Memory", memory);
    table.field("Received", bytes(stats.network_rx_bytes));
    table.field("Sent", bytes(stats.network_tx_bytes));
    table.field("Processes", stats.pids);
    table
}
