//! `coracle tokens`: keys to the API.

use std::collections::BTreeSet;

use chrono::Utc;
use clap::Subcommand;
use coracle_client::token::NewToken;
use coracle_model::name::{ProjectName, TokenName};
use coracle_model::quantity::Span;
use coracle_model::token::Token;
use coracle_model::user::{ProjectScope, Role};

use crate::context::Context;
use crate::error::Result;
use crate::output::Format;
use crate::table::{Table, age, word};

use super::session::scope;
use super::users::RoleArg;

/// List your tokens, create one, or delete one
#[derive(Debug, clap::Args)]
pub(crate) struct TokensArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List your tokens
    List,
    /// Make a token and print its secret, which is never shown again
    Create {
        /// The token's name
        name: TokenName,
        /// The most that it allows [default: your own role]
        #[arg(long, value_enum)]
        role: Option<RoleArg>,
        /// In this project only; may be given several times [default: wherever you may]
        #[arg(long = "only", value_name = "PROJECT")]
        only: Vec<ProjectName>,
        /// How long it lasts, such as 30d [default: for ever]
        #[arg(long, value_name = "TIME")]
        expires_in: Option<Span>,
    },
    /// Delete a token
    Delete {
        /// The token's name
        name: TokenName,
    },
}

pub(crate) async fn run(args: TokensArgs, context: &Context) -> Result {
    let client = context.client()?;
    match args.action.unwrap_or(Action::List) {
        Action::List => context.printer.list(client.tokens().await?, table),
        Action::Create {
            name,
            role,
            only,
            expires_in,
        } => {
            let new = NewToken {
                name,
                role: role.map(Role::from),
                projects: projects(only),
                expires_in,
            };
            let made = client.create_token(&new).await?;
            match context.printer.format() {
                Format::Table => {
                    context
                        .printer
                        .note("keep the token: it is shown only now")?;
                    context.printer.line(made.secret.expose())
                }
                Format::Json => {
                    let mut object = serde_json::json!(made.token);
                    object["secret"] = made.secret.expose().into();
                    context.printer.json(&object)
                }
            }
        }
        Action::Delete { name } => {
            client.delete_token(&name).await?;
            context.printer.done(&format!("token {name} is deleted"))
        }
    }
}

/// In these projects; in all when none is named.
pub(crate) fn projects(only: Vec<ProjectName>) -> ProjectScope {
    if only.is_empty() {
        ProjectScope::All
    } else {
        ProjectScope::Only(only.into_iter().collect::<BTreeSet<_>>())
    }
}

fn table(tokens: &[Token]) -> Table {
    let mut table = Table::new(
        &["NAME", "ROLE", "PROJECTS", "EXPIRES", "LAST USED"],
        "you have no tokens",
    );
    let now = Utc::now();
    for token in tokens {
        let expires = token
            .spec
            .expires
            .map(|at| at.format("%Y-%m-%d").to_string());
        let used = token
            .status
            .last_used
            .map(|at| format!("{} ago", age(at, now)));
        table.row(vec![
            (&token.metadata.name).into(),
            word(&token.spec.role).into(),
            scope(&token.spec.projects).into(),
            expires.unwrap_or_else(|| "never".to_owned()).into(),
            used.unwrap_or_else(|| "never".to_owned()).into(),
        ]);
    }
    table
}
