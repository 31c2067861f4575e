//! `coracle import`: what another platform exported, taken in.
//!
//! Theory of operation: the archive's first record is read here, so that a missing or wrong passphrase and a file that is
//! no export are told before anything is sent. The platform checks all of it once more, and changes nothing before.

use std::fs::File;
use std::path::{Path, PathBuf};

use coracle_client::import::ImportQuery;
use coracle_client::{Client, ClientError, Items};
use coracle_control::OperationError;
use coracle_control::archive::{Header, seal};
use coracle_model::env::Secret;
use coracle_model::import::{ImportLine, ImportReport, ImportStage, OnConflict};
use futures::{StreamExt as _, stream};
use tokio::io::AsyncReadExt as _;

use super::passphrase::{self, Asked, PassphraseArgs};
use crate::context::Context;
use crate::error::{CliError, Result};
use crate::output::Progress;
use crate::table::{Cell, Table, bytes, word};

/// Bytes that are sent at once.
const CHUNK_BYTES: usize = 128 * 1024;

/// Take in what `coracle export` wrote on another platform
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Check everything and say what would become of it; change nothing
    #[arg(long)]
    check: bool,
    /// What to do about apps that are there already and are not as in the file
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    on_conflict: Conflict,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// What to do about what is there already.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Conflict {
    /// Import nothing at all
    #[default]
    Fail,
    /// Leave them as they are, and import the rest
    Skip,
    /// Give them a new release that is as in the file
    Replace,
}

impl From<Conflict> for OnConflict {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Fail => Self::Fail,
            Conflict::Skip => Self::Skip,
            Conflict::Replace => Self::Replace,
        }
    }
}

pub(crate) async fn run(args: ImportArgs, context: &Context) -> Result {
    let client = context.client()?;
    let query = ImportQuery {
        on_conflict: args.on_conflict.into(),
        check: args.check,
    };
    let secret = passphrase(&args, context).await?;
    let mut progress = context.printer.progress("importing");
    let lines = send(&client, query, secret.as_ref(), &args.file, &progress).await?;
    let followed = follow(lines, &mut progress).await;
    progress.end();
    let report = followed?;
    context.printer.object(&report, table)?;
    for note in &report.notes {
        context.printer.note(&format!("note: {note}"))?;
    }
    match report.conflicts().count() {
        0 => {}
        conflicts => {
            return Err(
                CliError::new(format!("{conflicts} in the way; nothing was changed")).hint(
                    "--on-conflict skip leaves those as they are, replace gives apps a new release",
                ),
            );
        }
    }
    let told = match report.check {
        true => "checked; nothing was changed",
        false => "imported; `coracle apps` tells how the apps come up",
    };
    context.printer.done(told)
}

/// The passphrase of the archive's secrets, where it has any. A wrong one is told here.
async fn passphrase(args: &ImportArgs, context: &Context) -> Result<Option<Secret>> {
    let shown = args.file.display();
    let file = File::open(&args.file)
        .map_err(|error| CliError::caused(format!("{shown} cannot be read"), &error))?;
    let refused = |error: OperationError| CliError::caused(&shown, &error);
    let header = tokio::task::spawn_blocking(move || Header::read(file))
        .await
        .map_err(|error| CliError::caused(&shown, &error))?
        .map_err(refused)?;
    let Some(parameters) = header.seal else {
        return Ok(None);
    };
    let secret = match args.passphrase.given()? {
        Some(given) => given,
        None if passphrase::can_ask() => passphrase::ask(context, Asked::Once)?,
        None => {
            return Err(CliError::usage(format!(
                "{shown} has secrets, which need their passphrase"
            ))
            .hint("give it with --passphrase-file, or in CORACLE_PASSPHRASE"));
        }
    };
    seal::open(&secret, &parameters).await.map_err(refused)?;
    Ok(Some(secret))
}

async fn send(
    client: &Client,
    query: ImportQuery,
    secret: Option<&Secret>,
    path: &Path,
    progress: &Progress,
) -> Result<Items<ImportLine>> {
    let unreadable = |error| CliError::caused(format!("{} cannot be read", path.display()), &error);
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let total = file.metadata().await.map_err(unreadable)?.len();
    let bar = progress.bytes(total);
    let shown = bar.clone();
    let archive = stream::try_unfold(file, move |mut file| {
        let shown = shown.clone();
        async move {
            let mut chunk = vec![0; CHUNK_BYTES];
            let n = file.read(&mut chunk).await?;
            if n == 0 {
                return Ok(None);
            }
            shown.inc(n as u64);
            chunk.truncate(n);
            Ok(Some((bytes::Bytes::from(chunk), file)))
        }
    });
    let sent = client.import(query, secret, archive).await;
    progress.resume(&bar);
    Ok(sent?)
}

async fn follow(mut lines: Items<ImportLine>, progress: &mut Progress) -> Result<ImportReport> {
    while let Some(line) = lines.next().await {
        match line? {
            ImportLine::Progress { stage, done, total } => progress.say(&match stage {
                ImportStage::Images => {
                    format!("images: {} of {}", bytes(done), bytes(total))
                }
                ImportStage::Apps => format!("apps: {done} of {total}"),
            }),
            ImportLine::Report(report) => return Ok(report),
            ImportLine::Problem(problem) => {
                return Err(CliError::from(ClientError::Problem(problem))
                    .hint("what was done stays: import the same file again to go on"));
            }
        }
    }
    Err(CliError::new("the import was cut off").hint("import the same file again to go on"))
}

fn table(report: &ImportReport) -> Table {
    let mut table = Table::new(
        &["KIND", "PROJECT", "NAME", "OUTCOME", ""],
        "there is nothing in it",
    );
    for item in &report.items {
        table.row(vec![
            word(&item.kind).into(),
            item.project
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
                .into(),
            (&item.name).into(),
            Cell::phase(&item.outcome),
            item.reason.clone().unwrap_or_default().into(),
        ]);
    }
    table
}
