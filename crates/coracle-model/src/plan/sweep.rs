//! What is old enough to go.
//!
//! Theory of operation: what is needed is kept whatever its age (the live release, one that is being deployed,
//! those that a person may roll back to), and of the rest the newest. An image goes before the last
//! record that names it, so that a sweep that is killed in between finds it again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::build::Build;
use crate::name::{AppName, ImageRef, ProjectName};
use crate::plan::after;
use crate::plan::builds::BuildId;
use crate::release::{Release, ReleaseNumber, ReleasePhase};
use crate::source::Source;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Releases of an app, whatever became of them.
    pub releases: usize,
    /// Releases of an app that were live once, to roll back to.
    pub rollbacks: usize,
    /// Builds of an app, with their logs.
    pub builds: usize,
    /// Events of the platform.
    pub events: usize,
    /// An upload or source that no build has taken is kept this long.
    pub uploads: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            releases: 20,
            rollbacks: 10,
            builds: 20,
            events: 5000,
            uploads: Duration::from_secs(3600),
        }
    }
}

/// Names a release: unique within the platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseId {
    /// Project of its app.
    pub project: ProjectName,
    /// Its app.
    pub app: AppName,
    /// Its number.
    pub number: ReleaseNumber,
}

/// One app with all of its releases and builds.
#[derive(Clone, Copy, Debug)]
pub struct AppFacts<'a> {
    /// Its project.
    pub project: &'a ProjectName,
    /// Its name.
    pub name: &'a AppName,
    /// The release with the traffic.
    pub live: Option<ReleaseNumber>,
    /// Its releases.
    pub releases: &'a [Release],
    /// Its builds.
    pub builds: &'a [Build],
}

/// What is to go, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Images that only records name which go now.
    pub images: BTreeSet<ImageRef>,
    /// Releases.
    pub releases: Vec<ReleaseId>,
    /// Builds, with their logs.
    pub builds: Vec<BuildId>,
}

/// What of the apps is to go. `in_use` are images that pods run, whatever their release.
#[must_use]
pub fn plan(apps: &[AppFacts<'_>], in_use: &BTreeSet<String>, keep: Retention) -> Sweep {
    let mut sweep = Sweep::default();
    let mut kept_images: BTreeSet<&ImageRef> = BTreeSet::new();
    let mut gone_images: BTreeSet<&ImageRef> = BTreeSet::new();
    for app in apps {
        let kept = kept_releases(app, keep);
        for release in app.releases {
            let number = release.spec.number;
            let image = release.status.image.as_ref().map(|image| &image.reference);
            if kept.contains(&number) {
                kept_images.extend(image.into_iter().chain([&release.spec.image]));
            } else {
                gone_images.extend(image);
                sweep.releases.push(ReleaseId {
                    project: app.project.clone(),
                    app: app.name.clone(),
                    number,
                });
            }
        }
        let mut builds: Vec<_> = app.builds.iter().collect();
        builds.sort_by_key(|build| std::cmp::Reverse(build.spec.number));
        for (rank, build) in builds.into_iter().enumerate() {
            if rank < keep.builds || !build.status.phase.is_final() {
                kept_images.extend(build.status.image.as_ref());
                continue;
            }
            gone_images.extend(build.status.image.as_ref());
            sweep.builds.push(BuildId {
                project: app.project.clone(),
                app: app.name.clone(),
                number: build.spec.number,
            });
        }
    }
    sweep.images = gone_images
        .into_iter()
        .filter(|image| !kept_images.contains(image) && !in_use.contains(image.as_str()))
        .cloned()
        .collect();
    sweep
}

fn kept_releases(app: &AppFacts<'_>, keep: Retention) -> BTreeSet<ReleaseNumber> {
    let mut newest: Vec<_> = app.releases.iter().collect();
    newest.sort_by_key(|release| std::cmp::Reverse(release.spec.number));
    let number = |release: &Release| release.spec.number;
    let mut kept: BTreeSet<_> = newest
        .iter()
        .take(keep.releases)
        .map(|r| number(r))
        .collect();
    let was_live = |release: &&&Release| {
        release.status.phase == ReleasePhase::Live
            || (release.status.phase == ReleasePhase::Superseded && release.status.reason.is_none())
    };
    kept.extend(
        newest
            .iter()
            .filter(was_live)
            .take(keep.rollbacks)
            .map(|r| number(r)),
    );
    kept.extend(
        newest
            .iter()
            .filter(|release| !release.status.phase.is_final())
            .map(|r| number(r)),
    );
    kept.extend(app.live);
    kept
}

/// Which uploads are to go: those that no build of `wanted` names and that are old enough. `uploads` is when
/// each was last written.
#[must_use]
pub fn uploads(
    uploads: &BTreeMap<String, DateTime<Utc>>,
    wanted: &BTreeSet<String>,
    keep: Retention,
    now: DateTime<Utc>,
) -> Vec<String> {
    uploads
        .iter()
        .filter(|(id, written)| !wanted.contains(*id) && after(**written, keep.uploads) <= now)
        .map(|(id, _)| id.clone())
        .collect()
}

/// Is a source to go? One that is being fetched stays: that has an end of its own.
#[must_use]
pub fn source_is_old(source: &Source, keep: Retention, now: DateTime<Utc>) -> bool {
    let status = &source.status;
    let last = [status.used, status.finished].into_iter().flatten().max();
    status.phase.is_final() && after(last.unwrap_or(source.metadata.created), keep.uploads) <= now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Kind, Metadata};
    use crate::release::{Origin, PinnedImage, ReleaseSpec, ReleaseStatus, RunConfig};

    fn release(number: u32, phase: ReleasePhase, image: &str) -> Release {
        let app = AppName::new("hello").unwrap();
        Release {
            kind: Kind::Release,
            metadata: Metadata {
                name: format!("v{number}"),
                project: None,
                uid: String::new(),
                revision: 1,
                created: DateTime::UNIX_EPOCH,
                deleting: None,
            },
            spec: ReleaseSpec {
                app,
                number: ReleaseNumber(number),
                image: ImageRef::new(image).unwrap(),
                config: RunConfig::default(),
                env: BTreeMap::new(),
                origin: Origin::Image,
                created_by: "ann".into(),
            },
            status: ReleaseStatus {
                phase,
                reason: (phase == ReleasePhase::Failed).then(|| "it crashed".to_owned()),
                image: Some(PinnedImage {
                    reference: ImageRef::new(image).unwrap(),
                    ports: Vec::new(),
                }),
                ..ReleaseStatus::default()
            },
        }
    }

    fn swept(releases: &[Release], live: u32, in_use: &[&str]) -> (Vec<u32>, Vec<String>) {
        let project = ProjectName::default_project();
        let name = AppName::new("hello").unwrap();
        let facts = AppFacts {
            project: &project,
            name: &name,
            live: Some(ReleaseNumber(live)),
            releases,
            builds: &[],
        };
        let in_use = in_use.iter().map(ToString::to_string).collect();
        let keep = Retention {
            releases: 3,
            rollbacks: 2,
            ..Retention::default()
        };
        let sweep = plan(&[facts], &in_use, keep);
        (
            sweep
                .releases
                .iter()
                .map(|release| release.number.0)
                .collect(),
            sweep.images.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn the_live_one_and_those_to_roll_back_to_stay_however_old() {
        use ReleasePhase::{Failed, Live, Superseded};
        let releases = [
            release(1, Superseded, "a:1"),
            release(2, Superseded, "a:2"),
            release(3, Superseded, "a:3"),
            release(4, Live, "a:4"),
            release(5, Failed, "a:5"),
            release(6, Failed, "a:1"),
            release(7, Failed, "a:7"),
            release(8, Failed, "a:8"),
        ];
        let (gone, images) = swept(&releases, 4, &[]);
        assert_eq!(gone, [1, 2, 5]);
        assert_eq!(images, ["a:2", "a:5"], "v6 still names a:1");
        let (_, images) = swept(&releases, 4, &["a:5"]);
        assert_eq!(images, ["a:2"]);
    }

    #[test]
    fn uploads_go_when_nobody_came_for_them() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let there = BTreeMap::from([
            ("old".to_owned(), at(0)),
            ("queued".to_owned(), at(0)),
            ("new".to_owned(), at(3000)),
        ]);
        let wanted = BTreeSet::from(["queued".to_owned()]);
        assert_eq!(
            uploads(&there, &wanted, Retention::default(), at(3600)),
            ["old"]
        );
    }
}
