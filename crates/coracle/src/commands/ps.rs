//! `coracle ps`: the pods of an app, or of all apps.

use coracle_model::name::AppName;

use crate::context::{Context, of_app};
use crate::error::Result;

use super::pods::table;

/// List the pods of an app, or of the whole project
#[derive(Debug, clap::Args)]
pub(crate) struct PsArgs {
    /// The app
    app: Option<AppName>,
}

pub(crate) async fn run(args: PsArgs, context: &Context) -> Result {
    let client = context.client()?;
    if let Some(app) = &args.app {
        of_app!(
            context,
            &client,
            app,
            client.app(&context.project, app).await
        );
    }
    let mut pods = client.pods(&context.project).await?;
    if let Some(app) = args.app {
        pods.retain(|pod| pod.spec.app.as_ref() == Some(&app));
    }
    context.printer.list(pods, table)
}
