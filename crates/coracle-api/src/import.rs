//! An export, made true here.
//!
//! Theory of operation: the archive comes into a file without a name first, so that nothing of it is left by whatever
//! ends the import, and is read twice. The first time everything is checked ([`read()`]): digests, the passphrase, which
//! vouches for all of it, records, and what would be in the way; until then nothing is changed, and whatever is wrong is an
//! ordinary problem.
//! The second time the blobs that are not here yet go into the registry ([`images`]), over its own routes, so that they
//! are checked and bounded as any push; then projects, users and apps are created, each app in one write. Every step
//! finds out by itself that it was done before: an import that was killed is run again.

mod images;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use coracle_control::OperationError;
use coracle_control::archive::seal::Seal;
use coracle_control::archive::{ARCHIVE_BYTES, Archive};
use coracle_control::disk::DiskReserve;
use coracle_control::journal::Actor;
use coracle_model::env::Secret;
use coracle_model::import::{ImportLine, ImportOutcome, ImportReport, ImportStage, OnConflict};
use coracle_model::object::Kind;
use coracle_model::problem::{Code, Problem};
use coracle_model::quantity::ByteSize;
use coracle_task::blocking_with;
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use crate::archive::read::{Contents, read};
use crate::caller::Caller;
use crate::error::{ApiError, ApiResult};
use crate::export::passphrase;
use crate::extract::Query;
use crate::import::images::Images;
use crate::state::ApiState;
use crate::tenure::Tenure;

/// The longest pause in an upload: nobody else may import meanwhile.
const PAUSE: Duration = Duration::from_secs(60);

/// How long whoever follows has to take the last line.
const FAREWELL: Duration = Duration::from_secs(10);

/// Lines between an import and whoever follows it.
const LINES: usize = 64;

/// How to import.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportQuery {
    /// What to do about things that are here already and not as the export has them: `fail`, `skip` or `replace`.
    #[serde(default)]
    #[param(inline)]
    on_conflict: OnConflict,
    /// `true`: check everything and say what would become of it; change nothing.
    #[serde(default)]
    check: bool,
}

/// Import what another platform exported. The header `Coracle-Passphrase` (base64) opens its secrets and vouches for all of it;
/// an archive that was made without a passphrase is taken without one, and the report says that nobody vouches for it.
/// Everything is checked before anything is changed; the answer is lines of JSON, of which the last one is a report or a problem.
#[utoipa::path(post, path = "/api/v1/import", tag = "platform", params(ImportQuery),
    request_body(content = Vec<u8>, content_type = "application/zstd"),
    responses((status = 200, body = ImportLine, description = "application/x-ndjson"), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<ImportQuery>,
    request: Request,
) -> ApiResult<Response> {
    let passphrase = passphrase(&headers)?;
    let turn = state.importing.clone().try_lock_owned().map_err(|_taken| {
        ApiError::new(Code::Conflict, "another import is under way")
            .hint("try again when it has ended")
    })?;
    let turn = Arc::new(turn);
    let tenure = Tenure::new(&state, caller);
    let importer = tokio::select! {
        prepared = prepare(&state, tenure.caller(), query, passphrase, request, &turn) => prepared?,
        // An upload may take longer than the credentials hold that it was begun with.
        () = tenure.clone().ended() => return Err(ApiError::unauthenticated()),
    };
    let (out, lines) = mpsc::channel(LINES);
    let listener = Listener(out);
    state.supervisor.spawn("import", async move {
        tokio::select! {
            () = importer.run(&listener) => {}
            () = tenure.ended() => tracing::warn!("an import was cut off: its credentials ended"),
        }
        drop(turn);
    });
    let body = Body::from_stream(ReceiverStream::new(lines).map(Ok::<_, std::convert::Infallible>));
    let kind = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((kind, body).into_response())
}

/// Held by the import that is under way.
type Turn = OwnedMutexGuard<()>;

/// Reads the archive on a blocking thread. The turn goes along: who leaves meanwhile does not end the work, and so does
/// not let another import begin beside it.
async fn in_turn<T: Send + 'static>(
    turn: &Arc<Turn>,
    work: impl FnOnce() -> T + Send + 'static,
) -> ApiResult<T> {
    let done = blocking_with(Arc::clone(turn), work).await;
    done.map_err(ApiError::internal)
}

/// Takes the archive in and checks everything. Changes nothing.
async fn prepare(
    state: &ApiState,
    caller: &Caller,
    query: ImportQuery,
    passphrase: Option<Secret>,
    request: Request,
    turn: &Arc<Turn>,
) -> ApiResult<Importer> {
    let file = Arc::new(receive(state, request).await?);
    let reading = Arc::clone(&file);
    let unverified = in_turn(turn, move || read(&reading)).await??;
    let seal = match (&unverified.header().seal, &passphrase) {
        (Some(parameters), Some(passphrase)) => Some(Seal::open(passphrase, parameters).await?),
        (Some(_), None) => {
            let detail = "the export has secrets: the passphrase is needed that it was made with";
            return Err(Problem::new(Code::InvalidField, detail)
                .field("passphrase")
                .into());
        }
        // Whoever gives one relies on it: a seal that somebody took away must not go unnoticed.
        (None, Some(_)) => {
            let detail =
                "no passphrase was used for this export, so nobody vouches for what is in it";
            return Err(Problem::new(Code::InvalidField, detail)
                .field("passphrase")
                .hint("if it was made with one, it was changed since; else import it without one, if you trust who had it")
                .into());
        }
        (None, None) => None,
    };
    let Contents {
        records: archive,
        blobs,
    } = in_turn(turn, move || unverified.verify(seal)).await??;
    let mut report = state
        .control
        .plan_import(&archive, query.on_conflict)
        .await?;
    report.check = query.check;
    if !query.check && report.has_conflicts() {
        return Err(conflict(&report));
    }
    let images = Images::missing_here(state, &archive, &outcomes(&report), &blobs).await?;
    (report.blobs, report.blob_bytes) = images.missing();
    if !query.check {
        images.room().check(report.blob_bytes).await?;
    }
    Ok(Importer {
        state: state.clone(),
        actor: caller.actor(),
        file,
        archive,
        images,
        report,
    })
}

/// What is to become of the archive's apps, in its order.
fn outcomes(report: &ImportReport) -> Vec<ImportOutcome> {
    let apps = report.items.iter().filter(|item| item.kind == Kind::App);
    apps.map(|item| item.outcome).collect()
}

fn conflict(report: &ImportReport) -> ApiError {
    /// So many are named.
    const NAMED: usize = 5;
    let conflicts: Vec<_> = report.conflicts().collect();
    let named: Vec<_> = conflicts
        .iter()
        .take(NAMED)
        .map(|item| {
            let project = item
                .project
                .as_ref()
                .map(|p| format!("{p}/"))
                .unwrap_or_default();
            format!(
                "{project}{}: {}",
                item.name,
                item.reason.as_deref().unwrap_or_default()
            )
        })
        .collect();
    let more = conflicts.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    let detail = format!("nothing was imported: {}{more}", named.join("; "));
    ApiError::new(Code::Conflict, detail)
        .hint("look with --check; --on-conflict skip leaves these as they are, replace gives apps a new release")
}

/// The archive as it comes, in a file that has no name and is gone when nobody reads it any more.
async fn receive(state: &ApiState, request: Request) -> ApiResult<File> {
    let io = |source| OperationError::Io {
        what: "the export could not be stored",
        source,
    };
    let dir = state.control.settings.data_dir.clone();
    let mut disk = DiskReserve::new(&dir, "the export");
    let file = tokio::task::spawn_blocking(move || tempfile::tempfile_in(dir))
        .await
        .map_err(ApiError::internal)?
        .map_err(io)?;
    let mut file = tokio::fs::File::from_std(file);
    let mut body = request.into_body().into_data_stream();
    let mut bytes: u64 = 0;
    loop {
        let next = timeout(PAUSE, body.next()).await;
        let next = next.map_err(|_elapsed| OperationError::InvalidSource {
            reason: format!("nothing came for too long after {bytes} bytes"),
        })?;
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|error| OperationError::InvalidSource {
            reason: format!("the upload broke off after {bytes} bytes: {error}"),
        })?;
        bytes += chunk.len() as u64;
        if bytes > ARCHIVE_BYTES {
            let limit = ByteSize(ARCHIVE_BYTES).to_string();
            return Err(OperationError::TooLarge {
                what: "the export",
                limit,
            }
            .into());
        }
        disk.take(chunk.len() as u64).await?;
        file.write_all(&chunk).await.map_err(io)?;
    }
    file.flush().await.map_err(io)?;
    Ok(file.into_std().await)
}

/// An import that was checked.
struct Importer {
    state: ApiState,
    actor: Actor,
    file: Arc<File>,
    archive: Archive,
    images: Images,
    report: ImportReport,
}

impl Importer {
    async fn run(self, listener: &Listener) {
        let outcome = match self.report.check {
            true => Ok(()),
            false => self.apply(listener).await,
        };
        let last = match outcome {
            Ok(()) => ImportLine::Report(self.report),
            Err(error) => {
                // Whoever follows is told less than the cause.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an import was not ended"
                );
                ImportLine::Problem(Box::new(error.problem()))
            }
        };
        listener.last(&last).await;
    }

    async fn apply(&self, listener: &Listener) -> Result<(), OperationError> {
        self.images.push(&self.file, listener).await?;
        let (control, archive, actor) = (&self.state.control, &self.archive, &self.actor);
        for project in &archive.projects {
            control.import_project(project, actor).await?;
        }
        for user in &archive.users {
            control.import_user(user, actor).await?;
        }
        let total = archive.apps.len() as u64;
        for ((app, outcome), done) in archive.apps.iter().zip(outcomes(&self.report)).zip(0..) {
            listener.progress(ImportStage::Apps, done, total);
            match outcome {
                ImportOutcome::Created => control.import_app(archive, app, actor).await,
                ImportOutcome::Replaced => control.replace_app(archive, app, actor).await,
                ImportOutcome::Unchanged | ImportOutcome::Skipped | ImportOutcome::Conflict => {
                    Ok(())
                }
            }?;
        }
        listener.progress(ImportStage::Apps, total, total);
        let message = format!("an export with {total} apps imported");
        let what = (Kind::Project, "import");
        control
            .journal
            .record(actor, "platform.imported", None, what, message)
            .await;
        Ok(())
    }
}

/// Who follows an import. Nobody needs to: it goes on to its end.
pub(crate) struct Listener(mpsc::Sender<Bytes>);

impl Listener {
    /// Tells how far a stage is.
    pub(crate) fn progress(&self, stage: ImportStage, done: u64, total: u64) {
        let line = ImportLine::Progress { stage, done, total };
        // One who does not read misses some of it, and holds nothing up.
        if let Some(line) = encode(&line)
            && self.0.try_send(line).is_err()
        {
            tracing::trace!("progress was not told");
        }
    }

    /// Tells how it ended.
    async fn last(&self, line: &ImportLine) {
        let Some(line) = encode(line) else { return };
        if !matches!(timeout(FAREWELL, self.0.send(line)).await, Ok(Ok(()))) {
            tracing::debug!("whoever followed the import has left");
        }
    }
}

fn encode(line: &ImportLine) -> Option<Bytes> {
    match serde_json::to_vec(line) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            Some(bytes.into())
        }
        Err(error) => {
            tracing::error!(%error, "a line of an import could not be written");
            None
        }
    }
}
