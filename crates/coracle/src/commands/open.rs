//! `coracle open`: an app in the browser.

use std::process::{Command, Stdio};

use coracle_model::name::AppName;

use crate::context::{Context, of_app};
use crate::env_vars;
use crate::error::{CliError, Result};

/// Open an app in the browser, and print its URL
#[derive(Debug, clap::Args)]
pub(crate) struct OpenArgs {
    /// The app
    app: AppName,
}

pub(crate) async fn run(args: OpenArgs, context: &Context) -> Result {
    let client = context.client()?;
    let app = &args.app;
    let found = of_app!(
        context,
        &client,
        app,
        client.app(&context.project, app).await
    );
    let Some(url) = found.status.url else {
        return Err(CliError::new(format!("{app} has no URL")).hint(format!(
            "it needs a web process that is live: `coracle apps show {app}`"
        )));
    };
    context.printer.line(&url)?;
    let screen = ["DISPLAY", "WAYLAND_DISPLAY"];
    // A platform could answer with anything; only a web address is given to another program.
    if screen.iter().all(|name| env_vars::read(name).is_none()) || !url.starts_with("http") {
        return Ok(());
    }
    let started = Command::new("xdg-open")
        .arg(&url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(_opener) => Ok(()),
        Err(_none) => context
            .printer
            .note("there is no program that opens it (xdg-open)"),
    }
}
