//! `coracle builds`: list, log, cancel.

use chrono::Utc;
use clap::Subcommand;
use coracle_model::build::Build;
use coracle_model::name::AppName;
use futures::StreamExt as _;

use crate::context::{Context, of_app};
use crate::error::{CliError, Result};
use crate::output::Format;
use crate::table::{Cell, Table, age};

/// List an app's builds, read a build's log, or cancel a build
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BuildsArgs {
    /// The app
    #[arg(required = true)]
    app: Option<AppName>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read a build's log
    Log {
        /// The app
        app: AppName,
        /// The build's number, such as b3 or 3
        #[arg(value_parser = number)]
        build: u32,
        /// Follow it until the build ends
        #[arg(long, short)]
        follow: bool,
    },
    /// Cancel a build
    Cancel {
        /// The app
        app: AppName,
        /// The build's number, such as b3 or 3
        #[arg(value_parser = number)]
        build: u32,
    },
}

fn number(text: &str) -> std::result::Result<u32, String> {
    match text.strip_prefix('b').unwrap_or(text).parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("use a build's number such as b3".to_owned()),
    }
}

pub(crate) async fn run(args: BuildsArgs, context: &Context) -> Result {
    let client = context.client()?;
    let project = &context.project;
    match (args.action, args.app) {
        (
            Some(Action::Log {
                app,
                build,
                follow: true,
            }),
            _,
        ) => {
            let mut lines = client.follow_build_log(project, &app, build);
            while let Some(line) = lines.next().await {
                let line = of_app!(context, &client, &app, line);
                match context.printer.format() {
                    Format::Json => context.printer.json_line(&line)?,
                    Format::Table => context.printer.line(&line.text)?,
                }
            }
            Ok(())
        }
        (
            Some(Action::Log {
                app,
                build,
                follow: false,
            }),
            _,
        ) => {
            let mut log = of_app!(
                context,
                &client,
                &app,
                client.build_log(project, &app, build).await
            );
            let mut text = Vec::new();
            while let Some(piece) = log.next().await {
                text.extend_from_slice(&piece?);
                // Whole lines only: what is made harmless must not be cut in the middle.
                let end = text
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
                for line in String::from_utf8_lossy(&text[..end]).lines() {
                    context.printer.line(line)?;
                }
                text.drain(..end);
            }
            if text.is_empty() {
                return Ok(());
            }
            context.printer.line(&String::from_utf8_lossy(&text))
        }
        (Some(Action::Cancel { app, build }), _) => {
            let build = of_app!(
                context,
                &client,
                &app,
                client.cancel_build(project, &app, build).await
            );
            context.printer.object(&build, |build| {
                let mut table = Table::fields();
                table.field("Build", &build.metadata.name);
                table.field("Phase", Cell::phase(&build.status.phase));
                table
            })
        }
        (None, Some(app)) => {
            let mut builds = of_app!(context, &client, &app, client.builds(project, &app).await);
            builds.reverse();
            context.printer.list(builds, table)
        }
        (None, None) => Err(CliError::usage("name an app")),
    }
}

fn table(builds: &[Build]) -> Table {
    let mut table = Table::new(
        &["BUILD", "PHASE", "RELEASE", "AGE", "BY", "REASON"],
        "this app has no builds",
    );
    let now = Utc::now();
    for build in builds {
        table.row(vec![
            (&build.metadata.name).into(),
            Cell::phase(&build.status.phase),
            build
                .status
                .release
                .map(|release| release.to_string())
                .unwrap_or_default()
                .into(),
            age(build.metadata.created, now).into(),
            (&build.spec.created_by).into(),
            build.status.reason.clone().unwrap_or_default().into(),
        ]);
    }
    table
}
