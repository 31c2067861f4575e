//! Sweeps: removes what `plan::sweep` says is old enough to go.
//!
//! Theory of operation: a sweep runs now and then, and every removal in it stands alone: one that fails is
//! logged and tried again by the next sweep. Records go under the revision at which they were judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use coracle_model::app::AppSpec;
use coracle_model::build::{Build, BuildSpec};
use coracle_model::name::{AppName, ProjectName};
use coracle_model::plan::Knowledge;
use coracle_model::plan::builds::BuildId;
use coracle_model::plan::sweep::{self, AppFacts, Retention};
use coracle_model::release::{Release, ReleaseNumber, ReleaseSpec};
use coracle_model::source::{SourceId, SourceSpec};
use coracle_store::{Expected, Page};
use tokio::time::Instant;

use crate::build_log::BuildKey;
use crate::controllers::change::Change;
use crate::controllers::image::is_own;
use crate::controllers::key::Everything;
use crate::controllers::runner::{Next, Reconciler};
use crate::controllers::scene::Scene;
use crate::error::OperationError;
use crate::image::{ImageTags, TagError, pushed_at, pushed_tag};
use crate::keys;
use crate::objects::Batch;
use crate::observed::Observed;

/// Records that are deleted in one write; fewer than a store takes.
const DELETED_AT_ONCE: usize = 100;

/// Removes what is old enough.
pub struct SweepController {
    scene: Arc<Scene>,
    /// When the next sweep is due; the rescan must not make it more frequent.
    due: Mutex<Option<Instant>>,
}

impl SweepController {
    pub(super) fn new(scene: &Arc<Scene>) -> Self {
        Self {
            scene: Arc::clone(scene),
            due: Mutex::default(),
        }
    }

    fn due(&self) -> MutexGuard<'_, Option<Instant>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is kept: as it was set, else as the platform was started.
    async fn retention(&self) -> Result<Retention, OperationError> {
        let set = self.scene.control.platform_settings().await?;
        let set = set.spec.retention;
        let usual = self.scene.options.retention;
        let or = |set: Option<u32>, usual| set.and_then(|n| n.try_into().ok()).unwrap_or(usual);
        Ok(Retention {
            builds: or(set.builds, usual.builds),
            releases: or(set.releases, usual.releases),
            ..usual
        })
    }

    async fn sweep_apps(&self) -> Result<BTreeSet<String>, OperationError> {
        let control = &self.scene.control;
        let (pods, knowledge) = self.scene.look(Observed::pods);
        let apps = control.objects.list::<AppSpec>(keys::APPS).await?;
        let mut releases: BTreeMap<(ProjectName, AppName), Vec<Release>> = BTreeMap::new();
        for release in control.objects.list::<ReleaseSpec>(keys::RELEASES).await? {
            if let Some(project) = release.metadata.project.clone() {
                releases
                    .entry((project, release.spec.app.clone()))
                    .or_default()
                    .push(release);
            }
        }
        let mut builds: BTreeMap<(ProjectName, AppName), Vec<Build>> = BTreeMap::new();
        let mut uploads = BTreeSet::new();
        for build in control.objects.list::<BuildSpec>(keys::BUILDS).await? {
            if !build.status.phase.is_final() {
                uploads.insert(build.spec.source.file().clone());
            }
            if let Some(project) = build.metadata.project.clone() {
                builds
                    .entry((project, build.spec.app.clone()))
                    .or_default()
                    .push(build);
            }
        }
        let mut read = Vec::new();
        for app in apps {
            // An app on its way out takes everything with it.
            if let (None, Some(project), Ok(name)) = (
                app.metadata.deleting,
                app.metadata.project,
                AppName::new(app.metadata.name),
            ) {
                read.push(((project, name), app.status.release));
            }
        }
        let facts: Vec<AppFacts<'_>> = read
            .iter()
            .map(
                |(key, live): &((ProjectName, AppName), Option<ReleaseNumber>)| AppFacts {
                    project: &key.0,
                    name: &key.1,
                    live: *live,
                    releases: releases.get(key).map_or(&[], Vec::as_slice),
                    builds: builds.get(key).map_or(&[], Vec::as_slice),
                },
            )
            .collect();
        let in_use = pods.iter().map(|pod| pod.image.clone()).collect();
        let retention = self.retention().await?;
        let sweep = sweep::plan(&facts, &in_use, retention);
        // An engine keeps an image under the name it was pushed by, too.
        let names = sweep.builds.iter().filter_map(|id| {
            let builds = builds.get(&(id.project.clone(), id.app.clone()))?;
            let build = builds.iter().find(|b| b.spec.number == id.number)?;
            control.settings.build_image(&id.project, build).ok()
        });
        let images: BTreeSet<_> = sweep.images.iter().cloned().chain(names).collect();
        for image in &images {
            // While it is not known what runs, no image is known to be unused.
            if knowledge == Knowledge::Partial || !is_own(&self.scene, image) {
                continue;
            }
            if let Err(error) = control.engine.remove_image(image).await {
                tracing::warn!(%image, %error, "an image stays until the next sweep finds it");
            }
        }
        let mut gone = Vec::new();
        for id in &sweep.releases {
            gone.push(keys::release(&id.project, &id.app, id.number));
        }
        for id in &sweep.builds {
            let log = BuildKey {
                project: id.project.clone(),
                app: id.app.clone(),
                number: id.number,
            };
            if let Err(error) = control.build_logs.remove(&log).await {
                tracing::warn!(build = %id, %error, "the log of a build could not be removed");
            }
            let of_app = builds.get(&(id.project.clone(), id.app.clone()));
            let build = of_app.and_then(|all| all.iter().find(|b| b.spec.number == id.number));
            if let Some(build) = build
                && let Err(error) = self.withdraw(id, build).await
            {
                tracing::warn!(build = %id, %error, "a build stays until the tag that it pushed is gone");
                continue;
            }
            gone.push(keys::build(&id.project, &id.app, id.number));
        }
        self.delete(gone).await?;
        Ok(uploads)
    }

    async fn withdraw(&self, id: &BuildId, build: &Build) -> Result<(), TagError> {
        match &self.scene.control.image_tags {
            Some(tags) => withdraw_tags(&**tags, id, build).await,
            None => Ok(()),
        }
    }

    async fn delete(&self, keys: Vec<String>) -> Result<(), OperationError> {
        for some in keys.chunks(DELETED_AT_ONCE) {
            let delete = |batch: Batch, key: &String| batch.delete(key.clone(), Expected::Any);
            self.scene
                .control
                .objects
                .write(some.iter().fold(Batch::new(), delete))
                .await?;
        }
        Ok(())
    }

    /// The newest events come first in the order of their keys, so what is beyond the first ones goes.
    async fn sweep_events(&self) -> Result<(), OperationError> {
        let store = self.scene.control.objects.store();
        let mut keep = self.scene.options.retention.events;
        let mut page = Page::default();
        loop {
            let listing = store.list(keys::EVENTS, page).await?;
            let old: Vec<_> = listing
                .entries
                .iter()
                .skip(keep)
                .map(|entry| entry.key.clone())
                .collect();
            keep = keep.saturating_sub(listing.entries.len());
            self.delete(old).await?;
            let Some(after) = listing.next else {
                return Ok(());
            };
            page = Page {
                after: Some(after),
                ..Page::default()
            };
        }
    }

    /// Sources that nobody used for long. A build that takes one at the same moment writes it, and wins.
    async fn sweep_sources(&self) -> Result<(), OperationError> {
        let control = &self.scene.control;
        let now = self.scene.now();
        for source in control.objects.list::<SourceSpec>(keys::SOURCES).await? {
            let old = sweep::source_is_old(&source, self.scene.options.retention, now);
            let (Some(project), Ok(id)) = (
                source.metadata.project.clone(),
                SourceId::new(source.metadata.name.clone()),
            ) else {
                continue;
            };
            if !old {
                continue;
            }
            let judged = Expected::Revision(source.metadata.revision);
            let batch = Batch::new()
                .delete(keys::source(&project, &id), judged)
                .delete(keys::source_access(&project, &id), Expected::Any);
            match control.objects.write(batch).await {
                Ok(_) => control.remove_archive(&source).await,
                Err(error) if error.is_race() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn sweep_uploads(&self, wanted: &BTreeSet<String>) -> std::io::Result<()> {
        let dir = self.scene.control.settings.uploads_dir();
        let mut entries = match tokio::fs::read_dir(&dir).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let mut there = BTreeMap::new();
        while let Some(entry) = entries.next_entry().await? {
            let written = entry.metadata().await?.modified()?;
            there.insert(
                entry.file_name().to_string_lossy().into_owned(),
                DateTime::<Utc>::from(written),
            );
        }
        // Files have the machine's time, whatever clock the platform goes by.
        let gone = sweep::uploads(&there, wanted, self.scene.options.retention, Utc::now());
        for name in gone {
            if let Err(error) = tokio::fs::remove_file(dir.join(&name)).await {
                tracing::warn!(%error, "an upload stays until the next sweep");
            }
        }
        Ok(())
    }
}

/// Takes away the tags that a build has in the registry: that which it pushed, where its end did not, and its own name, if that
/// still means its image. Releases need no tags.
pub(super) async fn withdraw_tags(
    tags: &dyn ImageTags,
    id: &BuildId,
    build: &Build,
) -> Result<(), TagError> {
    tags.withdraw(pushed_at(id, &pushed_tag(build)), None)
        .await?;
    let image = build.status.image.as_ref();
    if let Some((_, digest)) = image.and_then(|image| image.as_str().split_once('@')) {
        let own = pushed_at(id, &build.metadata.name);
        tags.withdraw(own, Some(digest)).await?;
    }
    Ok(())
}

#[async_trait]
impl Reconciler for SweepController {
    type Key = Everything;
    const NAME: &'static str = "sweep";
    const AT_ONCE: usize = 1;

    async fn keys(&self) -> Result<Vec<Everything>, OperationError> {
        Ok(vec![Everything])
    }

    fn concerns(&self, _: &Change<'_>) -> Option<Everything> {
        None
    }

    async fn reconcile(&self, _: &Everything) -> Result<Next, OperationError> {
        if self.due().is_some_and(|due| Instant::now() < due) {
            return Ok(Next::Rest);
        }
        self.sweep_sources().await?;
        let mut uploads = self.sweep_apps().await?;
        uploads.extend(self.scene.control.archives().await?);
        self.sweep_events().await?;
        self.sweep_uploads(&uploads)
            .await
            .map_err(|source| OperationError::Io {
                what: "the uploads could not be swept",
                source,
            })?;
        *self.due() = Some(Instant::now() + self.scene.options.sweep);
        Ok(Next::After(self.scene.options.sweep))
    }
}
