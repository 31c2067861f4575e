//! `coracle import`: what another platform exported, taken in.
//!
//! Theory of operation: the archive's first record is read here, so that a missing or wrong passphrase and a file that is
//! no export are told before anything is sent. What comes on standard input goes through a file without a name for that. The
//! platform checks all of it once more, and changes nothing before.

use std::fs::File;
use std::io::{IsTerminal as _, Seek as _};
use std::path::{Path, PathBuf};

use coracle_client::import::ImportQuery;
use coracle_client::{Client, ClientError, Items};
use coracle_control::OperationError;
use coracle_control::archive::Header;
use coracle_control::archive::seal::Seal;
use coracle_model::env::Secret;
use coracle_model::import::{ImportLine, ImportReport, ImportStage, OnConflict};
use futures::{StreamExt as _, stream};
use tokio::io::AsyncReadExt as _;

use super::passphrase::{self, PassphraseArgs};
use super::terminal::confirm;
use crate::context::Context;
use crate::error::{CliError, Result};
use crate::output::Progress;
use crate::table::{Cell, Table, bytes, word};

/// Bytes that are sent at once.
const CHUNK_BYTES: usize = 128 * 1024;

/// Take in what `coracle export` wrote on another platform
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Check everything and say what would become of it; change nothing
    #[arg(long, visible_alias = "dry-run")]
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
    let archive = Archive::open(&args).await?;
    let secret = passphrase(&archive, &args, context).await?;
    let mut progress = context.printer.progress("importing");
    let lines = send(&client, query, secret.as_ref(), archive, &progress).await?;
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
    if report.check {
        let images = bytes(report.blob_bytes);
        return context.printer.done(&format!(
            "checked; nothing was changed; an import would add {images} of images"
        ));
    }
    context
        .printer
        .done("imported; `coracle apps` tells how the apps come up")
}

/// What is to be imported.
struct Archive {
    file: File,
    /// As people call it.
    shown: String,
}

impl Archive {
    async fn open(args: &ImportArgs) -> Result<Self> {
        if args.file != Path::new("-") {
            let shown = args.file.display().to_string();
            return match File::open(&args.file) {
                Ok(file) => Ok(Self { file, shown }),
                Err(error) => Err(CliError::caused(format!("{shown} cannot be read"), &error)),
            };
        }
        if args.passphrase.is_input() {
            return Err(CliError::usage(
                "archive and passphrase cannot both come from standard input",
            )
            .hint("give the passphrase in another file, or in CORACLE_PASSPHRASE"));
        }
        if std::io::stdin().is_terminal() {
            return Err(CliError::usage("there is no archive on a terminal")
                .hint("name a file, or redirect the input"));
        }
        let failed =
            |error: std::io::Error| CliError::caused("standard input cannot be read", &error);
        // Its first record is read before it is sent, and a stream cannot be read twice.
        let received = tokio::task::spawn_blocking(|| {
            let mut file = tempfile::tempfile()?;
            std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
            Ok(file)
        });
        let file = received
            .await
            .map_err(|panic| failed(std::io::Error::other(panic)))?
            .map_err(failed)?;
        Ok(Self {
            file,
            shown: "standard input".to_owned(),
        })
    }

    /// From its beginning.
    fn reader(&self) -> Result<File> {
        let reader = self.file.try_clone().and_then(|mut file| {
            file.rewind()?;
            Ok(file)
        });
        reader.map_err(|error| CliError::caused(format!("{} cannot be read", self.shown), &error))
    }
}

/// The passphrase of the archive, where it was made with one. A wrong one is told here.
async fn passphrase(
    archive: &Archive,
    args: &ImportArgs,
    context: &Context,
) -> Result<Option<Secret>> {
    let shown = &archive.shown;
    let file = archive.reader()?;
    let refused = |error: OperationError| CliError::caused(shown, &error);
    let header = tokio::task::spawn_blocking(move || Header::read(file))
        .await
        .map_err(|error| CliError::caused(shown, &error))?
        .map_err(refused)?;
    let (parameters, secret) = match (header.seal, args.passphrase.given()?) {
        (Some(parameters), Some(given)) => (parameters, given),
        (Some(parameters), None) if passphrase::can_ask() => {
            (parameters, passphrase::ask(context)?)
        }
        (Some(_), None) => {
            let what = format!("{shown} was made with a passphrase, which is needed");
            return Err(CliError::usage(what)
                .hint("give it with --passphrase-file, or in CORACLE_PASSPHRASE"));
        }
        (None, Some(_)) => {
            let what =
                format!("no passphrase was used for {shown}, so nobody vouches for what is in it");
            return Err(CliError::usage(what).hint(
                "if it was made with one, it was changed since; else import it without one, if you trust who had it",
            ));
        }
        (None, None) => {
            context.printer.note(&format!(
                "note: nobody vouches for {shown}: it was made without a passphrase, and whoever had it may have changed what is in it"
            ))?;
            // Somebody who was about to be asked for a passphrase must not take its absence for nothing.
            if !args.check && passphrase::can_ask() {
                confirm(context, "Import it all the same?")?;
            }
            return Ok(None);
        }
    };
    Seal::open(&secret, &parameters).await.map_err(refused)?;
    Ok(Some(secret))
}

async fn send(
    client: &Client,
    query: ImportQuery,
    secret: Option<&Secret>,
    archive: Archive,
    progress: &Progress,
) -> Result<Items<ImportLine>> {
    let shown = &archive.shown;
    let unreadable = |error| CliError::caused(format!("{shown} cannot be read"), &error);
    let file = tokio::fs::File::from_std(archive.reader()?);
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
