//! `coracle export`: projects with all that is in them, in one file for another platform.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use coracle_client::export::ExportQuery;
use coracle_client::{ClientError, Items};
use coracle_model::import::VouchedBy;
use coracle_model::name::ProjectName;
use futures::StreamExt as _;

use super::passphrase::{self, PassphraseArgs};
use crate::context::Context;
use crate::error::{CliError, Result};
use crate::output::{Format, Progress};
use crate::table::bytes;

/// Write a project with its apps, releases, images and secrets into a file, for another platform
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The file; `-` is standard output [default: coracle-export-DATE.tar.zst]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// These projects instead of --project
    #[arg(
        long,
        value_name = "PROJECT,…",
        value_delimiter = ',',
        conflicts_with = "all"
    )]
    projects: Vec<ProjectName>,
    /// All projects
    #[arg(long)]
    all: bool,
    /// Users too, without their passwords
    #[arg(long)]
    users: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Where an export goes.
enum Target {
    Standard,
    File(PathBuf),
}

impl Target {
    fn new(file: Option<PathBuf>) -> Result<Self> {
        let now = || chrono::Utc::now().format("%Y%m%d-%H%M%S");
        match file {
            Some(file) if file == Path::new("-") => {
                if std::io::stdout().is_terminal() {
                    return Err(CliError::usage("an archive is nothing for a terminal")
                        .hint("name a file, or redirect the output"));
                }
                Ok(Self::Standard)
            }
            Some(file) => Ok(Self::File(file)),
            None => Ok(Self::File(
                format!("coracle-export-{}.tar.zst", now()).into(),
            )),
        }
    }
}

pub(crate) async fn run(args: ExportArgs, context: &Context) -> Result {
    let client = context.client()?;
    let target = Target::new(args.file)?;
    let projects = match (args.all, args.projects) {
        (true, _) => Vec::new(),
        (false, named) if named.is_empty() => vec![context.project.clone()],
        (false, named) => named,
    };
    let exported = what(&projects);
    let query = ExportQuery {
        projects,
        users: args.users,
    };
    let mut secret = match args.passphrase.given()? {
        None if passphrase::can_ask() => passphrase::ask_new_or_none(context)?,
        given => given,
    };
    let archive = match client.export(&query, secret.as_ref()).await {
        Err(error) if secret.is_none() && needs_passphrase(&error) && passphrase::can_ask() => {
            context
                .printer
                .note("there are secrets to export: they need a passphrase")?;
            secret = Some(passphrase::ask_new(context)?);
            client.export(&query, secret.as_ref()).await?
        }
        archive => archive?,
    };
    let vouched_by = match secret {
        Some(_) => VouchedBy::Passphrase,
        None => VouchedBy::Nobody,
    };
    let mut progress = context.printer.progress("exporting");
    let written = match &target {
        Target::Standard => write(archive, &mut std::io::stdout().lock(), &mut progress).await,
        Target::File(file) => write_file(archive, file, &mut progress).await,
    };
    progress.end();
    let size = written?;
    if vouched_by == VouchedBy::Nobody {
        context.printer.note(
            "note: nobody vouches for the export: without a passphrase, whoever has the file can change what is in it unnoticed",
        )?;
    }
    let Target::File(file) = target else {
        return Ok(());
    };
    match context.printer.format() {
        Format::Json => context
            .printer
            .json(&serde_json::json!({ "file": file, "bytes": size, "vouched_by": vouched_by })),
        Format::Table => context.printer.done(&format!(
            "exported {exported} into {}, {}",
            file.display(),
            bytes(size)
        )),
    }
}

/// What is exported, in words.
fn what(projects: &[ProjectName]) -> String {
    let names: Vec<&str> = projects.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => "all projects".to_owned(),
        [one] => format!("project {one}"),
        several => format!("projects {}", several.join(", ")),
    }
}

/// Does the platform say that it needs the passphrase?
fn needs_passphrase(error: &ClientError) -> bool {
    match error {
        ClientError::Problem(problem) => problem.field.as_deref() == Some("passphrase"),
        _ => false,
    }
}

/// Writes beside `file` first: what has its name is whole. Only its owner may read it.
async fn write_file(
    archive: Items<bytes::Bytes>,
    file: &Path,
    progress: &mut Progress,
) -> Result<u64> {
    let failed = |error| CliError::caused(format!("{} cannot be written", file.display()), &error);
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = file.file_name().unwrap_or_default();
    let mut part = tempfile::Builder::new()
        .prefix(name)
        .suffix(".part")
        .tempfile_in(folder)
        .map_err(failed)?;
    let size = write(archive, &mut part, progress).await?;
    part.as_file().sync_all().map_err(failed)?;
    part.persist(file).map_err(|error| failed(error.error))?;
    Ok(size)
}

async fn write(
    mut archive: Items<bytes::Bytes>,
    out: &mut impl Write,
    progress: &mut Progress,
) -> Result<u64> {
    let failed = |error| CliError::caused("the export cannot be written", &error);
    let cut = |error: ClientError| {
        CliError::from(error)
            .hint("the export was cut off and is not kept; the platform's log says why")
    };
    let mut size: u64 = 0;
    while let Some(chunk) = archive.next().await {
        let chunk = chunk.map_err(cut)?;
        out.write_all(&chunk).map_err(failed)?;
        size += chunk.len() as u64;
        if progress.is_redrawn() {
            progress.say(&format!("exporting, {}", bytes(size)));
        }
    }
    out.flush().map_err(failed)?;
    Ok(size)
}
