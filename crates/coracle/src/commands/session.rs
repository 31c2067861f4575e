//! `coracle login`, `logout`, `whoami`.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use coracle_client::Client;
use coracle_model::env::Secret;
use coracle_model::name::UserName;
use coracle_model::user::ProjectScope;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::config::{self, Config};
use crate::context::Context;
use crate::error::{CliError, Result};
use crate::table::{Table, word};

/// The longest password that is read, in bytes.
const PASSWORD_BYTES: u64 = 4096;

/// Log in to a platform
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// The platform's address [default: the one logged in to last, else http://127.0.0.1:7070]
    url: Option<String>,
    /// The user's name
    #[arg(long, short, default_value = "admin")]
    user: UserName,
    /// Read the password from standard input, for scripts
    #[arg(long)]
    password_stdin: bool,
}

/// Log out
#[derive(Debug, clap::Args)]
pub(crate) struct LogoutArgs {}

/// Show who is logged in, and where
#[derive(Debug, clap::Args)]
pub(crate) struct WhoAmIArgs {}

pub(crate) async fn log_in(args: LoginArgs, context: &Context) -> Result {
    let url = match args.url {
        Some(url) => url,
        None => config::login()?.0,
    };
    let client = Client::new(&url, None)?;
    let password = if args.password_stdin {
        password_from_input()?
    } else {
        ask_password(
            context,
            &format!("Password of {} at {}: ", args.user, client.url()),
        )?
    };
    let session = client.log_in(&args.user, &password).await?;
    let config = Config {
        url: Some(client.url().to_owned()),
        user: Some(session.user.to_string()),
        token: Some(session.token),
    };
    config.write()?;
    let role = word(&session.role);
    context.printer.done(&format!(
        "logged in at {} as {} ({role})",
        client.url(),
        session.user
    ))
}

pub(crate) async fn log_out(context: &Context) -> Result {
    let config = Config::read()?;
    let (Some(url), Some(token)) = (&config.url, &config.token) else {
        return context.printer.done("nobody was logged in");
    };
    // A platform that is away or does not know the token any more keeps nobody logged in here.
    let ended = Client::new(url, Some(token))?.log_out().await;
    Config {
        url: config.url.clone(),
        ..Config::default()
    }
    .write()?;
    match ended {
        Ok(()) => context.printer.done(&format!("logged out at {url}")),
        Err(error) => context.printer.note(&format!(
            "logged out here; the session at {url} was not ended: {}",
            error.explain()
        )),
    }
}

pub(crate) async fn who_am_i(context: &Context) -> Result {
    let client = context.client()?;
    let who = client.who_am_i().await?;
    context.printer.object(&who, |who| {
        let mut table = Table::fields();
        table.field("User", &who.user);
        table.field("Role", word(&who.role));
        table.field("Projects", scope(&who.projects));
        table.field("Platform", client.url());
        table.field("Version", &who.version);
        table.field("Domain", &who.domain);
        if let Some(expires) = who.expires {
            table.field("Login ends", expires.format("%Y-%m-%d %H:%M UTC"));
        }
        table
    })
}

/// Projects as people read them.
pub(crate) fn scope(scope: &ProjectScope) -> String {
    match scope {
        ProjectScope::All => "all".to_owned(),
        ProjectScope::Only(projects) => {
            let names: Vec<&str> = projects.iter().map(AsRef::as_ref).collect();
            names.join(", ")
        }
    }
}

/// A password from standard input: its first line, or all of it when there is one line only.
pub(crate) fn password_from_input() -> Result<Secret> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(PASSWORD_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| CliError::caused("the password cannot be read", &error))?;
    checked(text.lines().next().unwrap_or_default())
}

/// A password from the terminal, which does not show it.
pub(crate) fn ask_password(context: &Context, question: &str) -> Result<Secret> {
    checked(ask_hidden(context, question)?.expose())
}

/// A line from the terminal, which does not show it. It may be empty.
pub(crate) fn ask_hidden(context: &Context, question: &str) -> Result<Secret> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(
            CliError::usage("there is no terminal to ask for the password on")
                .hint("give it with --password-stdin"),
        );
    }
    let cannot = |error: rustix::io::Errno| {
        CliError::caused("the terminal cannot be used", &std::io::Error::from(error))
    };
    context.printer.err(question.as_bytes())?;
    let before = tcgetattr(&input).map_err(cannot)?;
    let mut silent = before.clone();
    silent.local_modes -= LocalModes::ECHO;
    silent.local_modes |= LocalModes::ECHONL;
    tcsetattr(&input, OptionalActions::Flush, &silent).map_err(cannot)?;
    let mut text = String::new();
    let read = input.lock().take(PASSWORD_BYTES).read_line(&mut text);
    tcsetattr(&input, OptionalActions::Flush, &before).map_err(cannot)?;
    read.map_err(|error| CliError::caused("the password cannot be read", &error))?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}

fn checked(password: &str) -> Result<Secret> {
    if password.is_empty() {
        return Err(CliError::usage("the password is empty"));
    }
    Ok(Secret::new(password))
}
