//! What a follower gets to see: what it asked for, of what its caller may see.

use coracle_model::name::{ProjectName, UserName, shown};
use coracle_model::object::Kind;
use coracle_model::problem::{Code, Problem};
use coracle_model::user::{ProjectScope, Role};

use super::{kinds, usage};
use crate::caller::Caller;
use crate::error::ApiResult;
use crate::tenure::Tenure;

/// Who may see an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Those who see this project.
    Project(ProjectName),
    /// Those who have this role, or a higher one, everywhere.
    Platform(Role),
    /// This user.
    User(UserName),
}

/// What a follower asked for by name.
pub(super) struct Asked {
    kinds: Vec<Kind>,
    samples: Samples,
}

/// Are samples of what is used told?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Samples {
    /// Among kinds of objects, or not.
    Told,
    /// They were not asked for.
    Left,
}

impl Asked {
    /// For samples and nothing else?
    pub(super) fn is_samples_alone(&self) -> bool {
        self.samples == Samples::Told && self.kinds.is_empty()
    }
}

/// What a follower gets to see.
pub(super) struct Filter {
    tenure: Tenure,
    project: Option<ProjectName>,
    /// Of all kinds of objects, when absent.
    asked: Option<Asked>,
}

impl Filter {
    pub(super) fn new(tenure: Tenure, project: Option<ProjectName>, asked: Option<Asked>) -> Self {
        Self {
            tenure,
            project,
            asked,
        }
    }

    pub(super) fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    pub(super) fn caller(&self) -> &Caller {
        self.tenure.caller()
    }

    pub(super) fn wants(&self, kind: Kind, audience: &Audience) -> bool {
        self.reaches(audience) && self.wants_kind(kind)
    }

    pub(super) fn samples(&self) -> Samples {
        self.asked
            .as_ref()
            .map_or(Samples::Left, |asked| asked.samples)
    }

    /// Does what is told to this audience reach the follower, who may have asked for one project only?
    pub(super) fn reaches(&self, audience: &Audience) -> bool {
        let caller = self.caller();
        match audience {
            Audience::Project(project) => {
                caller.sees(project) && self.project.as_ref().is_none_or(|only| only == project)
            }
            Audience::Platform(role) => {
                self.project.is_none()
                    && caller.scope() == ProjectScope::All
                    && caller.role >= *role
            }
            Audience::User(user) => self.project.is_none() && caller.user == *user,
        }
    }

    pub(super) fn wants_kind(&self, kind: Kind) -> bool {
        self.asked
            .as_ref()
            .is_none_or(|asked| asked.kinds.contains(&kind))
    }

    /// For what is only of this project.
    pub(super) fn wants_of(&self, kind: Kind, project: &ProjectName) -> bool {
        self.wants(kind, &Audience::Project(project.clone()))
    }
}

/// The kinds that a query names.
pub(super) fn parse_kinds(text: &str) -> ApiResult<Asked> {
    let is_samples = |word: &&str| word.eq_ignore_ascii_case(usage::WORD);
    let words = || text.split(',').map(str::trim);
    let parse = |word: &str| {
        kinds::all()
            .find(|kind| format!("{kind:?}").eq_ignore_ascii_case(word))
            .ok_or_else(|| {
                let all = kinds::all().map(|kind| format!("{kind:?}"));
                let all: Vec<_> = all.chain([usage::WORD.to_owned()]).collect();
                Problem::new(
                    Code::InvalidField,
                    format!(
                        "there is no kind {}; there are {}",
                        shown(word),
                        all.join(", ")
                    ),
                )
                .field("kinds")
                .into()
            })
    };
    let kinds: ApiResult<Vec<Kind>> = words()
        .filter(|word| !is_samples(word))
        .map(parse)
        .collect();
    let samples = match words().any(|word| is_samples(&word)) {
        true => Samples::Told,
        false => Samples::Left,
    };
    Ok(Asked {
        kinds: kinds?,
        samples,
    })
}
