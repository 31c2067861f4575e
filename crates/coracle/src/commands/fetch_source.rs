//! `fetch-source`: what the first container of a build's pod runs.
//!
//! Theory of operation: one of several control planes has the source; all addresses of the name are asked in turn until
//! one takes the ticket. A control plane that starts anew lays the source out again, so nobody knowing the ticket is no
//! reason to give up at once. What comes is unpacked as it comes, by the same rules as an upload; what broke is begun
//! again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use coracle_builder::{Limits, SourceError};
use coracle_model::quantity::Span;
use futures::TryStreamExt as _;
use reqwest::{StatusCode, Url};
use tokio::time::Instant;
use tokio_util::io::StreamReader;

use crate::error::{CliError, Result};

/// The longest ticket.
const TICKET_BYTES: usize = 4096;
/// To connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Without a byte.
const SILENCE: Duration = Duration::from_secs(60);
/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(1);

/// Fetch the source of a build, once, with its ticket: what the first container of a build's pod runs
#[derive(Debug, clap::Args)]
pub(crate) struct FetchSourceArgs {
    /// The control planes: all addresses of the name are tried
    #[arg(long, value_name = "URL")]
    from: Url,
    /// The file with the ticket
    #[arg(long, value_name = "FILE")]
    ticket_file: PathBuf,
    /// The folder to make
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// How long to try
    #[arg(long, value_name = "TIME", default_value = "10m")]
    patience: Span,
}

/// Why a try brought nothing.
enum Trouble {
    /// Another may bring more.
    Passing(String),
    /// No other will.
    Final(CliError),
}

pub(crate) async fn run(args: FetchSourceArgs) -> Result {
    let ticket = tokio::fs::read_to_string(&args.ticket_file).await;
    let ticket = ticket.map_err(|error| CliError::caused("the ticket cannot be read", &error))?;
    let ticket = ticket.trim();
    if ticket.is_empty() || ticket.len() > TICKET_BYTES {
        return Err(CliError::new("the file does not hold a ticket"));
    }
    let deadline = Instant::now() + args.patience.0;
    let mut told = String::new();
    loop {
        let reason = match round(&args, ticket).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing(reason)) => reason,
        };
        if Instant::now() >= deadline {
            return Err(CliError::new(reason));
        }
        if reason != told {
            tracing::info!(reason, "the source is not to be had yet");
            told = reason;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks every address once.
async fn round(args: &FetchSourceArgs, ticket: &str) -> std::result::Result<(), Trouble> {
    let host = args.from.host_str().unwrap_or_default();
    let port = args.from.port_or_known_default().unwrap_or(80);
    let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
    let found =
        found.map_err(|error| Trouble::Passing(format!("{host} has no address: {error}")))?;
    let mut last = format!("{host} has no address");
    for address in found {
        match fetch(args, host, address, ticket).await {
            Err(Trouble::Passing(reason)) => last = reason,
            end => return end,
        }
    }
    Err(Trouble::Passing(last))
}

async fn fetch(
    args: &FetchSourceArgs,
    host: &str,
    address: SocketAddr,
    ticket: &str,
) -> std::result::Result<(), Trouble> {
    let passing = |error: reqwest::Error| Trouble::Passing(error.without_url().to_string());
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .resolve(host, address)
        .build()
        .map_err(passing)?;
    let url = args.from.join("internal/v1/build-source");
    let url = url.map_err(|error| Trouble::Final(CliError::usage(format!("--from: {error}"))))?;
    let answer = client.get(url).bearer_auth(ticket).send().await;
    let answer = answer.map_err(passing)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => {
            let reason = "no control plane knows the ticket: the build is over, or its source was fetched before";
            return Err(Trouble::Passing(reason.to_owned()));
        }
        status => {
            return Err(Trouble::Passing(format!(
                "the control plane answered {status}"
            )));
        }
    }
    let body = answer.bytes_stream().map_err(std::io::Error::other);
    let reader = StreamReader::new(Box::pin(body));
    match coracle_builder::unpack(reader, &args.to, Limits::default()).await {
        Ok(unpacked) => {
            tracing::info!(
                files = unpacked.entries,
                bytes = unpacked.bytes,
                "the source is here"
            );
            Ok(())
        }
        // A connection that ends too early looks like a damaged archive.
        Err(
            error @ (SourceError::Io(_) | SourceError::Damaged(_) | SourceError::Interrupted(_)),
        ) => Err(Trouble::Passing(format!("the source broke off: {error}"))),
        Err(error) => Err(Trouble::Final(CliError::caused(
            "the source cannot be unpacked",
            &error,
        ))),
    }
}
