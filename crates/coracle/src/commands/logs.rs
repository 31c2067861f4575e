//! `coracle logs`: what an app's pods write.

use coracle_client::logs::LogQuery;
use coracle_model::name::{AppName, PodName, ProcessName};
use futures::StreamExt as _;

use crate::context::{Context, of_app};
use crate::error::Result;
use crate::output::Format;

/// Show what an app's pods write
#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// The app
    app: AppName,
    /// Wait for more
    #[arg(long, short)]
    follow: bool,
    /// The last so many lines of each pod
    #[arg(long, short = 'n', value_name = "LINES")]
    tail: Option<u32>,
    /// Of this process only
    #[arg(long, value_name = "PROCESS")]
    process: Option<ProcessName>,
    /// Since this time, or the last so long, such as 5m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Of this pod only
    #[arg(long, value_name = "POD")]
    pod: Option<PodName>,
}

pub(crate) async fn run(args: LogsArgs, context: &Context) -> Result {
    let client = context.client()?;
    let query = LogQuery {
        follow: args.follow,
        tail: args.tail,
        since: args.since,
        process: args.process,
        pod: args.pod,
    };
    let app = &args.app;
    let mut lines = of_app!(
        context,
        &client,
        app,
        client.app_logs(&context.project, app, &query).await
    );
    while let Some(line) = lines.next().await {
        let line = line?;
        match context.printer.format() {
            Format::Json => context.printer.json_line(&line)?,
            Format::Table => context.printer.log_line(line.pod.as_str(), &line.text)?,
        }
    }
    Ok(())
}
