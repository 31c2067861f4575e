//! `coracle nodes`: the machines.

use chrono::Utc;
use clap::Subcommand;
use coracle_client::Client;
use coracle_model::node::{
    AddressScope, ConditionStatus, DrainMode, DrainPhase, Node, NodeDrain, NodeResources,
    Scheduling,
};
use coracle_model::problem::Code;
use futures::StreamExt as _;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::output::{Format, Progress};
use crate::table::{Cell, Table, Tone, age, bytes};

/// The exit status of a command that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// List the machines, look at one, or take its pods away
#[derive(Debug, clap::Args)]
pub(crate) struct NodesArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the machines, with what they have and use
    List,
    /// Show all that is known of one
    Show {
        /// The node
        node: String,
    },
    /// Let it get no new pods; those that it has stay
    Cordon {
        /// The node
        node: String,
    },
    /// Let it get new pods again; a drain of it ends
    Uncordon {
        /// The node
        node: String,
    },
    /// Cordon it and move its pods to other machines, no app without a ready pod meanwhile
    Drain(DrainArgs),
}

#[derive(Debug, clap::Args)]
struct DrainArgs {
    /// The node
    node: String,
    /// Stop pods too that cannot be ready elsewhere first, or that run once
    #[arg(long, conflicts_with = "cancel")]
    force: bool,
    /// End the drain instead; the node stays cordoned
    #[arg(long)]
    cancel: bool,
    /// Do not wait until it is drained
    #[arg(long, conflicts_with = "cancel")]
    no_wait: bool,
}

pub(crate) async fn run(args: NodesArgs, context: &Context) -> Result {
    done(args, context).await.map_err(|error| match error.code {
        Some(Code::NotFound) => error.hint("`coracle nodes` lists those that there are"),
        _ => error,
    })
}

async fn done(args: NodesArgs, context: &Context) -> Result {
    let client = context.client()?;
    let printer = &context.printer;
    match args.action.unwrap_or(Action::List) {
        Action::List => printer.list(client.nodes().await?, table),
        Action::Show { node } => printer.object(&client.node(&node).await?, fields),
        Action::Cordon { node } => {
            let after = client.cordon_node(&node).await?;
            say(
                context,
                &after,
                &format!("{node} gets no new pods; those that it has stay"),
            )
        }
        Action::Uncordon { node } => {
            let after = client.uncordon_node(&node).await?;
            say(context, &after, &format!("{node} gets new pods again"))
        }
        Action::Drain(DrainArgs {
            node, cancel: true, ..
        }) => {
            let after = client.cancel_node_drain(&node).await?;
            let text = format!("the drain of {node} is cancelled; it stays cordoned");
            say(context, &after, &text)
        }
        Action::Drain(args) => drain(args, context, &client).await,
    }
}

fn say(context: &Context, node: &Node, text: &str) -> Result {
    match context.printer.format() {
        Format::Json => context.printer.json(node),
        Format::Table => context.printer.done(text),
    }
}

async fn drain(args: DrainArgs, context: &Context, client: &Client) -> Result {
    let node = &args.node;
    let mode = if args.force {
        DrainMode::Force
    } else {
        DrainMode::Gentle
    };
    let begun = client.drain_node(node, mode).await?;
    if args.no_wait {
        let text = format!("{node} is being drained; `coracle nodes show {node}` tells how far");
        return say(context, &begun, &text);
    }
    let mut progress = context.printer.progress(&format!("draining {node}"));
    let waited = wait(client, node, &mut progress).await;
    progress.end();
    let drained = waited?;
    let text = format!(
        "{node} is drained and stays cordoned; `coracle nodes uncordon {node}` lets it get pods again"
    );
    say(context, &drained, &text)
}

async fn wait(client: &Client, node: &str, progress: &mut Progress) -> Result<Node> {
    let mut told = client.follow_drain(node);
    let mut last: Option<Node> = None;
    loop {
        let next = tokio::select! {
            next = told.next() => next,
            _ = tokio::signal::ctrl_c() => {
                return Err(CliError {
                    status: INTERRUPTED,
                    ..CliError::new(format!("not waited for: the drain of {node} goes on"))
                }
                .hint(format!("`coracle nodes drain {node} --cancel` ends it")));
            }
        };
        match next {
            Some(Ok(found)) => {
                if let Some(drain) = &found.status.drain {
                    progress.say(&standing(drain));
                }
                last = Some(found);
            }
            Some(Err(error)) => return Err(error.into()),
            None => break,
        }
    }
    match last {
        Some(found) if found.status.drain.is_some() => Ok(found),
        _ => Err(CliError::new(format!(
            "the drain of {node} was ended before all its pods were gone"
        ))
        .hint(format!("`coracle nodes show {node}` tells how it is"))),
    }
}

/// How far a drain is, in a line.
fn standing(drain: &NodeDrain) -> String {
    let left = match drain.left {
        1 => "1 pod left".to_owned(),
        left => format!("{left} pods left"),
    };
    match (drain.phase, &drain.moving) {
        (DrainPhase::Cordoning, _) => "no new pods from now on".to_owned(),
        (DrainPhase::Drained, _) => "no pods left".to_owned(),
        (DrainPhase::Moving, Some(moving)) => {
            format!("{left}; {}/{} moves", moving.project, moving.workload)
        }
        (DrainPhase::Moving, None) => left,
        (DrainPhase::Blocked, _) => {
            let blocks = drain.blocked_by.iter();
            let why: Vec<String> = blocks
                .map(|b| format!("{}/{}: {}", b.project, b.workload, b.reason))
                .collect();
            format!("{left}; blocked by {}", why.join("; "))
        }
    }
}

fn state(node: &Node) -> Cell {
    let status = &node.status;
    let (ready, tone) = if status.ready {
        ("ready", Tone::Good)
    } else {
        ("not ready", Tone::Bad)
    };
    let drain = status.drain.as_ref().map(|drain| drain.phase);
    let more = match (drain, node.spec.scheduling) {
        (Some(DrainPhase::Drained), _) => "drained",
        (Some(DrainPhase::Blocked), _) => "drain blocked",
        (Some(_), _) => "draining",
        (None, Scheduling::Cordoned) => "cordoned",
        (None, Scheduling::Open) => return Cell::toned(ready, tone),
    };
    let tone = if status.ready { Tone::Busy } else { tone };
    Cell::toned(format!("{ready}, {more}"), tone)
}

fn table(nodes: &[Node]) -> Table {
    let mut table = Table::new(
        &[
            "NAME",
            "STATE",
            "PODS",
            "CPU IN USE",
            "MEMORY IN USE",
            "RUNTIME",
            "REASON",
        ],
        "no node is known yet",
    );
    for node in nodes {
        let status = &node.status;
        table.row(vec![
            (&node.metadata.name).into(),
            state(node),
            status.pods.into(),
            cpu(status.capacity, status.used).into(),
            memory(status.capacity, status.used).into(),
            (&status.runtime).into(),
            status.reason.clone().unwrap_or_default().into(),
        ]);
    }
    table
}

fn cpu(has: NodeResources, used: Option<NodeResources>) -> String {
    match used {
        Some(used) => format!("{:.1} of {:.0}", used.cpu, has.cpu),
        None => format!("? of {:.0}", has.cpu),
    }
}

fn memory(has: NodeResources, used: Option<NodeResources>) -> String {
    match used {
        Some(used) => {
            let (used, has) = (bytes(used.memory_bytes), bytes(has.memory_bytes));
            format!("{used} of {has}")
        }
        None => format!("? of {}", bytes(has.memory_bytes)),
    }
}

/// Amounts in a line. Of processors hundredths are enough.
fn amounts(amounts: NodeResources) -> String {
    let processors = (amounts.cpu * 100.0).round() / 100.0;
    let mut parts = vec![
        counted(processors, "processor"),
        format!("{} memory", bytes(amounts.memory_bytes)),
    ];
    parts.extend(
        amounts
            .disk_bytes
            .map(|disk| format!("{} disk", bytes(disk))),
    );
    parts.extend(amounts.pods.map(|pods| counted(f64::from(pods), "pod")));
    parts.join(", ")
}

fn counted(count: f64, what: &str) -> String {
    let plural = if (count - 1.0).abs() < f64::EPSILON {
        ""
    } else {
        "s"
    };
    format!("{count} {what}{plural}")
}

/// What an address is called.
const fn place(scope: AddressScope) -> &'static str {
    match scope {
        AddressScope::Internal => "Internal address",
        AddressScope::External => "External address",
        AddressScope::Hostname => "Hostname",
    }
}

fn fields(node: &Node) -> Table {
    let status = &node.status;
    let mut table = Table::fields();
    table.field("Name", &node.metadata.name);
    table.field("State", state(node));
    table.field("Reason", status.reason.clone().unwrap_or_default());
    if let Some(drain) = &status.drain {
        table.field("Drain", standing(drain));
        for block in &drain.blocked_by {
            let text = format!("{}/{}: {}", block.project, block.workload, block.reason);
            table.field("Blocked by", text);
        }
    }
    table.field("Roles", status.roles.join(", "));
    for address in &status.addresses {
        table.field(place(address.scope), &address.address);
    }
    if status.addresses.is_empty() {
        table.field("Address", status.address.clone().unwrap_or_default());
    }
    table.field("Pods of this platform", status.pods);
    table.field("Capacity", amounts(status.capacity));
    table.field(
        "Allocatable",
        status.allocatable.map(amounts).unwrap_or_default(),
    );
    table.field("In use", status.used.map(amounts).unwrap_or_default());
    table.field("Pod subnets", status.pod_subnets.join(", "));
    if let Some(overlay) = &status.overlay {
        let at = overlay.public_address.as_ref();
        let at = at.map(|at| format!(", public address {at}"));
        let at = at.unwrap_or_default();
        table.field("Overlay network", format!("{}{at}", overlay.back_end));
    }
    table.field("System", &status.os);
    table.field("Kernel", &status.kernel);
    table.field("Architecture", &status.architecture);
    table.field("Runtime", &status.runtime);
    table.field("Kubelet", status.kubelet.clone().unwrap_or_default());
    table.field("Taints", status.taints.join(", "));
    table.field("Age", age(node.metadata.created, Utc::now()));
    for condition in &status.conditions {
        let is = match condition.status {
            ConditionStatus::True => "yes",
            ConditionStatus::False => "no",
            ConditionStatus::Unknown => "unknown",
        };
        let why = condition.message.as_ref().or(condition.reason.as_ref());
        let why = why.map(|why| format!(", {why}")).unwrap_or_default();
        table.field("Condition", format!("{}: {is}{why}", condition.kind));
    }
    for (key, value) in &status.labels {
        table.field("Label", format!("{key}={value}"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(status: serde_json::Value) -> Node {
        serde_json::from_value(serde_json::json!({
            "kind": "Node",
            "metadata": {"name": "a", "created": "2026-01-01T00:00:00Z"},
            "spec": {"scheduling": "cordoned"},
            "status": status,
        }))
        .unwrap()
    }

    fn plain(table: &Table) -> String {
        table.render(|_, text| text.to_owned())
    }

    #[test]
    fn a_drain_says_how_far_it_is_and_what_blocks_it() {
        let drain = |phase: &str, left: u32| {
            serde_json::json!({"ready": true, "drain": {
                "phase": phase, "since": "2026-01-01T00:00:00Z", "started": "2026-01-01T00:00:00Z", "left": left,
                "moving": {"project": "default", "workload": "hello-web-v1", "since": "2026-01-01T00:00:00Z"},
                "blocked_by": [{"project": "default", "workload": "job", "reason": "it runs once"}],
            }})
        };
        let said = |phase: &str, left| standing(&node(drain(phase, left)).status.drain.unwrap());
        assert_eq!(said("moving", 2), "2 pods left; default/hello-web-v1 moves");
        assert_eq!(
            said("blocked", 1),
            "1 pod left; blocked by default/job: it runs once"
        );
        assert_eq!(said("drained", 0), "no pods left");
        let shown = plain(&table(&[node(drain("blocked", 1))]));
        assert!(shown.contains("ready, drain blocked"), "{shown}");
        let shown = plain(&fields(&node(drain("moving", 2))));
        assert!(shown.contains("Blocked by:"), "{shown}");
    }

    #[test]
    fn all_that_an_engine_tells_is_shown() {
        let shown = plain(&fields(&node(serde_json::json!({
            "ready": false, "reason": "no power", "roles": ["control-plane"],
            "addresses": [{"scope": "internal", "address": "10.0.0.1"}],
            "allocatable": {"cpu": 1.5, "memory_bytes": 1024, "pods": 110},
            "pod_subnets": ["10.42.0.0/24"], "kubelet": "v1.33.1",
            "overlay": {"back_end": "vxlan", "public_address": "192.0.2.1"},
            "taints": ["a=b:NoSchedule"], "labels": {"zone": "x"},
            "conditions": [{"type": "DiskPressure", "status": "unknown", "message": "it does not tell"}],
        }))));
        for text in [
            "not ready, cordoned",
            "no power",
            "control-plane",
            "Internal address:",
            "1.5 processors",
            "110 pods",
            "10.42.0.0/24",
            "vxlan, public address 192.0.2.1",
            "v1.33.1",
            "zone=x",
            "a=b:NoSchedule",
            "DiskPressure: unknown, it does not tell",
        ] {
            assert!(shown.contains(text), "{text} is not in:\n{shown}");
        }
    }
}
