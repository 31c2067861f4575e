//! `coracle images`: what the registry has.

use crate::context::Context;
use crate::error::Result;
use crate::table::Table;

/// List the registry's repositories, or the tags of one
#[derive(Debug, clap::Args)]
pub(crate) struct ImagesArgs {
    /// A repository, such as default/hello
    repository: Option<String>,
}

pub(crate) async fn run(args: ImagesArgs, context: &Context) -> Result {
    let client = context.client()?;
    match args.repository {
        None => context.printer.list(client.images().await?, |images| {
            let mut table = Table::new(&["REPOSITORY", "REFERENCE"], "the registry is empty");
            for image in images {
                table.row(vec![(&image.name).into(), (&image.reference).into()]);
            }
            table
        }),
        Some(name) => context
            .printer
            .list(client.image_tags(&name).await?, |tags| {
                let mut table = Table::new(&["TAG", "REFERENCE"], "this repository has no tags");
                for tag in tags {
                    table.row(vec![(&tag.tag).into(), (&tag.reference).into()]);
                }
                table
            }),
    }
}
