//! `coracle domains`: host names of an app.

use clap::Subcommand;
use coracle_model::name::{AppName, Hostname};

use crate::context::{Context, of_app};
use crate::error::Result;
use crate::table::Table;

/// List an app's host names, add one, or remove one
#[derive(Debug, clap::Args)]
pub(crate) struct DomainsArgs {
    /// The app
    app: AppName,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the host names
    List,
    /// Give the app one more host name
    Add {
        /// The host name
        host: Hostname,
    },
    /// Take a host name away from the app
    Remove {
        /// The host name
        host: Hostname,
    },
}

pub(crate) async fn run(args: DomainsArgs, context: &Context) -> Result {
    let client = context.client()?;
    let (app, project) = (args.app, &context.project);
    match args.action.unwrap_or(Action::List) {
        Action::List => {}
        Action::Add { host } => {
            of_app!(
                context,
                &client,
                &app,
                client.add_domain(project, &app, &host).await
            );
        }
        Action::Remove { host } => {
            of_app!(
                context,
                &client,
                &app,
                client.remove_domain(project, &app, &host).await
            );
        }
    }
    let domains = of_app!(context, &client, &app, client.domains(project, &app).await);
    context.printer.list(domains, |domains| {
        let mut table = Table::new(&["HOST", "URL"], "this app has no host names");
        for domain in domains {
            table.row(vec![(&domain.host).into(), (&domain.url).into()]);
        }
        table
    })
}
