//! `coracle env`: variables of an app.

use std::collections::BTreeMap;

use clap::Subcommand;
use coracle_client::env::Env;
use coracle_model::env::{EnvChange, Secret};
use coracle_model::name::{AppName, EnvName};

use crate::context::{Context, of_app};
use crate::error::Result;
use crate::output::Format;
use crate::table::{Cell, Table, Tone};

use super::rollout;

/// List an app's variables, set some, or unset some
#[derive(Debug, clap::Args)]
pub(crate) struct EnvArgs {
    /// The app
    app: AppName,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the variables; secret ones without their value
    List,
    /// Set variables; an app that is deployed gets a new release
    Set {
        /// The variables
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = assignment)]
        variables: Vec<(EnvName, Secret)>,
        /// Keep them encrypted, and never show them again
        #[arg(long)]
        secret: bool,
        /// Return without waiting for the new release
        #[arg(long)]
        no_wait: bool,
    },
    /// Remove variables; an app that is deployed gets a new release
    Unset {
        /// The variables
        #[arg(required = true, value_name = "KEY")]
        variables: Vec<EnvName>,
        /// Return without waiting for the new release
        #[arg(long)]
        no_wait: bool,
    },
}

/// The value may be a secret, so it is in no error.
pub(crate) fn assignment(text: &str) -> std::result::Result<(EnvName, Secret), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "use KEY=VALUE".to_owned())?;
    let name = EnvName::new(name).map_err(|error| error.to_string())?;
    Ok((name, Secret::new(value)))
}

pub(crate) async fn run(args: EnvArgs, context: &Context) -> Result {
    let client = context.client()?;
    let (app, project) = (args.app, &context.project);
    let (change, no_wait) = match args.action.unwrap_or(Action::List) {
        Action::List => {
            let env = of_app!(context, &client, &app, client.env(project, &app).await);
            return context.printer.object(&env, table);
        }
        Action::Set {
            variables,
            secret,
            no_wait,
        } => {
            let mut change = EnvChange::default();
            if secret {
                change.secret = variables.into_iter().collect();
            } else {
                let plain = |(name, value): (EnvName, Secret)| (name, value.expose().to_owned());
                change.set = variables.into_iter().map(plain).collect::<BTreeMap<_, _>>();
            }
            (change, no_wait)
        }
        Action::Unset { variables, no_wait } => {
            let change = EnvChange {
                unset: variables,
                ..EnvChange::default()
            };
            (change, no_wait)
        }
    };
    let env = of_app!(
        context,
        &client,
        &app,
        client.change_env(project, &app, &change, None).await
    );
    if let (Some(number), false) = (env.release, no_wait) {
        let mut progress = context
            .printer
            .progress(&format!("release {number} has the change"));
        let waited = rollout::wait(context, &client, &app, number, &mut progress).await;
        progress.end();
        waited?;
        context
            .printer
            .done(&format!("release {number} of {app} is live"))?;
    }
    if context.printer.format() == Format::Json {
        return context.printer.json(&env);
    }
    Ok(())
}

fn table(env: &Env) -> Table {
    let mut table = Table::new(&["NAME", "VALUE"], "this app has no variables of its own");
    for (name, view) in &env.vars {
        let value = match &view.value {
            Some(value) => value.clone().into(),
            None => Cell::toned("(secret)", Tone::Dim),
        };
        table.row(vec![name.into(), value]);
    }
    table
}
