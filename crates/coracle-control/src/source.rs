//! What can be done with sources.
//!
//! Theory of operation: a source is a record, and a file in the folder of uploads. Whoever sends an archive brings the file;
//! for a repository or a template the controller does, and says in the record which file it is and what is in it. A
//! build gets a file of its own (a second name of the same one), written in one transaction with the source's last use, so
//! that sweeps of either can never take the other's. Credentials of a repository are sealed in a record of their own, which
//! goes with the fetch.

use std::collections::BTreeSet;

use coracle_builder::git::GitCredentials;
use coracle_model::build::{GitSource, Source as BuildSource};
use coracle_model::env::Secret;
use coracle_model::name::ProjectName;
use coracle_model::object::Kind;
use coracle_model::source::{
    Archive, Source, SourceId, SourceOrigin, SourcePhase, SourceSpec, SourceStatus,
};
use coracle_store::{Expected, StoreError};
use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::error::OperationError;
use crate::journal::Actor;
use crate::keys;
use crate::objects::{Batch, new_object, new_uid};

/// Sources that a project may have at once: each is a file.
pub const MOST_SOURCES: usize = 100;
/// Of those, how many may still have to be fetched from a server: they wait for one another.
pub const MOST_FETCHING: usize = 10;
/// Bytes of a user name or password for a repository.
pub const CREDENTIAL_BYTES: usize = 4096;

/// With what a repository is fetched, sealed.
#[derive(Serialize, Deserialize)]
struct SealedAccess {
    /// JSON of user name and password.
    sealed: String,
}

#[derive(Serialize, Deserialize)]
struct Access {
    username: String,
    password: String,
}

/// A source that a build is made of.
#[derive(Clone, Debug)]
pub struct TakenSource {
    /// For the build.
    pub source: BuildSource,
    /// The source, which is written as used together with the build.
    pub(crate) id: SourceId,
}

impl Control {
    /// A source.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn source(
        &self,
        project: &ProjectName,
        id: &SourceId,
    ) -> Result<Source, OperationError> {
        self.objects
            .need::<SourceSpec>(&keys::source(project, id), id)
            .await
    }

    /// Fails when a project may have no more sources: asked before anybody sends one.
    ///
    /// # Errors
    /// [`OperationError::Conflict`], [`OperationError::NotFound`] for the project.
    pub async fn check_room_for_source(&self, project: &ProjectName) -> Result<(), OperationError> {
        self.live_project(project).await?;
        let there = self.list_sources(project).await?;
        room(project, &there, None, 1)
    }

    async fn list_sources(&self, project: &ProjectName) -> Result<Vec<Source>, OperationError> {
        let prefix = keys::sources(project);
        self.objects.list::<SourceSpec>(&prefix).await
    }

    /// Makes a source of an archive that was received.
    ///
    /// # Errors
    /// As [`Control::check_room_for_source`]; the file is then still there.
    pub async fn create_uploaded_source(
        &self,
        project: &ProjectName,
        upload: BuildSource,
        actor: &Actor,
    ) -> Result<Source, OperationError> {
        let BuildSource::Upload { id, bytes } = upload else {
            return Err(OperationError::conflict("this is no upload"));
        };
        let status = SourceStatus {
            archive: Some(Archive { id, bytes }),
            ..SourceStatus::default()
        };
        self.create_source(project, SourceOrigin::Upload { bytes }, status, None, actor)
            .await
    }

    /// Makes a source that the platform fetches.
    ///
    /// # Errors
    /// As [`Control::check_room_for_source`]; [`OperationError::Invalid`] for credentials that are too long.
    pub async fn create_fetched_source(
        &self,
        project: &ProjectName,
        origin: SourceOrigin,
        credentials: Option<GitCredentials>,
        actor: &Actor,
    ) -> Result<Source, OperationError> {
        if let Some(credentials) = &credentials {
            check_credential("git.username", &credentials.username)?;
            check_credential("git.password", credentials.password.expose())?;
        }
        self.create_source(project, origin, SourceStatus::default(), credentials, actor)
            .await
    }

    async fn create_source(
        &self,
        project: &ProjectName,
        origin: SourceOrigin,
        status: SourceStatus,
        credentials: Option<GitCredentials>,
        actor: &Actor,
    ) -> Result<Source, OperationError> {
        let home = self.live_project(project).await?;
        let there = self.list_sources(project).await?;
        room(project, &there, Some(&origin), 1)?;
        let id = SourceId::new(new_uid())?;
        let what = told(&origin);
        let spec = SourceSpec {
            origin,
            created_by: actor.to_string(),
        };
        let mut source: Source = new_object(id.as_str(), Some(project.clone()), spec);
        source.status = status;
        let mut batch = Batch::new()
            .check(
                keys::project(project),
                Expected::Revision(home.metadata.revision),
            )
            .create(keys::source(project, &id), &source)?;
        if let Some(credentials) = credentials {
            let access = self.seal_access(project, &id, credentials)?;
            batch = batch.create(keys::source_access(project, &id), &access)?;
        }
        match self.objects.write(batch).await {
            Ok(revision) => source.metadata.revision = revision,
            Err(OperationError::Store(StoreError::Conflict { .. })) => {
                return Err(OperationError::conflict(format!(
                    "the project {project} was changed at the same moment"
                )));
            }
            Err(error) => return Err(error),
        }
        // Others asked at the same moment: of all who see too many after their write, none stays.
        let there = self.list_sources(project).await?;
        if let Err(full) = room(project, &there, Some(&source.spec.origin), 0) {
            self.forget_source(project, &id).await?;
            return Err(full);
        }
        self.journal
            .record(
                actor,
                "source.created",
                Some(project),
                (Kind::Source, id.as_str()),
                what,
            )
            .await;
        Ok(source)
    }

    fn seal_access(
        &self,
        project: &ProjectName,
        id: &SourceId,
        credentials: GitCredentials,
    ) -> Result<SealedAccess, OperationError> {
        let access = Access {
            username: credentials.username,
            password: credentials.password.expose().to_owned(),
        };
        let text = serde_json::to_string(&access).map_err(|source| OperationError::Record {
            key: keys::source_access(project, id),
            source,
        })?;
        let sealed = self.vault.seal(&place(project, id), &Secret::new(text))?;
        Ok(SealedAccess { sealed })
    }

    /// With what the repository of a source is fetched.
    pub(crate) async fn source_credentials(
        &self,
        project: &ProjectName,
        id: &SourceId,
    ) -> Result<Option<GitCredentials>, OperationError> {
        let key = keys::source_access(project, id);
        let Some(record) = self.objects.get_record::<SealedAccess>(&key).await? else {
            return Ok(None);
        };
        let text = self
            .vault
            .open_sealed(&place(project, id), &record.sealed)?;
        let access: Access = serde_json::from_str(text.expose())
            .map_err(|source| OperationError::Record { key, source })?;
        Ok(Some(GitCredentials {
            username: access.username,
            password: Secret::new(access.password),
        }))
    }

    /// Removes a source. Builds of it go on: they have files of their own.
    ///
    /// # Errors
    /// [`OperationError::NotFound`].
    pub async fn delete_source(
        &self,
        project: &ProjectName,
        id: &SourceId,
        actor: &Actor,
    ) -> Result<(), OperationError> {
        let source = self.source(project, id).await?;
        self.forget_source(project, id).await?;
        self.remove_archive(&source).await;
        self.journal
            .record(
                actor,
                "source.deleted",
                Some(project),
                (Kind::Source, id.as_str()),
                "source deleted",
            )
            .await;
        Ok(())
    }

    /// Deletes the records of a source; its file is left.
    async fn forget_source(
        &self,
        project: &ProjectName,
        id: &SourceId,
    ) -> Result<(), OperationError> {
        let batch = Batch::new()
            .delete(keys::source(project, id), Expected::Any)
            .delete(keys::source_access(project, id), Expected::Any);
        self.objects.write(batch).await.map(drop)
    }

    /// Removes all sources of a project that is being deleted, and so gets no new ones.
    pub(crate) async fn remove_sources(&self, project: &ProjectName) -> Result<(), OperationError> {
        for source in self.list_sources(project).await? {
            let id = SourceId::new(source.metadata.name.clone())?;
            self.forget_source(project, &id).await?;
            self.remove_archive(&source).await;
        }
        Ok(())
    }

    /// The file of a source whose record is gone. One that stays goes with a sweep.
    pub(crate) async fn remove_archive(&self, source: &Source) {
        if let Some(archive) = &source.status.archive {
            self.remove_file(&archive.id).await;
        }
    }

    /// Removes a file of the uploads that nobody names.
    pub async fn remove_file(&self, id: &str) {
        match tokio::fs::remove_file(self.upload_path(id)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the file of a source stays for the sweep");
            }
            _ => {}
        }
    }

    /// Files that sources name.
    pub(crate) async fn archives(&self) -> Result<BTreeSet<String>, OperationError> {
        let sources = self.objects.list::<SourceSpec>(keys::SOURCES).await?;
        let archive = |source: Source| source.status.archive.map(|archive| archive.id);
        Ok(sources.into_iter().filter_map(archive).collect())
    }

    /// Takes a source for a build: gives its file a second name, which the build removes in the end. What comes of it is
    /// for [`Control::submit_build`](crate::Control::submit_build), or the file for [`Control::remove_file`].
    ///
    /// # Errors
    /// [`OperationError::NotFound`]; [`OperationError::Conflict`] while it is fetched;
    /// [`OperationError::InvalidSource`] when it cannot be built; [`OperationError::Io`].
    pub async fn take_source(
        &self,
        project: &ProjectName,
        id: &SourceId,
    ) -> Result<TakenSource, OperationError> {
        let used = self.source(project, id).await?;
        match used.status.phase {
            SourcePhase::Ready => {}
            SourcePhase::Fetching => {
                return Err(OperationError::Conflict {
                    reason: "the source is still being fetched".into(),
                    hint: Some("wait until its phase is `ready`".into()),
                });
            }
            SourcePhase::Failed => {
                let reason = used.status.reason.unwrap_or_default();
                let reason = format!("the source could not be fetched: {reason}");
                return Err(OperationError::InvalidSource { reason });
            }
        }
        let detected = used.status.detected.as_ref();
        if let Some(problem) = detected.and_then(|detected| detected.problem.as_ref()) {
            return Err(OperationError::InvalidSource {
                reason: problem.detail.clone(),
            });
        }
        let Some(archive) = used.status.archive.clone() else {
            return Err(OperationError::conflict("the source has no file"));
        };
        let file = new_uid();
        self.second_name(&archive.id, &file).await?;
        let bytes = archive.bytes;
        let source = match used.spec.origin.clone() {
            SourceOrigin::Upload { .. } => BuildSource::Upload { id: file, bytes },
            SourceOrigin::Template { template } => BuildSource::Template {
                id: file,
                bytes,
                template,
            },
            SourceOrigin::Git(git) => BuildSource::Git(GitSource {
                id: file,
                bytes,
                url: git.url,
                reference: git.reference,
                path: git.path,
                commit: used.status.commit.clone().unwrap_or_default(),
            }),
        };
        Ok(TakenSource {
            source,
            id: id.clone(),
        })
    }

    async fn second_name(&self, of: &str, name: &str) -> Result<(), OperationError> {
        let (from, to) = (self.upload_path(of), self.upload_path(name));
        let linked = tokio::task::spawn_blocking(move || {
            // A sweep goes by this time, which both names have.
            let file = std::fs::File::options().append(true).open(&from)?;
            file.set_modified(std::time::SystemTime::now())?;
            match std::fs::hard_link(&from, &to) {
                // A shared volume may know no second names.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let part = to.with_extension("part");
                    std::fs::copy(&from, &part)?;
                    std::fs::File::open(&part)?.sync_all()?;
                    std::fs::rename(&part, &to)
                }
                linked => linked,
            }
        });
        let linked = linked
            .await
            .unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        match linked {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(OperationError::conflict("the file of this source is gone"))
            }
            Err(source) => Err(OperationError::Io {
                what: "the source could not be taken for a build",
                source,
            }),
        }
    }
}

/// Fails when there are too many with so many `more`, of all or of those that wait as one of this origin would.
fn room(
    project: &ProjectName,
    there: &[Source],
    origin: Option<&SourceOrigin>,
    more: usize,
) -> Result<(), OperationError> {
    if there.len() + more > MOST_SOURCES {
        return Err(OperationError::Conflict {
            reason: format!("project {project} has {MOST_SOURCES} sources already"),
            hint: Some("delete some; those that are not used for an hour go by themselves".into()),
        });
    }
    let waits = |source: &&Source| {
        let fetching = source.status.phase == SourcePhase::Fetching;
        fetching && matches!(source.spec.origin, SourceOrigin::Git(_))
    };
    let waiting = there.iter().filter(waits).count();
    if matches!(origin, Some(SourceOrigin::Git(_))) && waiting + more > MOST_FETCHING {
        return Err(OperationError::Conflict {
            reason: format!("project {project} has {MOST_FETCHING} repositories to fetch already"),
            hint: Some("wait until one of them is fetched, or delete one".into()),
        });
    }
    Ok(())
}

fn check_credential(field: &str, value: &str) -> Result<(), OperationError> {
    // A line break would begin another header.
    if value.len() <= CREDENTIAL_BYTES && !value.chars().any(char::is_control) {
        return Ok(());
    }
    let rule = format!("use up to {CREDENTIAL_BYTES} bytes without control characters");
    Err(OperationError::invalid(field, rule))
}

fn place(project: &ProjectName, id: &SourceId) -> String {
    format!("source-access/{project}/{id}")
}

/// What the journal says. The origin has no credentials in it.
fn told(origin: &SourceOrigin) -> String {
    match origin {
        SourceOrigin::Upload { bytes } => format!("source of {bytes} bytes sent"),
        SourceOrigin::Git(git) => format!("source from {} asked for", git.url),
        SourceOrigin::Template { template } => format!("source from template {template} asked for"),
    }
}
