//! Which build runs next, which is replaced, which is ended.
//!
//! Theory of operation: an app has one build running at a time, and one waiting at most: who sends a newer
//! source does not want the older one any more. Apps take turns in the order in which they asked, and only so
//! many builds run at once. A build that says `running` but has no runner was left by a process that
//! ended: it waits again, if its source is still there.

use std::collections::BTreeMap;

use crate::build::{Build, BuildPhase, Cancel};
use crate::name::{AppName, ProjectName};

/// Names a build: unique within the platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId {
    /// Project of its app.
    pub project: ProjectName,
    /// Its app.
    pub app: AppName,
    /// Its number.
    pub number: u32,
}

impl std::fmt::Display for BuildId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/b{}", self.project, self.app, self.number)
    }
}

/// Is the app of a build there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Yes.
    There,
    /// No, or it is being deleted.
    Gone,
}

/// Is the source of a build there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// Yes.
    There,
    /// No.
    Gone,
}

/// Is somebody working at a build in this process?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// Yes.
    Working,
    /// No.
    None,
}

/// What is known of one build.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its project.
    pub project: &'a ProjectName,
    /// The build.
    pub build: &'a Build,
    /// Its app.
    pub owner: Owner,
    /// Its source.
    pub upload: Upload,
    /// Who works at it.
    pub runner: Runner,
}

impl Facts<'_> {
    /// Which build this is about.
    #[must_use]
    pub fn id(&self) -> BuildId {
        BuildId {
            project: self.project.clone(),
            app: self.build.spec.app.clone(),
            number: self.build.spec.number,
        }
    }
}

/// Something to do about a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write that it runs, then run it.
    Start(BuildId),
    /// End its runner, which then writes `cancelled` with this reason.
    Stop(BuildId, String),
    /// Write that it waits again.
    Requeue(BuildId),
    /// Write that nothing more happens to it.
    Finish(BuildId, BuildPhase, String),
}

/// What to do about builds now: at most `most` run at once.
#[must_use]
pub fn plan(builds: &[Facts<'_>], most: usize) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut queued: BTreeMap<(&ProjectName, &AppName), Vec<&Facts<'_>>> = BTreeMap::new();
    let mut running = 0;
    let mut busy: Vec<(&ProjectName, &AppName)> = Vec::new();
    for facts in builds {
        let key = (facts.project, &facts.build.spec.app);
        let working = facts.runner == Runner::Working;
        if working {
            running += 1;
            busy.push(key);
        }
        if facts.build.status.phase.is_final() {
            continue;
        }
        if let Some(reason) = unwanted(facts) {
            let action = if working {
                Action::Stop(facts.id(), reason)
            } else {
                Action::Finish(facts.id(), BuildPhase::Cancelled, reason)
            };
            actions.push(action);
            continue;
        }
        match (facts.build.status.phase, facts.upload) {
            _ if working => {}
            (_, Upload::Gone) => {
                let reason = "its source is gone: send it again".to_owned();
                actions.push(Action::Finish(facts.id(), BuildPhase::Failed, reason));
            }
            (BuildPhase::Running, Upload::There) => actions.push(Action::Requeue(facts.id())),
            _ => queued.entry(key).or_default().push(facts),
        }
    }
    let mut next = Vec::new();
    for (key, mut waiting) in queued {
        waiting.sort_by_key(|facts| facts.build.spec.number);
        let Some(newest) = waiting.pop() else {
            continue;
        };
        for older in waiting {
            let reason = format!("replaced by b{}", newest.build.spec.number);
            actions.push(Action::Finish(older.id(), BuildPhase::Cancelled, reason));
        }
        if !busy.contains(&key) {
            next.push(newest);
        }
    }
    next.sort_by_key(|facts| (facts.build.metadata.created, facts.id()));
    let room = most.saturating_sub(running);
    actions.extend(
        next.into_iter()
            .take(room)
            .map(|facts| Action::Start(facts.id())),
    );
    actions
}

fn unwanted(facts: &Facts<'_>) -> Option<String> {
    if facts.owner == Owner::Gone {
        return Some("its app was deleted".to_owned());
    }
    match facts.build.spec.cancel {
        Cancel::Requested => Some("cancelled".to_owned()),
        Cancel::No => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::build::{BuildSpec, BuildStatus, Source};
    use crate::object::{Kind, Metadata};

    struct Case {
        project: ProjectName,
        build: Build,
        owner: Owner,
        upload: Upload,
        runner: Runner,
    }

    fn case(app: &str, number: u32, phase: BuildPhase, runner: Runner) -> Case {
        Case {
            project: ProjectName::default_project(),
            build: Build {
                kind: Kind::Build,
                metadata: Metadata {
                    name: format!("b{number}"),
                    project: None,
                    uid: String::new(),
                    revision: 1,
                    created: DateTime::from_timestamp(i64::from(number), 0).unwrap(),
                    deleting: None,
                },
                spec: BuildSpec {
                    app: AppName::new(app).unwrap(),
                    number,
                    source: Source::Upload {
                        id: "u".into(),
                        bytes: 1,
                    },
                    config: crate::release::RunChange::default(),
                    created_by: "ann".into(),
                    cancel: Cancel::No,
                },
                status: BuildStatus {
                    phase,
                    ..BuildStatus::default()
                },
            },
            owner: Owner::There,
            upload: Upload::There,
            runner,
        }
    }

    fn shown(cases: &[Case], most: usize) -> Vec<String> {
        let facts: Vec<_> = cases
            .iter()
            .map(|case| Facts {
                project: &case.project,
                build: &case.build,
                owner: case.owner,
                upload: case.upload,
                runner: case.runner,
            })
            .collect();
        plan(&facts, most)
            .into_iter()
            .map(|action| match action {
                Action::Start(id) => format!("start {id}"),
                Action::Stop(id, why) => format!("stop {id}: {why}"),
                Action::Requeue(id) => format!("requeue {id}"),
                Action::Finish(id, phase, why) => format!("{phase:?} {id}: {why}"),
            })
            .collect()
    }

    #[test]
    fn the_newest_of_an_app_waits_and_apps_take_turns() {
        use BuildPhase::{Queued, Running};
        let cases = [
            case("a", 1, Running, Runner::Working),
            case("a", 2, Queued, Runner::None),
            case("a", 3, Queued, Runner::None),
            case("c", 4, Queued, Runner::None),
            case("b", 5, Queued, Runner::None),
        ];
        assert_eq!(
            shown(&cases, 2),
            [
                "Cancelled default/a/b2: replaced by b3",
                "start default/c/b4"
            ]
        );
    }

    #[test]
    fn what_a_dead_process_left_waits_again_or_fails() {
        let mut gone = case("b", 1, BuildPhase::Running, Runner::None);
        gone.upload = Upload::Gone;
        let cases = [case("a", 1, BuildPhase::Running, Runner::None), gone];
        assert_eq!(
            shown(&cases, 2),
            [
                "requeue default/a/b1",
                "Failed default/b/b1: its source is gone: send it again"
            ]
        );
    }

    #[test]
    fn the_unwanted_are_ended() {
        let mut cancelled = case("a", 1, BuildPhase::Running, Runner::Working);
        cancelled.build.spec.cancel = Cancel::Requested;
        let mut orphan = case("b", 1, BuildPhase::Queued, Runner::None);
        orphan.owner = Owner::Gone;
        assert_eq!(
            shown(&[cancelled, orphan], 2),
            [
                "stop default/a/b1: cancelled",
                "Cancelled default/b/b1: its app was deleted"
            ]
        );
    }

    proptest! {
        #[test]
        fn never_two_of_one_app_and_never_too_many(
            given in prop::collection::vec((0_u8..3, 0_u8..4, any::<bool>()), 0..12),
            most in 0_usize..4,
        ) {
            let mut busy = std::collections::BTreeSet::new();
            let mut cases = Vec::new();
            for (number, (app, phase, working)) in (1..).zip(given) {
                let phase = match phase {
                    0 => BuildPhase::Succeeded,
                    1 => BuildPhase::Running,
                    _ => BuildPhase::Queued,
                };
                let app = ["a", "b", "c"][usize::from(app)];
                let works = working && phase == BuildPhase::Running && busy.insert(app);
                cases.push(case(app, number, phase, if works { Runner::Working } else { Runner::None }));
            }
            let facts: Vec<_> = cases.iter().map(|case| Facts {
                project: &case.project, build: &case.build, owner: case.owner, upload: case.upload, runner: case.runner,
            }).collect();
            let mut running: Vec<_> = busy.iter().map(ToString::to_string).collect();
            for action in plan(&facts, most) {
                if let Action::Start(id) = action {
                    prop_assert!(!running.contains(&id.app.to_string()));
                    running.push(id.app.to_string());
                }
            }
            prop_assert!(running.len() <= most.max(busy.len()));
        }
    }
}
