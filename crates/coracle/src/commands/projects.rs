//! `coracle projects`: boundaries of names, access and network.

use clap::Subcommand;
use coracle_model::name::ProjectName;
use coracle_model::project::{Project, ProjectSpec};

use crate::context::Context;
use crate::error::Result;
use crate::table::Table;

/// List projects, create one, or delete one
#[derive(Debug, clap::Args)]
pub(crate) struct ProjectsArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the projects
    List,
    /// Make a project
    Create {
        /// The project
        name: ProjectName,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
    /// Delete a project that has no apps
    Delete {
        /// The project
        name: ProjectName,
    },
}

pub(crate) async fn run(args: ProjectsArgs, context: &Context) -> Result {
    let client = context.client()?;
    match args.action.unwrap_or(Action::List) {
        Action::List => context.printer.list(client.projects().await?, table),
        Action::Create { name, description } => {
            let made = client
                .create_project(&name, &ProjectSpec { description })
                .await?;
            context
                .printer
                .object(&made, |made| table(std::slice::from_ref(made)))
        }
        Action::Delete { name } => {
            client.delete_project(&name, None).await?;
            context
                .printer
                .done(&format!("project {name} is being deleted"))
        }
    }
}

fn table(projects: &[Project]) -> Table {
    let mut table = Table::new(&["NAME", "APPS", "DESCRIPTION"], "there are no projects");
    for project in projects {
        table.row(vec![
            (&project.metadata.name).into(),
            project.status.apps.into(),
            (&project.spec.description).into(),
        ]);
    }
    table
}
