//! `coracle apps`: list, show, create, delete.

use clap::Subcommand;
use coracle_model::app::{App, AppSpec};
use coracle_model::name::AppName;

use crate::context::{Context, of_app};
use crate::error::Result;
use crate::table::{Cell, Table};

use super::terminal::confirm;

/// List apps, or show, create and delete one
#[derive(Debug, clap::Args)]
pub(crate) struct AppsArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the apps of the project
    List,
    /// Show an app
    Show {
        /// The app
        app: AppName,
    },
    /// Make an app without a release, to set its variables first
    Create {
        /// The app
        app: AppName,
    },
    /// Delete an app with its releases, builds and pods; its volumes stay
    Delete {
        /// The app
        app: AppName,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

pub(crate) async fn run(args: AppsArgs, context: &Context) -> Result {
    let client = context.client()?;
    match args.action.unwrap_or(Action::List) {
        Action::List => {
            let apps = client.apps(&context.project).await?;
            context.printer.list(apps, table)
        }
        Action::Show { app } => {
            let found = of_app!(
                context,
                &client,
                &app,
                client.app(&context.project, &app).await
            );
            context.printer.object(&found, fields)
        }
        Action::Create { app } => {
            let made = client
                .create_app(&context.project, &app, &AppSpec::default())
                .await?;
            context.printer.object(&made, fields)
        }
        Action::Delete { app, yes } => {
            if !yes {
                confirm(
                    context,
                    &format!("delete the app {app} with all its releases and pods?"),
                )?;
            }
            of_app!(
                context,
                &client,
                &app,
                client.delete_app(&context.project, &app, None).await
            );
            context.printer.done(&format!("{app} is being deleted"))
        }
    }
}

fn table(apps: &[App]) -> Table {
    let mut table = Table::new(
        &["NAME", "PHASE", "RELEASE", "PODS", "URL"],
        "there are no apps; `coracle deploy` makes one",
    );
    for app in apps {
        let (ready, replicas) = app
            .status
            .processes
            .values()
            .fold((0, 0), |(ready, all), one| {
                (ready + one.ready, all + one.replicas)
            });
        table.row(vec![
            (&app.metadata.name).into(),
            phase(app),
            app.status
                .release
                .map(|release| release.to_string())
                .unwrap_or_default()
                .into(),
            format!("{ready}/{replicas}").into(),
            app.status.url.clone().unwrap_or_default().into(),
        ]);
    }
    table
}

/// A deletion that was asked for is more than the phase says.
fn phase(app: &App) -> Cell {
    if app.metadata.deleting.is_some() {
        Cell::toned("deleting", crate::table::Tone::Busy)
    } else {
        Cell::phase(&app.status.phase)
    }
}

fn fields(app: &App) -> Table {
    let mut table = Table::fields();
    table.field("Name", &app.metadata.name);
    if let Some(project) = &app.metadata.project {
        table.field("Project", project);
    }
    table.field("Phase", phase(app));
    table.field("Reason", app.status.reason.clone().unwrap_or_default());
    table.field("URL", app.status.url.clone().unwrap_or_default());
    let domains: Vec<&str> = app.spec.domains.iter().map(AsRef::as_ref).collect();
    table.field("Domains", domains.join(", "));
    table.field(
        "Release",
        app.status
            .release
            .map(|release| release.to_string())
            .unwrap_or_default(),
    );
    for (name, process) in &app.status.processes {
        let line = format!("{}/{} pods ready", process.ready, process.replicas);
        table.field(&format!("Process {name}"), line);
    }
    table.field(
        "Created",
        app.metadata.created.format("%Y-%m-%d %H:%M:%S UTC"),
    );
    table
}
