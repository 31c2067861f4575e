//! `coracle templates`: what comes with the platform.

use crate::context::Context;
use crate::error::Result;
use crate::table::Table;

/// List the templates that an app can begin with
#[derive(Debug, clap::Args)]
pub(crate) struct TemplatesArgs {}

pub(crate) async fn run(context: &Context) -> Result {
    let client = context.client()?;
    context
        .printer
        .list(client.templates().await?, |templates| {
            let mut table = Table::new(&["NAME", "TITLE", "DESCRIPTION"], "there are no templates");
            for one in templates {
                table.row(vec![
                    one.name.to_string().into(),
                    (&one.title).into(),
                    (&one.description).into(),
                ]);
            }
            table
        })
}
