//! `coracle volumes`: data that outlives pods.

use chrono::Utc;
use clap::Subcommand;
use coracle_client::volume::Volume;
use coracle_model::name::VolumeName;

use crate::context::Context;
use crate::error::Result;
use crate::table::{Table, age};

use super::terminal::confirm;

/// List volumes, or delete one
#[derive(Debug, clap::Args)]
pub(crate) struct VolumesArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the volumes of the project
    List,
    /// Delete a volume and its data
    Delete {
        /// The volume
        name: VolumeName,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub(crate) async fn run(args: VolumesArgs, context: &Context) -> Result {
    let client = context.client()?;
    match args.action.unwrap_or(Action::List) {
        Action::List => context
            .printer
            .list(client.volumes(&context.project).await?, table),
        Action::Delete { name, yes } => {
            if !yes {
                confirm(
                    context,
                    &format!("delete the volume {name} and all data in it?"),
                )?;
            }
            client.delete_volume(&context.project, &name).await?;
            context.printer.done(&format!("volume {name} is deleted"))
        }
    }
}

fn table(volumes: &[Volume]) -> Table {
    let mut table = Table::new(
        &["NAME", "APP", "SIZE", "AGE", "USED BY"],
        "there are no volumes",
    );
    for volume in volumes {
        let size = volume.size.map(|size| size.to_string());
        let pods: Vec<&str> = volume.used_by.iter().map(AsRef::as_ref).collect();
        table.row(vec![
            (&volume.name).into(),
            volume
                .app
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
                .into(),
            size.unwrap_or_default().into(),
            volume
                .created
                .map(|at| age(at, Utc::now()))
                .unwrap_or_default()
                .into(),
            pods.join(", ").into(),
        ]);
    }
    table
}
