//! `coracle nodes`: the machines.

use coracle_model::node::Node;

use crate::context::Context;
use crate::error::Result;
use crate::table::{Cell, Table, Tone, bytes};

/// List the machines, with what they have and use
#[derive(Debug, clap::Args)]
pub(crate) struct NodesArgs {}

pub(crate) async fn run(context: &Context) -> Result {
    let nodes = context.client()?.nodes().await?;
    context.printer.list(nodes, table)
}

fn table(nodes: &[Node]) -> Table {
    let mut table = Table::new(
        &[
            "NAME", "STATE", "PODS", "CPU", "MEMORY", "RUNTIME", "REASON",
        ],
        "no node is known yet",
    );
    for node in nodes {
        let status = &node.status;
        let state = if status.ready {
            Cell::toned("ready", Tone::Good)
        } else {
            Cell::toned("not ready", Tone::Bad)
        };
        let (has, used) = (status.capacity, status.used);
        let cpu = match used {
            Some(used) => format!("{:.1}/{:.0}", used.cpu, has.cpu),
            None => format!("{:.0}", has.cpu),
        };
        let memory = match used {
            Some(used) => format!("{}/{}", bytes(used.memory_bytes), bytes(has.memory_bytes)),
            None => bytes(has.memory_bytes),
        };
        table.row(vec![
            (&node.metadata.name).into(),
            state,
            status.pods.into(),
            cpu.into(),
            memory.into(),
            (&status.runtime).into(),
            status.reason.clone().unwrap_or_default().into(),
        ]);
    }
    table
}
