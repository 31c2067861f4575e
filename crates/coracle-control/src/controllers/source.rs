//! Sources: fetches what is asked for into one archive, and looks through it.
//!
//! Theory of operation: what comes of a run is one write: the record says which file it is and what is in it, and the
//! credentials that were for the fetch are gone. A file gets its name only when it is whole, and a new one in each run: of a
//! run that was killed, or by a leader that was paused, a file is left that nobody names, which the sweep of uploads takes.
//! Folders that a killed process left are removed at the start. A source that somebody deletes meanwhile ends its run.
//! What is fetched from elsewhere has a lane of its own ([`Lane`]): servers that take their time keep nobody's archive waiting,
//! and a project has one turn in it at a time, so that those of one project keep no other project's waiting.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use coracle_builder::git::{self, GitError, GitRequest};
use coracle_builder::{SourceError, detect, inspect, template};
use coracle_model::name::ProjectName;
use coracle_model::object::Kind;
use coracle_model::source::{
    Archive, Commit, Detected, GitOrigin, Source, SourceId, SourceOrigin, SourcePhase, SourceSpec,
    TemplateName,
};
use coracle_store::{Event, Expected};
use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::controllers::build_run::WorkDir;
use crate::controllers::change::Change;
use crate::controllers::key::SourceKey;
use crate::controllers::runner::{Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::disk::DiskReserve;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, new_uid};

const ACTOR: Actor = Actor::Platform("source controller");

/// Between two looks at the room on the disk while something is fetched or unpacked.
const DISK_LOOK: Duration = Duration::from_secs(1);

/// Between two questions whether it is a source's turn in its project.
const TURN: Duration = Duration::from_secs(1);

/// Which sources a controller takes.
pub trait Lane: Send + Sync + 'static {
    /// The controller's name in logs and statuses.
    const NAME: &'static str;
    /// The most at the same time.
    const AT_ONCE: usize;
    /// The most at the same time of one project.
    const OF_PROJECT: usize;
    /// Is it one of these?
    fn takes(origin: &SourceOrigin) -> bool;
}

/// What is here already: archives and templates.
#[derive(Debug)]
pub struct Here;

/// What is fetched from a server.
#[derive(Debug)]
pub struct Elsewhere;

impl Lane for Here {
    const NAME: &'static str = "source";
    const AT_ONCE: usize = 2;
    // They take no longer than the platform itself does.
    const OF_PROJECT: usize = Self::AT_ONCE;

    fn takes(origin: &SourceOrigin) -> bool {
        !Elsewhere::takes(origin)
    }
}

impl Lane for Elsewhere {
    const NAME: &'static str = "git";
    const AT_ONCE: usize = 4;
    const OF_PROJECT: usize = 1;

    fn takes(origin: &SourceOrigin) -> bool {
        matches!(origin, SourceOrigin::Git(_))
    }
}

/// What a process before this one left is removed once, before either lane begins.
pub(super) type Cleared = Arc<tokio::sync::OnceCell<()>>;

/// Fetches the sources of a lane.
pub struct SourceController<L> {
    scene: Arc<Scene>,
    cleared: Cleared,
    turns: Turns,
    lane: PhantomData<L>,
}

/// How many of each project run.
type Turns = Arc<Mutex<BTreeMap<ProjectName, usize>>>;

/// A project's turn, until it is dropped.
struct Turn {
    turns: Turns,
    project: ProjectName,
}

impl Turn {
    /// Nothing while `most` of the project run.
    fn take(turns: &Turns, project: &ProjectName, most: usize) -> Option<Self> {
        let mut running = turns.lock().unwrap_or_else(PoisonError::into_inner);
        let of_project = running.get(project).copied().unwrap_or(0);
        if of_project >= most {
            return None;
        }
        running.insert(project.clone(), of_project + 1);
        Some(Self {
            turns: Arc::clone(turns),
            project: project.clone(),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        match running.get_mut(&self.project) {
            Some(of_project) if *of_project > 1 => *of_project -= 1,
            _ => drop(running.remove(&self.project)),
        }
    }
}

/// Why there is nothing to build.
enum Trouble {
    /// In the words of the person who asked.
    Told(String),
    /// The store failed: it is done again.
    Store(OperationError),
}

/// A file that is whole, with what it is of.
struct Fetched {
    archive: Archive,
    commit: Option<Commit>,
}

/// What comes of a run.
struct Made {
    fetched: Fetched,
    files: u64,
    bytes: u64,
    detected: Detected,
}

impl From<OperationError> for Trouble {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Store(_) => Self::Store(error),
            lasting => Self::Told(lasting.to_string()),
        }
    }
}

impl From<GitError> for Trouble {
    fn from(error: GitError) -> Self {
        if let GitError::Io(cause) = &error {
            tracing::error!(error = %cause, "git could not be run");
        }
        Self::Told(error.to_string())
    }
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        if let SourceError::Io(cause) = &error {
            tracing::error!(error = %cause, "a source could not be unpacked");
        }
        let problem = error.to_problem();
        let detail = problem.detail;
        Self::Told(match problem.hint {
            Some(hint) => format!("{detail}; {hint}"),
            None => detail,
        })
    }
}

impl<L: Lane> SourceController<L> {
    pub(super) fn new(scene: &Arc<Scene>, cleared: &Cleared) -> Self {
        Self {
            scene: Arc::clone(scene),
            cleared: Arc::clone(cleared),
            turns: Turns::default(),
            lane: PhantomData,
        }
    }

    /// What a process before this one left.
    async fn clear(&self) {
        match tokio::fs::remove_dir_all(self.scene.control.settings.fetch_dir()).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "folders of sources before the start could not be removed");
            }
            _ => {}
        }
    }

    async fn make(&self, key: &SourceKey, source: &Source) -> Result<Made, Trouble> {
        let control = &self.scene.control;
        let work = WorkDir(control.settings.fetch_dir().join(new_uid()));
        private_dir(&work.0).await?;
        let fetched = match &source.spec.origin {
            SourceOrigin::Upload { .. } => match source.status.archive.clone() {
                Some(archive) => Fetched {
                    archive,
                    commit: None,
                },
                None => return Err(gone()),
            },
            SourceOrigin::Template { template } => self.template(template).await?,
            SourceOrigin::Git(origin) => self.git(key, origin, &work.0).await?,
        };
        let looked = tokio::select! {
            looked = self.look(&fetched, &work.0) => looked,
            error = no_room(&work.0) => Err(error.into()),
        };
        let (files, bytes, mut detected) = match looked {
            Ok(looked) => looked,
            Err(trouble) => {
                // Of what was sent the record still says that it is there; it goes with the write that says why.
                if !matches!(source.spec.origin, SourceOrigin::Upload { .. }) {
                    control.remove_file(&fetched.archive.id).await;
                }
                return Err(trouble);
            }
        };
        match &source.spec.origin {
            SourceOrigin::Upload { .. } => {}
            SourceOrigin::Template { template } => {
                detect::suggest(&mut detected, template.as_str());
            }
            SourceOrigin::Git(GitOrigin { url, path, .. }) => {
                let folder = path
                    .as_ref()
                    .and_then(|path| path.as_str().rsplit('/').next());
                detect::suggest(&mut detected, folder.unwrap_or_else(|| url.last_name()));
            }
        }
        Ok(Made {
            fetched,
            files,
            bytes,
            detected,
        })
    }

    async fn look(&self, fetched: &Fetched, work: &Path) -> Result<(u64, u64, Detected), Trouble> {
        let control = &self.scene.control;
        let path = control.upload_path(&fetched.archive.id);
        let file = match tokio::fs::File::open(path).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(gone()),
            file => file.map_err(SourceError::Io)?,
        };
        let dir = work.join("source");
        let found = inspect(file, &dir, control.settings.source_limits()).await?;
        Ok((found.unpacked.files, found.unpacked.bytes, found.detected))
    }

    async fn template(&self, name: &TemplateName) -> Result<Fetched, Trouble> {
        let Some(template) = template::template(name) else {
            let reason = format!("this version of the platform has no template {name}");
            return Err(Trouble::Told(reason));
        };
        let content = template.archive().map_err(SourceError::Io)?;
        let bytes = content.len() as u64;
        let id = new_uid();
        let control = &self.scene.control;
        let dir = control.settings.uploads_dir();
        let part = dir.join(format!("{id}.part"));
        let write = async {
            tokio::fs::create_dir_all(&dir).await?;
            let mut file = tokio::fs::File::create(&part).await?;
            file.write_all(&content).await?;
            file.flush().await?;
            file.sync_all().await?;
            tokio::fs::rename(&part, control.upload_path(&id)).await
        };
        write.await.map_err(SourceError::Io)?;
        Ok(Fetched {
            archive: Archive { id, bytes },
            commit: None,
        })
    }

    async fn git(
        &self,
        key: &SourceKey,
        origin: &GitOrigin,
        work: &Path,
    ) -> Result<Fetched, Trouble> {
        let control = &self.scene.control;
        let credentials = control.source_credentials(&key.project, &key.id).await?;
        let id = new_uid();
        let uploads = control.settings.uploads_dir();
        tokio::fs::create_dir_all(&uploads)
            .await
            .map_err(SourceError::Io)?;
        let part = uploads.join(format!("{id}.part"));
        let _unfinished = Unfinished(part.clone());
        let dir = work.join("git");
        private_dir(&dir).await?;
        let request = GitRequest {
            origin: origin.clone(),
            credentials,
            dir: dir.clone(),
            archive: part.clone(),
            limits: control.settings.source_limits(),
            time: control.settings.limits.git_time,
            reach: control.settings.limits.git_reach,
        };
        let fetched = tokio::select! {
            fetched = git::fetch(request) => fetched?,
            error = no_room(&dir) => return Err(error.into()),
        };
        tokio::fs::rename(&part, control.upload_path(&id))
            .await
            .map_err(SourceError::Io)?;
        // The history is not needed to look through the files.
        if let Err(error) = tokio::fs::remove_dir_all(&dir).await {
            tracing::warn!(%error, "the folder of a fetch stays until the source is looked through");
        }
        Ok(Fetched {
            archive: Archive {
                id,
                bytes: fetched.bytes,
            },
            commit: Some(fetched.commit),
        })
    }

    /// The one write of what came of it.
    async fn write(
        &self,
        key: &SourceKey,
        made: Result<Made, String>,
    ) -> Result<(), OperationError> {
        let control = &self.scene.control;
        let at = keys::source(&key.project, &key.id);
        let own = match &made {
            Ok(made) => Some(made.fetched.archive.id.clone()),
            Err(_) => None,
        };
        loop {
            let current = control.objects.get::<SourceSpec>(&at).await?;
            let named = current.as_ref().and_then(|s| s.status.archive.as_ref());
            let named = named.map(|archive| archive.id.clone());
            let Some(mut source) = current.filter(|source| !source.status.phase.is_final()) else {
                // Deleted meanwhile, or done by another leader: the file of this run is nobody's, unless it was sent.
                if let Some(own) = own.filter(|own| named.as_ref() != Some(own)) {
                    control.remove_file(&own).await;
                }
                return Ok(());
            };
            let revision = source.metadata.revision;
            let before = source.status.archive.take();
            source.status.finished = Some(self.scene.now());
            let told = match &made {
                Ok(made) => {
                    source.status.phase = SourcePhase::Ready;
                    source.status.files = made.files;
                    source.status.bytes = made.bytes;
                    source.status.commit = made.fetched.commit.clone();
                    source.status.detected = Some(made.detected.clone());
                    source.status.archive = Some(made.fetched.archive.clone());
                    format!("source of {} files is ready", made.files)
                }
                Err(reason) => {
                    source.status.phase = SourcePhase::Failed;
                    source.status.reason = Some(reason.clone());
                    reason.clone()
                }
            };
            let access = keys::source_access(&key.project, &key.id);
            let batch = Batch::new()
                .update(at.clone(), revision, &source)?
                .delete(access, Expected::Any);
            match control.objects.write(batch).await {
                Ok(_) => {}
                Err(error) if error.is_race() => continue,
                Err(error) => return Err(error),
            }
            if let (None, Some(before)) = (&source.status.archive, before) {
                control.remove_file(&before.id).await;
            }
            let action = match source.status.phase {
                SourcePhase::Failed => "source.failed",
                _ => "source.ready",
            };
            let what = (Kind::Source, key.id.as_str());
            control
                .journal
                .record(&ACTOR, action, Some(&key.project), what, told)
                .await;
            return Ok(());
        }
    }

    /// Comes when somebody deletes the source.
    async fn deleted(&self, key: &SourceKey) {
        let at = keys::source(&key.project, &key.id);
        let Ok((there, mut changes)) = self.scene.control.objects.list_and_watch(&at).await else {
            return std::future::pending().await;
        };
        if there.is_empty() {
            return;
        }
        while let Some(Ok(change)) = changes.next().await {
            if matches!(change, Event::Delete { .. }) {
                return;
            }
        }
        std::future::pending().await
    }
}

fn gone() -> Trouble {
    Trouble::Told("its archive is gone: send it again".to_owned())
}

/// Removes the file of a fetch that did not come to its end.
struct Unfinished(std::path::PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "an unfinished source could not be removed; the sweep will");
        }
    }
}

/// A folder for nobody else to see: what is fetched may be private.
async fn private_dir(dir: &Path) -> Result<(), SourceError> {
    let mut builder = tokio::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).await.map_err(SourceError::Io)
}

/// Comes when the disk has no more room beside what is kept free.
async fn no_room(dir: &Path) -> OperationError {
    let disk = DiskReserve::new(dir, "the source");
    loop {
        match disk.check(0).await {
            Err(error @ OperationError::NoRoom { .. }) => return error,
            // A disk that cannot be asked is not a full one.
            Ok(()) | Err(_) => tokio::time::sleep(DISK_LOOK).await,
        }
    }
}

#[async_trait]
impl<L: Lane> Reconciler for SourceController<L> {
    type Key = SourceKey;
    const NAME: &'static str = L::NAME;
    const AT_ONCE: usize = L::AT_ONCE;

    async fn keys(&self) -> Result<Vec<SourceKey>, OperationError> {
        let sources = self
            .scene
            .control
            .objects
            .list::<SourceSpec>(keys::SOURCES)
            .await?;
        let key = |source: Source| {
            let id = SourceId::new(source.metadata.name).ok()?;
            let project = source.metadata.project?;
            let ours = L::takes(&source.spec.origin) && !source.status.phase.is_final();
            ours.then_some(SourceKey { project, id })
        };
        Ok(sources.into_iter().filter_map(key).collect())
    }

    fn concerns(&self, change: &Change<'_>) -> Option<SourceKey> {
        let Change::Stored(key) = change else {
            return None;
        };
        let (project, id) = key.strip_prefix(keys::SOURCES)?.split_once('/')?;
        Some(SourceKey {
            project: ProjectName::new(project).ok()?,
            id: SourceId::new(id).ok()?,
        })
    }

    async fn reconcile(&self, key: &SourceKey) -> Result<Next, OperationError> {
        let at = keys::source(&key.project, &key.id);
        let source = self.scene.control.objects.get::<SourceSpec>(&at).await?;
        let ours =
            |source: &Source| L::takes(&source.spec.origin) && !source.status.phase.is_final();
        let Some(source) = source.filter(ours) else {
            return Ok(Next::Rest);
        };
        let Some(_turn) = Turn::take(&self.turns, &key.project, L::OF_PROJECT) else {
            return Ok(Next::After(TURN));
        };
        self.cleared.get_or_init(|| self.clear()).await;
        let made = tokio::select! {
            made = Box::pin(self.make(key, &source)) => made,
            () = self.deleted(key) => return Ok(Next::Rest),
        };
        let made = match made {
            Ok(made) => Ok(made),
            Err(Trouble::Told(reason)) => Err(reason),
            Err(Trouble::Store(error)) => return Err(error),
        };
        self.write(key, made).await?;
        Ok(Next::Rest)
    }
}
